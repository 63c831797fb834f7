"""ComfyUI as the worker's child: started, found dead or frozen, started again, and never left behind."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from farm.process.child import free_port
from farm.process.restart import Backoff
from farm.settings.worker import WorkerSettings
from farm.status.not_fetching import NotFetching, most_telling_first
from farm.status.proof import ProofVerdict
from tests.support.cards import CARD
from tests.support.valkey import eventually
from worker.comfyui.folders import WorkerFolders
from worker.comfyui.keeper import ComfyState, Rhythm
from worker.comfyui.launch import extra_arguments, find_target, probe_flags
from worker.comfyui.locks import gpu_lock_path
from worker.comfyui.own_comfy import OwnComfy
from worker.comfyui.supervisor import ComfySupervisor
from worker.errors import (
    ComfyDied,
    ComfyStartFailed,
    ComfyUnusable,
    CrashLoop,
    FolderUnusable,
    InUse,
    WorkerError,
)
from worker.fetching.gate import Gate
from worker.gpu.card import GIB, GpuCard
from worker.machine import Machine
from worker.plan.load_plan import LoadMode, plan_load

QUICK = Rhythm(
    start_timeout_s=60, freeze_timeout_s=60, look_every_s=0.1, backoff=Backoff(first_s=0.05, longest_s=60.0)
)
NO_GPU = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}

Make = Callable[..., ComfySupervisor]


def get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


def start_in_vain(what: ComfySupervisor | Machine) -> None:
    """Wait for a ComfyUI that is not there, until somebody stops that."""
    with pytest.raises(ComfyStartFailed):
        what.start()


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    made: list[ComfySupervisor] = []

    def build(
        *,
        rhythm: Rhythm = QUICK,
        card: GpuCard | None = None,
        on_state: Callable[[ComfyState, WorkerError | None], None] | None = None,
        name: str = "w1",
        **given: Any,
    ) -> ComfySupervisor:
        settings = WorkerSettings.read(**{"data_dir": tmp_path / "data", **given})
        target = find_target(settings)
        accepted = probe_flags(target)
        emulated = settings.comfyui_dir is None
        extra = extra_arguments(settings, target, accepted)
        supervisor = ComfySupervisor(
            settings,
            plan_load(card, 64 * GIB, accepted, emulated=emulated, extra_args=extra),
            card,
            target=target,
            accepted=accepted,
            name=name,
            rhythm=rhythm,
            on_state=on_state,
        )
        made.append(supervisor)
        return supervisor

    yield build
    for supervisor in made:
        supervisor.stop()


@pytest.fixture
def a_card() -> Iterator[GpuCard]:
    card = replace(CARD, uuid=f"GPU-test-{os.getpid()}-{time.monotonic_ns()}", index=1)
    yield card
    gpu_lock_path(card.uuid).unlink(missing_ok=True)


class TestTheEmulator:
    def test_it_is_started_where_no_comfyui_is_named_and_says_so_loudly(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        supervisor = make()

        supervisor.start()

        facts = supervisor.facts()
        assert facts is not None
        assert facts.is_emulator
        assert supervisor.is_emulator
        assert "EMULATOR" in caplog.text
        assert supervisor.client().system_stats()["devices"]
        assert any("EMULATOR" in line.text for line in supervisor.lines_since(0))
        proof = supervisor.proof()
        assert proof is not None
        assert (proof.vram_state, proof.holds) == ("NORMAL_VRAM", True)

    @pytest.mark.parametrize(
        ("arguments", "mode"), [("--novram", LoadMode.STREAMED), ("--highvram", LoadMode.RESIDENT)]
    )
    def test_a_mode_that_the_operator_forces_is_proven_by_the_log(
        self, make: Make, arguments: str, mode: LoadMode
    ) -> None:
        supervisor = make(emulator_args=arguments)

        supervisor.start()

        proof = supervisor.proof()
        assert supervisor.plan.mode is mode
        assert proof is not None
        assert proof.holds

    def test_its_files_lie_in_the_workers_own_folders(self, make: Make, tmp_path: Path) -> None:
        supervisor = make()

        supervisor.start()

        assert supervisor.disk.output == tmp_path / "data" / "output"
        assert supervisor.disk.input == tmp_path / "data" / "input"
        facts = supervisor.facts()
        assert facts is not None
        given = dict(zip(facts.argv[1:], facts.argv[2:], strict=False))
        assert given["--output-directory"] == str(supervisor.disk.output)
        assert given["--temp-directory"] == str(tmp_path / "data")
        assert (tmp_path / "data" / "logs" / "comfyui.log").stat().st_size > 0

    def test_a_killed_server_is_noticed_at_once_and_replaced(self, make: Make) -> None:
        supervisor = make()
        supervisor.start()
        first, died, client = supervisor.pid, supervisor.died, supervisor.client()
        assert first is not None

        os.kill(first, signal.SIGKILL)

        assert died.wait(60)
        supervisor.ensure_running()
        assert supervisor.generation == 2
        assert supervisor.pid not in (None, first)
        assert not supervisor.died.is_set()
        assert supervisor.client() is not client
        assert supervisor.client().system_stats()["devices"]

    def test_a_frozen_server_is_found_out_and_replaced(self, make: Make) -> None:
        supervisor = make(rhythm=replace(QUICK, freeze_timeout_s=2.0))
        supervisor.start()
        first, died = supervisor.pid, supervisor.died
        assert first is not None

        os.kill(first, signal.SIGSTOP)

        assert died.wait(60)
        supervisor.ensure_running()
        assert supervisor.generation == 2
        assert not psutil.pid_exists(first)

    def test_a_restart_that_is_asked_for_gives_another_process(self, make: Make) -> None:
        supervisor = make()
        supervisor.start()
        first = supervisor.pid

        supervisor.restart("a sticky CUDA error")

        assert supervisor.generation == 2
        assert supervisor.pid not in (None, first)
        assert supervisor.failure is None

    def test_stop_ends_it_and_frees_the_folder_for_the_next_worker(self, make: Make) -> None:
        supervisor = make()
        supervisor.start()
        pid = supervisor.pid
        assert pid is not None

        supervisor.stop()
        supervisor.stop()

        assert not psutil.pid_exists(pid)
        assert supervisor.state is ComfyState.STOPPED
        with pytest.raises(ComfyStartFailed):
            supervisor.ensure_running(0.1)
        make().start()

    def test_a_killed_worker_leaves_no_comfyui_behind(self, tmp_path: Path) -> None:
        code = textwrap.dedent(
            f"""
            import time
            from pathlib import Path
            from farm.settings.worker import WorkerSettings
            from worker.comfyui.supervisor import ComfySupervisor
            settings = WorkerSettings.read(data_dir=Path({str(tmp_path / "data")!r}))
            supervisor = ComfySupervisor.for_this_machine(settings)
            supervisor.start()
            print(supervisor.pid, flush=True)
            time.sleep(600)
            """
        )
        no_card = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
        worker = subprocess.Popen([sys.executable, "-c", code], env=no_card, stdout=subprocess.PIPE)
        assert worker.stdout is not None
        with worker, worker.stdout as said:
            comfy = int(said.readline())
            assert psutil.pid_exists(comfy)

            worker.kill()

        eventually(lambda: not psutil.pid_exists(comfy))


class TestAnInstalledComfyui:
    def test_it_gets_only_flags_that_it_takes_its_own_folders_and_none_of_our_secrets(
        self, make: Make, comfyui_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FARM_S3_SECRET_ACCESS_KEY", "secret")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        supervisor = make(comfyui_dir=comfyui_dir, previews=True, comfyui_base=tmp_path / "base")

        supervisor.start()

        seen = get(supervisor.base_url + "/system_stats")
        argv, env = seen["system"]["argv"], seen["seen"]["env"]
        assert "--disable-api-nodes" not in argv
        assert "--cpu" in argv
        assert argv[argv.index("--base-directory") + 1] == str(tmp_path / "base")
        assert argv[argv.index("--preview-method") + 1] == "latent2rgb"
        assert argv[argv.index("--database-url") + 1].startswith(f"sqlite:///{tmp_path}/data/user/")
        assert seen["seen"]["cwd"] == str(tmp_path / "data" / "work")
        assert "FARM_S3_SECRET_ACCESS_KEY" not in env
        assert "PYTHONPATH" not in env
        assert env["CUDA_VISIBLE_DEVICES"] == "-1"
        assert not supervisor.is_emulator

    def test_on_a_machine_without_a_card_that_is_said_loudly(
        self, make: Make, comfyui_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        supervisor = make(comfyui_dir=comfyui_dir)

        supervisor.start()

        assert supervisor.plan.mode is LoadMode.CPU
        assert "runs on the CPU" in caplog.text

    def test_a_card_is_given_by_its_uuid_and_belongs_to_one_worker(
        self, make: Make, comfyui_dir: Path, tmp_path: Path, a_card: GpuCard
    ) -> None:
        first = make(comfyui_dir=comfyui_dir, card=a_card, name="gpu1@here")
        first.start()
        second = make(comfyui_dir=comfyui_dir, card=a_card, data_dir=tmp_path / "other")

        with pytest.raises(InUse, match=r"GPU 1 .*gpu1@here.*CUDA_VISIBLE_DEVICES"):
            second.start()

        env = get(first.base_url + "/system_stats")["seen"]["env"]
        assert env["CUDA_VISIBLE_DEVICES"] == a_card.uuid
        first.stop()
        make(comfyui_dir=comfyui_dir, card=a_card, data_dir=tmp_path / "third").start()

    def test_two_workers_on_one_folder_are_refused_with_the_holders_name(
        self, make: Make, comfyui_dir: Path
    ) -> None:
        first = make(comfyui_dir=comfyui_dir, name="gpu0@here")
        first.start()

        with pytest.raises(InUse, match=r"gpu0@here.*FARM_WORKER_DIR"):
            make(comfyui_dir=comfyui_dir).start()

        assert get(first.base_url + "/system_stats")

    @pytest.mark.parametrize(
        ("play", "error", "words"),
        [
            (
                "import",
                ComfyUnusable,
                r"No module named 'torch_that_is_missing'.*requirements.*COMFYUI_PYTHON",
            ),
            ("read-only", ComfyUnusable, r"Read-only file system.*writable"),
            ("crash", ComfyStartFailed, r"exit code 1(?s:.*)something else"),
            ("kill", ComfyStartFailed, r"SIGKILL.*memory"),
            ("port", ComfyStartFailed, r"port was taken"),
        ],
    )
    def test_one_that_ends_at_once_says_why_and_what_to_do(
        self, make: Make, comfyui_dir: Path, play: str, error: type[WorkerError], words: str
    ) -> None:
        supervisor = make(comfyui_dir=comfyui_dir, comfyui_args=f"--play {play}")

        with pytest.raises(error, match=words):
            supervisor.start()

        assert supervisor.pid is None
        assert supervisor.state is ComfyState.STOPPED

    @pytest.mark.parametrize("play", ["kill-once", "kill-guard-once"])
    def test_one_that_is_killed_once_while_it_starts_is_started_again(
        self, make: Make, comfyui_dir: Path, play: str
    ) -> None:
        supervisor = make(comfyui_dir=comfyui_dir, comfyui_args=f"--play {play}")

        supervisor.start()

        assert supervisor.state is ComfyState.READY
        assert supervisor.failure is None
        assert get(supervisor.base_url + "/system_stats")["system"]["comfyui_version"] == "9.9.9"

    def test_one_that_ends_each_time_is_tried_three_times(
        self, make: Make, comfyui_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        supervisor = make(comfyui_dir=comfyui_dir, comfyui_args="--play kill")

        with pytest.raises(ComfyStartFailed, match="SIGKILL"):
            supervisor.start()

        assert [record.__dict__["event"] for record in caplog.records].count("comfy_down") == 3

    @pytest.mark.parametrize("play", ["", "ignores-sigterm"])
    def test_what_the_worker_ends_itself_is_called_so_and_not_blamed_on_memory(
        self, make: Make, comfyui_dir: Path, caplog: pytest.LogCaptureFixture, play: str
    ) -> None:
        rhythm = replace(QUICK, stop_grace_s=0.2)
        supervisor = make(comfyui_dir=comfyui_dir, comfyui_args=f"--play '{play}'", rhythm=rhythm)
        supervisor.start()
        died = supervisor.died

        with caplog.at_level(logging.INFO):
            supervisor.request_restart("a node does not yield")
            assert died.wait(60)
            death = OwnComfy(supervisor).death()
            supervisor.ensure_running()

        assert str(death) == "ComfyUI ended: this worker ended it: a node does not yield"
        told = [r for r in caplog.records if r.__dict__.get("event") == "comfy_stopped"]
        assert [(r.getMessage(), r.__dict__["reason"]) for r in told] == [
            ("ComfyUI ended by this worker", "a node does not yield")
        ]
        assert "comfy_down" not in [r.__dict__.get("event") for r in caplog.records]

    def test_a_kill_by_somebody_else_is_asked_about_memory(self, make: Make, comfyui_dir: Path) -> None:
        told: list[WorkerError] = []
        supervisor = make(
            comfyui_dir=comfyui_dir, on_state=lambda _, error: told.append(error) if error else None
        )
        supervisor.start()
        assert supervisor.pid is not None

        os.kill(supervisor.pid, signal.SIGKILL)

        eventually(lambda: supervisor.generation == 2)
        assert "killed by SIGKILL (out of host memory?)" in str(told[0])
        assert supervisor.ended_for is None

    def test_its_help_that_is_killed_once_is_asked_for_again(self, make: Make, comfyui_dir: Path) -> None:
        (comfyui_dir / "kill-help").touch()

        supervisor = make(comfyui_dir=comfyui_dir)

        assert (comfyui_dir / "help-killed").exists()
        assert "--novram" in supervisor._accepted

    def test_folder_and_card_are_held_from_before_the_start(
        self, make: Make, comfyui_dir: Path, a_card: GpuCard
    ) -> None:
        first = make(comfyui_dir=comfyui_dir, card=a_card, name="gpu0@here")
        first.take()

        with pytest.raises(InUse, match=r"gpu0@here.*FARM_WORKER_DIR"):
            make(comfyui_dir=comfyui_dir).take()

        first.start()
        assert first.state is ComfyState.READY

    def test_one_that_never_answers_is_ended_with_its_last_lines(self, make: Make, comfyui_dir: Path) -> None:
        rhythm = replace(QUICK, start_timeout_s=3.0)  # it has said something by then
        supervisor = make(comfyui_dir=comfyui_dir, comfyui_args="--play silent", rhythm=rhythm)

        with pytest.raises(ComfyStartFailed, match=r"no answer.*FARM_START_TIMEOUT_S(?s:.*)vram state"):
            supervisor.start()

        assert not any("--play" in " ".join(p.cmdline()) for p in psutil.Process().children(recursive=True))

    def test_one_that_freezes_while_it_starts_is_ended(self, make: Make, comfyui_dir: Path) -> None:
        rhythm = replace(QUICK, start_timeout_s=3.0)
        supervisor = make(comfyui_dir=comfyui_dir, comfyui_args="--play freezes", rhythm=rhythm)
        note = comfyui_dir.parent / "data" / "comfyui.pid"

        with pytest.raises(ComfyStartFailed):
            supervisor.start()

        assert not psutil.pid_exists(json.loads(note.read_text())["pid"])

    def test_one_that_dies_again_and_again_is_left_alone_until_somebody_acts(
        self, make: Make, comfyui_dir: Path
    ) -> None:
        states: list[ComfyState] = []
        rhythm = replace(QUICK, crashes_in_a_row=3, backoff=Backoff(first_s=0.01, longest_s=60.0))
        supervisor = make(
            comfyui_dir=comfyui_dir, rhythm=rhythm, on_state=lambda state, _: states.append(state)
        )
        supervisor.start()

        for count in range(1, 4):
            eventually(lambda n=count: supervisor.generation == n)  # type: ignore[misc]
            with pytest.raises(OSError):  # it dies before it answers
                get(supervisor.base_url + "/die")

        eventually(lambda: supervisor.state is ComfyState.BROKEN)
        with pytest.raises(CrashLoop, match="3 times in a row"):
            supervisor.ensure_running()
        assert isinstance(supervisor.failure, CrashLoop)
        supervisor.restart("somebody mended it")
        assert supervisor.state is ComfyState.READY
        assert states[:4] == [ComfyState.STARTING, ComfyState.READY, ComfyState.DOWN, ComfyState.STARTING]

    def test_a_death_is_told_with_exit_code_and_last_words(self, make: Make, comfyui_dir: Path) -> None:
        told: list[WorkerError] = []
        supervisor = make(
            comfyui_dir=comfyui_dir, on_state=lambda _, error: told.append(error) if error else None
        )
        began = time.monotonic()
        supervisor.start()

        with pytest.raises(OSError):
            get(supervisor.base_url + "/die")

        eventually(lambda: supervisor.generation == 2)
        assert isinstance(told[0], ComfyDied)
        assert told[0].exit_code == 3
        assert "To see the GUI" in str(told[0])
        # The log of a job spans the restart.
        assert sum("To see the GUI" in line.text for line in supervisor.lines_since(began)) == 2


class TestAnAttachedComfyui:
    def test_it_is_used_watched_and_never_stopped(
        self, make: Make, comfyui_dir: Path, tmp_path: Path
    ) -> None:
        other = make(comfyui_dir=comfyui_dir, data_dir=tmp_path / "other")
        other.start()
        supervisor = make(comfyui_url=other.base_url + "/", comfyui_output=tmp_path / "shared")

        supervisor.start()
        supervisor.restart("it is not ours")

        assert supervisor.base_url == other.base_url
        assert supervisor.pid is None
        assert (supervisor.disk.output, supervisor.disk.input) == (tmp_path / "shared", None)
        supervisor.stop()
        assert get(other.base_url + "/system_stats")

    def test_one_that_is_silent_for_a_moment_is_down_and_still_has_what_it_ran(
        self, make: Make, comfyui_dir: Path, tmp_path: Path
    ) -> None:
        other = make(comfyui_dir=comfyui_dir, data_dir=tmp_path / "other")
        other.start()
        supervisor = make(comfyui_url=other.base_url, rhythm=replace(QUICK, freeze_timeout_s=600.0))
        supervisor.start()
        died, pid = supervisor.died, other.pid
        assert pid is not None

        os.kill(pid, signal.SIGSTOP)
        try:
            eventually(lambda: supervisor.state is ComfyState.DOWN)
            assert "does not answer" in str(supervisor.failure)
        finally:
            os.kill(pid, signal.SIGCONT)

        eventually(lambda: supervisor.state is ComfyState.READY)
        assert not died.is_set()
        assert supervisor.generation == 2  # nobody knows whether it was started anew

    def test_who_is_to_post_a_job_notices_first_that_nobody_is_there(
        self, make: Make, comfyui_dir: Path, tmp_path: Path
    ) -> None:
        other = make(comfyui_dir=comfyui_dir, data_dir=tmp_path / "other")
        other.start()
        supervisor = make(comfyui_url=other.base_url, rhythm=replace(QUICK, look_every_s=600.0))
        supervisor.start()
        other.stop()

        with pytest.raises(ComfyStartFailed, match="down"):
            supervisor.client()

        assert supervisor.state is ComfyState.DOWN

    def test_what_a_job_left_on_a_shared_disk_is_removed_and_nothing_else(
        self, make: Make, tmp_path: Path
    ) -> None:
        shared = tmp_path / "shared"
        supervisor = make(comfyui_url="http://127.0.0.1:1", comfyui_output=shared)
        for name in ("jobs/one-token/a.mp4", "jobs/other-token/a.mp4", "mine.mp4"):
            (shared / name).parent.mkdir(parents=True, exist_ok=True)
            (shared / name).write_bytes(b"x")

        supervisor.disk.clean("jobs/one-token")

        left = sorted(str(path.relative_to(shared)) for path in shared.rglob("*") if path.is_file())
        assert left == ["jobs/other-token/a.mp4", "mine.mp4"]

    def test_one_that_goes_away_counts_as_dead_and_is_waited_for(
        self, make: Make, comfyui_dir: Path, tmp_path: Path
    ) -> None:
        other = make(comfyui_dir=comfyui_dir, data_dir=tmp_path / "other")
        other.start()
        rhythm = replace(QUICK, freeze_timeout_s=0.3)
        supervisor = make(comfyui_url=other.base_url, rhythm=rhythm)
        supervisor.start()
        died = supervisor.died

        other.stop()

        assert died.wait(30)
        eventually(lambda: supervisor.state is not ComfyState.READY)

    def test_one_that_is_not_there_is_named(self, make: Make) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        supervisor = make(comfyui_url=url, rhythm=replace(QUICK, start_timeout_s=0.3))

        with pytest.raises(ComfyStartFailed, match=rf"{url}.*COMFYUI_URL"):
            supervisor.start()

    def test_one_that_is_not_there_is_told_of_at_once_without_the_password(
        self, make: Make, caplog: pytest.LogCaptureFixture
    ) -> None:
        address = f"127.0.0.1:{free_port()}"
        supervisor = make(
            comfyui_url=f"http://user:sesame@{address}", rhythm=replace(QUICK, start_timeout_s=600)
        )
        starting = threading.Thread(target=start_in_vain, args=[supervisor])

        starting.start()

        silence = f"ComfyUI at http://{address} does not answer: connection refused (COMFYUI_URL)"
        eventually(lambda: supervisor.trouble == silence)
        eventually(lambda: "is not there yet" in caplog.text)
        supervisor.stop()
        starting.join(60)
        told = [r for r in caplog.records if r.__dict__.get("event") == "comfy_not_there"]
        assert [(r.levelname, r.__dict__["reason"]) for r in told] == [("WARNING", silence)]
        assert not any("sesame" in str(record.__dict__) for record in caplog.records)

    def test_while_none_answers_no_canary_is_on_its_way(self, make: Make, tmp_path: Path) -> None:
        url = f"http://127.0.0.1:{free_port()}"
        gate = Gate()
        settings = WorkerSettings.read(data_dir=tmp_path / "data", comfyui_url=url)
        machine = Machine(settings, gate, name="w1", on_change=lambda: None)
        starting = threading.Thread(target=start_in_vain, args=[machine])

        starting.start()

        try:
            eventually(lambda: "connection refused" in (machine.trouble or ""))
            shown = most_telling_first(gate.closed_for)
        finally:
            machine.stop()
            starting.join(60)
        assert shown == (NotFetching.COMFYUI_SILENT, NotFetching.STARTING)

    def test_what_it_remembers_of_its_start_is_read(self, make: Make, tmp_path: Path) -> None:
        other = make(data_dir=tmp_path / "other")
        other.start()
        supervisor = make(comfyui_url=other.base_url, comfyui_output=tmp_path / "shared")

        supervisor.start()

        proof = supervisor.proof()
        assert proof is not None
        assert (proof.verdict, proof.vram_state) == (ProofVerdict.PROVEN, "NORMAL_VRAM")


class TestBadInput:
    def test_a_folder_that_does_not_exist(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(ComfyUnusable, match=r"no folder .*nowhere.*COMFYUI_DIR"):
            make(comfyui_dir=tmp_path / "nowhere")

    def test_a_folder_that_is_no_comfyui(self, make: Make, tmp_path: Path) -> None:
        with pytest.raises(ComfyUnusable, match=r"holds no main\.py, nodes\.py, comfy"):
            make(comfyui_dir=tmp_path)

    @pytest.mark.parametrize(("mode", "words"), [(None, "does not exist"), (0o600, "is not executable")])
    def test_an_interpreter_that_is_none(
        self, make: Make, comfyui_dir: Path, tmp_path: Path, mode: int | None, words: str
    ) -> None:
        python = tmp_path / "python"
        if mode is not None:
            python.write_text("#!/bin/sh\n")
            python.chmod(mode)

        with pytest.raises(ComfyUnusable, match=rf"{words}.*COMFYUI_PYTHON"):
            make(comfyui_dir=comfyui_dir, comfyui_python=python)

    def test_a_program_that_cannot_even_give_its_help(self, make: Make, comfyui_dir: Path) -> None:
        (comfyui_dir / "main.py").write_text("import something_missing\n")

        with pytest.raises(ComfyUnusable, match=r"--help.*No module named 'something_missing'"):
            make(comfyui_dir=comfyui_dir)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ("--normalvram", "does not take --normalvram.*COMFYUI_ARGS"),
            ("--port 8188", "--port cannot be given"),
            ("--output-directory=/x", "FARM_WORKER_DIR"),
            ("--fast 'x", "cannot be read"),
        ],
    )
    def test_arguments_that_cannot_be(
        self, make: Make, comfyui_dir: Path, arguments: str, words: str
    ) -> None:
        with pytest.raises(ComfyUnusable, match=words):
            make(comfyui_dir=comfyui_dir, comfyui_args=arguments)

    def test_a_folder_that_holds_somebodys_files_is_not_emptied(self, make: Make, tmp_path: Path) -> None:
        precious = tmp_path / "home" / "output" / "wedding.mp4"
        precious.parent.mkdir(parents=True)
        precious.touch()

        with pytest.raises(FolderUnusable, match=r"not a worker's.*FARM_WORKER_DIR"):
            make(data_dir=tmp_path / "home").start()

        assert precious.exists()

    def test_a_folder_that_cannot_be_made(self, make: Make, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(FolderUnusable, match="FARM_WORKER_DIR"):
            make(data_dir=tmp_path / "file" / "data").start()

    def test_a_log_level_that_comfyui_does_not_have_is_said_and_left_out(
        self, make: Make, comfyui_dir: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        supervisor = make(comfyui_dir=comfyui_dir, comfy_log_level="detail")

        with caplog.at_level(logging.WARNING):
            supervisor.start()

        assert "no such log level" in caplog.text
        facts = supervisor.facts()
        assert facts is not None
        assert facts.argv[facts.argv.index("--verbose") + 1] == "INFO"


class TestLeftovers:
    def test_a_comfyui_whose_worker_is_gone_is_ended_by_the_next(self, make: Make, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir()
        (data / "worker.lock").touch()
        with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as leftover:
            WorkerFolders(root=data).remember_process(leftover.pid)

            make().start()

            assert leftover.wait(60) == -signal.SIGKILL
