"""What an attempt owns is named by the token of its claim, and nothing else is.

A number does not tell two attempts apart: a Redis that came back with older data gives it a second time. So
whoever clears up after an attempt names the token, and can remove nothing that another attempt has made.
"""

from __future__ import annotations

import uuid
from typing import Any, Final

from farm.store.base import Claim

_PROMPTS: Final = uuid.UUID("6f2d3c54-9d0a-5f0e-8a35-3a1c7f0b52d1")  # of all prompts of the farm


def prompt_id(claim: Claim, *, tries: int = 0, repeats: int = 0) -> str:
    """The id under which ComfyUI knows an attempt; made, not given, so that a lost answer can be asked for.

    A UUID in its plain form: since 0.25 ComfyUI takes nothing else.

    Args:
        tries: how often the attempt was run before, because the card ran out of memory.
        repeats: how often that try was run before, because ComfyUI named files of another run.
    """
    return str(uuid.uuid5(_PROMPTS, f"{claim.job_id}/{claim.attempt}/{claim.token}/{tries}/{repeats}"))


def prompt_label(claim: Claim) -> dict[str, Any]:
    """What a prompt carries for people who look at ComfyUI's queue or history; its id does not tell them."""
    return {"farm": {"job_id": claim.job_id, "attempt": claim.attempt}}


def file_prefix(claim: Claim) -> str:
    """What the folder of an attempt's files is called, in ComfyUI's ``jobs/``."""
    return f"{claim.job_id}-{claim.token}"


def run_folder(claim: Claim) -> str:
    """The folder of an attempt's files within ComfyUI's output folder.

    One for each attempt: a second one on a warm ComfyUI would else be answered from its cache with the first
    one's file, which may be gone.
    """
    return f"jobs/{file_prefix(claim)}"
