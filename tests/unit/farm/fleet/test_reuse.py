"""Which jobs ask for the same, and which results still count."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from farm.asking.content import _NO_CONTENT, content_of
from farm.asking.request import JobRequest
from farm.client import Farm
from farm.errors import InvalidJob
from farm.handle import Job
from farm.job import JobSpec, JobState, make_spec
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.fleet import PICTURE, announce, changed, render, wan_graph

SHA = "ab" * 32


def spec(graph: dict[str, Any] | None = None, **fields: Any) -> JobSpec:
    return make_spec({"graph": graph or wan_graph(), "reuse": True, **fields})


Rendered = Callable[..., Job]


@pytest.fixture
def rendered(farm: Farm, store: MemoryJobStore, storage: FolderStorage) -> Rendered:
    """Makes a succeeded job that others may reuse, whose result says this of how it was made."""

    def make(*, emulated: bool = False, **made: Any) -> Job:
        job = again(farm)
        render(store, storage, job.job_id, emulated=emulated)
        kept = store._jobs[job.job_id]
        assert kept.record.result is not None
        store._set(kept, result=replace(kept.record.result, **{"comfyui_version": "0.12.1", **made}))
        return job.refresh()

    return make


def again(farm: Farm) -> Job:
    """The same clip, asked for by who takes one that there is."""
    return farm.submit(wan_graph(), reuse=True)


def test_what_does_not_change_the_pixels_does_not_make_another_content() -> None:
    graph = wan_graph()
    turned = {node_id: {**graph[node_id], "_meta": {"title": "x"}} for node_id in reversed(graph)}

    alike = [
        spec(turned),
        spec(title="another", priority=0, labels=["a"], idempotency_key="k", time_limit_s=5, max_attempts=1),
        spec(changed(graph, "57.noise_seed", 99), parameters={"57.noise_seed": 1}),
    ]

    assert {content_of(each) for each in alike} == {content_of(spec())}


@pytest.mark.parametrize(
    "other",
    [
        spec(wan_graph(seed=2)),
        spec(wan_graph(prompt="a cat")),
        spec(parameters={"57.noise_seed": 3}),
        spec(accept="exact"),
        spec(inputs={"57.noise_seed": f"https://host/a#sha256={SHA}"}),
    ],
)
def test_what_changes_the_pixels_makes_another_content(other: JobSpec) -> None:
    assert content_of(other) != content_of(spec())


def test_an_input_counts_by_what_is_in_it_and_not_by_where_it_lies() -> None:
    one, two, three = (
        spec(PICTURE, inputs={"1.image": source})
        for source in (
            f"https://host/a.png#sha256={SHA}",
            f"s3://bucket/inputs/{SHA}.png",
            f"s3://bucket/inputs/{SHA[::-1]}.png",
        )
    )

    assert content_of(one) == content_of(two) != content_of(three)


def test_every_field_that_is_left_out_is_one() -> None:
    assert set(JobSpec.__dataclass_fields__) >= _NO_CONTENT


def test_a_rendered_job_is_given_again_and_nothing_is_rendered(farm: Farm, rendered: Rendered) -> None:
    first = rendered()

    again = farm.submit(wan_graph(), reuse=True, title="Again")
    other = farm.submit(wan_graph(seed=5), reuse=True)
    plain = farm.submit(wan_graph())

    assert again.job_id != first.job_id
    assert (again.state, again.record.reused_from) == (JobState.SUCCEEDED, first.job_id)
    assert again.result().facts == first.result().facts
    assert [other.state, plain.state] == [JobState.QUEUED] * 2


def test_a_result_whose_file_was_deleted_is_rendered_again(
    farm: Farm, storage: FolderStorage, rendered: Rendered
) -> None:
    storage.delete(rendered().result().main.key)

    assert again(farm).state is JobState.QUEUED


def test_a_clip_of_the_emulator_is_not_taken_for_a_real_one(
    farm: Farm, store: MemoryJobStore, rendered: Rendered
) -> None:
    rendered(emulated=True, comfyui_version=None)
    announce(store, comfyui_version=None)

    assert again(farm).state is JobState.QUEUED

    announce(store, comfyui_version=None, emulated=True)
    assert again(farm).state is JobState.SUCCEEDED


def test_a_result_of_another_comfyui_is_not_reused(
    farm: Farm, store: MemoryJobStore, rendered: Rendered
) -> None:
    rendered(comfyui_version="0.3.64")
    announce(store)

    assert again(farm).state is JobState.QUEUED

    announce(store, "other@rack", comfyui_version="0.3.64")
    assert again(farm).state is JobState.SUCCEEDED


def test_a_result_of_a_model_file_that_was_replaced_is_rendered_again(
    farm: Farm, store: MemoryJobStore, rendered: Rendered
) -> None:
    rendered(model_bytes={"vae/a.safetensors": 7, "loras/b.safetensors": 5})
    announce(store, model_bytes={"vae/a.safetensors": 8, "loras/b.safetensors": 5})

    assert again(farm).state is JobState.QUEUED

    announce(store, "other@rack", model_bytes={"vae/a.safetensors": 7, "loras/b.safetensors": 5})
    assert again(farm).state is JobState.SUCCEEDED


def test_a_worker_with_the_same_files_and_another_comfyui_does_not_vouch_for_a_result(
    farm: Farm, store: MemoryJobStore, rendered: Rendered
) -> None:
    rendered(model_bytes={"vae/a.safetensors": 7})
    announce(store, model_bytes={"vae/a.safetensors": 8})
    announce(store, "other@rack", model_bytes={"vae/a.safetensors": 7}, comfyui_version="0.3.64")

    assert again(farm).state is JobState.QUEUED


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ({}, {"vae/a.safetensors": 8}),
        ({"vae/a.safetensors": 7}, None),
        ({"vae/a.safetensors": 7}, {"vae/other.safetensors": 8}),
    ],
)
def test_a_size_that_one_side_does_not_know_is_not_judged(
    farm: Farm,
    store: MemoryJobStore,
    rendered: Rendered,
    then: dict[str, int],
    now: dict[str, int] | None,
) -> None:
    first = rendered(model_bytes=then)
    announce(store, model_bytes=now)

    assert again(farm).record.reused_from == first.job_id


def test_with_no_worker_alive_the_sizes_of_models_are_not_asked_for(farm: Farm, rendered: Rendered) -> None:
    rendered(model_bytes={"vae/a.safetensors": 7})

    assert again(farm).state is JobState.SUCCEEDED


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"1.image": "https://host/a.png"}, r"input 1\.image: its content is not known"),
        ({}, r"1\.image: reads example\.png from the worker's own input folder"),
    ],
)
def test_what_is_read_and_not_known_cannot_be_reused_and_is_named(
    farm: Farm, inputs: dict[str, Any], said: str
) -> None:
    request = JobRequest(graph=PICTURE, inputs=inputs, options={"reuse": True})

    with pytest.raises(InvalidJob, match=said):
        farm.submit_one(request)
