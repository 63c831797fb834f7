"""How well the doctor reads logs: precision and recall of each finding over a corpus, and facts.

    python -m bench.doctor [FOLDER …] [--megabytes 64]

Each folder holds logs and an ``expected.json``. Default: the tests' own corpus, which was written beside the
rules and shows that they do what they are meant to; and apart from it logs that were labelled before the
doctor had read any of them, by real servers' history or by hand after what people have posted. Then the same
of clips that are known to be good or bad (`tests.support.clip_set`), and what looking at one costs.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from comfy.doctor.clip import Expected, faults_of
from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Report
from tests.support.clip_set import CLIPS, KnownClip, grain, still, write
from worker.results.media import decode, inspect
from worker.results.video import decode_movie

CORPUS: Final = Path(__file__).parents[1] / "tests" / "data" / "doctor"
UNSEEN: Final = CORPUS.with_name("doctor_unseen")
# What the doctor made of those logs when it read them first; what it missed has been mended since.
FIRST_READING: Final = "first reading: precision 0.905, recall 0.704, 88 of 102 facts"
_ROUNDS: Final = 4
_CHUNK: Final = 1 << 17  # bytes
_OFF: Final = 0.05  # by which a step's seconds may differ


@dataclass(slots=True)
class Score:
    """What was found and what was there."""

    right: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)  # found, and not there
    missed: Counter[str] = field(default_factory=Counter)
    facts: int = 0
    facts_right: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, report: Report, expected: Mapping[str, Any]) -> None:
        """Count one log."""
        self.count(name, {each.id for each in report.findings}, set(expected["findings"]))
        for what, is_right in facts_of(report, expected):
            self.facts += 1
            self.facts_right += is_right
            if not is_right:
                self.notes.append(f"{name}: {what}")

    def count(self, name: str, found: set[str], there: set[str]) -> None:
        """Count what was found in one log or clip."""
        self.right.update(found & there)
        self.wrong.update(found - there)
        self.missed.update(there - found)
        if found != there:
            self.notes.append(f"{name}: found {sorted(found - there)}, missed {sorted(there - found)}")

    @property
    def precision(self) -> float:
        """Of what was found, what was there."""
        return _part(self.right.total(), self.wrong.total())

    @property
    def recall(self) -> float:
        """Of what was there, what was found."""
        return _part(self.right.total(), self.missed.total())


def facts_of(report: Report, expected: Mapping[str, Any]) -> Iterator[tuple[str, bool]]:
    """The facts that a log is known to hold, and whether they were read."""
    if "status" in expected:
        told = [str(prompt.status) for prompt in report.prompts]
        yield f"status {told}, not {expected['status']}", told == expected["status"]
    if "steps" in expected:
        steps = [[each.steps for each in prompt.samplers] for prompt in report.prompts]
        yield f"steps {steps}, not {expected['steps']}", steps == expected["steps"]
    if "s_it" in expected:
        paces = [[each.seconds_per_step or 0.0 for each in prompt.samplers] for prompt in report.prompts]
        yield f"seconds per step {paces}, not {expected['s_it']}", _close(paces, expected["s_it"])
    if "loads" in expected:
        loads = [[[use.model_class, str(use.state)] for use in prompt.models] for prompt in report.prompts]
        yield f"loads {loads}, not {expected['loads']}", loads == expected["loads"]


def score(folder: Path) -> Score:
    """Read every log of a corpus."""
    result = Score()
    for name, expected in sorted(json.loads((folder / "expected.json").read_text(encoding="utf-8")).items()):
        with (folder / f"{name}.log").open("rb") as log:
            result.add(name, diagnose(log, card=expected.get("card")), expected)
    return result


def _part(right: int, wrong: int) -> float:
    return right / (right + wrong) if right + wrong else 1.0


def _close(found: list[list[float]], expected: list[list[float]]) -> bool:
    flat = [value for some in found for value in some], [value for some in expected for value in some]
    return len(flat[0]) == len(flat[1]) and all(
        abs(one - other) <= _OFF * other for one, other in zip(*flat, strict=True)
    )


def _speed(block: bytes, megabytes: int) -> str:
    """How fast a report is made of a log that repeats this, with other figures behind each point.

    No two prompts of a real log take the same seconds, and a reader may remember lines. The best of several
    logs counts: whoever else uses the machine only makes it slower.
    """
    rng = random.Random(7)
    block *= -(-(1 << 20) // len(block))
    count = max(1, megabytes * 10**6 // len(block))
    spent: list[float] = []

    def chunks() -> Iterator[bytes]:
        for _ in range(count):
            log = re.sub(rb"(?<=\d\.)\d+", lambda found: _figures(rng, len(found[0])), block)
            for at in range(0, len(log), _CHUNK):  # as a file is read
                began = time.process_time()
                yield log[at : at + _CHUNK]
                spent[-1] += time.process_time() - began

    for _ in range(_ROUNDS):
        spent.append(0.0)
        report = diagnose(chunks())
    size = count * len(block) / 1e6
    return f"{size:.0f} MB, {report.log.known} facts: {size / min(spent):.0f} MB/s of one core"


def _figures(rng: random.Random, count: int) -> bytes:
    return b"%0*d" % (count, rng.randrange(10**count))


def _logs() -> Mapping[str, bytes]:
    corpus = b"".join(path.read_bytes() for path in sorted(CORPUS.glob("*.log")))
    # Logs of a server that is asked day and night hold little else.
    chatter = b"".join(b"[INFO] GET /queue from 10.0.0.%d: 200 in 3 ms\n" % (n % 250) for n in range(20_000))
    prompts = (CORPUS / "stamped-healthy.log").read_bytes()
    return {
        "the corpus": corpus,
        "the corpus, among chatter": corpus + chatter,
        "prompts that went well": prompts,
        "prompts that went well, in Docker's file": _of_docker(prompts),
        "chatter": chatter,
    }


def _of_docker(log: bytes) -> bytes:
    rows = (
        {"log": f"{line}\n", "stream": "stderr", "time": "2026-11-30T04:36:11.123456789Z"}
        for line in log.decode().removesuffix("\n").split("\n")
    )
    return "".join(f"{json.dumps(row, separators=(',', ':'))}\n" for row in rows).encode()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", metavar="FOLDER", nargs="*", type=Path, default=[CORPUS, UNSEEN])
    parser.add_argument("--megabytes", type=int, default=64)
    given = parser.parse_args()
    for folder in given.folders:
        _print_score(folder)
    for name, log in _logs().items():
        print(f"speed, {name}: {_speed(log, given.megabytes)}")
    good = sum(1 for clip in CLIPS if not clip.fault)
    print(f"clips: {len(CLIPS)}, {good} of them good")
    _print_findings(score_clips())
    for size in ((832, 480), (1280, 720)):
        print(f"81 frames of {size[0]}×{size[1]}: {_cost_of_a_look(size)}")
    return 0


def score_clips() -> Score:
    """Look at every clip of the set."""
    result = Score()
    with tempfile.TemporaryDirectory() as folder:
        for clip in CLIPS:
            decoded = decode(path := write(clip, Path(folder)), inspect(path))
            found = (
                {each.id for each in faults_of(decoded.look, Expected())} if decoded is not None else set()
            )
            result.count(str(clip), found, {clip.fault} - {""})
    return result


def _cost_of_a_look(size: tuple[int, int]) -> str:
    clip = KnownClip(name="grain", drawn=lambda number: grain(number, still).resize(size))
    with tempfile.TemporaryDirectory() as folder:
        inspected = inspect(path := write(clip, Path(folder), frames=81))
        assert inspected.index is not None
        began = time.process_time()
        decode_movie(path, inspected.index, poster_at=0)
        decoded = time.process_time()
        decode(path, inspected)
        looked = time.process_time() - decoded
    return f"{looked * 1e3:.0f} ms, {(decoded - began) * 1e3:.0f} of them to decode"


def _print_score(folder: Path) -> None:
    result = score(folder)
    print(f"{folder.name}: {len(list(folder.glob('*.log')))} logs")
    _print_findings(result)
    print(f"facts: {result.facts_right} of {result.facts} right")
    print(FIRST_READING if folder == UNSEEN else "")


def _print_findings(result: Score) -> None:
    names = sorted({*result.right, *result.wrong, *result.missed})
    print(f"{'finding':28} {'there':>5} {'found':>5} {'precision':>9} {'recall':>6}")
    for name in names:
        right, wrong, missed = result.right[name], result.wrong[name], result.missed[name]
        parts = f"{_part(right, wrong):9.2f} {_part(right, missed):6.2f}"
        print(f"{name:28} {right + missed:5} {right + wrong:5} {parts}")
    print(f"{'all':28} {'':5} {'':5} {result.precision:9.3f} {result.recall:6.3f}")
    for note in result.notes:
        print(f"  {note}")


if __name__ == "__main__":
    sys.exit(main())
