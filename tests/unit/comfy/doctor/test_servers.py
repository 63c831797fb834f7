"""A log that holds the lines of several servers is read as each of theirs alone would be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, zip_longest

import pytest

from bench.doctor import CORPUS
from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Report, Status

WHOSE: dict[str, Callable[[int, str], str]] = {
    "compose": lambda who, text: f"comfy-{who}  | {text}",
    "compose, coloured": lambda who, text: f"\x1b[3{who}mcomfy-{who}  | \x1b[0m{text}",
    "compose, stamped": lambda who, text: f"comfy-{who}  | 2026-11-30T04:36:00.000000001Z {text}",
    "a swarm of docker's": lambda who, text: f"stack_comfy.{who}.x8d0k2@node1    | {text}",
    "kubectl --prefix": lambda who, text: f"[pod/wan-7d9f-{who}/comfyui] {text}",
    "stern": lambda who, text: f"wan-7d9f-x{who} comfyui › {text}",
    "stern of today": lambda who, text: f"wan-7d9f8c6b5d-xq{who}lk comfyui {text}",
    "swarmui": lambda who, text: f"04:36:00.141 [Debug] [ComfyUI-{who}/STDERR] {text}",
    "swarmui, both pipes": lambda who, text: (
        f"04:36:00.141 [Info] [ComfyUI-{who}/{'STDOUT' if '|' in text else 'STDERR'}] {text}"
    ),
    "journald": lambda who, text: f"Nov 30 04:36:00 gpu-host comfyui@{who}[22{who}1]: {text}",
    "two hosts": lambda who, text: f"Nov 30 04:36:00 gpu-{who} comfyui[2211]: {text}",
    "pm2": lambda who, text: f"{who}|comfyui  | {text}",
    "runpod": lambda who, text: f"2026-11-30 04:36:00.123 [5x7abcq2k1zz{who}] [info] {text}",
    "runpod's copy": lambda who, text: f"5x7abcq2k1zz{who}[info]{text}",
    "ray": lambda who, text: f"(ComfyActor pid=221{who}) {text}",
}
# Logs that say different things of times, ends and the server.
PAIRS = (("partial-felt", "healthy-two-prompts"), ("oom-sampling", "real-0.12.1-10-t2v"))


def lines_of(name: str) -> list[str]:
    # A bar is one write, and whoever hands on lines puts its name before the whole of it.
    return (CORPUS / f"{name}.log").read_text(encoding="utf-8").rstrip("\n").split("\n")


def interleaved(one: list[str], other: list[str]) -> str:
    pairs = zip_longest(one, other)
    return "\n".join(line for line in chain.from_iterable(pairs) if line is not None) + "\n"


def told(report: Report, source: str = "") -> list[object]:
    return [
        (each.status, each.wall_s, each.samplers, each.error)
        for each in report.prompts
        if each.source == source
    ]


@pytest.mark.parametrize("pair", PAIRS, ids=" and ".join)
@pytest.mark.parametrize("whose", WHOSE)
def test_each_servers_prompts_are_told_as_from_its_log_alone(whose: str, pair: tuple[str, str]) -> None:
    dress = WHOSE[whose]
    alone = [
        diagnose("\n".join(dress(who, text) for text in lines_of(name))) for who, name in enumerate(pair, 1)
    ]
    first, second = ([dress(who, text) for text in lines_of(name)] for who, name in enumerate(pair, 1))

    report = diagnose(interleaved(first, second))

    names = list(dict.fromkeys(each.source for each in report.prompts))
    assert sorted(map(repr, told(report, names[0]) + told(report, names[1]))) == sorted(
        map(repr, told(alone[0]) + told(alone[1]))
    )
    assert sorted(each.number for each in report.prompts) == list(range(1, len(report.prompts) + 1))
    assert {each.id for each in report.findings} == {each.id for one in alone for each in one.findings}
    assert any("several" in each.what or "holds 2 of them" in each.what for each in report.questions)


def test_findings_of_one_server_are_not_said_of_the_other() -> None:
    weak = [f"comfy-2  | {text}" for text in lines_of("lowvram")]
    well = [f"comfy-1  | {text}" for text in lines_of("healthy-two-prompts")]

    report = diagnose(interleaved(well, weak))

    forced = next(each for each in report.findings if each.id == "low-vram-forced")
    assert forced.message.startswith("comfy-2: ")
    assert report.server.vram_state == ""
    assert report.server.source == "comfy-1, comfy-2"


def test_the_lines_of_other_services_and_of_nobody_change_nothing_for_one_server() -> None:
    plain = lines_of("partial-felt")
    log = [f"comfy-1   | {text}" for text in plain]
    others = [
        "valkey-1  | 1:M 30 Nov 2026 Ready to accept connections",
        "worker-1  | [INFO] job 7 is queued",
        "ok",
    ]
    noise = [others[at % len(others)] for at in range(len(plain))]

    report, alone = diagnose(interleaved(log, noise)), diagnose("\n".join(log))

    assert told(report) == told(alone) != []
    assert report.findings == tuple(
        replace(each, evidence=found.evidence)
        for each, found in zip(alone.findings, report.findings, strict=True)
    )


def test_a_container_that_ends_takes_its_own_prompt_along_and_no_others() -> None:
    begun = ["got prompt", "Requested to load WAN21", "loaded completely;  12.42 MB loaded, full load: True"]
    both = [f"comfy-{who}  | {text}" for text in begun for who in (1, 2)]

    report = diagnose(
        "\n".join([*both, "comfy-1 exited with code 137", "comfy-2  | Prompt executed in 40.00 seconds"])
    )

    assert {each.source: each.status for each in report.prompts} == {
        "comfy-1": Status.LOST,
        "comfy-2": Status.DONE,
    }


def test_a_table_whose_rows_are_numbered_is_no_log_of_many_servers() -> None:
    rows = [f"{number} | {text}" for number, text in enumerate(lines_of("healthy-two-prompts"))]

    report = diagnose("\n".join(rows))

    assert [each.source for each in report.prompts] == ["", ""]
    assert told(report) == told(diagnose("\n".join(lines_of("healthy-two-prompts"))))


def test_prompts_of_nobody_are_not_left_out_where_others_have_names() -> None:
    named = [f"comfy-{who}  | {text}" for text in lines_of("healthy-two-prompts") for who in (1, 2)]
    bare = lines_of("healthy-two-prompts")

    report = diagnose("\n".join([*named, *bare]))

    assert [each.wall_s for each in report.prompts][-2:] == [
        each.wall_s for each in diagnose("\n".join(bare)).prompts
    ]
