"""Jobs that no worker fits wait for one that does; and what jobs took is what a plan says."""

from __future__ import annotations

from collections.abc import Callable

from comfy.wan.forecast import EMULATED
from comfy.wan.paces import read_key
from farm.asking.request import JobRequest
from tests.support.whole_farm import JOB_S, WholeFarm, a_clip

Farms = Callable[..., WholeFarm]


def test_a_parked_job_runs_when_a_worker_that_fits_comes_and_teaches_the_plan(new_farm: Farms) -> None:
    farm = new_farm()
    farm.start_worker("small", FARM_VRAM_CLASS="24")
    client = farm.farm
    parked = farm.submit(vram_gib=48, if_unplaceable="park")
    assert "needs a card of the 48 GiB class" in str(parked.record.parked)
    assert client.why_waiting(parked.job_id)[0].startswith("parked until a worker that fits comes")

    farm.start_worker("large", FARM_VRAM_CLASS="48")
    parked.wait(JOB_S)
    for _ in range(2):
        farm.submit(vram_gib=48).wait(JOB_S)

    record = client.get(parked.job_id).record
    assert (record.parked, record.worker) == (None, "large@test")
    keys = [read_key(name) for name in client.store.paces()]
    assert {key.gpu for key in keys if key is not None} == {EMULATED}
    plan = client.plan(JobRequest(graph=a_clip()))
    steps = [stage.step for card in plan.cards if card.forecast for stage in card.forecast.stages]
    assert all(step is not None and step.source == "measured on 3 jobs of this farm" for step in steps)
