"""``docs/not-fetching.md``, made from the reasons there are."""

from __future__ import annotations

from typing import Final

from farm.status.not_fetching import Cause, NotFetching

_INTRODUCTION: Final = """\
# Why a worker fetches no jobs

Made from the code by `make docs`; do not edit.

`farm workers` shows the reasons in words; the metric `farm_worker_not_fetching` has the code as its label
`reason` and the cause as its label `cause`. Several may hold at once; the worker fetches when none is left.
"""
_CAUSES: Final = {
    Cause.ORDER: "somebody wanted it; nobody is to be woken",
    Cause.FAULT: "something is broken: worth an alert when it lasts",
    Cause.PASSING: "a part of normal work that ends by itself",
}


def page() -> str:
    """The page as text."""
    causes = [f"| `{cause}` | {meaning} |" for cause, meaning in _CAUSES.items()]
    reasons = [f"| `{each}` | {each.why} | `{each.cause}` | {each.until} |" for each in NotFetching]
    return "\n".join(
        [
            _INTRODUCTION,
            "| reason | the worker fetches nothing, because | cause | until |",
            "| --- | --- | --- | --- |",
            *reasons,
            "",
            "| cause | meaning |",
            "| --- | --- |",
            *causes,
            "",
        ]
    )
