"""``docs/limits.md``, made from the limits themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from comfy.graphs.graph import MAX_INPUTS, MAX_NAME, MAX_NODES
from comfy.graphs.plain_json import MAX_BITS, MAX_DEPTH
from comfy.ui.document import MOST_NODES
from farm.gateway.connections import MOST_HEAD_BYTES
from farm.job import LONGEST_TITLE, MOST_TEXTS
from farm.limits import (
    LONGEST_TEXT,
    MOST_BLOB_BYTES,
    MOST_INPUTS,
    MOST_JOB_BYTES,
    MOST_LISTED,
    MOST_NAMED_JOBS,
    MOST_PARAMETERS,
    MOST_UNPACKED_BYTES,
)
from farm.process.logpump import LONGEST_LINE_BYTES
from farm.settings.gateway import GatewaySettings
from farm.settings.worker import WorkerSettings
from farm.store.base import MOST_PREVIEW_CHARACTERS, REASON_LENGTH

_INTRODUCTION: Final = """\
# Limits

Made from the code by `make docs`; do not edit.

How much is taken of whatever a stranger sends, stores or prints. A limit with a setting can be changed there
([configuration](configuration.md)); the others are fixed, because producer, store, gateway and worker have to
agree on them. What is beyond a limit is refused with a sentence that names it, or cut with "… and N more".
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One row of the page."""

    of: str
    most: str
    beyond: str  # what becomes of more
    setting: str | None = None


def _mib(size_bytes: int) -> str:
    return f"{size_bytes >> 20} MiB"


def _default(field: str) -> str:
    return f"{WorkerSettings.model_fields[field].default:,}"


_REFUSED: Final = "the job is refused"
_CUT: Final = "cut, with how much is missing"

LIMITS: Final = (
    Limit(of="a job as it is submitted, without its input files", most=_mib(MOST_JOB_BYTES), beyond=_REFUSED),
    Limit(of="input files of a job", most=f"{MOST_INPUTS:,}", beyond=_REFUSED),
    Limit(of="parameters of a job", most=f"{MOST_PARAMETERS:,}", beyond=_REFUSED),
    Limit(
        of="jobs that one call names by their ids", most=f"{MOST_NAMED_JOBS:,}", beyond="the call is refused"
    ),
    Limit(of="nodes of a graph", most=f"{MAX_NODES:,}", beyond=_REFUSED),
    Limit(of="nodes of an editor's file, notes included", most=f"{MOST_NODES:,}", beyond=_REFUSED),
    Limit(of="inputs of all nodes of a graph together", most=f"{MAX_INPUTS:,}", beyond=_REFUSED),
    Limit(of="a node's id, class or input name", most=f"{MAX_NAME} characters", beyond=_REFUSED),
    Limit(of="values within each other", most=f"{MAX_DEPTH} deep", beyond=_REFUSED),
    Limit(of="a whole number", most=f"{MAX_BITS} bits", beyond=_REFUSED),
    Limit(of="a title", most=f"{LONGEST_TITLE} characters", beyond=_REFUSED),
    Limit(
        of="one input file",
        most=f"{_default('input_limit_mib')} MiB",
        setting="FARM_INPUT_LIMIT_MIB",
        beyond="the job fails",
    ),
    Limit(
        of="the time to fetch all input files of a job",
        most=f"{_default('inputs_time_s')} s",
        setting="FARM_INPUTS_TIME_S",
        beyond="the job fails",
    ),
    Limit(
        of="input files that a worker keeps",
        most=f"{_default('input_cache_mib')} MiB",
        setting="FARM_INPUT_CACHE_MIB",
        beyond="the least recently used go",
    ),
    Limit(of="a reason for a cancel", most=f"{REASON_LENGTH} characters", beyond="cut"),
    Limit(
        of="the text of an error, and each text in its details",
        most=f"{LONGEST_TEXT:,} characters",
        beyond=_CUT,
    ),
    Limit(
        of="each list in an error's details, and problems of a job",
        most=f"{MOST_LISTED} entries",
        beyond=_CUT,
    ),
    Limit(of="an event without a picture", most=f"{LONGEST_TEXT:,} characters", beyond="its texts are cut"),
    Limit(
        of="a preview in an event", most=f"{MOST_PREVIEW_CHARACTERS >> 10} KiB of base64", beyond="left out"
    ),
    Limit(of="texts in a job's result", most=f"{MOST_TEXTS}", beyond="the manifest has the rest"),
    Limit(
        of="each text in a job's result", most=f"{LONGEST_TEXT:,} characters", beyond="cut, and marked as cut"
    ),
    Limit(
        of="a line that ComfyUI prints", most=f"{LONGEST_LINE_BYTES >> 10} KiB", beyond="broken into lines"
    ),
    Limit(
        of="line and headers of a request to the gateway",
        most=f"{MOST_HEAD_BYTES >> 10} KiB",
        beyond="400, and the connection ends",
    ),
    Limit(
        of="the time in which they come, and in which no byte of a body may come",
        most=f"{GatewaySettings.model_fields['idle_s'].default:g} s",
        setting="FARM_GATEWAY_IDLE_S",
        beyond="the connection ends",
    ),
    Limit(
        of="an upload to the gateway",
        most=f"{GatewaySettings.model_fields['upload_mib'].default:,} MiB",
        setting="FARM_GATEWAY_UPLOAD_MIB",
        beyond="413",
    ),
    Limit(of="a stored job, unpacked", most=_mib(MOST_UNPACKED_BYTES), beyond="that record is not read"),
    Limit(
        of="what a worker says of its nodes or models, unpacked",
        most=_mib(MOST_BLOB_BYTES),
        beyond="it is taken as unknown",
    ),
)


def page() -> str:
    """The page as text."""
    rows = [
        f"| {each.of} | {each.most} | {f'`{each.setting}`' if each.setting else 'fixed'} | {each.beyond} |"
        for each in LIMITS
    ]
    return "\n".join(
        [_INTRODUCTION, "| of | at most | setting | beyond |", "| --- | --- | --- | --- |", *rows, ""]
    )
