"""Sends a canary through the whole path on which a job depends.

A picture of one colour is posted to be saved and previewed, followed, and read back; a prompt that waits and
one that runs are canceled; the log is searched for the lines that we read; and nothing stays behind. It
raises nothing: a server that breaks our readers is just what it is for. Of other people's prompts it touches
none: it waits behind them, and gives up its place when that takes long.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from comfy.canary.cancels import Cancels
from comfy.canary.graphs import (
    FOLDER,
    HEIGHT,
    PREVIEWS,
    SAVES,
    WIDTH,
    Graph,
    inputs_in_use,
    picture,
    png_size,
)
from comfy.canary.report import CanaryReport, Seen, Trait
from comfy.canary.rows import Rows
from comfy.canary.waiting import CanaryLimits, RunLimit, queued, until
from comfy.errors import ComfyError, GraphRejected, RunInterrupted, UnknownMessage
from comfy.generations import Generation, is_newer_than_known
from comfy.log.facts import MemoryFact
from comfy.log.reading import AT_START, OF_A_CANCEL, OF_A_RUN, LogReader, LogReading
from comfy.log.text import plain_lines
from comfy.node_defs.definitions import parse_definitions
from comfy.protocol.client import ComfyClient
from comfy.protocol.events import (
    Event,
    Executed,
    Executing,
    ExecutionStart,
    ExecutionSuccess,
    Progress,
    ProgressState,
    Unknown,
)
from comfy.protocol.follow import Follower
from comfy.protocol.outputs import OutputFile, locate
from comfy.protocol.patience import Cancel
from comfy.protocol.run import PromptRun

_LINE_COMES_WITHIN_S: Final = 1.0


def run_canary(
    client: ComfyClient,
    *,
    output_dir: Path | None = None,
    temp_dir: Path | None = None,
    read_log: Callable[[], LogReader] | None = None,
    limits: CanaryLimits | None = None,
    on_wait: Callable[[str], None] = lambda _: None,
    give_up: Cancel | None = None,
) -> CanaryReport:
    """Send a canary through a server, and tell what held; takes well under a second on an idle one.

    Args:
        output_dir: the server's output folder on this machine's disk; None: files are read by ``/view``.
        temp_dir: its folder of previews; None: the canary's stays there until the server empties it.
        read_log: gives what the server has printed since its start; None: it is asked for what it remembers.
        on_wait: called with who is before it, when it has to wait behind others.
        give_up: looked at while it waits and runs; when set, it ends soon and its report says nothing.
    """
    limits = limits or CanaryLimits()
    patient = client.with_patience(limits.patience)
    return _Flight(patient, output_dir, temp_dir, read_log, limits, give_up).fly(on_wait)


class _Flight:
    def __init__(
        self,
        client: ComfyClient,
        output_dir: Path | None,
        temp_dir: Path | None,
        read_log: Callable[[], LogReader] | None,
        limits: CanaryLimits,
        give_up: Cancel | None,
    ) -> None:
        self._client = client
        self._folders = {"output": output_dir, "temp": temp_dir}
        self._read_log_here = read_log
        self._limits = limits
        self._give_up = give_up
        self._id = uuid.uuid4().hex[:12]
        self._rows = Rows()
        self._run = PromptRun(str(uuid.uuid4()), {})
        self._cancels = Cancels(client, self._rows, limits, prefix=f"{FOLDER}/{self._id}/chain")
        self._version = ""
        self._busy = ""
        self._lines: LogReading | None = None

    def fly(self, on_wait: Callable[[str], None]) -> CanaryReport:
        """All of it, in order."""
        began_s = time.monotonic()
        with self._rows.look(Trait.VERSION):
            self._version = str(self._client.system_stats()["system"]["comfyui_version"])
            self._rows.held(Trait.VERSION, self._version)
        with self._rows.look(Trait.NODES):
            self._read_nodes()
        if self._run_whole_path(on_wait):
            self._cancels.fly()
            with self._rows.look(Trait.LOG):
                self._read_log()
        with self._rows.look(Trait.CLEAN_UP):
            self._clean_up()
        return CanaryReport(
            version=self._version,
            taken_for=Generation.of(self._version).version,
            is_newer=is_newer_than_known(self._version),
            rows=self._rows.all(),
            log_known=self._lines.known if self._lines is not None else 0,
            log_expected=self._lines.of if self._lines is not None else 0,
            cancel_by=self._cancels.cancel_by,
            busy=self._busy or self._cancels.busy,
            took_s=round(time.monotonic() - began_s, 3),
        )

    def _read_nodes(self) -> None:
        missing: list[str] = []
        for name, inputs in inputs_in_use().items():
            definition = parse_definitions(self._client.object_info(name)).get(name)
            if definition is None:
                missing.append(name)
            else:
                missing += [f"{name}.{each}" for each in sorted(inputs) if definition.input(each) is None]
        self._rows.judge(Trait.NODES, not missing, f"no {', '.join(missing)}" if missing else "")

    # --- one run through the whole path ---

    def _run_whole_path(self, on_wait: Callable[[str], None]) -> bool:
        """Run the picture; False: the server has not taken it, or had no time for it."""
        others = self._others()
        waits = f"{len(others)} prompts of others are before ours"
        if others:
            on_wait(waits)
        graph = picture(f"{FOLDER}/{self._id}/picture")
        self._run = PromptRun(self._run.prompt_id, graph)
        heard: list[Event] = []
        limit = RunLimit(self._run, self._limits, behind_others=bool(others), give_up=self._give_up)
        with (
            self._rows.look(Trait.HISTORY),
            Follower(
                self._client, self._run, on_event=lambda _, event: heard.append(event), cancel=limit
            ) as follower,
        ):
            if not self._post(graph, follower.client_id):
                return False
            with contextlib.suppress(RunInterrupted):
                follower.follow(ask_first=False)
                follower.hear_out(lambda: not _unheard(heard), within_s=self._limits.answer_s)
        if others and self._run.started_s is None and limit.is_set():
            self._busy = waits
            return False
        with self._rows.look(Trait.HISTORY):
            self._judge_history()
        self._judge_events(heard)
        if self._rows.seen(Trait.HISTORY) is Seen.HELD:
            with self._rows.look(Trait.OUTPUT):
                self._judge_output()
            self._judge_temp()
        return True

    def _others(self) -> list[str]:
        """The prompts that are before ours."""
        try:
            return [*itertools.chain(*queued(self._client.queue()))]
        except ComfyError:
            return []  # whether it tells where ours are is looked at later

    def _post(self, graph: Graph, client_id: str) -> bool:
        ours = self._run.prompt_id
        with self._rows.look(Trait.POST):
            try:
                taken = self._client.submit(graph, prompt_id=ours, client_id=client_id)
            except GraphRejected as exc:
                self._rows.failed(Trait.POST, f"{exc.status}: {exc}")
            else:
                came = "" if taken.prompt_id == ours else f"the id {taken.prompt_id} for {ours}"
                self._rows.judge(Trait.POST, taken.prompt_id == ours, came)
        return self._rows.seen(Trait.POST) is Seen.HELD

    def _judge_history(self) -> None:
        """Read it anew and strictly: a run also ends by messages, and takes an odd status for success."""
        prompt_id = self._run.prompt_id
        answer = self._client.history(prompt_id)
        entry = answer.get(prompt_id)
        if entry is None:
            ended = f", although it {self._run.outcome}" if self._run.outcome is not None else ""
            self._rows.failed(Trait.HISTORY, f"no entry{ended}")
            return
        run = PromptRun(prompt_id, {})
        run.feed_history(answer, time.monotonic())
        said = entry["status"]["status_str"]
        error = f": {run.error.exception_message.strip()}" if run.error is not None else ""
        self._rows.judge(Trait.HISTORY, said == "success" and not error, f"{said}{error}")
        self._run = run

    def _judge_events(self, heard: Sequence[Event]) -> None:
        missing = _unheard(heard)
        unknown = sorted({event.type for event in heard if isinstance(event, Unknown)})
        words = [f"no {', '.join(missing)}"] if missing else []
        words += [f"unknown messages: {', '.join(unknown)}"] if unknown else []
        self._rows.judge(Trait.EVENTS, not missing, "; ".join(words))
        told = any(isinstance(event, Progress | ProgressState) for event in heard)
        self._rows.judge(Trait.PROGRESS, told, "" if told else "nothing of it")

    def _judge_output(self) -> None:
        saved = [file for file in self._run.outputs if file.is_result and file.node_id == SAVES]
        if len(saved) != 1 or saved[0].relative_path.parent.name != self._id:
            named = ", ".join(str(file.relative_path) for file in saved) or "no file"
            self._rows.failed(Trait.OUTPUT, named)
            return
        content, where = self._read(saved[0])
        size = png_size(content)
        came = f"{len(content)} bytes {where}" + ("" if size is None else f", {size[0]}x{size[1]}")
        self._rows.judge(Trait.OUTPUT, size == (WIDTH, HEIGHT), came)

    def _read(self, file: OutputFile) -> tuple[bytes, str]:
        folder = self._folders["output"]
        if folder is None:
            content = io.BytesIO()
            self._client.view(file, content)
            return content.getvalue(), "by /view"
        try:
            return locate(folder, file).read_bytes(), "from disk"
        except FileNotFoundError as exc:
            raise UnknownMessage("output file (it is not in the output folder)", exc.filename) from exc

    def _judge_temp(self) -> None:
        previews = [file for file in self._run.outputs if file.node_id == PREVIEWS]
        results = [str(file.relative_path) for file in previews if file.is_result]
        if results:
            self._rows.failed(Trait.TEMP, f"the preview as a result: {results[0]}")
        else:
            seen = Seen.HELD if previews else Seen.NOT_SEEN
            self._rows.note(Trait.TEMP, seen, "" if previews else "no preview was named")

    # --- log and clean-up ---

    def _read_log(self) -> None:
        # A line comes through a pipe, later than the answer to what caused it.
        until(lambda: not self._reading().missing, within_s=_LINE_COMES_WITHIN_S)
        found = self._reading()
        if not found.lines:
            self._rows.note(Trait.LOG, Seen.NOT_SEEN, "nothing was printed")
            return
        self._lines = found
        self._rows.judge(Trait.LOG, not found.missing, _told_of_lines(found))

    def _reading(self) -> LogReading:
        if self._read_log_here is not None:
            reader, from_start = self._read_log_here(), True
        else:
            reader = LogReader.of(plain_lines(self._client.printed()))
            # What a server remembers of its output is not much. The first of the lines that we read there
            # tells of the memory: where that is forgotten, the others are, or soon will be.
            from_start = reader.last(MemoryFact) is not None
        canceled = self._rows.seen(Trait.CANCEL_RUNNING) is Seen.HELD
        return reader.reading(
            (*(AT_START if from_start else ()), *OF_A_RUN, *(OF_A_CANCEL if canceled else ()))
        )

    def _clean_up(self) -> None:
        staying = sum(not self._remove(file) for file in self._run.outputs)
        output_dir = self._folders["output"]
        if output_dir is not None:
            _remove_folder(output_dir / FOLDER / self._id)
        self._client.forget([self._run.prompt_id, *self._cancels.prompts])
        if staying:
            self._rows.note(Trait.CLEAN_UP, Seen.NOT_SEEN, f"{staying} small files stay on the server's disk")
        else:
            self._rows.held(Trait.CLEAN_UP)

    def _remove(self, file: OutputFile) -> bool:
        """Whether the file is gone: those in folders that are not on this disk stay."""
        folder = self._folders.get(file.type)
        if folder is None:
            return False
        try:
            locate(folder, file).unlink()
        except FileNotFoundError:
            return False
        return True


def _unheard(heard: Sequence[Event]) -> list[str]:
    """What of a run's course was not told yet."""
    nodes = [event.node for event in heard if isinstance(event, Executing)]
    told = {
        "start": any(isinstance(event, ExecutionStart) for event in heard),
        "node": any(node is not None for node in nodes),
        "output": any(isinstance(event, Executed) and event.node == SAVES for event in heard),
        "end": None in nodes or any(isinstance(event, ExecutionSuccess) for event in heard),
    }
    return [name for name, was_told in told.items() if not was_told]


def _told_of_lines(found: LogReading) -> str:
    return f"none that tells of {', '.join(found.missing)}" if found.missing else ""


def _remove_folder(folder: Path) -> None:
    """Remove the canary's own folder with what a chain may have saved, and the one around it when empty."""
    for path in folder.glob("*"):
        path.unlink()
    with contextlib.suppress(OSError):  # not made, or another canary's is beside it
        folder.rmdir()
        folder.parent.rmdir()
