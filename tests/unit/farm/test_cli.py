from __future__ import annotations

import json
import os
import threading
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest

import farm
from bench.doctor import CORPUS
from comfy.doctor.diagnose import diagnose
from comfy.doctor.words import to_json
from farm.cli.commands import COMMANDS
from farm.cli.terminal.exits import ExitCode
from farm.client import Farm
from farm.errors import BucketNotFound, FarmError, StorageDenied, StorageUnavailable, StoreUnavailable
from farm.fleet.model_lists import models_name
from farm.job import EventKind, JobState, Progress
from farm.process.child import free_port
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.storage import S3Patience, S3Storage
from farm.store.base import Drain, NewEvent
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.clips import PNG_HEAD
from tests.support.fleet import PICTURE, TEMPLATE, announce, changed, render, wan_graph
from tests.support.jobs import a_result, an_error
from tests.support.terminal import Ended, say

WORKFLOW = {"nodes": [{"id": 4, "type": "SomebodysNode", "widgets_values": [1]}], "links": [], "version": 0.4}
CLIP = ("--template", TEMPLATE, "-p", "prompt=a fox")


@dataclass(kw_only=True)
class Cli:
    """The command line over a farm in memory."""

    store: MemoryJobStore
    storage: FolderStorage

    def __call__(self, *arguments: str, make: Callable[[], Farm] | None = None) -> Ended:
        return say(make or (lambda: Farm(store=self.store, storage=self.storage)), *arguments)

    def submit(self, *arguments: str) -> str:
        """Queue a clip; its id."""
        ended = self("submit", *CLIP, *arguments)
        assert ended.code == 0, ended.err
        return ended.out.strip()

    def rendered(self) -> str:
        """Queue a clip and have it rendered; its id."""
        job_id = self.submit()
        render(self.store, self.storage, job_id)
        return job_id

    @property
    def stored(self) -> int:
        """How many jobs there are."""
        return len(self.store.find().jobs)


@pytest.fixture
def cli(store: MemoryJobStore, storage: FolderStorage) -> Cli:
    """A command line whose farm has one live worker."""
    announce(store, vram_gib=24, state="ready", gpu={"name": "RTX 4090"}, load_plan={"mode": "high"})
    return Cli(store=store, storage=storage)


def written(folder: Path, content: Any) -> str:
    """A file with this JSON, or these bytes, in it."""
    file = folder / "graph.json"
    file.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return str(file)


def test_up_names_every_wrong_setting_before_it_starts_anything(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FARM_LEASE_S", "soon")
    monkeypatch.setenv("FARM_GATEWAY_STREAMS", "many")

    ended = cli("up", "--no-worker", "--no-flower")

    assert ended.code == ExitCode.USAGE
    assert "FARM_LEASE_S" in ended.err
    assert "FARM_GATEWAY_STREAMS" in ended.err
    assert not (tmp_path / ".farm").exists()


# --- good ways ------------------------------------------------------------------------------------------


def test_submit_prints_the_id_and_nothing_else(cli: Cli) -> None:
    ended = cli("submit", *CLIP, "-p", "seed=5", "--priority", "1", "--label", "night", "--deadline", "2h")

    job = cli.store.get(ended.out.strip())
    assert (ended.code, ended.err) == (ExitCode.OK, "")
    assert (job.spec.priority, job.spec.labels) == (1, ("night",))
    assert job.spec.template_parameters["seed"] == 5
    assert job.spec.deadline is not None


def test_submit_takes_a_file_and_values_that_are_json_or_text(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path, wan_graph())

    ended = cli("submit", file, "-p", "57.steps=8", "-p", "6.text=a fox = red", "--json")

    graph = cli.store.get(ended.json["jobs"][0]).spec.graph
    assert graph["57"]["inputs"]["steps"] == 8
    assert graph["6"]["inputs"]["text"] == "a fox = red"


def test_submit_stores_an_input_file(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "start.png"
    picture.write_bytes(PNG_HEAD)

    ended = cli("submit", written(tmp_path, PICTURE), "--input", f"1.image={picture}")

    assert ended.code == 0, ended.err
    assert cli.store.get(ended.out.strip()).spec.inputs["1.image"].startswith("s3://farm/inputs/")


@pytest.mark.parametrize(
    "more", [(), ("--count", "3"), ("-p", "preset=draft"), ("-p", "seed=4", "--count", "2")]
)
def test_a_key_that_is_used_again_is_told_the_same_jobs(cli: Cli, more: tuple[str, ...]) -> None:
    ids = cli.submit("--key", "k1", *more)

    assert cli.submit("--key", "k1", *more) == ids
    assert cli.stored == len(ids.split())


def test_count_makes_as_many_jobs_with_seeds_of_their_own(cli: Cli) -> None:
    ids = cli.submit("-p", "seed=1", "--count", "3").splitlines()

    assert [cli.store.get(job_id).spec.template_parameters["seed"] for job_id in ids] == [1, 2, 3]


def test_wait_ends_when_the_job_does_and_shows_its_files(cli: Cli) -> None:
    done = rendering(cli, emulated=True)

    ended = cli("submit", *CLIP, "--wait", "--timeout", "20")

    done()
    assert ended.code == ExitCode.OK
    assert "h264 64×64, 9 frames at 16 fps" in ended.out
    assert "EMULATED" in ended.out


def rendering(cli: Cli, **how: Any) -> Callable[[], None]:
    """A worker that renders the first job that comes; returns what waits for its end."""

    def work() -> None:
        while not (jobs := cli.store.find().jobs):
            threading.Event().wait(0.005)
        render(cli.store, cli.storage, jobs[0].job_id, **how)

    thread = threading.Thread(target=work)
    thread.start()
    return thread.join


def test_watch_tells_phases_steps_and_the_end_in_plain_lines(cli: Cli) -> None:
    job_id = cli.submit()
    cli.store.claim(job_id, worker="w1")
    progress = Progress(phase="sample_high", fraction=0.3, step=3, steps=10, seconds_per_step=1.2, eta_s=8.4)
    events = [
        NewEvent(kind=EventKind.PHASE, data={"phase": "load"}),
        NewEvent(kind=EventKind.PROGRESS, data=asdict(progress)),
    ]
    cli.store.report(job_id, 1, events, progress=progress)
    cli.store.fail(job_id, 1, an_error(message="no luck"), retry_in_s=None)

    ended = cli("watch", job_id[:8])

    assert ended.code == ExitCode.JOB_FAILED
    assert "load" in ended.out
    assert "sample_high 3/10, 1.20 s a step, 8.40 s left" in ended.out
    assert ended.out.rstrip().endswith("failed on w1: no luck")


@pytest.mark.parametrize("command", [("watch",), ("submit", *CLIP, "--vram", "80", "--park", "--watch")])
def test_a_job_that_is_held_says_why_and_does_not_hold_the_command(
    cli: Cli, command: tuple[str, ...]
) -> None:
    cli.submit("--vram", "80", "--park")

    ended = cli(*command)

    assert ended.code == ExitCode.TIMED_OUT
    assert "parked: vram_gib: needs a card of the 80 GiB class" in ended.out


def test_a_long_queue_is_watched_by_its_sum(cli: Cli) -> None:
    ids = cli.submit("--count", "30", "--label", "night").split()
    for job_id in ids[:29]:
        render(cli.store, cli.storage, job_id)
    cli.store.cancel(ids[29], reason="enough")

    ended = cli("watch", "--label", "night")

    assert ended.code == ExitCode.JOB_FAILED
    assert ended.out.splitlines()[-1] == "30 of 30 done · 0 running · 0 waiting · 1 canceled"
    assert len(ended.out.splitlines()) == 2


def test_watch_as_json_is_one_event_a_line(cli: Cli) -> None:
    job_id = cli.rendered()

    ended = cli("watch", job_id, "--json")

    states = [json.loads(line)["data"]["state"] for line in ended.out.splitlines()]
    assert (ended.code, states) == (ExitCode.OK, ["queued", "running", "succeeded"])


def test_watch_with_nothing_to_watch_says_so(cli: Cli) -> None:
    ended = cli("watch")

    assert (ended.code, ended.err) == (ExitCode.OK, "no job runs or waits\n")


def test_watch_goes_on_after_an_outage(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = cli.rendered()
    whole, calls = cli.store.events, []

    def sometimes(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) == 2:
            raise StoreUnavailable("127.0.0.1:6379", "connection refused")
        return whole(*args, **kwargs)

    monkeypatch.setattr(cli.store, "events", sometimes)
    monkeypatch.setattr("farm.cli.jobs.watching._TRY_AGAIN_S", 0.0)

    ended = cli("watch", job_id)

    assert ended.code == ExitCode.OK
    assert "trying again" in ended.out
    assert ended.out.count("running") == 1


def test_ls_filters_and_shows(cli: Cli) -> None:
    job_id = cli.submit("--label", "night")
    cli.submit()
    cli.store.cancel(job_id)

    text = cli("ls")
    only = cli("ls", "--state", "canceled", "--label", "night", "--since", "1h", "--json")

    assert job_id[:12] in text.out
    assert [job["job_id"] for job in only.json] == [job_id]
    assert only.json[0]["labels"] == ["night"]


def test_show_tells_attempts_and_why_they_ended(cli: Cli) -> None:
    job_id = cli.submit()
    cli.store.claim(job_id, worker="w1")
    cli.store.fail(job_id, 1, an_error(message="S3 [red] was away"), retry_in_s=0)

    ended = cli("show", job_id[:6])

    assert "S3 [red] was away (made_up)" in ended.out
    assert cli("show", job_id, "--json").json["attempts"][0]["outcome"] == "failed"


def test_show_of_a_succeeded_job_has_a_link(cli: Cli) -> None:
    job_id = cli.rendered()

    assert cli("show", job_id, "--json").json["url"].startswith("file:")


def test_the_findings_of_a_job_are_shown_diagnosed_and_added_up(cli: Cli) -> None:
    job_id = cli.submit()
    report = to_json(diagnose((CORPUS / "origin-450s.log").read_bytes()))
    cli.store.claim(job_id, worker="w1@host")
    cli.store.succeed(job_id, 1, replace(a_result(), report=report, timings_s={"comfy": 450.0}))

    assert "findings, by seconds lost" in cli("show", job_id).out
    assert "fp8_scaled" in cli("show", job_id).out
    assert cli("diagnose", job_id).out.startswith("Prompt 1: done")
    assert cli("diagnose", job_id, "--json").json == json.loads(json.dumps(report))
    fleet = cli("diagnose", "--fleet", "--since", "24h")
    assert any(line.split()[3:5] == ["gguf-where-fp8-fits", "w1@host"] for line in fleet.out.splitlines())
    assert "1 job, 7 min 30 s on the card" in fleet.out
    assert cli("diagnose", "--fleet", "--json").json["findings"][0]["worker"] == "w1@host"


def test_a_job_without_a_report_says_so(cli: Cli) -> None:
    job_id = cli.submit()

    ended = cli("diagnose", job_id)

    assert ended.code == ExitCode.JOB_FAILED
    assert "has no report" in ended.err


def test_cancel_and_retry(cli: Cli) -> None:
    first, second = cli.submit(), cli.submit()

    assert cli("cancel", first, second, "--reason", "enough").out == f"{first} canceled\n{second} canceled\n"
    assert cli("retry", first).out == f"{first} queued\n"
    assert cli.store.get(second).state is JobState.CANCELED


def test_the_reason_of_a_cancel_is_shown(cli: Cli) -> None:
    job_id = cli.submit()

    cli("cancel", job_id, "--reason", "wrong seed")

    assert "wrong seed" in cli("show", job_id).out
    assert "wrong seed" in cli("ls").out
    assert cli("show", job_id, "--json").json["cancel_reason"] == "wrong seed"
    assert "canceled: wrong seed" in cli("watch", job_id).out


def test_retry_of_all_failed_takes_those_with_the_label(cli: Cli) -> None:
    ids = [cli.submit("--label", label) for label in ("a", "a", "b")]
    for job_id in ids:
        cli.store.claim(job_id, worker="w1")
        cli.store.fail(job_id, 1, an_error(), retry_in_s=None)

    asked = cli("retry", "--all-failed", "--label", "a", "--dry-run")
    assert asked.err == "2 jobs would be queued\n"
    assert {cli.store.get(job_id).state for job_id in ids} == {JobState.FAILED}
    ended = cli("retry", "--all-failed", "--label", "a", "--json")

    assert sorted(ended.json["jobs"]) == sorted(ids[:2])
    assert "no job that ended badly" in cli("retry", "--all-failed", "--label", "a").err
    assert cli.store.get(ids[2]).state is JobState.FAILED


def test_pull_downloads_what_a_job_made(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.rendered()

    ended = cli("pull", job_id, "-o", str(tmp_path / "clips"), "--json")

    (pulled,) = ended.json["jobs"]
    assert pulled["job"] == job_id
    assert sorted(Path(file).read_bytes() for file in pulled["files"]) == [b"mp4", b"png"]


def test_pull_downloads_several_jobs_side_by_side(cli: Cli, tmp_path: Path) -> None:
    ids = [cli.submit(), cli.submit()]
    for job_id in ids:
        render(cli.store, cli.storage, job_id)

    ended = cli("pull", *ids, "--into", str(tmp_path), "--name", "{job}-{file}")

    assert ended.code == 0, ended.err
    found = {path.name for path in tmp_path.glob("*.mp4")}
    assert found == {f"{job_id[:12]}-{name}.mp4" for job_id in ids for name in ("clip", "clip-2")}


def test_pull_fetches_what_there_is_and_tells_of_what_there_is_not(cli: Cli, tmp_path: Path) -> None:
    done, waiting = cli.submit(), cli.submit()
    render(cli.store, cli.storage, done)

    ended = cli("pull", waiting, done, "-o", str(tmp_path))

    assert ended.code == ExitCode.JOB_FAILED
    assert f"{waiting} has no result: it is queued" in ended.err
    assert list(tmp_path.glob("*.mp4"))


def test_a_name_with_an_unknown_field_is_refused(cli: Cli, tmp_path: Path) -> None:
    job_id = cli.rendered()

    ended = cli("pull", job_id, "-o", str(tmp_path / "out"), "--name", "{colour}")

    assert (ended.code, "no {colour}" in ended.err) == (ExitCode.USAGE, True)
    assert not (tmp_path / "out").exists()


def test_open_hands_the_link_to_the_systems_opener(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = cli.rendered()
    program = tmp_path / "xdg-open"
    program.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/opened\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.delenv("WSL_DISTRO_NAME", raising=False)

    ended = cli("open", job_id)

    assert (ended.code, ended.out) == (0, "")
    assert (tmp_path / "opened").read_text().startswith("file:")


@pytest.mark.parametrize("broken", [False, True])
def test_open_prints_the_link_where_nothing_can_open_it(
    broken: bool, cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job_id = cli.rendered()
    program = tmp_path / "xdg-open"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"):
        monkeypatch.delenv(name, raising=False)
    if broken:
        monkeypatch.setenv("DISPLAY", ":0")

    ended = cli("open", job_id)

    assert ended.code == 0
    assert ended.out.startswith("link: file:")


def test_validate_stores_nothing(cli: Cli) -> None:
    ended = cli("validate", *CLIP)

    assert ended.code == 0
    assert "1 live worker would take it" in ended.out
    assert cli("validate", *CLIP, "--json").json["vram_gib"] > 0
    assert cli.stored == 0


def test_workers_says_which_one_is_emulated(cli: Cli) -> None:
    announce(
        cli.store,
        "emu@laptop",
        emulated=True,
        jobs={"ab" * 16: {"phase": "load", "fraction": 0}},
        trouble="it sneezes",
    )

    text = cli("workers").out

    assert "RTX 4090" in text
    assert "24 GiB" in text
    assert [("EMULATED" in line) for line in text.splitlines() if "@" in line] == [True, False]
    assert "it sneezes" in text
    assert len(cli("workers", "--json").json) == 2


def test_workers_says_where_a_comfyui_runs_otherwise_than_planned(cli: Cli) -> None:
    announce(cli.store, "gpu1@rack", proof={"differences": ["its VRAM state is NO_VRAM"]})

    assert "not as planned: its VRAM state is NO_VRAM" in cli("workers").out


def test_workers_never_says_as_planned_of_a_log_that_it_does_not_understand(cli: Cli) -> None:
    unproven = ["its log does not say how it holds models"]
    announce(cli.store, "gpu1@rack", proof={"verdict": "unproven", "unproven": unproven, "differences": []})
    announce(
        cli.store, "gpu2@rack", proof={"differences": [], "silent": True}
    )  # as workers of before wrote it
    announce(cli.store, "gpu3@rack", proof={})

    assert "unproven: its log does not say how it holds models" in cli("workers").out
    assert cli("workers").out.count("(unproven)") == 3
    for name in ("gpu1", "gpu2", "gpu3"):
        assert "unproven" in cli("workers", name).out
        assert "as planned" not in cli("workers", name).out


def test_workers_with_a_name_tells_what_its_canary_saw_and_did_not_see(cli: Cli) -> None:
    traits = [
        {"trait": "post", "seen": "held"},
        {"trait": "queue", "seen": "held"},
        {"trait": "clean_up", "seen": "not seen", "came": "2 small files stay"},
    ]
    announce(cli.store, "gpu1@rack", canary={"sentence": "ComfyUI 0.46.0: as 0.33.0", "traits": traits})

    text = cli("workers", "gpu1").out

    assert "ComfyUI 0.46.0: as 0.33.0" in text
    assert "as expected: post, queue" in text
    assert "not seen: clean_up (2 small files stay)" in text


def test_workers_with_a_name_tells_all_that_the_worker_says_of_itself(cli: Cli) -> None:
    files = {"vae/wan_2.1_vae.safetensors": 254 * 2**20, "loras/fast[1].safetensors": 2**30}
    cli.store.put_blob(models_name("d1"), zlib.compress(json.dumps(files).encode()), ttl_s=60)
    card: dict[str, Any] = {
        "gpu": {"name": "NVIDIA L40S", "uuid": "GPU-7", "vram_total_bytes": 48 * 2**30, "driver": "580.1"},
        "vram_used_bytes": 13 * 2**30,
        "state": "ready",
        "not_fetching": [],
        "jobs": {
            "cd" * 16: {
                "phase": "sample_high",
                "step": 3,
                "steps": 10,
                "fraction": 0.3,
                "seconds_per_step": 1.25,
            }
        },
        "load_plan": {"mode": "balanced", "flags": ["--reserve-vram", "1.5"], "reasons": ["it fits whole"]},
        "proof": {"verdict": "proven", "vram_state": "NORMAL_VRAM", "differences": []},
        "models": {"files": 2, "bytes": sum(files.values()), "list": "d1"},
        "warm_models": ["vae/wan_2.1_vae.safetensors"],
        "loads": {"WAN21": {"state": "partial", "loaded_mib": 9000.0, "offloaded_mib": 4629.0}},
        "custom_nodes": {"ComfyUI-GGUF": {"version": "1.1.0", "revision": "795e45156ece99af"}},
        "attempts_ended": {"succeeded": 4},
        "started_at": "2025-11-25T09:00:00+00:00",
        "comfyui_revision": "db8b59ec00000000",
        "attention": {"proven": {"sdpa_flash": 0.0021}, "refused": {"sage": "cosine 0.31"}},
    }
    announce(cli.store, "gpu7@rack", **card)

    text = cli("workers", "gpu7").out

    for words in (
        "gpu7@rack", "NVIDIA L40S (GPU-7)", "13.0 GiB used of 48.0 GiB", "driver 580.1",
        "balanced --reserve-vram 1.5", "it fits whole", "as planned, VRAM state NORMAL_VRAM", "4 succeeded",
        "2025-11-25T09:00:00+00:00",
        "sample_high 3/10, 1.25 s a step",
        "WAN21: partial, 9000 MiB on the card, 4629 MiB streamed", "db8b59ec00", "ComfyUI-GGUF", "795e45156e",
        "fast[1].safetensors", "sdpa_flash: right, 2.10 ms", "sage: cosine 0.31", "2 files, 1.2 GiB",
    ):  # fmt: skip
        assert words in text, words
    assert [line for line in text.splitlines() if line.rstrip().endswith("warm")] != []
    told = cli("workers", "gpu7@rack", "--json").json
    assert told["model_files"] == files
    assert told["custom_nodes"] == card["custom_nodes"]


def test_a_worker_that_does_not_live_is_told_with_those_that_do(cli: Cli) -> None:
    for command in ("workers", "drain"):
        ended = cli(command, "gpu9")

        assert ended.code == ExitCode.NOT_FOUND
        assert "no live worker is called 'gpu9'; there are: gpu0@rack" in plain_line(cli, ended)


def test_drain_orders_and_takes_back_and_names_the_workers_when_it_cannot(cli: Cli) -> None:
    announce(cli.store, "gpu0@shed")

    for arguments, order in ((("--now",), Drain.NOW), ((), Drain.FINISH), (("--undo",), None)):
        assert cli("drain", "gpu0@rack", *arguments).code == 0
        assert cli.store.drain_of("gpu0@rack") is order

    both = cli("drain", "gpu0")
    assert both.code == ExitCode.USAGE
    assert "'gpu0' names 2 live workers: gpu0@rack, gpu0@shed" in plain_line(cli, both)
    assert cli("drain", "gpu0@rack", "--now", "--undo").code == ExitCode.USAGE
    cli.store.set_drain("gone@attic", Drain.NOW)
    assert cli("drain", "gone@attic", "--undo").code == 0
    assert cli.store.drain_of("gone@attic") is None


def test_queues_counts_what_waits(cli: Cli) -> None:
    cli.submit("--priority", "0")
    cli.submit("--priority", "0")

    waiting = cli("queues", "--json").json["waiting"]

    assert [(each["priority"], each["waiting"]) for each in waiting] == [(0, 2)]
    assert "queued 2" in cli("queues").out


def test_the_version_is_told(cli: Cli) -> None:
    ended = cli("--version")

    assert (ended.code, ended.out) == (ExitCode.OK, f"farm {farm.__version__}\n")


def test_every_command_has_help_and_every_exit_code_is_told(
    cli: Cli, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in COMMANDS:
        assert cli(name, "--help").code == ExitCode.OK
    capsys.readouterr()

    cli()

    told = " ".join(capsys.readouterr().out.split())
    assert all(f"{code.value} " in told for code in ExitCode)


# --- bad input ------------------------------------------------------------------------------------------


def refused(cli: Cli, *arguments: str) -> str:
    """The one line that a mistake in what was asked for gets; nothing is stored."""
    ended = cli(*arguments)
    assert ended.code == ExitCode.USAGE, ended
    return plain_line(cli, ended)


def plain_line(cli: Cli, ended: Ended) -> str:
    assert ended.out == ""
    assert ended.err.startswith("farm: ")
    assert ended.err.count("\n") == 1, ended.err
    assert "Traceback" not in ended.err
    assert (cli.stored, cli.storage.writes) == (0, [])
    return ended.err


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{ not json", ["no JSON", "line 1"]),
        (WORKFLOW, ["node 4 (SomebodysNode)", "connect a farm", "Export (API)"]),
        ({}, ["no nodes"]),
        ({**PICTURE, "9": {"class_type": "NoSuch", "inputs": {}}}, ["node 9 (NoSuch)", "node class"]),
        (changed(PICTURE, "2.images", ["7", 0]), ["node 2.images (SaveImage)", "node 7"]),
        (changed(PICTURE, "1.image", ["2", 0]), ["circle", "node 2 (SaveImage)"]),
        (changed(wan_graph(), "57.steps", 0), ["node 57.steps (KSamplerAdvanced)", "0", "1"]),
        (
            changed(wan_graph(), "39.vae_name", "my.safetensors"),
            ["node 39.vae_name (VAELoader)", "my.safetensors"],
        ),
        (changed(wan_graph(), "59.width", 8), ["node 59.width", "16"]),
        ({"1": PICTURE["1"]}, ["SaveVideo"]),
    ],
    ids=["text", "workflow", "empty", "unknown", "link", "cycle", "range", "model", "size", "no-output"],
)
def test_a_bad_graph_is_told_by_node_and_input(
    cli: Cli, tmp_path: Path, content: Any, words: list[str]
) -> None:
    line = refused(cli, "submit", written(tmp_path, content))

    assert all(word in line for word in words), line


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("submit",), "either a graph or the name of a template"),
        (("submit", "nowhere.json"), "cannot read nowhere.json: No such file"),
        (("submit", "--template", "wan"), "there is no template 'wan'"),
        (("submit", *CLIP, "-p", "width=833"), "parameter width: 833"),
        (("submit", *CLIP, "-p", "frames=80"), "parameter frames: 80"),
        (("submit", *CLIP, "-p", "stepps=4"), "did you mean steps"),
        (("submit", *CLIP, "-p", "steps"), "--param takes name=value"),
        (("submit", *CLIP, "--priority", "10"), "priority"),
        (("submit", *CLIP, "--deadline", "soon"), "'soon' is no time"),
        (("submit", *CLIP, "--deadline", "2020-01-01T00:00"), "is past"),
        (("submit", *CLIP, "--label", "a b"), "labels"),
        (("submit", *CLIP, "--vram", "13"), "13 is no VRAM class"),
        (("submit", *CLIP, "--count", "0"), "'--count'"),
        (("submit", *CLIP, "--input", "1.image=x.png"), "there is no node 1"),
        (("submmit",), "No such command 'submmit'"),
        (("submit", *CLIP, "--colour", "red"), "No such option"),
        (("retry",), "say which jobs: their ids, or --label"),
        (("cancel",), "say which jobs: their ids, or --label"),
        (("rm",), "say which jobs: their ids, or --label"),
        (("cancel", "--where", "seed"), "--where takes name=value"),
        (("cancel", "--since", "soon"), "'soon' is no time"),
        (("priority", "abcdefgh", "--to", "10"), "--to"),
        (("show", "ab"), "too short for a job id"),
        (("ls", "--state", "gone"), "'gone' is not one of"),
    ],
)
def test_a_bad_command_is_told_in_one_line(cli: Cli, arguments: tuple[str, ...], words: str) -> None:
    assert words in refused(cli, *arguments)


def test_a_missing_input_file_is_told_by_node_and_input(cli: Cli, tmp_path: Path) -> None:
    line = refused(cli, "submit", written(tmp_path, PICTURE), "--input", "1.image=gone.png")

    assert "input 1.image: cannot read gone.png: No such file" in line


def test_an_image_that_nobody_gives_is_told_with_how_to_give_it(cli: Cli, tmp_path: Path) -> None:
    graph = changed(PICTURE, "1.image", "no_such.png")

    line = refused(cli, "submit", written(tmp_path, graph))

    assert "node 1.image (LoadImage)" in line
    assert '"no_such.png"' in line
    assert "as its input 1.image" in line


def test_several_faults_are_told_one_a_line(cli: Cli, tmp_path: Path) -> None:
    graph = changed(changed(wan_graph(), "57.steps", 0), "58.steps", 0)

    ended = cli("submit", written(tmp_path, graph))

    assert ended.code == ExitCode.USAGE
    assert ended.err.splitlines()[0] == "farm: 2 things are wrong:"
    assert cli.stored == 0


def test_a_fault_that_is_found_twice_is_told_once(cli: Cli, tmp_path: Path) -> None:
    line = refused(cli, "submit", written(tmp_path, changed(wan_graph(), "61.codec", "av9")))

    assert line.count('"av9" is not one of the choices') == 1


def test_a_job_that_is_not_there(cli: Cli) -> None:
    assert cli("show", "ab" * 16).code == ExitCode.NOT_FOUND
    assert cli("cancel", "abcd").code == ExitCode.NOT_FOUND


def test_a_beginning_that_several_jobs_have_is_not_guessed(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(["abcd" + "0" * 28, "abcd" + "1" * 28])
    monkeypatch.setattr("farm.submission.new_job_id", lambda: next(ids))
    cli.submit("--count", "2")

    ended = cli("show", "abcd")

    assert ended.code == ExitCode.USAGE
    assert "abcd0000" in ended.err
    assert cli("show", "abcd1").code == ExitCode.OK


def test_a_job_that_cannot_be_retried(cli: Cli) -> None:
    job_id = cli.submit()

    ended = cli("retry", job_id)

    assert (ended.code, "is queued" in ended.err) == (ExitCode.NOT_NOW, True)


def test_a_wait_that_is_too_short(cli: Cli) -> None:
    ended = cli("submit", *CLIP, "--wait", "--timeout", "0.02")

    assert (ended.code, "it goes on" in ended.err) == (ExitCode.TIMED_OUT, True)


def test_a_job_without_files_cannot_be_pulled(cli: Cli, tmp_path: Path) -> None:
    ended = cli("pull", cli.submit(), "-o", str(tmp_path / "out"))

    assert (ended.code, "has no result" in ended.err) == (ExitCode.JOB_FAILED, True)
    assert not (tmp_path / "out").exists()


def test_a_waited_for_job_that_fails(cli: Cli) -> None:
    job_id = cli.submit()
    cli.store.cancel(job_id)

    assert cli("watch", job_id).code == ExitCode.JOB_FAILED


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (StorageUnavailable("http://127.0.0.1:9", "connection refused"), "http://127.0.0.1:9"),
        (StorageDenied("http://127.0.0.1:9", "the secret is wrong"), "FARM_S3_SECRET_ACCESS_KEY"),
        (BucketNotFound("http://127.0.0.1:9", "clips"), "FARM_S3_BUCKET"),
    ],
)
def test_an_s3_that_refuses_is_told_by_host_and_setting(
    cli: Cli, tmp_path: Path, fault: FarmError, words: str
) -> None:
    picture = tmp_path / "start.png"
    picture.write_bytes(PNG_HEAD)
    cli.storage.broken = fault

    ended = cli("submit", written(tmp_path, PICTURE), "--input", f"1.image={picture}")

    assert ended.code == ExitCode.UNREACHABLE
    assert words in plain_line(cli, ended)


def test_an_s3_where_nothing_listens_is_told_by_host_and_setting(cli: Cli, tmp_path: Path) -> None:
    settings = S3Settings.read(
        endpoint_url=f"http://127.0.0.1:{free_port()}",
        access_key_id="k",
        secret_access_key="s",
        bucket="farm",
    )
    storage = S3Storage(settings, patience=S3Patience(connect_s=1, silence_s=1, attempts=1))
    picture = tmp_path / "start.png"
    picture.write_bytes(PNG_HEAD)

    ended = cli(
        "submit",
        written(tmp_path, PICTURE),
        "--input",
        f"1.image={picture}",
        make=lambda: Farm(store=cli.store, storage=storage),
    )

    assert ended.code == ExitCode.UNREACHABLE
    line = plain_line(cli, ended)
    assert "127.0.0.1:" in line
    assert "FARM_S3_ENDPOINT_URL" in line


@pytest.mark.parametrize("arguments", [("submit", *CLIP), ("ls",), ("workers",), ("watch",), ("steward",)])
def test_a_redis_where_nothing_listens_is_told_by_host_and_setting(
    cli: Cli, arguments: tuple[str, ...]
) -> None:
    redis = RedisSettings.read(url=f"redis://:secret@127.0.0.1:{free_port()}/0", timeout_s=1)

    ended = cli(*arguments, make=lambda: Farm(redis=redis, storage=cli.storage))

    assert ended.code == ExitCode.UNREACHABLE
    line = plain_line(cli, ended)
    assert "127.0.0.1:" in line
    assert "FARM_REDIS_URL" in line
    assert "secret" not in line


def test_a_wrong_setting_is_told_by_its_name(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_NAMESPACE", "Not Good")

    ended = cli("ls", make=Farm)

    assert ended.code == ExitCode.USAGE
    assert "FARM_NAMESPACE" in ended.err


def test_a_fault_of_the_farm_itself_says_where_its_traceback_is(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def broken() -> Farm:
        raise RuntimeError("a wheel came off")

    ended = cli("ls", make=broken)

    assert ended.code == ExitCode.INTERNAL
    (file,) = tmp_path.glob("farm-error-*")
    assert str(file) in ended.err
    assert "RuntimeError: a wheel came off" in file.read_text()


def test_the_traceback_is_printed_when_it_is_asked_for(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_DEBUG", "1")

    ended = cli("show", "ab" * 16)

    assert "Traceback" in ended.err
    assert ended.code == ExitCode.NOT_FOUND


def test_a_job_that_fits_no_live_worker_is_refused_or_parked(cli: Cli) -> None:
    refused = cli("submit", *CLIP, "--vram", "80")
    parked = cli("submit", *CLIP, "--vram", "80", "--park")

    job_id = parked.out.strip()
    assert refused.code == ExitCode.USAGE
    assert "needs a card of the 80 GiB class" in refused.err
    assert "--park" in refused.err
    assert "parked: vram_gib: needs a card of the 80 GiB class" in cli("ls").out
    assert "waits: parked until a worker that fits comes" in cli("show", job_id).out
    assert cli("show", job_id, "--json").json["waits_for"]
    assert "1 of the queued are parked" in cli("queues").out


def test_who_stops_watching_is_told_that_the_job_goes_on(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    job_id = cli.submit()
    monkeypatch.setattr("farm.cli.jobs.watching.time.sleep", interrupted)

    ended = cli("watch", job_id)

    assert ended.code == ExitCode.INTERRUPTED
    assert "the jobs go on: `farm watch`" in ended.out
    assert cli.store.get(job_id).state is JobState.QUEUED
