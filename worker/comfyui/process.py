"""One start of ComfyUI: from the command line to an answer, and what its last words mean."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import urllib3

from comfy.log.reading import LogReader
from comfy.log.text import plain_lines
from comfy.protocol.address import ComfyAddress
from farm.process.child import Child, ChildNotStarted
from farm.process.logpump import LogLine
from farm.process.user import UnixUser
from worker.errors import ComfyStartFailed, ComfyUnusable, WorkerError, describe_exit

log = logging.getLogger(__name__)

PROBE_EVERY_S: Final = 0.1
PROBE_TIMEOUT_S: Final = 5.0
_PORT_TAKEN: Final = re.compile(
    r"address already in use|Errno 98\b|Errno 48\b|Port \d+ is already in use", re.IGNORECASE
)


class PortTaken(ComfyStartFailed):
    """Somebody took the port between our choice and ComfyUI's start: another port will do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfyDevice:
    """A device as ComfyUI sees it."""

    name: str  # "cuda:0 NVIDIA …", "cpu"
    kind: str  # "cuda", "cpu", …
    vram_total_bytes: int  # of the CPU: host memory
    vram_free_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ComfyFacts:
    """What a running ComfyUI says of itself."""

    version: str
    python: str
    torch: str
    argv: tuple[str, ...]
    ram_total_bytes: int
    devices: tuple[ComfyDevice, ...]
    is_emulator: bool


def read_facts(stats: Mapping[str, Any]) -> ComfyFacts:
    """Read the body of ``/system_stats``; what is missing is empty or 0."""
    system = stats.get("system", {})
    return ComfyFacts(
        version=str(system.get("comfyui_version", "")),
        python=str(system.get("python_version", "")).split(" ")[0],
        torch=str(system.get("pytorch_version", "")),
        argv=tuple(map(str, system.get("argv", ()))),
        ram_total_bytes=int(system.get("ram_total", 0)),
        devices=tuple(
            ComfyDevice(
                name=str(device.get("name", "")),
                kind=str(device.get("type", "")),
                vram_total_bytes=int(device.get("vram_total", 0)),
                vram_free_bytes=int(device.get("vram_free", 0)),
            )
            for device in stats.get("devices", ())
        ),
        is_emulator="emulator" in stats,
    )


class ComfyProcess:
    """A server at one URL: our child, or somebody else's (then `child` is None)."""

    def __init__(
        self, address: ComfyAddress, child: Child | None, died: threading.Event, log: LogReader | None = None
    ) -> None:
        self.address = address
        self.url = address.url  # good to be shown
        self.child = child
        self.died = died  # set when it has ended, or counts as ended
        self.ended_for: str | None = None  # why this worker ended it; None: it runs, or ended by itself
        self._log = log or LogReader()
        self.started_s = time.monotonic()
        self._http = urllib3.PoolManager(retries=False, headers=dict(address.headers))
        self.is_slow = False  # it took the last question and did not answer in time: it may only be busy
        self._refused_with: int | None = None  # its last answer, when that was that we may not ask
        self._unanswered: str | None = None  # why the last question got no answer

    @classmethod
    def start(
        cls,
        command: Sequence[str],
        *,
        address: ComfyAddress,
        env: Mapping[str, str],
        cwd: Path,
        log_file: Path,
        user: UnixUser | None,
        on_death: Callable[[], None],
    ) -> ComfyProcess:
        """Start it; `on_death` is called in a thread the moment that it ends.

        Raises:
            ComfyUnusable: the command cannot be run.
        """
        died = threading.Event()
        reader = LogReader()

        def take(line: LogLine) -> None:
            if not line.bar:
                reader.take(line)

        def on_exit(_code: int) -> None:
            died.set()
            on_death()

        try:
            child = Child.start(
                command,
                name="ComfyUI",
                env=env,
                cwd=cwd,
                log_file=log_file,
                on_line=take,
                on_exit=on_exit,
                grace_s=5.0,
                user=user,
            )
        except ChildNotStarted as exc:
            raise ComfyUnusable(exc.reason, "name a Python program", setting="COMFYUI_PYTHON") from exc
        return cls(address, child, died, reader)

    def ask(self, timeout_s: float = PROBE_TIMEOUT_S) -> ComfyFacts | None:
        """What it says of itself now; None when it gives no answer in time."""
        self.is_slow, self._unanswered = False, None
        try:
            answer = self._http.request("GET", f"{self.url}/system_stats", timeout=timeout_s)
            self._refused_with = answer.status if answer.status in (401, 403) else None
            if answer.status == 200:
                return read_facts(answer.json())
            self._unanswered = f"HTTP status {answer.status}"
        except urllib3.exceptions.ReadTimeoutError:
            self.is_slow, self._unanswered = True, "it takes the question and is silent"
        except urllib3.exceptions.HTTPError as exc:
            self._unanswered = _why_unreached(exc)
        except (json.JSONDecodeError, UnicodeDecodeError, AttributeError, TypeError, ValueError):
            self._unanswered = "what answers there is no ComfyUI"
        return None

    @property
    def silence(self) -> str | None:
        """That somebody else's server does not answer, and why, for a person; None: it does, or it is ours.

        Ours does not answer before it has imported everything, and if it ends its own words say why.
        """
        if self.child is not None or self._unanswered is None:
            return None
        return f"ComfyUI at {self.url} does not answer: {self._unanswered} (COMFYUI_URL)"

    def read_log(self) -> LogReader:
        """What it has printed since its start; of somebody else's server, what it remembered of that."""
        if self.child is not None or not self._log.reading().missing:
            return self._log
        try:
            answer = self._http.request("GET", f"{self.url}/internal/logs/raw", timeout=PROBE_TIMEOUT_S)
            written = "".join(str(entry["m"]) for entry in answer.json()["entries"])
        except (urllib3.exceptions.HTTPError, ValueError, LookupError, TypeError):
            return self._log
        self._log = LogReader.of(plain_lines(written))
        return self._log

    def wait_ready(self, timeout_s: float, give_up: threading.Event) -> ComfyFacts:
        """Wait for the first answer: the port does not listen before everything is imported.

        Raises:
            ComfyStartFailed, ComfyUnusable: it ended, or did not answer in time; says why.
        """
        until = time.monotonic() + timeout_s
        told = False
        while time.monotonic() < until and not self.died.is_set() and not give_up.is_set():
            facts = self.ask()
            if facts is not None:
                return facts
            if self._refused_with is not None:
                break
            if self.silence is not None and not told:
                told = True
                log.warning(
                    "ComfyUI is not there yet; waiting for it",
                    extra={"event": "comfy_not_there", "reason": self.silence, "wait_s": timeout_s},
                )
            self.died.wait(PROBE_EVERY_S)
        raise self._not_ready(timeout_s)

    def stop(self, *, grace_s: float, why: str | None = None) -> int:
        """End it, if it is ours; its exit code.

        Args:
            why: kept as `ended_for`, unless it has ended by itself before.
        """
        if self.child is not None and self.child.poll() is None:
            self.ended_for = why  # before its end: who hears of that asks at once
        self._http.clear()
        code = self.child.stop(grace_s=grace_s) if self.child is not None else 0
        self.died.set()
        return code

    def tail(self, count: int = 20) -> list[str]:
        """The last lines that it printed."""
        return [line.text for line in self.child.output.tail(count)] if self.child is not None else []

    def _not_ready(self, timeout_s: float) -> WorkerError:
        lines = self.tail(60)
        code = self.child.poll() if self.child is not None else None
        if code is not None:
            return explain_exit(code, lines)
        if self._refused_with is not None:
            return ComfyUnusable(
                f"{self.url} answers {self._refused_with}: it does not let us in",
                "put user and password into COMFYUI_URL, or set COMFYUI_TOKEN or COMFYUI_TOKEN_FILE",
                setting="COMFYUI_URL",
            )
        advice = (
            "see its last lines; FARM_START_TIMEOUT_S sets how long it has"
            if self.child is not None
            else "start it there, or correct COMFYUI_URL"
        )
        why = f" ({self._unanswered})" if self.silence is not None else ""
        return ComfyStartFailed(f"no answer at {self.url} for {timeout_s:.0f} s{why}", advice, lines=lines)


def _why_unreached(exc: urllib3.exceptions.HTTPError) -> str:
    """What the system says, in its words: urllib3 puts its own around them."""
    if isinstance(exc.__cause__, OSError) and exc.__cause__.strerror:
        return exc.__cause__.strerror.lower()
    if isinstance(exc, urllib3.exceptions.TimeoutError):
        return "no connection in time"
    return "the connection broke"


def explain_exit(code: int, lines: Sequence[str]) -> WorkerError:
    """Why a ComfyUI that ended before it was ready did so, judged by its last lines."""
    # Further up stand errors that it survives: a custom node without its package, a kernel that is not there.
    text = "\n".join(lines[-_LAST_WORDS:])
    if _PORT_TAKEN.search(text):
        return PortTaken("its port was taken", "another one is tried", lines=lines, exit_code=code)
    for fault in _FAULTS:
        found = fault.pattern.search(text)
        if found is None:
            continue
        reason = found.group(0).strip()
        if fault.lasts:
            return ComfyUnusable(reason, fault.advice, setting=fault.setting, lines=lines)
        return ComfyStartFailed(reason, fault.advice, lines=lines, exit_code=code)
    advice = _ADVICE_BY_SIGNAL.get(code, "see its last lines")
    return ComfyStartFailed(describe_exit(code), advice, lines=lines, exit_code=code)


_LAST_WORDS: Final = 8
_ADVICE_BY_SIGNAL: Final = {-9: "give the machine or the container more memory, if nobody killed it"}


@dataclass(frozen=True, slots=True, kw_only=True)
class _StartFault:
    """A way in which a start ends, and what a person can do about it."""

    pattern: re.Pattern[str]
    setting: str
    advice: str
    lasts: bool = True  # False: it may go better the next time


def _fault(pattern: str, setting: str, advice: str, *, lasts: bool = True) -> _StartFault:
    return _StartFault(pattern=re.compile(pattern, re.MULTILINE), setting=setting, advice=advice, lasts=lasts)


_WRONG_TORCH: Final = "install the torch build that fits this card and driver"
_OTHER_DATABASE: Final = "another ComfyUI uses this worker's database: end it, or leave out --database-url"
_SPOILT_DATABASE: Final = (
    "remove `user/comfyui.db` in the worker's folder: it holds nothing that a farm needs"
)
# The first row that fits counts. Source of the database's words: ComfyUI main.py, app/database/db.py; those
# with ASSETS_STARTUP_FAILED are of releases after 0.33.0.
_FAULTS: Final = (
    _fault(
        r"No module named '(comfy|utils|app|nodes)[.']\S*",
        "COMFYUI_PYTHON",
        "another package of that name hides ComfyUI's own: remove it from this interpreter",
    ),
    _fault(
        r"^(ModuleNotFoundError|ImportError): .*",
        "COMFYUI_PYTHON",
        "install ComfyUI's requirements.txt into this interpreter, or name the one that has them",
    ),
    _fault(
        r"error: (unrecognized arguments|argument|ambiguous option|--[a-z]).*",
        "COMFYUI_ARGS",
        "this ComfyUI does not take it: leave it out or correct it",
    ),
    _fault(
        r"Could not acquire lock on database.*|^Database is locked\. .*"
        r"|ASSETS_STARTUP_FAILED: (in_use|locked).*",
        "COMFYUI_ARGS",
        _OTHER_DATABASE,
        lasts=False,
    ),
    _fault(r"ASSETS_STARTUP_FAILED: (newer_revision|corrupt).*", "FARM_WORKER_DIR", _SPOILT_DATABASE),
    _fault(
        r"ASSETS_STARTUP_FAILED: missing_packages.*",
        "COMFYUI_PYTHON",
        "install ComfyUI's requirements.txt into this interpreter",
    ),
    _fault(
        r"ASSETS_STARTUP_FAILED: .*|^Failed to initialize database: .*",
        "FARM_WORKER_DIR",
        "make the folder `user` in it writable for this user",
    ),
    _fault(r"Torch not compiled with CUDA enabled", "COMFYUI_PYTHON", _WRONG_TORCH),
    _fault(r".*driver on your system is too old.*", "COMFYUI_PYTHON", _WRONG_TORCH),
    _fault(r".*No CUDA GPUs are available.*", "CUDA_VISIBLE_DEVICES", "check nvidia-smi"),
    _fault(
        r"^(PermissionError|OSError): .*(Permission denied|Read-only file system).*",
        "COMFYUI_DIR, FARM_WORKER_DIR",
        "make the folder writable for this user",
    ),
    _fault(
        r"^OSError: .*No space left on device.*",
        "FARM_WORKER_DIR",
        "free space, or name a folder on another disk",
    ),
)
