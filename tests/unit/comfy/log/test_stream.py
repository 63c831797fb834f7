"""A log of anybody's becomes facts, whatever stands around its lines and however large it is."""

from __future__ import annotations

import gzip
import io
import itertools
import json
import random
import re
import textwrap
import tracemalloc
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.doctor import CORPUS
from comfy.log.entry import LogEntry
from comfy.log.facts import (
    AttentionFailedFact,
    BarFact,
    DownloadFact,
    HostMemoryFact,
    LogFact,
    ModelLoadedFact,
    ModuleOnCardFact,
    NodeFailedFact,
    PromptDoneFact,
    PromptQueuedFact,
)
from comfy.log.foreign_dress import from_docker, from_json
from comfy.log.lines import read_line
from comfy.log.stream import LogStream
from tests.support.tables import for_each

BAR = (
    "\r  0%|          | 0/3 [00:00<?, ?it/s]\r 33%|███       | 1/3 [00:08<00:16,  8.00s/it]"
    "\r 67%|██████    | 2/3 [00:13<00:06,  6.20s/it]\r100%|██████████| 3/3 [00:18<00:00,  6.00s/it]"
)
LINES = ["got prompt", "Requested to load WAN21", "loaded partially 9700.0 9600.5 400", "left over keys: []",
         "2 models unloaded.", "Prompt executed in 00:12:34"]  # fmt: skip
FIRST_MS = 1_796_013_360_123
ISO = "2026-11-30T04:36:{:02d}.123456789Z "


def entries(log: str | bytes) -> list[LogEntry]:
    return list(LogStream(log))


def facts(log: str | bytes) -> list[LogFact]:
    return [entry.fact for entry in entries(log) if entry.fact is not None]


def of_docker(text: str, time: str) -> str:
    """Go's encoder of JSON: no spaces, letters as they are, and what HTML knows escaped."""
    line = json.dumps(
        {"log": text + "\n", "stream": "stderr", "time": time}, separators=(",", ":"), ensure_ascii=False
    )
    return line.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


PLAIN = facts("\n".join(LINES))
DRESSES: dict[str, Callable[[int, str], str]] = {
    "nothing": lambda n, text: text,
    "level": lambda n, text: f"\x1b[32m[INFO]\x1b[0m {text}",
    "docker -t": lambda n, text: ISO.format(n) + text,
    "docker's file": lambda n, text: of_docker(text, ISO.format(n).strip()),
    "docker's file, with spaces": lambda n, text: json.dumps(
        {"log": text + "\n", "time": ISO.format(n).strip()}
    ),
    "compose": lambda n, text: f"comfyui-1  | {text}",
    "compose, coloured and stamped": lambda n, text: f"\x1b[36mcomfyui-1  | \x1b[0m{ISO.format(n)}{text}",
    "kubernetes' file": lambda n, text: ISO.format(n) + "stderr F " + text,
    "kubectl --prefix --timestamps": lambda n, text: f"[pod/wan-7d9f/comfyui] {ISO.format(n)}{text}",
    "journald": lambda n, text: f"Nov 30 04:36:{n:02d} gpu-host-1 comfyui[2211]: {text}",
    "journald, iso": lambda n, text: f"2026-11-30T04:36:{n:02d}+0000 gpu-host python3[2211]: {text}",
    "runpod's console": lambda n, text: f"2026-11-30 04:36:{n:02d}.123 | info | 5x7abcq2k1 | {text}",
    "runpod's brackets": lambda n, text: f"2026-11-30 04:36:{n:02d}.123 [5x7abcq2k1zzzz] [info] {text}",
    "cloudwatch's json": lambda n, text: json.dumps({"timestamp": FIRST_MS + n * 1000, "message": text}),
    "seconds in json": lambda n, text: json.dumps({"ts": FIRST_MS / 1000 + n, "msg": text}),
    "the SDK's json": lambda n, text: json.dumps({"requestId": "a", "message": text, "level": "INFO"}),
    "manager's log file": lambda n, text: f"[2026-11-30 04:36:{n:02d}.123] {text}",
    "manager's log file of 2024": lambda n, text: f"[2026-11-30 04:{n:02d}] {text}",
    "a second --verbose": lambda n, text: f"[2026-11-30 04:36:{n:02d},555] [INFO] {text}",
    "vllm": lambda n, text: f"INFO 11-30 04:36:{n:02d} [execution.py:590] {text}",
    "/internal/logs": lambda n, text: f"2026-11-30T04:36:{n:02d}.038454 - {text}",
    "python's logging": lambda n, text: f"2026-11-30 04:36:{n:02d},123 - INFO - {text}",
    "the farm's log file": lambda n, text: f"2026-11-30T04:36:{n:02d}.250+00:00 [INFO] {text}",
    "a clock": lambda n, text: f"[04:36:{n:02d}] {text}",
    "a cloud's colons": lambda n, text: f"[2026-11-30 04:36:{n:02d}:123] {text}",
    "a quotation": lambda n, text: f"> {text}",
    "a quotation of a quotation": lambda n, text: f"> > {text}",
    "a colour without its escape": lambda n, text: f"[32m[INFO][0m {text}",
    "a colour written out": lambda n, text: f"\\u001b[32m[INFO]\\u001b[0m {text}",
    "torch's logging": lambda n, text: (
        f"W1130 04:36:{n:02d}.269000 71 torch/_dynamo/convert.py:8] [0/8] {text}"
    ),
    "swarmui's console": lambda n, text: f"04:36:{n:02d}.141 [Debug] [ComfyUI-0/STDERR] [INFO] {text}",
    "swarmui's file": lambda n, text: f"2026-11-30 04:36:{n:02d}.141 [Info] [ComfyUI-12/STDOUT] {text}",
    "swarmui, at its start": lambda n, text: f"04:36:{n:02d}.141 [Init] [ComfyUI-0/STDERR] {text}",
    "swarmui, troubled": lambda n, text: f"04:36:{n:02d}.141 [Warning] [ComfyUI-0/STDERR] {text}",
    "python's logging, no marks": lambda n, text: f"2026-11-30 04:36:{n:02d},816 INFO {text}",
    "python's logging, padded": lambda n, text: f"2026-11-30 04:36:{n:02d},816 INFO     {text}",
    "python's logging, colon": lambda n, text: f"2026-11-30 04:36:{n:02d},816 INFO: {text}",
    "python's logging, named": lambda n, text: f"2026-11-30 04:36:{n:02d},816 - root - INFO - {text}",
    "a logger's module": lambda n, text: f"2026-11-30 04:36:{n:02d},816 - comfy.server - INFO - {text}",
    "a logger behind": lambda n, text: f"2026-11-30 04:36:{n:02d},816 INFO [comfy.server] {text}",
    "a logger behind, colon": lambda n, text: f"2026-11-30 04:36:{n:02d},816 INFO comfy.server: {text}",
    "a process": lambda n, text: f"2026-11-30 04:36:{n:02d},816 2211 INFO {text}",
    "a stamp in brackets": lambda n, text: f"[2026-11-30 04:36:{n:02d},816] INFO {text}",
    "a stamp in brackets, marked": lambda n, text: f"[2026-11-30 04:36:{n:02d},816] INFO - {text}",
    "hydra": lambda n, text: f"[2026-11-30 04:36:{n:02d},816][root][INFO] - {text}",
    "gunicorn": lambda n, text: f"[2026-11-30 04:36:{n:02d} +0000] [2211] [INFO] {text}",
    "celery": lambda n, text: f"[2026-11-30 04:36:{n:02d},816: WARNING/ForkPoolWorker-1] {text}",
    "basicConfig": lambda n, text: f"INFO:root:{text}",
    "basicConfig, named": lambda n, text: f"INFO:comfy.model_management:{text}",
    "uvicorn": lambda n, text: f"INFO:     {text}",
    "loguru": lambda n, text: f"2026-11-30 04:36:{n:02d}.123 | INFO     | comfy.server:log:42 - {text}",
    "loguru, main": lambda n, text: (
        f"2026-11-30 04:36:{n:02d}.123 | SUCCESS  | __main__:<module>:42 - {text}"
    ),
    "electron's log": lambda n, text: f"[2026-11-30 04:36:{n:02d}.123] [info]  {text}",
    "electron's log, troubled": lambda n, text: f"[2026-11-30 04:36:{n:02d}.123] [error] {text}",
    "a console's clock and level": lambda n, text: f"[04:36:{n:02d}] [INFO] {text}",
    "a console's clock, padded": lambda n, text: f"04:36:{n:02d} [ INFO ] {text}",
    "somebody's tag": lambda n, text: f"[04:36:{n:02d}.860] [comfy] {text}",
    "somebody's pipe": lambda n, text: f"[ComfyUI stderr] {text}",
    "pm2": lambda n, text: f"0|comfyui  | {text}",
    "pm2, stamped": lambda n, text: f"0|comfyui  | 2026-11-30 04:36:{n:02d} +00:00: {text}",
    "a swarm of docker's": lambda n, text: f"stack_comfy.1.x8d0k2@node1    | {text}",
    "stern": lambda n, text: f"wan-7d9f-x2k comfyui › {text}",
    "stern of today": lambda n, text: f"wan-7d9f8c6b5d-x2lkz comfyui {text}",
    "klog": lambda n, text: f"I1130 04:36:{n:02d}.816000       1 main.go:42] {text}",
    "ray": lambda n, text: f"(ComfyActor pid=2211) {text}",
    "runpod's copy": lambda n, text: f"5x7abcq2k1zzzz[info]{text}",
    "journald, short-full": lambda n, text: f"Mon 2026-11-30 04:36:{n:02d} UTC host comfyui[2211]: {text}",
    "journald, short-monotonic": lambda n, text: f"[{n + 9000}.123456] host comfyui[2211]: {text}",
    "syslog": lambda n, text: f"<14>Nov 30 04:36:{n:02d} host comfyui[2211]: {text}",
    "ts": lambda n, text: f"Nov 30 04:36:{n:02d} {text}",
    "ts -s": lambda n, text: f"00:00:{n:02d} {text}",
    "ts %.s": lambda n, text: f"1764477360.{n:06d} {text}",
    "date": lambda n, text: f"Mon Nov 30 04:36:{n:02d} 2026 {text}",
    "powershell": lambda n, text: f"11/30/2026 4:36:{n:02d} PM {text}",
    "kaggle": lambda n, text: f"12.{n}s\t{n + 15}\t{text}",
    "grep -n": lambda n, text: f"{n + 100}:{text}",
    "a terminal's title": lambda n, text: f"\x1b]0;ComfyUI\x07{text}",
    "a table's cell": lambda n, text: f"| {text}",
    "bold letters": lambda n, text: f"[INFO] **{text}",
    "an indented block": lambda n, text: f"    {text}",
    "what nobody else writes": lambda n, text: f"<<gpu-{n}/render>> {text}",
    "the same behind a stamp": lambda n, text: ISO.format(n) + f"render#{n:02d}: {text}",
}
UNSTAMPED = {
    "vllm", "manager's log file of 2024",
    "nothing", "level", "compose", "the SDK's json", "a quotation", "a quotation of a quotation",
    "bold letters", "a colour without its escape", "a colour written out", "torch's logging",
    "an indented block", "what nobody else writes", "basicConfig", "basicConfig, named", "uvicorn",
    "somebody's pipe", "pm2", "a swarm of docker's", "stern", "stern of today", "klog", "ray",
    "runpod's copy", "journald, short-monotonic", "ts %.s", "powershell", "kaggle", "grep -n",
    "a terminal's title", "a table's cell",
}  # fmt: skip
STAMPED = sorted(DRESSES.keys() - UNSTAMPED)


@for_each("dress", DRESSES)
def test_a_line_says_the_same_in_every_dress(dress: str) -> None:
    log = "\n".join(DRESSES[dress](n, text) for n, text in enumerate(LINES))

    assert facts(log) == PLAIN
    assert len(PLAIN) == len(LINES) - 1


@for_each("dress", sorted(DRESSES.keys() - {"what nobody else writes", "the same behind a stamp"}))
def test_a_line_alone_says_in_every_dress_what_it_says_bare(dress: str) -> None:
    alone = [facts(DRESSES[dress](1, text) + "\n") for text in [*LINES, BAR.rsplit("\r", maxsplit=1)[-1]]]

    assert alone == [facts(text + "\n") for text in [*LINES, BAR.rsplit("\r", maxsplit=1)[-1]]]


@pytest.mark.parametrize(
    "text",
    [
        "The console says Prompt executed in 32.10 seconds",
        "Update: Requested to load WAN21 comes twice now",
        "In my log: loaded partially 9700.0 9600.5 400",
        "1. Then it says Prompt executed in 12.00 seconds, and nothing else",
        "INFO for everybody: my card was Requested to load WAN21",
        "- I see loaded completely; 12.42 MB loaded",
        "(see above) and then got prompt",
    ],
)
def test_what_a_person_says_of_a_log_is_no_line_of_it(text: str) -> None:
    assert facts(f"{text}\nand so on\n") == []


@for_each("stamp", ["", "2026-11-30T04:36:00.123Z ", "2026-11-30 04:36:00,123 - ", "04:36:00 "])
@for_each(
    "line",
    [
        "  - Value not in list: unet_name: 'a.safetensors' not in []",
        "ERROR lora diffusion_model.blocks.0.ffn.0.weight shape '[13824, 5120]' is invalid for size 1",
        "WARNING SHAPE MISMATCH diffusion_model.patch_embedding.weight WEIGHT NOT MERGED torch.Size([1])",
        "WARNING, memory leak with model WAN21. Please make sure it is not being referenced from somewhere.",
        "[VideoHelperSuite] - ERROR - No valid ffmpeg found.",
        "[h264_nvenc @ 0x55d5] OpenEncodeSessionEx failed: out of memory (10)",
        "[MultiGPU Core Patching] text_encoder_device_patched returning device: cuda:1",
        "[Sampling] Max allocated memory: max_memory=14.812 GB",
        "   0.3 seconds (IMPORT FAILED): /comfyui/custom_nodes/ComfyUI-GGUF",
        "8 cond steps",
    ],
)
def test_a_line_that_begins_as_a_dress_does_keeps_its_beginning(stamp: str, line: str) -> None:
    assert facts(f"{stamp}{line}\n") == [read_line(line)]


LEARNED: dict[str, Callable[[int, str], str]] = {
    "syslog, RFC 5424": lambda n, text: f"<14>1 2026-11-30T04:36:{n:02d}Z host comfy 12 - - {text}",
    "a table": lambda n, text: f'"2026-11-30 04:36:{n:02d}","{text}"',
    "supervisord": lambda n, text: f"2026-11-30 04:36:{n:02d},123 DEBG 'comfyui' stderr output:\n{text}",
    "a frame": lambda n, text: f"│{text}",
}


@for_each("dress", sorted(DRESSES.keys() - {"bold letters"}))
def test_a_file_that_is_missing_is_named_in_every_dress(dress: str) -> None:
    complaint = "  - Value not in list: unet_name: 'a.safetensors' not in []"
    log = "\n".join(DRESSES[dress](n, text) for n, text in enumerate([*LINES, complaint]))

    assert facts(log) == [*PLAIN, *facts(complaint)]


@pytest.mark.parametrize("dress", LEARNED)
def test_what_a_machinery_of_somebodys_own_puts_before_each_line_is_learned(dress: str) -> None:
    lines = [*LINES, "got prompt", "Requested to load WAN21", "Prompt executed in 43.00 seconds"]

    read = facts("\n".join(LEARNED[dress](n, text) for n, text in enumerate(lines)))

    assert read == facts("\n".join(lines))


@pytest.mark.parametrize(
    "before", ["#12>> ", "<render 3> ", "{gpu-1} ", "render-3 [04:36:00]: ", "x86|gpu=1|"]
)
@pytest.mark.parametrize("line", ["got prompt", "Set vram state to: NORMAL_VRAM", "Requested to load WAN21"])
def test_of_a_machinerys_words_one_line_is_enough_to_learn_them(before: str, line: str) -> None:
    log = f"{before}{line}\n{before}2 models unloaded.\n"

    assert facts(log) == facts(f"{line}\n2 models unloaded.\n")


@for_each("indent", ["    ", "\t", " "])
@for_each(
    "dress",
    # JSON begins where its line does.
    sorted(
        DRESSES.keys()
        - {
            "docker's file",
            "docker's file, with spaces",
            "the SDK's json",
            "cloudwatch's json",
            "seconds in json",
        }
    ),
)
def test_a_block_in_any_dress_may_be_indented(dress: str, indent: str) -> None:
    log = "\n".join(indent + DRESSES[dress](n, text) for n, text in enumerate(LINES))

    assert facts(log) == PLAIN


@for_each("before", ["[gpu-client] ", "render: ", "  │ ", "node 3 says > "])
@for_each(
    "lines",
    [
        ["torch._dynamo hit config.recompile_limit (8)", "   function: 'forward'", "   last reason: 8/7"],
        ["lora key not loaded: a.weight", "lora key not loaded: b.weight", "lora key not loaded: c.weight"],
        ["some node speaks", "50%|█████     | 2/4 [00:08<00:08,  4.00s/it]", "and speaks again"],
        ["2026-11-30T04:36:00.038454 - got prompt", "2026-11-30T04:36:01.038454 - 2 models unloaded.", "x"],
    ],
)
def test_what_all_lines_begin_with_is_none_of_them(before: str, lines: list[str]) -> None:
    log = "\n".join(before + line for line in lines)

    assert facts(log) == facts("\n".join(lines))
    assert [each.at_s for each in entries(log)] == [each.at_s for each in entries("\n".join(lines))]


@for_each(
    "lines",
    [
        ["Requested to load WAN21"] * 5,
        ["NOT LOADED blocks.0.weight", "NOT LOADED blocks.1.weight", "NOT LOADED blocks.2.weight"],
        ["the console says: got prompt", "the console says: nothing", "my wife says: 2 models unloaded."],
        ["a note: well", "a note: better", "a note: worse"],
    ],
)
def test_lines_that_begin_alike_keep_their_words(lines: list[str]) -> None:
    assert facts("\n".join(lines)) == [fact for line in lines for fact in facts(line)]


@for_each("dress", STAMPED)
def test_stamps_tell_how_much_time_passed(dress: str) -> None:
    log = "\n".join(DRESSES[dress](n, text) for n, text in enumerate(LINES))

    at = [entry.at_s for entry in entries(log)]

    assert (at[-1] or 0.0) - (at[0] or 0.0) == pytest.approx(5.0)
    assert None not in at


def test_dresses_may_change_within_a_log() -> None:
    # One that nobody knows is learned from a log that is written in it.
    known = sorted(DRESSES.keys() - {"what nobody else writes", "the same behind a stamp"})
    log = "\n".join(DRESSES[name](1, text) for name in known for text in LINES)

    assert facts(log) == PLAIN * len(known)


@for_each("chatter", ["nothing", "docker -t", "level", "compose"])
@for_each("dress", DRESSES)
def test_lines_in_any_dress_are_found_among_very_many_in_the_same_or_another(
    dress: str, chatter: str
) -> None:
    told = [DRESSES[dress](n, text) for n, text in enumerate(LINES)]
    noise = [DRESSES[chatter](n % 60, f"GET /queue from 10.0.0.{n}: 200 in 3 ms") for n in range(2000)]

    assert facts("\n".join((*noise, *told, *noise, *told))) == PLAIN * 2


def test_of_a_bar_its_beginning_its_first_step_and_its_end_are_kept() -> None:
    bars = [fact for fact in facts(BAR + "\n") if isinstance(fact, BarFact)]

    assert [(bar.done, bar.elapsed_s) for bar in bars] == [(0, 0), (1, 8), (3, 18)]


@pytest.mark.parametrize(
    ("line", "steps", "pace"),
    [
        ("100% 4/4 [04:31<00:00, 67.90s/it]", 4, 67.9),
        ("100%|████████████████| 5/5 [2:41:31<", 5, 1938.2),
        ("100%|████████████████| 5/5 [2:41:31<00:00,", 5, 1938.2),
        ("20/20 [00:10<00:00,  2.00s/it]", 20, 2.0),  # of a notebook
        ("100%|██████████| 20/20 [00:10&lt;00:00,  2.00s/it]", 20, 2.0),
        ("Sampling: 50%|#####     | 10/20 [02:15<02:15, 13.51s/it]", 10, 13.51),
    ],
)
def test_a_bar_is_read_without_its_blocks_or_its_end(line: str, steps: int, pace: float) -> None:
    (bar,) = facts(line + "\n")

    assert isinstance(bar, BarFact)
    assert bar.done == steps
    assert bar.seconds_per_step == pytest.approx(pace)


def test_what_an_editor_of_markdown_escapes_is_read() -> None:
    log = "Requested to load FluxClipModel_\n[INFO] got prompt\n100%|████| 4/4 [04:31<00:00, 67.90s/it]\n"

    escaped = re.sub(r"([_|\[\]<])", r"\\\1", log)

    assert facts(escaped) == facts(log)
    assert len(facts(log)) == 3


@pytest.mark.parametrize("line", ["100% sure of it", "50% 3/4 done", "GPU 45% 3/9 [busy]"])
def test_not_all_that_has_a_percent_sign_is_a_bar(line: str) -> None:
    assert facts(line + "\n") == []


@pytest.mark.parametrize(
    "line",
    [
        "Killed",
        "/entrypoint.sh: line 52:     9 Killed                  python3 ./main.py --port 8188",
        "[91234.5] Out of memory: Killed process 4711 (python3) total-vm:72613344kB",
        "    Reason:       OOMKilled",
        "Nov 30 04:36:00 gpu-1 systemd[1]: comfyui.service: Failed with result 'oom-kill'.",
        "2026-11-30 04:36:00,123 WARN exited: comfyui (terminated by SIGKILL; not expected)",
    ],
)
def test_a_process_that_was_ended_for_its_memory_is_told_in_many_ways(line: str) -> None:
    log = "\n".join(["got prompt", *["GET /queue"] * 3000, line, "exit"])

    assert [type(fact) for fact in facts(log)] == [PromptQueuedFact, HostMemoryFact]


def test_what_people_write_of_a_process_that_was_ended_ends_none() -> None:
    assert facts("got prompt\na cat reads: Out of memory: Killed process\n")[1:] == []


def test_a_bar_of_bytes_is_a_download_and_no_sampler() -> None:
    (fetched,) = facts("model.safetensors:  45%|####      | 1.20G/2.60G [00:30<00:35, 39.8MB/s]\n")

    assert fetched == DownloadFact(source="model.safetensors")


def test_what_somebody_says_of_killing_is_none() -> None:
    assert facts("Killed by a fox, the hen lies there\nprompt: the Killed man\n") == []


def test_what_is_glued_to_a_bar_is_read() -> None:
    log = BAR + "\x1b[32m[INFO]\x1b[0m got prompt\n" + BAR + "got prompt\n"

    assert sum(isinstance(fact, PromptQueuedFact) for fact in facts(log)) == 2


def test_what_a_node_prints_of_a_prompt_queues_none() -> None:
    assert facts("got prompt\ngot prompt: {'3': {'inputs': {}}}\n") == [PromptQueuedFact()]


def test_colours_whose_escape_became_another_character_are_none() -> None:
    line = "2026-09-06T03:37:30.356496 - \ufffd[1m\ufffd[31m[ERROR]\ufffd[0m got prompt"

    assert facts(line) == [PromptQueuedFact()]


def test_a_bar_is_as_wide_as_its_window() -> None:
    [bar] = facts(f"\r100%|{'█' * 600}| 72/72 [00:07<00:00,  9.50it/s]\r")

    assert isinstance(bar, BarFact)
    assert bar.done == 72
    assert bar.seconds_per_step == pytest.approx(1 / 9.5)


def test_a_bar_without_its_blocks_is_one() -> None:
    [bar] = facts("100%| 8/8 [00:23<00:00, 2.94s/it]")

    assert isinstance(bar, BarFact)
    assert (bar.done, bar.seconds_per_step) == (8, 2.94)


def test_a_bar_of_very_many_steps_counts_the_bytes_of_a_file() -> None:
    [bar] = facts("100%|██████████| 393855224/393855224 [00:12<00:00, 31181634.29it/s]")

    assert isinstance(bar, BarFact)
    assert bar.label == "bytes"


def test_an_error_behind_a_bar_whose_end_is_gone_is_read() -> None:
    bar = "  0%|          | 0/25 [00:00"

    found = facts(f"{bar}{bar}!!! Exception during processing !!! Allocation on device\n")

    assert found == [NodeFailedFact(message="Allocation on device")]


def test_a_stamp_behind_printed_text_is_no_part_of_it() -> None:
    log = "2025-09-10T23:53:27.638134 - Requested to load WAN212025-09-10T23:53:27.638134 - \n"

    assert facts(log) == [PLAIN[1]]


def test_trouble_that_nobody_knows_is_kept_as_unknown() -> None:
    log = "\n".join(
        (
            "[WARNING] the flux capacitor is cold",
            "\x1b[1m\x1b[31m[ERROR]\x1b[0m it is broken",
            "Error: so it is",
            "all is well",
        )
    )

    assert [(entry.fact, entry.text) for entry in entries(log)] == [
        (None, "the flux capacitor is cold"),
        (None, "it is broken"),
        (None, "Error: so it is"),
    ]


def test_lines_are_counted_and_numbered() -> None:
    stream = LogStream("a\n\ngot prompt\nb\nPrompt executed in 3.64 seconds")

    assert [(entry.number, entry.fact) for entry in stream] == [
        (3, PromptQueuedFact()),
        (5, PromptDoneFact(seconds=3.64)),
    ]
    assert (stream.lines, stream.known) == (5, 2)


def test_a_loaded_model_has_the_name_of_the_request_before_it() -> None:
    loaded = [fact for fact in facts("\n".join(LINES)) if isinstance(fact, ModelLoadedFact)]

    assert [fact.model_class for fact in loaded] == ["WAN21"]


@pytest.mark.parametrize("size", [1 << 16, (1 << 18) - 1, 1 << 18, (1 << 18) + 1, 1 << 20])
def test_every_line_is_counted_however_the_log_is_cut(size: int) -> None:
    log = b"\n" + b"x" * ((1 << 18) - 2) + b"\n\ngot prompt\n" + b"\n" * (1 << 18) + b"got prompt\n\n"

    stream = LogStream(log[at : at + size] for at in range(0, len(log), size))
    found = [(entry.number, entry.fact) for entry in stream]

    assert found == [(4, PromptQueuedFact()), (5 + (1 << 18), PromptQueuedFact())]
    assert stream.lines == log.count(b"\n")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_packed_log_says_what_it_says_unpacked_and_a_cut_one_what_is_whole(encoding: str) -> None:
    text = "\n".join([*LINES, BAR, *LINES]) + "\n"
    half = len(text) // 2
    packed = gzip.compress(text.encode(encoding))

    assert facts(packed) == facts(text)
    assert facts(io.BytesIO(packed)) == facts(text)  # type: ignore[arg-type]
    assert facts(gzip.compress(text[:half].encode()) + gzip.compress(text[half:].encode())) == facts(text)
    assert len(entries(packed[:-12])) <= len(entries(text))
    assert facts(packed[:20]) == facts(b"\x1f\x8b") == []


def test_a_packed_log_takes_no_more_memory_than_its_lines() -> None:
    bomb = gzip.compress(bytes(64 << 20))
    tracemalloc.start()
    entries(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert peak < 8 << 20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_a_shell_wrote_is_read_in_its_encoding(encoding: str) -> None:
    assert facts("\n".join(LINES).encode(encoding)) == PLAIN


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r\r\n"])
def test_every_line_is_read_once_whatever_ends_it(end: str) -> None:
    log = end.join([*LINES, BAR, LINES[0]]) + end

    assert [fact for fact in facts(log) if not isinstance(fact, BarFact)] == [*PLAIN, PLAIN[0]]
    assert [fact.done for fact in facts(log) if isinstance(fact, BarFact)] == [0, 1, 3]


def test_encodings_may_be_mixed() -> None:
    log = "Grüße\n".encode("latin-1") + "\n".join(LINES).encode() + b"\nloaded \xff\xfe\x00 got prompt"

    assert facts(log) == PLAIN


def test_lines_come_from_a_file_from_chunks_and_from_a_list() -> None:
    text = "\n".join(LINES)
    data = text.encode()

    assert [entry.fact for entry in LogStream(io.BytesIO(data))] == PLAIN
    assert [entry.fact for entry in LogStream(data[n : n + 7] for n in range(0, len(data), 7))] == PLAIN
    assert [entry.fact for entry in LogStream(LINES)] == PLAIN
    assert [entry.fact for entry in LogStream(io.StringIO(text))] == PLAIN


@pytest.mark.parametrize(
    "line", [b"x" * 10**6, b"\r" * 10**6, b"{" * 10**6, BAR.encode() * 10**4, b"[" * 10**6, b"1 " * 10**6]
)
def test_a_line_of_a_million_characters_hides_nothing_behind_it(line: bytes) -> None:
    log = line + b"\ngot prompt\n"

    assert facts(log)[-1] == PromptQueuedFact()


def test_a_long_log_that_says_the_same_again_and_again_takes_a_few_megabytes() -> None:
    block = (
        "lowvram: loaded module regularly blocks.0.ffn.0 Linear()\n" * 500 + BAR + "\ngot prompt\n"
    ).encode()

    def chunks() -> Iterator[bytes]:
        for _ in range(200):
            yield block

    tracemalloc.start()
    found = [0, 0]
    for entry in LogStream(chunks()):
        found[0] += isinstance(entry.fact, PromptQueuedFact)
        found[1] += isinstance(entry.fact, ModuleOnCardFact)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert found[0] == 200
    assert 0 < found[1] < 1000
    assert peak < 8 * 2**20


def test_lines_of_one_shape_are_read_by_their_own_figures() -> None:
    """What was seen in one line is used for those that are alike but for their digits."""
    lines = sorted({line for path in CORPUS.glob("*.log") for line in path.read_bytes().splitlines()})
    lines = [line for line in lines if b"lowvram: loaded" not in line and b"loaded " not in line]
    # A digit behind a letter is of a name, such as h264.
    others = [
        re.sub(rb"(?<![a-zA-Z0-9])\d", lambda digit: b"%d" % (9 - int(digit[0])), each) for each in lines
    ]

    together = list(LogStream(b"\n".join((*others, *lines))))

    told: dict[int, list[LogFact | None]] = {}
    for entry in together:
        told.setdefault(entry.number - len(lines), []).append(entry.fact)
    alone = {number: [entry.fact for entry in LogStream(line)] for number, line in enumerate(lines, 1)}
    assert {number: each for number, each in told.items() if number > 0} == {
        number: each for number, each in alone.items() if each
    }


def test_a_model_may_be_asked_for_very_often_before_it_is_loaded() -> None:
    read = entries("Requested to load WAN21\n" * 3000 + LINES[2])

    assert isinstance(read[-1].fact, ModelLoadedFact)
    assert read[-1].fact.model_class == "WAN21"


@given(st.binary(max_size=2000))
def test_no_bytes_raise(data: bytes) -> None:
    list(LogStream(data))


def test_no_truncated_or_damaged_line_raises() -> None:
    rng = random.Random(7)
    whole = "\n".join(DRESSES[name](n, text) for name in DRESSES for n, text in enumerate([*LINES, BAR]))
    data = whole.encode()
    for _ in range(300):
        cut = bytearray(data[rng.randrange(len(data)) : rng.randrange(len(data))] or data)
        for _ in range(rng.randrange(20)):
            cut[rng.randrange(len(cut))] = rng.randrange(256)
        list(LogStream(bytes(cut)))


def test_failures_of_an_attention_are_all_read() -> None:
    log = "Error running sage attention: x, using pytorch attention instead.\n" * 250

    assert facts(log) == [AttentionFailedFact(name="sage")] * 250


_PARTLY = "loaded partially; 9700.00 MB usable, 9600.00 MB loaded, 4029.00 MB offloaded, lowvram patches: 400"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "pieces",
    [
        *(
            [_PARTLY[a:b] for a, b in itertools.pairwise((0, *at, None))]
            for at in ((30,), (36,), (12, 24, 45))
        ),
        textwrap.wrap(_PARTLY, 34),  # between words, without the space
    ],
)
def test_a_line_that_a_terminals_width_has_cut_is_read_whole(pieces: list[str], end: str) -> None:
    entries = list(LogStream(f"got prompt\n{end.join(pieces)}\nPrompt executed in 9.00 seconds\n"))

    assert [(each.kind, each.number) for each in entries] == [
        (PromptQueuedFact, 1),
        (ModelLoadedFact, 2),
        (PromptDoneFact, 2 + len(pieces)),
    ]


def test_a_line_that_is_no_known_one_takes_nothing_of_the_next() -> None:
    entries = list(LogStream("loaded partially; \ngot prompt\nRequested to load \n\nWAN21\n"))

    assert [each.kind for each in entries] == [PromptQueuedFact]


@pytest.mark.parametrize(
    "text", ["got prompt", "", "  100 €", 'a "word"', "a\\b", "\x1b[32mgreen", "2/2 [00:01<00:00]"]
)
def test_a_line_of_dockers_is_the_same_at_once_and_by_itself(text: str) -> None:
    line = of_docker(text, "2026-11-30T04:36:11.123456789Z").encode()

    at_once = from_docker(b"\n".join((b"x", line, line)))

    assert [from_json(each) for each in at_once.split(b"\n")] == [b"x", from_json(line), from_json(line)]
