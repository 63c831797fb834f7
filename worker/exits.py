"""With which code a worker ends, so that whoever keeps it knows whether to start it again (sysexits.h)."""

from __future__ import annotations

from typing import Final

from farm.errors import StorageUnavailable, StoreUnavailable

EX_SOFTWARE: Final = 70  # a fault of ours
EX_TEMPFAIL: Final = 75  # a new process, soon, can do what this one cannot
EX_CONFIG: Final = 78  # what is wrong is the set-up, and a person must mend it

# These very types: what is derived from them (a wrong key, no such bucket) does not pass.
_PASSES: Final = (StoreUnavailable, StorageUnavailable)


def code_of_refusal(exc: Exception) -> int:
    """The code of a worker that did not come up: a Redis or an S3 that is away may be back."""
    return EX_TEMPFAIL if type(exc) in _PASSES else EX_CONFIG
