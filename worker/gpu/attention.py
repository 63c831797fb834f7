"""Which attention back-ends are right on this card, and how fast: tried once, remembered per versions.

A SageAttention that was built for another architecture gives black or noisy frames and no error. So each
back-end that is installed computes one attention of WAN's shape, and is held against a plain one.
"""

from __future__ import annotations

import json
import logging
import subprocess
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from farm.process.user import UnixUser
from worker.gpu import attention_trial

log = logging.getLogger(__name__)

TOKENS: Final = 8192  # enough that the kernel is what is timed, and 0.4 GB of the card
DEADLINE_S: Final = 180.0  # for all together; a first import of torch takes ten seconds on a cold disk
_VERSIONS_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """What was found. What is not installed is in neither."""

    proven: Mapping[str, float] = field(default_factory=dict)  # name -> seconds of one attention
    refused: Mapping[str, str] = field(default_factory=dict)  # name -> why, in words
    passing: bool = False  # something else was in the way (memory): to be tried again at the next start


class AttentionProbe:
    """Tries them when somebody asks, once; may be called from any thread."""

    def __init__(
        self,
        python: Sequence[str],
        file: Path,
        *,
        card: Mapping[str, str],
        environ: Mapping[str, str],
        user: UnixUser | None = None,
        device: str = "cuda",
        tokens: int = TOKENS,
        deadline_s: float = DEADLINE_S,
    ) -> None:
        """Prepare.

        Args:
            python: the command of ComfyUI's interpreter.
            file: where results are remembered.
            card: what a result depends on beside the installed packages: UUID, driver.
            environ: of the child; it shows it the card.
            user: whom the child runs as; default: as this process does.
        """
        self._python = tuple(python)
        self._file = file
        self._card = dict(card)
        self._environ = dict(environ)
        self._start_options = user.start_options if user is not None else {}
        self._device = device
        self._tokens = tokens
        self._deadline_s = deadline_s
        self._lock = threading.Lock()
        self._known: Attention | None = None

    @property
    def known(self) -> Attention | None:
        """What was found, or remembered; None before."""
        return self._known

    def recall(self) -> None:
        """Take what an earlier worker found here, if card, driver and packages are still the same."""
        with self._lock:
            if self._known is None and self._file.exists():
                self._known = self._remembered(self._key())

    def find(self) -> Attention:
        """Try them now, unless it is known. Takes `DEADLINE_S` at most; never raises."""
        with self._lock:
            if self._known is None:
                key = self._key()
                self._known = self._remembered(key) or self._try_all(key)
            return self._known

    def _try_all(self, key: Mapping[str, Any] | None) -> Attention:
        began, found = time.monotonic(), Findings()
        while found.left and (time_s := began + self._deadline_s - time.monotonic()) > 0:
            lines, ended = self._run(["try", self._device, str(self._tokens), *found.left], time_s)
            if not found.take(lines, ended):
                break
        attention = found.attention()
        log.info("Attention back-ends tried", extra={"event": "attention_tried", **asdict(attention)})
        if key is not None and attention.proven and not attention.passing:
            self._remember(key, attention)
        return attention

    def _key(self) -> dict[str, Any] | None:
        """What a result belongs to; None when the interpreter does not tell."""
        lines, _ = self._run(["versions"], _VERSIONS_S)
        return {"card": self._card, "packages": lines[-1], "tokens": self._tokens} if lines else None

    def _remembered(self, key: Mapping[str, Any] | None) -> Attention | None:
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            return Attention(**kept["found"]) if key is not None and kept["key"] == key else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _remember(self, key: Mapping[str, Any], attention: Attention) -> None:
        try:
            self._file.write_text(json.dumps({"key": key, "found": asdict(attention)}), encoding="utf-8")
        except OSError as exc:
            log.warning(
                "The attention back-ends that work could not be saved",
                extra={"event": "attention_unkept", "reason": str(exc)},
            )

    def _run(self, arguments: Sequence[str], timeout_s: float) -> tuple[list[dict[str, Any]], str]:
        """The child's lines, and how it ended, in words."""
        source = Path(attention_trial.__file__).read_text(encoding="utf-8")
        try:
            answer = subprocess.run(
                [*self._python, "-", *arguments],
                input=source.encode(),
                env=self._environ,
                cwd=self._file.parent,  # its first place to import from: nothing of ours, nor of ComfyUI's
                capture_output=True,
                timeout=timeout_s,
                check=False,
                **self._start_options,
            )
        except subprocess.TimeoutExpired as exc:
            return _lines(exc.stdout), f"it did not end within {timeout_s:.0f} s"
        except OSError as exc:
            return [], str(exc)
        said = answer.stderr.decode("utf-8", "replace").strip().splitlines() or ["no word"]
        return _lines(answer.stdout), f"the process ended with {answer.returncode}: {said[-1][:200]}"


class Findings:
    """Puts together what one child after the other says."""

    def __init__(self) -> None:
        self.left: list[str] = list(attention_trial.NAMES)  # not tried yet
        self._proven: dict[str, float] = {}
        self._refused: dict[str, str] = {}
        self._passing = False

    def take(self, lines: Iterable[Mapping[str, Any]], ended: str) -> bool:
        """Take a child's lines, and how it ended; whether another one can do more."""
        trying, before = None, len(self.left)
        for line in lines:
            if "trying" in line:
                trying = str(line["trying"])
            elif "name" in line:
                self._note(line)
                trying = None
            else:  # no card, and so nothing to try
                self._passing, self.left = True, []
        if trying is not None:
            # It took the process down, or hung.
            self._refused[trying] = ended
            self.left.remove(trying)
        # Without torch none is even begun, and another child would not do better.
        return 0 < len(self.left) < before

    def attention(self) -> Attention:
        """All that was found."""
        return Attention(proven=self._proven, refused=self._refused, passing=self._passing or bool(self.left))

    def _note(self, line: Mapping[str, Any]) -> None:
        name = str(line["name"])
        self.left.remove(name)
        if "seconds" in line:
            self._proven[name] = float(line["seconds"])
        elif "why" in line:
            self._refused[name] = str(line["why"])
            self._passing = self._passing or bool(line.get("memory"))


def _lines(output: bytes | None) -> list[dict[str, Any]]:
    """Lines that are JSON objects; packages print what they like while they are imported."""
    found = []
    for line in (output or b"").decode("utf-8", "replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
