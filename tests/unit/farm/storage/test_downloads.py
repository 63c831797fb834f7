"""Downloaded files are told apart by their names, and none overwrites another."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from farm.client import Farm
from farm.errors import ObjectDamaged, SettingsError
from farm.handle import Job
from farm.storage.base import sha256_of
from farm.storage.downloads import Extra
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import TEMPLATE, announce, render, wan_graph


@pytest.fixture
def rendered(store: MemoryJobStore, storage: FolderStorage) -> Callable[..., Job]:
    """Renders a job of the template with the given seed; made are a picture and a clip."""
    announce(store)
    farm = Farm(store=store, storage=storage)

    def make(seed: int, prompt: str = "a fox") -> Job:
        job = farm.submit(template=TEMPLATE, parameters={"prompt": prompt, "seed": seed})
        render(store, storage, job.job_id, preview=b"seen")
        return job.refresh()

    return make


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_files_of_three_jobs_lie_side_by_side(rendered: Callable[..., Job], tmp_path: Path) -> None:
    jobs = [rendered(seed) for seed in (7, 8, 8)]

    paths = [job.result().download(tmp_path / "out") for job in jobs]

    assert len({path for each in paths for path in each}) == 6
    assert len(names(tmp_path / "out")) == 6
    for job, made in zip(jobs, paths, strict=True):
        seed = job.record.spec.template_parameters["seed"]
        assert all(f"-{seed}-{job.job_id[:12]}" in path.name for path in made)
        assert all(path.name.startswith(f"a_fox-{seed}-") for path in made)


def test_what_is_there_already_is_kept_and_not_fetched_again(
    rendered: Callable[..., Job], storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = rendered(7).result()
    first = result.download(tmp_path / "out")
    monkeypatch.setattr(storage, "download", lambda *_a, **_b: pytest.fail("fetched again"))

    assert result.download(tmp_path / "out") == first


def test_a_file_with_another_content_is_not_overwritten(rendered: Callable[..., Job], tmp_path: Path) -> None:
    result = rendered(7).result()
    for path in result.download(tmp_path / "out"):
        path.write_text("cut by hand")

    again = result.download(tmp_path / "out")

    assert [path.stem[-2:] for path in again] == ["-3", "-4"]
    assert sorted(path.read_bytes() for path in again) == [b"mp4", b"png"]
    assert sum(path.read_text() == "cut by hand" for path in (tmp_path / "out").iterdir()) == 2


def test_names_follow_a_template_and_stay_file_names(rendered: Callable[..., Job], tmp_path: Path) -> None:
    job = rendered(7, prompt="лиса/../狐: " + "very " * 100)

    paths = job.result().download(tmp_path, name="{prompt}+{seed}")

    assert all(path.parent == tmp_path for path in paths)
    assert all(path.name.startswith("лиса_.._狐_very") and "+7" in path.name for path in paths)
    assert all(len(path.name.encode()) < 255 for path in paths)


@pytest.mark.parametrize("name", ["a" * 300, "狐" * 300, "{prompt}" * 9], ids=["ascii", "wide", "fields"])
def test_a_name_that_no_file_system_takes_is_cut(
    rendered: Callable[..., Job], tmp_path: Path, name: str
) -> None:
    job = rendered(7, prompt="very " * 100)

    for _ in range(2):
        paths = job.result().download(tmp_path, name=name)

    assert all(path.exists() for path in paths)


def test_a_field_that_the_job_does_not_have_is_told(rendered: Callable[..., Job], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"no \{colour\}; it has .*prompt.*seed"):
        rendered(7).result().download(tmp_path, name="{colour}")


def test_the_seed_of_a_plain_graph_is_that_of_the_sampler_that_adds_noise(
    store: MemoryJobStore, storage: FolderStorage, tmp_path: Path
) -> None:
    farm = Farm(store=store, storage=storage)
    graph = wan_graph()
    samplers = [node for node in graph.values() if "noise_seed" in node["inputs"]]
    for number, node in enumerate(samplers):
        node["inputs"]["noise_seed"] = 40 + number
    adding = next(node for node in samplers if node["inputs"].get("add_noise") == "enable")
    job = farm.submit(graph)
    render(store, storage, job.job_id, preview=b"seen")

    paths = job.result().download(tmp_path, name="{seed}")

    assert paths[0].stem == str(adding["inputs"]["noise_seed"])


@pytest.mark.parametrize("extras", [("poster",), ("manifest", "previews"), tuple(Extra)])
def test_what_lies_beside_the_files_is_fetched_on_wish(
    rendered: Callable[..., Job], tmp_path: Path, extras: tuple[str, ...]
) -> None:
    job = rendered(7)

    files = job.result().download(tmp_path, extras=extras)
    again = job.result().download(tmp_path, extras=extras)

    beside = {"".join(path.suffixes[-2:]): path.read_bytes() for path in files[2:]}
    whole = {"poster": ".poster.jpg", "manifest": ".manifest.json", "previews": ".preview-001.png"}
    assert set(beside) == {whole[each] for each in extras}
    assert beside.get(".preview-001.png", b"seen") == b"seen"
    assert again == files


def test_an_extra_that_is_none_is_told(rendered: Callable[..., Job], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="there is no 'sound' beside a job's files; there are poster"):
        rendered(7).result().download(tmp_path, extras=["sound"])


def test_the_bytes_of_files_are_told_whether_they_come_or_are_there(
    rendered: Callable[..., Job], tmp_path: Path
) -> None:
    result = rendered(7).result()
    whole = sum(artifact.size_bytes for artifact in result.facts.artifacts)

    for _ in range(2):
        told: list[int] = []
        result.download(tmp_path, progress=told.append)
        assert sum(told) == whole


def test_what_a_broken_download_has_left_is_gone_on_with(
    rendered: Callable[..., Job], storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = rendered(7).result()
    first = result.facts.artifacts[0]
    asked: list[tuple[str, int]] = []
    whole = storage.stream

    def stream(key: str, *, start: int = 0, length: int | None = None) -> Iterator[bytes]:
        asked.append((key, start))
        return whole(key, start=start, length=length)

    part = hashlib.sha256(first.sha256.encode()).hexdigest()[:32]
    (tmp_path / f".{part}.part").write_bytes(storage.read_bytes(first.key)[:1])
    monkeypatch.setattr(storage, "stream", stream)

    paths = result.download(tmp_path)

    assert asked[0] == (first.key, 1)
    assert [sha256_of(path) for path in paths] == [each.sha256 for each in result.facts.artifacts]
    assert not list(tmp_path.glob(".*"))


def test_a_file_that_comes_damaged_is_told_and_not_kept(
    rendered: Callable[..., Job], storage: FolderStorage, tmp_path: Path
) -> None:
    result = rendered(7).result()
    key = result.facts.artifacts[0].key
    size = len(storage.read_bytes(key))
    storage.put_bytes(b"x" * size, key, media_type="video/mp4")

    with pytest.raises(ObjectDamaged):
        result.download(tmp_path / "out")

    assert names(tmp_path / "out") == []
