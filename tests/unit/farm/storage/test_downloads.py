"""Downloaded files are told apart by their names, and none overwrites another."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from farm.client import Farm
from farm.errors import SettingsError
from farm.handle import Job
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import TEMPLATE, announce, render, wan_graph


@pytest.fixture
def rendered(store: MemoryJobStore, storage: FolderStorage) -> Callable[..., Job]:
    """Renders a job of the template with the given seed; made are a picture and a clip."""
    announce(store)
    farm = Farm(store=store, storage=storage)

    def make(seed: int, prompt: str = "a fox") -> Job:
        job = farm.submit(template=TEMPLATE, parameters={"prompt": prompt, "seed": seed})
        render(store, storage, job.job_id)
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
        assert all(path.name.startswith("a_fox_seed_") for path in made)


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
    render(store, storage, job.job_id)

    paths = job.result().download(tmp_path, name="{seed}")

    assert paths[0].stem == str(adding["inputs"]["noise_seed"])
