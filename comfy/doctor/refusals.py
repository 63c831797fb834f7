"""The rule about prompts that ComfyUI refuses: what is missing, and where it belongs.

Source of what ComfyUI says: `execution.py`, `validate_prompt` and `validate_inputs`, 0.3.64 to 0.33.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from comfy.doctor.record import evidence
from comfy.doctor.report import Question, Severity
from comfy.doctor.rule import Case, Found, Rule
from comfy.graphs.required import is_model_file
from comfy.log.entry import LogEntry
from comfy.log.facts import ComplaintFact, PromptRefusedFact
from comfy.node_defs.node_classes import model_folder
from comfy.protocol.outputs import MediaKind, kind_of_name

_MOST: Final = 10  # reasons that are told
_MOST_TOLD: Final = 3  # reasons for which outputs were left out
_SHOWN: Final = 120  # characters of what a node would take
_NOT_IN_LIST: Final = re.compile(r"(?P<input>[^:]+): '(?P<value>.*)' not in (?P<list>.*)")
_NO_NODE: Final = re.compile(r"(?:Node '(?P<new>.+)' not found|.* node (?P<old>.+) does not exist)")
_ANY: Final = "`farm lint FILE` names what does not fit; export the workflow anew from this server's editor"
_BY_MESSAGE: Final = {
    "Required input is missing": "link or set that input; another version of the node may have added it",
    "Return type mismatch": "link an output of the type that the input takes",
    "Bad linked input": "a link is [node id, number of the output]: export the workflow in API format anew",
    "Custom validation failed": "a file that is named there has to lie in ComfyUI's input folder",
    "Dependency cycle": "take out one of the links that go round",
    "Prompt has no outputs": "add a node that saves, such as SaveVideo: nothing else makes a graph run",
    "Value ": "set that input to a value between the node's bounds",
    "Failed to convert": "set that input to a value of the type that the node takes",
}
"""Beginning of ComfyUI's words -> remedy; the first that fits counts."""


def _refused(case: Case) -> Iterator[Found]:
    refused = case.record.refused
    complaints: dict[tuple[str, str], list[LogEntry]] = {}
    for entry, fact in refused.of(ComplaintFact):
        complaints.setdefault((fact.message, fact.details), []).append(entry)
    # What of a graph does not fit is told by its inputs; a node that is missing by the refusal alone.
    for entry, refusal in refused.of(PromptRefusedFact):
        if not refusal.message.startswith("Prompt outputs failed validation"):
            complaints.setdefault((refusal.message, ""), []).append(entry)
    if not complaints and (lines := [entry for entry, _ in refused.of(PromptRefusedFact)]):
        complaints["", ""] = lines
    for (message, details), lines in list(complaints.items())[:_MOST]:
        what, remedy = _said(message, details)
        yield Found(
            message=what, remedy=remedy, evidence=evidence(lines, most=1), prompt=_number(case, lines)
        )


def _number(case: Case, lines: list[LogEntry]) -> int | None:
    """Of the one prompt that the lines refuse: a complaint stands before its prompt's refusal."""
    told = [entry.number for entry, _ in case.record.refused.of(PromptRefusedFact)]
    runs = {entry.number: run.number for run in case.runs for entry, _ in run.of(PromptRefusedFact)}
    only = told[0] if len(told) == 1 else 0  # several lines of it may stand in another order
    found = {runs.get(next((at for at in told if at >= line.number), only)) for line in lines}
    return found.pop() if len(found) == 1 else None


def _said(message: str, details: str) -> tuple[str, str]:
    """What is wrong, and what to do."""
    value = _NOT_IN_LIST.fullmatch(details) if message == "Value not in list" else None
    if value is not None:
        return _not_in_list(value)
    node = _NO_NODE.match(message)
    if node is not None:
        name = node["new"] or node["old"]
        return (
            f"the server has no node {name}",
            (
                f"install the custom node that has {name} (ComfyUI-Manager: Install Missing Custom Nodes); "
                "where it is installed, its import failed: the log's beginning says why"
            ),
        )
    words = ": ".join(part for part in (message, details) if part) or "the prompt did not pass the check"
    remedy = next((each for begins, each in _BY_MESSAGE.items() if message.startswith(begins)), _ANY)
    return f"refused: {words}" if message else words, remedy


def _not_in_list(found: re.Match[str]) -> tuple[str, str]:
    name, value, taken = found["input"], found["value"], found["list"]
    none = ", and no other for it" if taken == "[]" else ""
    if is_model_file(value):
        folder = model_folder("", name)
        below = f"ComfyUI's models/{folder}" if folder else "the models folder in which the node looks"
        return (
            f"{name}: the server has no file {value}{none}",
            f"put it into {below}, or name one that is there; extra_model_paths.yaml adds folders",
        )
    if kind_of_name(value) is not MediaKind.OTHER:
        return (
            f"{name}: the server has no file {value}{none}",
            "put it into ComfyUI's input folder, or upload it",
        )
    return (
        f"{name}: the node does not take {value!r}, but {taken[:_SHOWN]}",
        f"set {name} to one of those; another version of the node may have others",
    )


def undecided(case: Case) -> Iterator[Question]:
    """Whether somebody misses the outputs that were left out of prompts that ran."""
    lines = [entry.text.lstrip("- ") for entry, _ in case.record.ignored.of(ComplaintFact)]
    if lines:
        told = "; ".join(list(dict.fromkeys(lines))[:_MOST_TOLD])
        yield Question(
            what="whether an output is missed that ComfyUI left out of a prompt which ran on: " + told,
            decides="the graph: link what is missing there, or take that output's node out",
        )


RULES: Final = (
    Rule(
        id="prompt-refused",
        severity=Severity.ERROR,
        title="a prompt did not pass ComfyUI's check: a file, a node or an input is missing",
        remedy=_ANY,
        check=_refused,
        source="https://github.com/Comfy-Org/ComfyUI (execution.py, validate_prompt)",
    ),
)
