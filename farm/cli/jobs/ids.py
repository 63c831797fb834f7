"""Job ids as people write them: the first few digits are enough when they name one job."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

import typer

from farm.cli.terminal.door import Door
from farm.errors import FarmError, JobNotFound
from farm.job import is_job_id

if TYPE_CHECKING:
    from farm.client import Farm

WHOLE_LENGTH: Final = 32
SHORTEST: Final = 4
_OFFERED: Final = 50  # newest jobs that the shell completes from


def whole_id(farm: Farm, text: str) -> str:
    """The id of the one job that `text` names: whole, or by its beginning.

    Raises:
        BadParameter: it is too short, or the beginning of several.
        JobNotFound: there is no such job.
    """
    wanted = text.strip().lower()
    if len(wanted) >= WHOLE_LENGTH:
        if not is_job_id(wanted):
            raise JobNotFound(text)
        return wanted
    if len(wanted) < SHORTEST:
        raise typer.BadParameter(f"{text!r} is too short for a job id: give at least {SHORTEST} characters")
    found = farm.store.ids_beginning(wanted, limit=3)
    if not found:
        raise JobNotFound(text)
    if len(found) > 1:
        listed = ", ".join(job_id[: len(wanted) + 4] for job_id in found)
        raise typer.BadParameter(f"{text!r} is the beginning of several jobs: {listed}, …; write more of it")
    return found[0]


def complete_id(incomplete: str) -> list[str]:
    """Ids for the shell; none when the farm cannot be asked."""
    try:
        with Door().farm() as farm:
            return [job.job_id for job in islice(farm.list(), _OFFERED) if job.job_id.startswith(incomplete)]
    except FarmError:
        return []
