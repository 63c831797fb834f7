"""Generations of ComfyUI: rows of named traits, one row for releases that behave alike.

A generation is named by the release in which it was measured. This is the one module that compares versions;
everybody else asks a row for a trait. A checkout between two releases has a change already and still names
the older version, so nothing that a job depends on goes by a row: ids fit every server, the client finds
routes out by asking, the log is read in every dress, and the canary tries the whole path. Rows judge graphs
beforehand and tell the emulator what to be.

Source: ComfyUI's history, and answers of real servers of these three releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final


class PromptIds(StrEnum):
    """Which ids of a client's own ``POST /prompt`` takes."""

    ANY = "any"  # every value, made a text
    CANONICAL_UUID = "canonical_uuid"  # lower case with hyphens; anything else is `invalid_prompt_id`


class NodeFaults(StrEnum):
    """How an entry of the graph is refused that is no node of a known class."""

    INVALID_PROMPT = "invalid_prompt"  # a text and the id
    MISSING_NODE_TYPE = "missing_node_type"  # with id, class and title in `extra_info`


class CycleFaults(StrEnum):
    """What `node_errors` say of nodes that wait for each other."""

    NOTHING = "nothing"
    DEPENDENCY_CYCLE = "dependency_cycle"  # an entry for every node of the ring


class LoadLines(StrEnum):
    """The form of the log line that tells what became of a model."""

    BARE_NUMBERS = "bare_numbers"  # loaded completely 8000.0 1000.0 True
    IN_WORDS = "in_words"  # loaded completely; 8000.00 MB usable, 1000.00 MB loaded, full load: True


class MemorySummary(StrEnum):
    """Where the log of an out-of-memory error puts torch's table."""

    ABSENT = "absent"
    SAME_LINE = "same_line"
    NEXT_LINE = "next_line"


class UncheckedChoices(StrEnum):
    """Lists of choices whose value is only looked at when the node runs."""

    V3 = "v3"  # those of new-style nodes
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """How releases of ComfyUI behave that behave alike."""

    version: str  # the release in which all of this was measured
    since: tuple[int, int]  # releases from here on are taken for it, up to the next generation
    core_facts: tuple[str, ...]  # files of `node_facts/` with its core nodes; a later one counts for more

    # What POST /prompt takes and answers
    prompt_ids: PromptIds
    node_faults: NodeFaults
    cycle_faults: CycleFaults
    unchecked_choices: UncheckedChoices
    longest_chain: int  # so many nodes in a row, from the output, does Python let it recurse
    judges_each_choice: bool  # of a multiple choice; value_not_in_list then quotes them as Python does
    replaces_nodes: bool  # classes that moved are renamed in the prompt before it is checked
    stamps_prompts: bool  # `create_time` in extra_data

    # Which files a node may touch
    confines_files: bool  # only what really lies in the input or output folder: no path, no link out of it

    # Routes
    lists_jobs: bool  # GET /api/jobs and /api/jobs/{id}
    cancels_jobs: bool  # POST /api/jobs/{id}/cancel and /api/jobs/cancel; 405 where it is not
    refuses_other_sites: bool  # 403 for Sec-Fetch-Site: cross-site
    guards_views: bool  # /view: nosniff, and active content only as an attachment

    # A run
    throttles_progress: bool  # leaves out steps that come quickly or are small
    tells_cached_outputs_to_nobody: bool  # history has outputs of cached nodes though no client listens
    loads_dynamically: bool  # models are staged in RAM on NVIDIA, unless a flag says otherwise
    keeps_results_while_memory_lasts: bool  # results of all prompts, not only of the last one
    puts_index_first: bool  # an MP4 of SaveVideo begins with its `moov`

    # The log
    colours_levels: bool  # every line of logging begins with a coloured [LEVEL]
    load_lines: LoadLines
    tells_partial_unloads: bool
    tells_offloading: bool  # pinned memory and streams, at start
    memory_summary: MemorySummary

    def __str__(self) -> str:
        return self.version

    @classmethod
    def of(cls, version: str) -> Generation:
        """The generation of a server that says it is `version`; one that cannot be read counts as newest."""
        release = release_of(version)
        if release is None:
            return NEWEST
        return next((each for each in reversed(GENERATIONS) if release >= each.since), GENERATIONS[0])

    @classmethod
    def named(cls, version: str) -> Generation:
        """The generation that has exactly this name.

        Raises:
            ValueError: there is none.
        """
        for each in GENERATIONS:
            if each.version == version:
                return each
        raise ValueError(f"{version!r} is none of {', '.join(map(str, GENERATIONS))}")


def is_newer_than_known(version: str) -> bool:
    """Whether a server says that it is newer than every release that was measured, or nothing readable."""
    release, newest = release_of(version), release_of(NEWEST.version)
    return release is None or (newest is not None and release > newest)


def has_flag(flag: str, version: str) -> bool:
    """Whether ``main.py`` of that version takes this flag, as far as releases differ in that.

    Raises:
        ValueError: it is no version.
    """
    release = release_of(version)
    if release is None:
        raise ValueError(f"{version!r} is no version of ComfyUI; write {OLDEST} or {NEWEST}")
    return _FLAG_SINCE.get(flag, release) <= release < _FLAG_UNTIL.get(flag, (release[0] + 1, 0))


def version_key(version: str) -> tuple[int, ...] | None:
    """What versions are ordered by, ``(0, 3, 68)`` of ``v0.3.68``; None when it is no version."""
    found = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", version)
    return None if found is None else tuple(int(part or 0) for part in found.groups())


def release_of(version: str) -> tuple[int, int] | None:
    """``0.33`` of ``v0.33.0rc1``; None when it is no version."""
    key = version_key(version)
    return None if key is None else (key[0], key[1])


_0_3_64: Final = Generation(
    version="0.3.64",
    since=(0, 0),
    core_facts=("core-0.3.64",),
    prompt_ids=PromptIds.ANY,
    node_faults=NodeFaults.INVALID_PROMPT,
    cycle_faults=CycleFaults.NOTHING,
    unchecked_choices=UncheckedChoices.V3,
    longest_chain=985,
    judges_each_choice=False,
    replaces_nodes=False,
    stamps_prompts=False,
    confines_files=False,
    lists_jobs=False,
    cancels_jobs=False,
    refuses_other_sites=False,
    guards_views=False,
    throttles_progress=False,
    tells_cached_outputs_to_nobody=True,
    loads_dynamically=False,
    keeps_results_while_memory_lasts=False,
    puts_index_first=False,
    colours_levels=False,
    load_lines=LoadLines.BARE_NUMBERS,
    tells_partial_unloads=False,
    tells_offloading=False,
    memory_summary=MemorySummary.ABSENT,
)
_0_12_1: Final = replace(
    _0_3_64,
    version="0.12.1",
    since=(0, 12),
    core_facts=("core-0.12.1",),
    node_faults=NodeFaults.MISSING_NODE_TYPE,
    unchecked_choices=UncheckedChoices.NONE,
    longest_chain=976,
    stamps_prompts=True,
    lists_jobs=True,
    throttles_progress=True,
    tells_cached_outputs_to_nobody=False,
    load_lines=LoadLines.IN_WORDS,
    tells_partial_unloads=True,
    tells_offloading=True,
    memory_summary=MemorySummary.SAME_LINE,
)
_0_33_0: Final = replace(
    _0_12_1,
    version="0.33.0",
    since=(0, 23),
    core_facts=("core-0.12.1", "core-0.33.0"),
    prompt_ids=PromptIds.CANONICAL_UUID,
    cycle_faults=CycleFaults.DEPENDENCY_CYCLE,
    judges_each_choice=True,
    replaces_nodes=True,
    confines_files=True,
    cancels_jobs=True,
    refuses_other_sites=True,
    guards_views=True,
    tells_cached_outputs_to_nobody=True,
    loads_dynamically=True,
    keeps_results_while_memory_lasts=True,
    puts_index_first=True,
    colours_levels=True,
    memory_summary=MemorySummary.NEXT_LINE,
)

GENERATIONS: Final = (_0_3_64, _0_12_1, _0_33_0)  # the oldest first
OLDEST, NEWEST = GENERATIONS[0], GENERATIONS[-1]

# Flags that came or went between two rows. Argparse ends with an error where one is not known.
# Source: ComfyUI's comfy/cli_args.py through its releases, and `--help` of these three.
_FLAG_SINCE: Final = {
    "--disable-dynamic-vram": (0, 16),  # dynamic VRAM is on from here
    "--vram-headroom": (0, 25),
}
_FLAG_UNTIL: Final = {"--normalvram": (0, 22)}


def generations_between(since: str, until: str) -> tuple[Generation, ...]:
    """Those whose version lies between two releases, both included; an empty text is no bound."""
    first, last = version_key(since) or (), version_key(until)
    keys = {each: version_key(each.version) or () for each in GENERATIONS}
    return tuple(each for each, key in keys.items() if key >= first and (last is None or key <= last))
