"""Rules about a job on its way through a farm: what it waited for, and what attempts came to nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from comfy.doctor.around import LONG_PART, long_phase, node_words, thrown_away
from comfy.doctor.errors import OTHERWISE, SMALLER
from comfy.doctor.report import Evidence, Phase, Severity
from comfy.doctor.rule import Case, Found, Rule, measured
from comfy.words import first_words

_LONG_WAIT_S: Final = 30.0
_LONG_IDLE_S: Final = 5.0  # while nobody works at it
_MORE_TIME: Final = "a higher --time-limit; or see why the node that it names took so long"


def _limit(case: Case) -> Iterator[Found]:
    failure = case.failure
    if failure is None or failure.limit_s is None:
        return
    at = f" while node {node_words(failure)} ran" if failure.class_type else ""
    stopping_s = case.times.seconds.get("stopping", 0.0) if case.times is not None else 0.0
    on, remedy = "", ""
    if failure.grace_s is not None:
        on = (
            f"; it did not yield, and had the worker for {stopping_s:.1f} s more: "
            f"FARM_CANCEL_GRACE_S, {failure.grace_s:g} s"
        )
        remedy = f"{_MORE_TIME}; a lower FARM_CANCEL_GRACE_S on workers whose nodes never yield"
    elif stopping_s >= 1:
        on = f"; ComfyUI went on for {stopping_s:.1f} s after it was told to stop"
    yield Found(
        message=f"the job's own time limit of {failure.limit_s:g} s ended it{at}{on}",
        evidence=(Evidence(text=failure.message),),
        cost=thrown_away(case, None),
        prompt=1,
        remedy=remedy,
    )


def _in_memory_at_last(case: Case) -> Iterator[Found]:
    """What a worker has tried when the card ran out of memory, and it helped."""
    if case.times is None or not case.times.fallbacks or case.failure is not None:
        return
    tried = ", ".join(case.times.fallbacks)
    discarded_s = case.times.seconds.get("discarded")
    yield Found(
        message=f"the card had no memory left, and it was rendered again: {tried}",
        evidence=tuple(Evidence(text=each) for each in case.times.fallbacks),
        cost=measured(discarded_s, "the renders before, and what lay between") if discarded_s else None,
        prompt=1,
    )


_HOW: Final = {
    "failed": "failed",
    "lost": "was lost with its worker",
    "released": "was given back",
    "canceled": "ended, since the job was canceled,",
}
_REMEDIES: Final = {  # by an attempt's error, or by how it ended
    "failed": "`farm show JOB` has its error in full; the worker's log tells what came before",
    "lost": "the end of that worker's log and `dmesg` say why: memory of the host, a machine taken away",
    "released": "`farm drain` without --now lets a worker end its job first",
    "canceled": "none where that was meant; a node that does not yield has FARM_CANCEL_GRACE_S to do so",
    "comfy_died": "the end of ComfyUI's log there and `dmesg` say why: memory of the host, a node's crash",
    "disk_full": "make room on the disk that it names: the worker fetches again by itself",
    "broken_output": "see that the disk has room, and that the node closes its file",
    "out_of_memory": f"{SMALLER}; {OTHERWISE}",
}


def _past(case: Case) -> Iterator[Found]:
    for each in case.times.past if case.times is not None else ():
        silent = f", which was noticed {each.silent_s:.1f} s later" if each.silent_s else ""
        why = f": {first_words(each.why)}" if each.why and not silent else ""
        yield Found(
            message=f"attempt {each.number} on {each.worker} {_HOW.get(each.outcome, 'came to nothing')} "
            f"after {each.seconds:.1f} s{silent}{why}",
            evidence=(Evidence(text=first_words(each.why) or f"attempt {each.number}: {each.outcome}"),),
            cost=measured(each.seconds, "what it took came to nothing"),
            prompt=1,
            remedy=_REMEDIES.get(each.code) or _REMEDIES.get(each.outcome, ""),
            worker=each.worker,
        )


RULES: Final = (
    Rule(
        id="queue-wait",
        severity=Severity.INFO,
        title="a job waits longer than it takes",
        remedy="more workers of this VRAM class; `farm queues` shows who else waits",
        check=long_phase(
            Phase.WAITING,
            "it waited longer than it took: {seconds} of {wall}",
            least_s=_LONG_WAIT_S,
            part=0.5,
        ),
        cost="the waiting",
    ),
    Rule(
        id="lease-wait",
        severity=Severity.INFO,
        title="a job waits for the lease of a worker that is gone",
        remedy="FARM_LEASE_S decides how long a lease is; a steward looks each second while a worker lives "
        "or `farm steward` runs",
        check=long_phase(
            Phase.LEASE,
            "{seconds} of {wall} went by until a lost worker's lease had run out and a steward took it",
            least_s=_LONG_IDLE_S,
            part=LONG_PART,
        ),
        cost="the phase",
    ),
    Rule(
        id="retry-wait",
        severity=Severity.INFO,
        title="a job waits to be tried again",
        remedy="see why it failed: the pause grows with each failure, for what may be over by itself",
        check=long_phase(
            Phase.BACKOFF,
            "{seconds} of {wall} went by before it was tried again",
            least_s=_LONG_IDLE_S,
            part=LONG_PART,
        ),
        cost="the phase",
    ),
    Rule(
        id="storage-wait",
        severity=Severity.WARNING,
        title="finished files wait for the storage, or for the worker that has them",
        remedy="`farm check` looks at the storage; a worker that comes back publishes what it has",
        check=long_phase(
            Phase.HELD,
            "its finished files waited for {seconds} of {wall}",
            least_s=_LONG_IDLE_S,
            part=LONG_PART,
        ),
        cost="the phase",
    ),
    Rule(
        id="attempt-lost",
        severity=Severity.WARNING,
        title="an earlier attempt failed, or was lost with its worker, or given back",
        remedy="by how it ended: what made it fail, why its worker died, `farm drain` without --now",
        check=_past,
        cost="what it took",
    ),
    Rule(
        id="rendered-in-less-memory",
        severity=Severity.WARNING,
        title="the card had no memory left, and the job was rendered again in another way",
        remedy=f"{SMALLER}; VAEDecodeTiled, where decoding ran out; {OTHERWISE}",
        check=_in_memory_at_last,
        cost="the renders before, and what lay between",
    ),
    Rule(
        id="time-limit",
        severity=Severity.ERROR,
        title="a job ran longer than its own limit allows",
        remedy=_MORE_TIME,
        check=_limit,
        cost="all that the attempt took",
    ),
)
