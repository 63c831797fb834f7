"""What a graph, a card and a worker's times add to a log; and that no log raises."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.doctor import CORPUS
from comfy.doctor.clip import ClipLook, FrameLook
from comfy.doctor.diagnose import diagnose
from comfy.doctor.registry import OF_THE_CARD
from comfy.doctor.report import Confidence, Finding, Phase, Report, Status
from comfy.doctor.rule import measured
from comfy.doctor.times import CardUse, Failure, JobTimes, NodeTime, node_times
from comfy.doctor.words import after_words
from comfy.protocol.phases import Phase as Work
from comfy.protocol.progress import NodeTiming
from comfy.wan.templates import get_template
from tests.support.tables import for_each

GPU = "NVIDIA GeForce RTX 4090"


def log_of(name: str) -> bytes:
    return (CORPUS / f"{name}.log").read_bytes()


def clip(**parameters: Any) -> Mapping[str, Any]:
    return get_template("wan22-t2v-a14b").build(prompt="a fox", **parameters).graph


def found(report: Report, name: str) -> Finding | None:
    return next((each for each in report.findings if each.id == name), None)


def sampled(seconds_per_step: float, **parameters: Any) -> tuple[Mapping[str, Any], JobTimes]:
    """A graph, and the times of a job that ran it."""
    graph = clip(**parameters)
    samplers = [n for n, node in graph.items() if node["class_type"] == "KSamplerAdvanced"]
    steps = int(graph[samplers[0]]["inputs"]["steps"]) // 2
    nodes = tuple(
        NodeTime(
            node_id=node_id,
            phase=phase,
            seconds=steps * seconds_per_step + 2,
            steps=steps,
            seconds_per_step=seconds_per_step,
        )
        for node_id, phase in zip(samplers, (Phase.SAMPLING_HIGH, Phase.SAMPLING_LOW), strict=True)
    )
    whole = sum(node.seconds for node in nodes)
    return graph, JobTimes(
        seconds={"queue": 3.0, "prepare": 0.2, "comfy": whole + 20, "publish": 1.0, "attempt": whole + 21.4},
        nodes=nodes,
    )


def test_steps_are_slow_only_beyond_what_card_and_size_predict() -> None:
    graph, usual = sampled(24.0, width=832, height=480)
    _, slow = sampled(90.0, width=832, height=480)

    assert found(diagnose(graph=graph, card=GPU, times=usual), "slower-than-predicted") is None
    finding = found(diagnose(graph=graph, card=GPU, times=slow), "slower-than-predicted")

    assert finding is not None and finding.cost is not None  # noqa: PT018
    assert not finding.cost.measured
    assert finding.cost.low < finding.cost.seconds < finding.cost.high


SMALL = "Sampling 81 frames at 832x480 with 4 steps"


def paced(
    pace: float, *, says: str = "", device: str = f"cuda:0 {GPU} : cudaMallocAsync", model: str = "WAN21"
) -> str:
    """A log of a prompt of four steps; without a graph nobody knows its size."""
    clock = f"{int(pace * 4) // 60:02d}:{int(pace * 4) % 60:02d}"
    lines = [
        "Total VRAM 24080 MB, total RAM 64000 MB", f"Device: {device}", "got prompt", says,
        f"Requested to load {model}",
        "loaded completely; 17000.50 MB usable, 13629.00 MB loaded, full load: True",
        f"100%|████| 4/4 [{clock}<00:00, {pace:.2f}s/it]", f"Prompt executed in {pace * 4 + 20:.2f} seconds",
    ]  # fmt: skip
    return "\n".join(lines)


def claims(log: str, **more: Any) -> set[str]:
    return {each.id for each in diagnose(log, **more).folklore}


@pytest.mark.parametrize(
    ("log", "card", "is_borne_out"),
    [
        (paced(67.5), None, True),  # 1280×720×81 on a 4090: 65 s a pass, and one or two passes
        (paced(130), None, True),
        (paced(360), None, False),
        (paced(4325), None, False),
        (paced(130, device="cuda:0 NVIDIA H100 PCIe : native"), None, False),
        (paced(67.5, device="cpu"), None, False),
        (paced(300, device="cpu"), "RTX 4090", False),
        (paced(67.5, device="cuda:0 Somebody's Card : native"), None, False),
        (paced(67.5, model="QwenImage"), None, False),
        (
            paced(67.5, says=SMALL),
            None,
            False,
        ),
        (
            paced(20.5, says=SMALL),
            None,
            True,
        ),
    ],
)
def test_long_steps_are_excused_only_where_card_size_and_passes_bear_them_out(
    log: str, card: str | None, is_borne_out: bool
) -> None:
    assert ("long-steps" in claims(log, card=card)) is is_borne_out


@pytest.mark.parametrize(("width", "height", "is_borne_out"), [(1280, 720, True), (832, 480, False)])
def test_with_a_graph_its_own_size_and_passes_say_whether_steps_are_long(
    width: int, height: int, is_borne_out: bool
) -> None:
    template = get_template("wan21-i2v-14b")
    graph = template.build(prompt="a fox", image="fox.png", width=width, height=height, steps=4).graph

    report = diagnose(paced(130), graph=graph)

    assert ("long-steps" in {each.id for each in report.folklore}) is is_borne_out
    assert (found(report, "slower-than-predicted") is None) is is_borne_out


def test_a_cpu_at_work_on_a_model_of_size_is_found_without_being_told_of_a_card() -> None:
    assert "computes-on-cpu" in ids(paced(300, device="cpu"))
    assert "computes-on-cpu" not in ids(paced(0.5, device="cpu"))  # tests have models that small
    assert "computes-on-cpu" not in ids(paced(300))


def test_a_graph_of_other_steps_than_the_logs_is_said_to_be_another() -> None:
    graph, _ = sampled(24.0, width=832, height=480)

    questions = diagnose(paced(24.0), graph=graph).questions

    assert any("the graph's steps are not those" in each.what for each in questions)


def test_a_card_that_nobody_knows_is_refused_with_those_that_are_near() -> None:
    with pytest.raises(ValueError, match=r"no card 'RTX 4091' is known; one of: .*4090"):
        diagnose(paced(24.0), card="RTX 4091")
    assert diagnose(paced(24.0), card="").prompts


def test_a_large_clip_may_take_a_minute_a_step() -> None:
    graph, times = sampled(67.5, width=1280, height=720)

    assert found(diagnose(graph=graph, card="A100 80GB", times=times), "slower-than-predicted") is None


def test_guidance_beside_a_few_step_lora_costs_half_of_its_sampling() -> None:
    graph, times = sampled(24.0, preset="fast")
    graph = {key: {**node, "inputs": dict(node["inputs"])} for key, node in graph.items()}
    for node in graph.values():
        if node["class_type"] == "KSamplerAdvanced":
            node["inputs"]["cfg"] = 3.5

    finding = found(diagnose(graph=graph, times=times), "more-passes-than-needed")

    assert finding is not None and finding.cost is not None  # noqa: PT018
    assert finding.cost.measured
    assert finding.cost.seconds == pytest.approx(times.nodes[0].seconds / 2)


def test_a_jobs_own_times_add_up_and_come_before_the_log() -> None:
    _, times = sampled(6.0)

    report = diagnose(log_of("healthy-legacy"), times=times)

    prompt = report.prompts[-1]
    assert prompt.wall_s == pytest.approx(times.seconds["queue"] + times.seconds["attempt"])
    assert sum(phase.seconds for phase in prompt.phases) == pytest.approx(prompt.wall_s)
    assert {phase.source for phase in prompt.phases} == {"worker", "websocket", "rest"}
    # How the models came onto the card is only in the log.
    assert [use.model_class for use in prompt.models] == ["WanTEModel", "WAN21", "WAN21", "WanVAE"]


@pytest.mark.parametrize(
    ("unheard_s", "executed_s", "believed"),
    [(0, None, True), (2.9, 13.0, True), (10.0, 13.0, False), (10.0, 400.0, True), (10.0, None, False)],
)
def test_times_of_nodes_of_which_nothing_was_heard_meanwhile_are_not_believed(
    unheard_s: float, executed_s: float | None, believed: bool
) -> None:
    _, times = sampled(6.0)
    took = {} if executed_s is None else {"execute": executed_s}
    times = replace(times, seconds={**times.seconds, **took}, unheard_s=unheard_s)

    report = diagnose(times=times)

    (prompt,) = report.prompts
    assert any(phase.phase is Phase.SAMPLING_HIGH for phase in prompt.phases) is believed
    assert sum(phase.seconds for phase in prompt.phases) == pytest.approx(prompt.wall_s)
    assert any("not believed" in question.what for question in report.questions) is not believed
    assert not any("through the farm" in question.decides for question in report.questions)


def test_seconds_of_a_job_in_which_no_node_was_heard_of_are_told_as_that() -> None:
    report = diagnose(
        "got prompt\n", times=JobTimes(seconds={"attempt": 100.0, "comfy": 90.0, "publish": 1.0})
    )

    assert [each.what for each in report.questions if "unexplained" in each.what] == [
        "99.0 s are unexplained: no node was heard of meanwhile"
    ]


def test_what_samplers_take_beside_their_steps_is_loading() -> None:
    _, times = sampled(6.0)

    phases = {phase.phase: phase.seconds for phase in diagnose(times=times).prompts[0].phases}

    assert phases[Phase.LOADING] == pytest.approx(4.0)


def test_a_job_that_waited_longer_than_it_took_is_told() -> None:
    times = JobTimes(seconds={"queue": 400.0, "attempt": 100.0, "comfy": 90.0})

    finding = found(diagnose(times=times), "queue-wait")

    assert finding is not None and finding.cost is not None  # noqa: PT018
    assert finding.cost.seconds == 400


def test_what_somebody_paused_did_not_wait_for_a_worker() -> None:
    times = JobTimes(seconds={"paused": 390.0, "queue": 10.0, "attempt": 100.0, "comfy": 90.0})

    report = diagnose(times=times)

    assert found(report, "queue-wait") is None
    (prompt,) = report.prompts
    assert prompt.wall_s == 500
    assert {phase.phase: phase.seconds for phase in prompt.phases}[Phase.PAUSED] == 390


@pytest.mark.parametrize(
    ("size", "lost_s", "words", "remedy"),
    [
        (30_000_000, 54, "30 MB went up at 0.5 MB/s", "a storage nearer"),
        (300_000, 59.94, "the storage took 60.0 s for 0.3 MB: it was away", "`farm check` looks"),
    ],
    ids=["slow", "silent"],
)
def test_a_slow_upload_is_told_as_what_made_it_slow(
    size: int, lost_s: float, words: str, remedy: str
) -> None:
    times = JobTimes(seconds={"upload": 60.0, "attempt": 100.0}, output_bytes=size)

    finding = found(diagnose(times=times), "slow-upload")

    assert finding is not None and finding.cost is not None  # noqa: PT018
    assert finding.cost.seconds == pytest.approx(lost_s)
    assert finding.message.startswith(words)
    assert finding.remedy.startswith(remedy)


def test_attention_that_is_set_on_the_wrong_node_is_told() -> None:
    graph = {
        "1": {
            "class_type": "WanVideoModelLoader",
            "inputs": {"model": "a.safetensors", "attention_mode": "sdpa"},
        },
        "2": {"class_type": "WanVideoSampler", "inputs": {"model": ["1", 0], "steps": 4}},
        "3": {"class_type": "WanVideoDecode", "inputs": {"samples": ["2", 0]}},
        "4": {"class_type": "VHS_VideoCombine", "inputs": {"images": ["3", 0], "frame_rate": 16}},
    }
    log = "got prompt\nPatching comfy attention to use sageattn\nPrompt executed in 3.00 seconds\n"

    assert found(diagnose(log, graph=graph), "attention-wrong-node") is not None


def test_a_loader_without_load_device_is_told_as_folklore() -> None:
    graph = {
        "1": {"class_type": "UnetLoaderGGUF", "inputs": {"unet_name": "a.gguf", "load_device": "main_device"}}
    }

    assert [each.id for each in diagnose(graph=graph).folklore] == ["load-device"]


def test_a_smaller_size_is_a_choice_with_a_price_and_no_finding() -> None:
    graph, times = sampled(67.5, width=1280, height=720)

    report = diagnose(graph=graph, card="A100 80GB", times=times)

    smaller = next(lever for lever in report.levers if "832×480" in lever.what)
    assert 0.6 < smaller.saves.seconds / sum(node.seconds for node in times.nodes) < 0.8
    assert report.findings == ()


def test_what_cannot_be_concluded_is_said_with_what_would_decide_it() -> None:
    decides = [question.decides for question in diagnose(log_of("healthy-middle-of-a-log")).questions]

    assert any("--graph" in each and "--card" in each for each in decides)
    assert any("first line" in each for each in decides)


def test_nodes_of_the_websocket_become_times_of_their_phases() -> None:
    timing = NodeTiming(
        node_id="3",
        class_type="KSampler",
        phase=Work.SAMPLE,
        started_s=1.0,
        ended_s=9.0,
        seconds_per_step=2.0,
    )
    running = NodeTiming(
        node_id="4", class_type=None, phase=Work.VAE, started_s=9.0, ended_s=None, seconds_per_step=None
    )

    times = node_times([timing, running], {"3": 4})

    assert times == (NodeTime(node_id="3", phase=Phase.SAMPLING, seconds=8.0, steps=4, seconds_per_step=2.0),)


def test_of_very_many_prompts_the_last_ones_are_kept_and_all_are_counted() -> None:
    report = diagnose("got prompt\nPrompt executed in 1.00 seconds\n" * 1000)

    assert len(report.prompts) + report.prompts_left_out == 1000
    assert report.prompts[-1].number == 1000


def test_a_prompt_waits_in_the_servers_queue_until_the_one_before_it_has_ended() -> None:
    stamp = "2026-11-30T04:{}:00.000000Z "
    log = (
        stamp.format("00") + "got prompt\n" + stamp.format("01") + "got prompt\n"
        + stamp.format("05") + "Prompt executed in 300.00 seconds\n"
        + stamp.format("06") + "Requested to load WAN21\n"
        + stamp.format("07") + "Prompt executed in 120.00 seconds\n"
    )  # fmt: skip

    second = diagnose(log).prompts[1]

    assert second.status is Status.DONE
    assert second.wall_s == pytest.approx(120 + 240)
    assert second.phases[0].phase is Phase.WAITING


@given(st.binary(max_size=3000))
def test_no_bytes_raise(data: bytes) -> None:
    diagnose(data)


def test_no_mixture_of_logs_raises() -> None:
    rng = random.Random(11)
    lines = [line for path in sorted(CORPUS.glob("*.log")) for line in path.read_bytes().split(b"\n")]
    for _ in range(60):
        some = rng.choices(lines, k=300)
        some = [line[: rng.randrange(len(line) + 1)] if rng.random() < 0.1 else line for line in some]
        report = diagnose(b"\n".join(some))
        for prompt in report.prompts:
            assert prompt.wall_s is None or prompt.phases


def ids(log: str, **more: Any) -> list[str]:
    return [each.id for each in diagnose(log, **more).findings]


def test_a_log_that_begins_in_the_middle_of_an_error_ends_it_as_that() -> None:
    report = diagnose("Got an OOM, unloading all loaded models.\nPrompt executed in 2.22 seconds\n")

    assert [prompt.status for prompt in report.prompts] == [Status.OUT_OF_MEMORY]
    assert found(report, "out-of-memory") is not None


def test_what_a_prompt_says_after_its_end_begins_no_other() -> None:
    """What is printed goes through another buffer than what is logged."""
    assert (
        len(diagnose("Prompt executed in 381.91 seconds\nComfy-VFI done! 162 frames generated\n").prompts)
        == 1
    )


def test_a_model_that_is_loaded_unasked_is_not_the_last_one_of_the_prompt_before() -> None:
    report = diagnose(
        "got prompt\nRequested to load WanVAE\nPrompt executed in 3.00 seconds\n"
        "got prompt\nloaded partially 11184.26 11184.25 0\n"
    )

    assert [use.model_class for use in report.prompts[1].models] == [""]


@pytest.mark.parametrize(("missing", "fitted", "is_told"), [(2, 1370, False), (400, 400, True), (2, 0, True)])
def test_some_layers_of_a_lora_may_be_for_something_beside_the_model(
    missing: int, fitted: int, is_told: bool
) -> None:
    log = (
        "got prompt\n" + "lora key not loaded: text_projection.lora_A.weight\n" * missing
        + f"Model WAN21 prepared for dynamic VRAM loading. 13629MB Staged. {fitted} patches attached.\n"
        + "Prompt executed in 3.00 seconds\n"
    )  # fmt: skip

    assert ("lora-not-loaded" in ids(log)) is is_told


@pytest.mark.parametrize(
    ("types", "card", "is_told"),
    [
        ("F16 (694), Q8_0 (400)", None, True),  # eight bits take more than fp8, whatever the card
        ("F16 (694), Q5_K (400)", None, False),
        ("F16 (694), Q5_K (400)", GPU, True),
        ("F16 (694), Q4_K (400)", GPU, False),
    ],
)
def test_gguf_is_a_finding_where_fp8_would_fit(types: str, card: str | None, is_told: bool) -> None:
    log = (
        f"got prompt\ngguf qtypes: {types}\nRequested to load WAN21\n"
        "loaded partially; 201.17 MB usable, 0.00 MB loaded, 14825.46 MB offloaded, lowvram patches: 0\n"
        "Prompt executed in 30.00 seconds\n"
    )

    assert ("gguf-where-fp8-fits" in ids(log, card=card)) is is_told


@pytest.mark.parametrize(
    ("error", "is_told"),
    [
        (
            "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory",
            True,
        ),
        ("The paging file is too small for this operation to complete. (os error 1455)", True),
        ("[Errno 12] Cannot allocate memory", True),
        ("CUDA out of memory. Tried to allocate 20.00 GiB.", False),
        ("list index out of range", False),
    ],
)
def test_an_error_for_want_of_host_memory_is_told_as_that(error: str, is_told: bool) -> None:
    assert ("host-ram-short" in ids(f"got prompt\n!!! Exception during processing !!! {error}\n")) is is_told


OUT_OF_MEMORY = "!!! Exception during processing !!! Allocation on device\nPrompt executed in 12.10 seconds\n"


@pytest.mark.parametrize(
    ("lines", "failed_class", "first", "where"),
    [
        ("  0%|          | 0/20 [00:07<?, ?it/s]\n", "", "fewer frames", "while it sampled"),
        ("Requested to load WAN21\n", "", "fewer frames", "while it sampled"),
        ("Sampling 81 frames at 832x480 with 30 steps\n", "", "fewer frames", "while it sampled"),
        ("100%|###| 20/20 [04:30<00:00, 13.50s/it]\n", "", "VAEDecodeTiled", "in the VAE"),
        ("Requested to load WanVAE\nloaded completely 9 9 True\n", "", "VAEDecodeTiled", "in the VAE"),
        (
            "100%|###| 4/4 [00:30<00:00, 7.50s/it]\nRequested to load WAN21\n",
            "", "fewer frames", "while it sampled",
        ),
        ("Requested to load WanTEModel\n", "", "an fp8 text encoder", "while the text was encoded"),
        ("", "VAEDecode", "VAEDecodeTiled", "in the VAE"),
        ("Requested to load WanVAE\n", "KSamplerAdvanced", "fewer frames", "while it sampled"),
        ("", "UNETLoader", "a file of fewer bits", "while a model was loaded"),
        ("", "RIFE VFI", "fewer frames at a time", "interpolated"),
        ("", "", "fewer frames", "no memory left, and"),
    ],
)  # fmt: skip
def test_what_to_do_when_the_card_runs_out_depends_on_what_it_was_at(
    lines: str, failed_class: str, first: str, where: str
) -> None:
    failure = Failure(message="no memory left", class_type=failed_class) if failed_class else None

    report = diagnose(f"got prompt\n{lines}{OUT_OF_MEMORY}", failure=failure)

    finding = found(report, "out-of-memory")

    assert finding is not None
    assert finding.remedy.startswith(first)
    assert where in finding.message


def test_a_prompt_that_came_to_nothing_is_not_promised_to_take_no_time() -> None:
    finding = found(diagnose(f"got prompt\n{OUT_OF_MEMORY}"), "out-of-memory")

    assert finding is not None
    assert after_words(finding.cost, 12.1) == ""
    assert after_words(measured(6.0, "half"), 12.1) == "12 s would be 6 s"


@pytest.mark.parametrize(
    ("lines", "confidence"),
    [
        (("Killed",), Confidence.LIKELY),
        (("./run.sh: line 52:     9 Killed                  python3 main.py",), Confidence.LIKELY),
        (("exited: comfyui (terminated by SIGKILL; not expected)",), Confidence.LIKELY),
        (("comfyui.service: Main process exited, code=killed, status=9/KILL",), Confidence.LIKELY),
        (("Killed", "Out of memory: Killed process 2211 (python3) total-vm:61832012kB"), Confidence.PROVEN),
        (("Killed", "    Reason:       OOMKilled", "    Exit Code:    137"), Confidence.PROVEN),
        (("comfyui.service: Failed with result 'oom-kill'.",), Confidence.PROVEN),
        (("!!! Exception during processing !!! bad_alloc",), Confidence.PROVEN),
    ],
)
def test_want_of_host_memory_is_proven_only_by_a_line_that_names_it(
    lines: tuple[str, ...], confidence: Confidence
) -> None:
    log = "got prompt\nRequested to load WAN21\n" + "".join(f"{line}\n" for line in lines)

    finding = found(diagnose(log), "host-ram-short")

    assert finding is not None
    assert finding.confidence is confidence
    assert ("dmesg" in finding.remedy) is (confidence is Confidence.LIKELY)


LITTLE_RAM = (
    "Total VRAM 24080 MB, total RAM 16000 MB\nDevice: cuda:0 NVIDIA GeForce RTX 4090 : native\n"
    "got prompt\nPrompt executed in 30.00 seconds\n"
)


@pytest.mark.parametrize(("ending", "is_advised"), [("fp8_scaled", False), ("fp16", True)])
def test_smaller_files_are_advised_only_where_there_are_such(ending: str, is_advised: bool) -> None:
    text = json.dumps(clip()).replace("fp8_scaled", ending)

    finding = found(diagnose(LITTLE_RAM, graph=json.loads(text)), "host-ram-short")

    assert finding is not None
    assert ("fp8 files" in finding.remedy) is is_advised


@pytest.mark.parametrize(
    "name", ["emulator-novram-0.12.1", "emulator-partial-0.33.0", "emulator-split-attention-0.3.64"]
)
def test_an_emulated_worker_gets_no_finding_about_a_card_or_models(name: str) -> None:
    graph = clip()
    of_the_card = {rule.id for rule in OF_THE_CARD}
    about_a_card = {each.id for each in diagnose(log_of(name), graph=graph).findings} & of_the_card

    emulated = diagnose(log_of(name) + LITTLE_RAM.encode(), graph=graph, emulated=True)

    assert about_a_card
    assert not {each.id for each in emulated.findings} & of_the_card
    assert (emulated.folklore, emulated.levers) == ((), ())
    assert not any("slow" in question.what for question in emulated.questions)


def test_an_emulated_job_that_failed_is_still_told_as_that() -> None:
    report = diagnose(log_of("emulator-oom-0.33.0"), emulated=True)

    assert found(report, "out-of-memory") is not None


@pytest.mark.parametrize(
    ("card", "is_told"), [("NVIDIA GeForce RTX 4090", True), ("AMD Radeon RX 7900 XTX", False)]
)
def test_dynamic_vram_is_missed_where_it_is_the_default(card: str, is_told: bool) -> None:
    log = f"Device: cuda:0 {card} : native\nNo working comfy-aimdo install detected. DynamicVRAM\n"

    assert ("dynamic-vram-off" in ids(log)) is is_told


def test_a_text_encoder_may_be_a_gguf() -> None:
    encoder = "got prompt\ngguf qtypes: F32 (73), Q8_0 (169)\nCLIP/text encoder model load device: cuda:0\n"
    model = "model weight dtype torch.float8_e4m3fn, manual cast: torch.float16\n"

    assert "gguf-where-fp8-fits" not in ids(encoder + model, card=GPU)
    assert "gguf-where-fp8-fits" in ids(encoder + "gguf qtypes: F16 (694), Q8_0 (400)\n" + model, card=GPU)


def test_a_step_cache_is_idle_only_where_it_skips_in_no_prediction() -> None:
    line = "TeaCache skipped: {} {}conditional steps: []\n"
    skipped = "got prompt\n" + line + line.format(0, "un")

    assert "step-cache-idle" in ids(skipped.format(0, ""))
    assert "step-cache-idle" not in ids(skipped.format(6, ""))


def card_use(**seen: Any) -> CardUse:
    unused: dict[str, Any] = {
        "looks": 20, "shared": 0, "others_bytes": 0, "slowed": 0, "slowed_by": "", "hottest_c": 70,
    }  # fmt: skip
    return CardUse(**{**unused, **seen})


@pytest.mark.parametrize(
    ("use", "told"),
    [
        (None, None),
        (card_use(), None),
        (card_use(shared=20, others_bytes=6 * 2**30), "gpu-shared"),
        (card_use(shared=20, others_bytes=200 * 2**20), None),  # a desktop's windows
        (card_use(shared=1, others_bytes=6 * 2**30), None),  # it was there for a moment
        (card_use(slowed=12, slowed_by="heat", hottest_c=91), "gpu-throttled"),
        (card_use(slowed=1, slowed_by="heat"), None),
    ],
)
def test_a_card_that_others_use_or_that_slows_itself_is_told(use: CardUse | None, told: str | None) -> None:
    times = JobTimes(seconds={"queue": 1.0, "attempt": 100.0, "comfy": 90.0}, card=use)

    names = [each.id for each in diagnose(times=times).findings]

    assert names == ([told] if told else [])


OOM = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 23.52 GiB of which 1.21 "
    "GiB is free. {}Including non-PyTorch memory, this process has 9.30 GiB memory in use."
)


@pytest.mark.parametrize(
    ("others", "is_told"), [("Process 4711 has 12.10 GiB memory in use. ", True), ("", False)]
)
def test_out_of_memory_names_who_else_holds_the_card(others: str, is_told: bool) -> None:
    assert ("gpu-shared" in ids(ERROR + OOM.format(others) + "\n")) is is_told


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("loaded partially; 9600.00 MB loaded, 4029.00 MB offloaded, lowvram patches: 400", True),
        ("loaded partially; 9600.00 MB loaded, 4029.00 MB offloaded, lowvram patches: 0", False),
        ("loaded completely; 17000.50 MB usable, 13629.00 MB loaded, full load: True", False),
        ("loaded partially 9700.0 9600.5 400", True),
    ],
)
def test_a_lora_on_weights_that_stream_is_told(line: str, is_told: bool) -> None:
    log = f"got prompt\nRequested to load WAN21\n{line}\nPrompt executed in 30.00 seconds\n"

    assert ("lora-on-streamed-weights" in ids(log)) is is_told


BLACK = ClipLook(
    name="clip.mp4",
    frames=9
    * (
        FrameLook(
            mean=0, spread=0, detail=0, peak=0, structure=0, flicker=0, changed=0, drift=0, hole_corners=0,
            hole_edge=0, hole_boxes=0,
        ),
    ),
    width=320, height=192, count=9, fps=16.0, has_audio=False,
)  # fmt: skip


@pytest.mark.parametrize(("count", "asked"), [(9, []), (838, ["829 of its 838 frames"])])
def test_frames_that_nobody_looked_at_are_told(count: int, asked: list[str]) -> None:
    report = diagnose(clips=[replace(BLACK, count=count)])

    told = [each.what for each in report.questions if each.what.startswith("clip.mp4")]
    assert len(told) == len(asked)
    assert all(part in what for part, what in zip(asked, told, strict=True))


DYNAMIC = "DynamicVRAM support detected and enabled\n"
READ = "model weight dtype torch.float16, manual cast: None\n"
RUN = "got prompt\n{}100%|####| 4/4 [00:20<00:00,  5.00s/it]\nPrompt executed in 30.00 seconds\n"


@pytest.mark.parametrize(
    ("log", "clips", "is_told"),
    [
        (DYNAMIC + RUN.format(""), [BLACK], True),
        (DYNAMIC + RUN.format(READ), [BLACK], False),  # read from disk in this run
        (DYNAMIC + RUN.format(""), [], False),
        (RUN.format(""), [BLACK], False),
        (DYNAMIC + "Using sage attention\n" + RUN.format(""), [BLACK], False),  # which is suspected first
    ],
)
def test_a_clip_that_kept_models_have_spoilt_is_told(log: str, clips: list[ClipLook], is_told: bool) -> None:
    assert ("state-left-behind" in ids(log, clips=clips)) is is_told


def test_a_graph_that_is_run_again_has_its_own_attention() -> None:
    patched = RUN.format("Patching comfy attention to use sageattn\n" + READ)

    assert "attention-left-behind" not in ids(patched + RUN.format(""))
    assert "attention-left-behind" in ids(patched + RUN.format(READ))


ERROR = "got prompt\n!!! Exception during processing !!! "


def test_an_error_ends_a_prompt_whose_last_line_is_missing() -> None:
    report = diagnose(ERROR + "boo\n  0%|   | 20/0 [99:99:99<00:00, 1.00s/it]\n")

    assert report.prompts[0].status is Status.FAILED
    assert report.prompts[0].samplers == ()
    assert found(report, "prompt-failed") is not None


def test_the_allocators_own_words_are_out_of_memory() -> None:
    error = "Allocation on device\ntorch.OutOfMemoryError: Allocation on device\n"
    report = diagnose(ERROR + error + "Prompt executed in 3.00 seconds\n")

    assert report.prompts[0].status is Status.OUT_OF_MEMORY
    assert found(report, "out-of-memory") is not None


def test_it_needs_nothing_but_python() -> None:
    """Neither the farm nor any package: no site-packages are on the path of this interpreter."""
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from comfy.doctor.diagnose import diagnose\n"
        "from comfy.doctor.html import page\n"
        "report = diagnose(open(sys.argv[2], 'rb'))\n"
        "print(report.findings[0].id, len(page(report, 'x')) > 1000)\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules} & {'farm', 'worker', 'pydantic'}))\n"
    )
    root = str(Path(__file__).parents[4])

    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script, root, str(CORPUS / "origin-450s.log")],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert done.stderr == ""
    assert done.stdout.splitlines() == ["gguf-where-fp8-fits True", "[]"]


_COMPILES = (
    "W0109 12:00:00.000000 123 torch/_dynamo/convert_frame.py:906] [0/8] torch._dynamo hit config.{} (8)"
)
_TEXT_ON_CPU = (
    "CLIP/text encoder model load device: cpu, offload device: cpu, current: cpu, dtype: torch.float16"
)
_PARTLY = "loaded partially; 9700.00 MB usable, 9600.00 MB loaded, 4029.00 MB offloaded, lowvram patches: 0"
_BAR = "100%|██████████| 4/4 [02:00<00:00, 30.00s/it]"
_START = """Total VRAM 81080 MB, total RAM 257000 MB
pytorch version: 2.8.0+cu129
Set vram state to: NORMAL_VRAM
Device: cuda:0 NVIDIA A100-SXM4-80GB : cudaMallocAsync
"""
_SAGE_FRAME = '  File "/venv/lib/python3.12/site-packages/sageattention/core.py", line 132, in sageattn'
_NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
_NO_AIMDO = "No working comfy-aimdo install detected. DynamicVRAM support disabled."


@pytest.mark.parametrize(
    ("log", "found"),
    [
        (_COMPILES.format("cache_size_limit"), ["compile-thrash"]),
        ("[rank0]:" + _COMPILES.format("recompile_limit"), ["compile-thrash"]),
        (
            "[2024-01-09 12:00:00,000] [0/8] torch._dynamo.convert_frame: [WARNING] "
            + _COMPILES.format("cache_size_limit").partition("[0/8] ")[2],
            ["compile-thrash"],
        ),
        (f"  0%|          | 0/28 [00:00<?, ?it/s]{_COMPILES.format('cache_size_limit')}", ["compile-thrash"]),
        (
            "2026-01-17T19:44:18.863537 -   0%|          | 0/4 [00:00<?, ?it/s]2026-01-17T19:44:18.864115 - "
            + _COMPILES.format("cache_size_limit"),
            ["compile-thrash"],
        ),
        (f"{_TEXT_ON_CPU}\nloaded completely 20000.5 13503.8 True", ["encoder-on-cpu"]),
        (f"{_TEXT_ON_CPU}\nRequested to load WAN21\nloaded completely 9.53674e+25 13503.8 True", []),
        (f"{_TEXT_ON_CPU}\n{_PARTLY}", ["encoder-on-cpu"]),
        (f"Set vram state to: NORMAL_VRAM\n{_TEXT_ON_CPU}", ["encoder-on-cpu"]),
        (f"Set vram state to: DISABLED\n{_TEXT_ON_CPU}", []),
        (f"{_PARTLY}\n{_BAR}", ["partial-load"]),
        (f"{_PARTLY}\n  0%|          | 0/4 [00:00<?, ?it/s]", ["partial-load"]),
        # Whose load it was is told, and what the sampler runs lay on the card.
        (f"Requested to load WanTEModel\n{_PARTLY}\n{_BAR}", []),
        (f"{_PARTLY}\nRequested to load WAN21\n{_BAR}", []),
        ("Downloading model from https://example.org/wan.safetensors", ["download-at-run-time"]),
        ("model.safetensors:  12%|█▏  | 1.20G/10.0G [00:30<03:40, 39.8MB/s]", ["download-at-run-time"]),
        (f"{_START}Downloading model from https://example.org/wan.safetensors", []),
        (_NO_AIMDO, []),
        ("comfy-aimdo failed to load: this NVIDIA driver is too old", ["dynamic-vram-off"]),
    ],
)  # fmt: skip
def test_a_fragment_of_a_prompt_is_one_whose_beginning_is_not_known(log: str, found: list[str]) -> None:
    assert [finding.id for finding in diagnose(log).findings] == found


@pytest.mark.parametrize(
    ("line", "is_told"),
    [
        ("downloading model from https://example.org/x.pt", True),
        ("[FlashVSR] Downloading weights to /models/FlashVSR", True),
        ("Model not found locally. Downloading vitmatte_models...", True),
        ("Fetching 14 files:  21%|██▏  | 3/14 [00:10<00:30,  2.80s/it]", True),
        ("Downloading shards:  50%|█████     | 1/2 [00:10<00:10, 10.00s/it]", True),
        ("[#2089b0 400.0KiB/33.2MiB(1%) CN:1 DL:115.7KiB ETA:4m51s]", True),
        ("Saving to: ‘/models/vae/wan_2.1_vae.safetensors’", True),
        ("From: https://drive.google.com/uc?id=1x", True),
        ("  % Total    % Received % Xferd  Average Speed   Time", True),
        ('Downloading: "https://example.org/rife47.pth" to /models/rife/rife47.pth', True),
        (" 45%|████▌     | 50.2M/110M [00:01<00:02, 30.1MB/s]", True),
        ("Downloading (…)model.safetensors: 100%|██████████| 1.26GB/1.26GB [00:30<00:00, 40MB/s]", True),
        ("Saving to: output/clip_00001.mp4", False),
        # All of them are there already.
        ("Fetching 14 files: 100%|██████████| 14/14 [00:00<00:00, 9000.00it/s]", False),
        ("It is there already, not downloading model again", False),
        ("Skipping downloading of weights", False),
        ("Downloading torch-2.8.0-cp312-manylinux_2_28_x86_64.whl of pytorch models", False),
        ("Downloading is off", False),
    ],
)
def test_a_node_tells_of_a_download_in_its_own_words(line: str, is_told: bool) -> None:
    report = diagnose(f"got prompt\n{line}\nPrompt executed in 100.00 seconds\n")

    assert [finding.id for finding in report.findings] == ["download-at-run-time"] * is_told


@pytest.mark.parametrize(
    ("traceback", "status"),
    [
        ("    return a / b\n           ~~^~~\nZeroDivisionError: division by zero\n", Status.FAILED),
        ("torch.OutOfMemoryError: Allocation on device 0", Status.OUT_OF_MEMORY),
        (
            'got prompt\n  File "/c/execution.py", line 510, in execute\nRuntimeError: shapes differ\n',
            Status.FAILED,
        ),
        # A node has caught it: no frame of it is the executor's, or the prompt went on.
        ('got prompt\n  File "/c/nodes/x.py", line 5, in run\nOSError: no route to host\n', Status.DONE),
        (f"OSError: no route to host\n{_BAR}\n", Status.DONE),
    ],
)
def test_an_error_right_before_the_end_has_ended_the_prompt(traceback: str, status: Status) -> None:
    report = diagnose(f"{traceback}\nPrompt executed in 5.00 seconds\n")

    assert [prompt.status for prompt in report.prompts] == [status]


@pytest.mark.parametrize(
    "log",
    [
        f"{_SAGE_FRAME}\n{_NO_KERNEL}\nPrompt executed in 5.00 seconds\n",
        f"got prompt\n!!! Exception during processing !!! {_NO_KERNEL[14:]}\n{_SAGE_FRAME}\n{_NO_KERNEL}\n",
        "2026-01-17T19:44:20 - !!! Exception during processing !!! SM90 kernel is not available\n",
    ],
)
def test_a_kernel_of_sage_that_ends_a_prompt_is_told_without_the_servers_start(log: str) -> None:
    assert {finding.id for finding in diagnose(log).findings} == {"prompt-failed", "sage-unsafe"}


def test_an_error_that_has_other_words_is_none_of_sages() -> None:
    log = "got prompt\n!!! Exception during processing !!! bad usage: the message is too long\n"

    assert [finding.id for finding in diagnose(log).findings] == ["prompt-failed"]


# Source: generateErrorReport of comfyui-frontend-package.
_REPORT = """# ComfyUI Error Report
## Error Details
- **Node ID:** 3
- **Node Type:** KSampler
- **Exception Type:** {kind}
- **Exception Message:** {message}
## Stack Trace
```
  File "/c/execution.py", line 510, in execute
```
## System Information
- **ComfyUI Version:** 0.3.64
- **Arguments:** main.py --listen
- **Python Version:** 3.12.3 (main)
- **PyTorch Version:** 2.8.0+cu129
## Devices

- **Name:** cuda:0 NVIDIA GeForce RTX 4080 : cudaMallocAsync
  - **Type:** cuda
  - **VRAM Total:** 17170956288

## Logs
```
{log}
```
"""


@pytest.mark.parametrize(
    ("message", "log", "statuses"),
    [
        ("mat1 and mat2 differ", "", [Status.FAILED]),
        ("Allocation on device 0", "", [Status.OUT_OF_MEMORY]),
        ("no", "got prompt\nPrompt executed in 9.00 seconds\ngot prompt\n", [Status.DONE, Status.FAILED]),
        (
            "no",
            "got prompt\n!!! Exception during processing !!! no\nPrompt executed in 9.00 seconds\n",
            [Status.FAILED],
        ),
    ],
)
@pytest.mark.parametrize("marks", [True, False])
def test_the_editors_report_names_version_card_and_error(
    message: str, log: str, statuses: list[Status], marks: bool
) -> None:
    text = _REPORT.format(kind="RuntimeError", message=message, log=log)

    report = diagnose(text if marks else text.replace("- **", "").replace("**", ""))

    assert (report.server.version, report.server.starts) == ("0.3.64", 0)
    assert report.server.device.startswith("cuda:0 NVIDIA GeForce RTX 4080")
    assert [prompt.status for prompt in report.prompts] == statuses
    assert report.prompts[-1].error == message


@pytest.mark.parametrize("before", [_START, ""])
def test_what_a_start_said_before_it_was_told_once_more_counts(before: str) -> None:
    log = f"{before}Using sage attention\n{_START}got prompt\nPrompt executed in 9.00 seconds\n"

    assert diagnose(log).server.attention == "sage"


def test_a_start_that_is_told_three_times_loses_nothing_of_the_first() -> None:
    """Each process that imports ComfyUI tells it, the later ones in part."""
    log = f"{_START}Using pytorch cross attention\n{_START}{_START}got prompt\n"

    assert diagnose(log).server.attention == "pytorch"


@for_each("banner", ["** ComfyUI startup time: 2026-03-01 11:20:00", "** ComfyUI start up time: 2026-03-01"])
def test_what_is_fetched_while_a_server_starts_is_of_no_prompt(banner: str) -> None:
    fetched = "Downloading model from https://example.org/a.safetensors"

    during = diagnose(f"{banner}\n{fetched}\nPrestartup times for custom nodes:\nAssertionError: no\n")
    before = diagnose(f"{fetched}\n{banner}\nPrestartup times for custom nodes:\n")

    assert (during.prompts, during.findings) == ((), ())
    assert [finding.id for finding in before.findings] == ["download-at-run-time"]


@for_each(
    "lines, statuses",
    [
        (["got prompt", "got prompt", "{no}", "model_type FLOW", "{done}"], ["done", "refused"]),
        (["got prompt", "model_type FLOW", "got prompt", "{no}", "{bar}"], ["unfinished", "refused"]),
        (
            ["got prompt", "got prompt", "{no}", "got prompt", "got prompt", "{no}", "{done}", "{done}"],
            ["done", "refused", "refused", "done"],
        ),
        (["got prompt", "{no}", "got prompt", "{done}"], ["refused", "done"]),
        (["got prompt", "got prompt", "{no}", "ComfyUI version: 0.3.64"], ["lost", "refused"]),
    ],
)
def test_a_prompt_that_is_refused_while_another_runs_stands_behind_it(
    lines: list[str], statuses: list[str]
) -> None:
    log = "\n".join(lines).format(
        no="invalid prompt: {'type': 'prompt_no_outputs', 'message': 'Prompt has no outputs'}",
        done="Prompt executed in 9.00 seconds",
        bar="100%|██████████| 4/4 [00:08<00:00,  2.00s/it]",
    )

    report = diagnose(log)

    assert [str(prompt.status) for prompt in report.prompts] == statuses
    assert [prompt.number for prompt in report.prompts] == list(range(1, len(statuses) + 1))


@for_each(
    "line, is_told",
    [
        ("$ python main.py --listen --cache-none", True),
        ("(venv) gpu@host:~/ComfyUI$ python3 main.py --cache-none --port 8188", True),
        ("❯ python main.py --cache-lru 8", False),
        ("try --cache-none, it helped me", False),
    ],
)
def test_a_cache_that_is_off_is_told_by_the_command_that_started_the_server(line: str, is_told: bool) -> None:
    report = diagnose(f"{line}\n{_START}got prompt\nPrompt executed in 9.00 seconds\n")

    assert ("cache-off" in [finding.id for finding in report.findings]) == is_told


def test_what_a_start_said_before_its_first_line_counts_without_a_prompt() -> None:
    report = diagnose("Device: cpu\nUsing pytorch attention\nComfyUI version: 0.3.44\n")

    assert (report.server.version, report.server.device) == ("0.3.44", "cpu")


_WHOLE = "loaded completely 6479.84 4897.05 True"


@pytest.mark.parametrize(
    ("lines", "classes"),
    [
        # All that is asked for at once is told first, and then loaded in the same order.
        (["Requested to load SDXL", "Requested to load ControlNet", _WHOLE, _PARTLY], ["SDXL", "ControlNet"]),
        (["Requested to load SDXL", _WHOLE, "Requested to load ControlNet", _WHOLE], ["SDXL", "ControlNet"]),
        # Between two questions of their own a release of 2024 says this, and of the first nothing more.
        (
            ["Requested to load SDXLClipModel", "Loading 1 new model", "Requested to load SDXL",
             "Loading 1 new model", "loading in lowvram mode 1074.63"],
            ["SDXL"],
        ),
        # A model that another pack loads says nothing.
        (["Requested to load Nunchaku", "0 models unloaded.", "Requested to load VAE", _WHOLE], ["VAE"]),
        # A text encoder is asked for by itself, and may not be loaded anew.
        (["Requested to load FluxClipModel_", "Requested to load Flux", _PARTLY], ["Flux"]),
        (
            ["Requested to load WanTEModel", "Requested to load ControlNet", "Requested to load WAN21",
             _WHOLE, _PARTLY],
            ["ControlNet", "WAN21"],
        ),
        (["Requested to load CLIPVisionModelProjection", "Requested to load WanVAE", _WHOLE, _WHOLE],
         ["CLIPVisionModelProjection", "WanVAE"]),
    ],
)  # fmt: skip
def test_a_load_is_of_the_model_that_was_asked_for(lines: list[str], classes: list[str]) -> None:
    report = diagnose("\n".join(["got prompt", *lines, "Prompt executed in 9.00 seconds"]))

    assert [use.model_class for use in report.prompts[0].models] == classes


_FULL_BAR = "100%|██████████| 2/2 [{}<00:00, {}s/it]"


@pytest.mark.parametrize(
    ("states", "paces"),
    [
        ([("10:00:10", "01:41", 50.58), ("10:00:10", "01:41", 50.84)], [50.84]),
        ([("10:00:10", "01:41", 50.58), ("10:01:48", "01:37", 48.61)], [50.58, 48.61]),
        ([("10:00:10", "01:37", 48.61), ("10:01:51", "01:41", 50.58)], [48.61, 50.58]),
        ([("", "01:41", 50.58), ("", "01:37", 48.61)], [50.58, 48.61]),
        # Between them weights came onto the card, whosever they are.
        ([("", "01:37", 48.61), ("loaded partially 3674.79 3674.79 0\n", "01:41", 50.84)], [48.61, 50.84]),
    ],
)
def test_a_bar_that_is_drawn_again_at_its_end_is_no_second_sampler(
    states: list[tuple[str, str, float]], paces: list[float]
) -> None:
    bars = "".join(f"{at} {_FULL_BAR.format(took, pace)}\n".lstrip() for at, took, pace in states)

    report = diagnose(f"got prompt\n{bars}")

    found = [sampler.seconds_per_step for sampler in report.prompts[0].samplers]
    assert found == pytest.approx(paces)


@pytest.mark.parametrize(
    ("log", "steps"),
    [
        # A terminal shows of each bar its end, and a console's own file has no end of line within a bar.
        ("{a}\n{a}\n{b}\n", [4, 4, 4]),
        ("{a}\n\r{a}\n\r{b}\n", [4, 4, 4]),
        ("\r{a}\r{b}\n\r{a}\r{b}\n", [4, 4]),
        ("[2026-03-01 11:20] \r{a}\r\n[2026-03-01 11:20] \r{b}\r\n", [4, 4]),
        ("comfyui-1  | \r{a}\r{b}\ncomfyui-1  | \r{a}\r{b}\n", [4, 4]),
        ("2026-03-01T11:20:07.125Z \r{a}\n2026-03-01T11:20:07.530Z \r{b}\n", [4, 4]),
        ("2026-03-01T11:20:07.125Z {a}\n2026-03-01T11:20:07.530Z {b}\n", [4, 4]),
        # Others end a line wherever a bar is drawn.
        ("{start}\n{half}\n{a}\n{b}\n{start}\n{half}\n{a}\n{b}\n", [4, 4]),
        ("\r{start}\n\r{half}\n\r{a}\n\r{b}\n", [4]),
        ("{start}\n\n{half}\n\n{a}\n\n{b}\n\n", [4]),
        ("[2026-03-01 11:20] \n{a}\n{b}\n", [4]),
        ("[2026-03-01 11:20] \n{a}\n{b}\n[2026-03-01 11:20] \n{a}\n{b}\n", [4, 4]),
        ("2026-03-01T11:20:07.125Z {a}\n2026-03-01T11:20:07.126Z {b}\n", [4]),
        ("2026-03-01T11:20:07.125 - \n{a}2026-03-01T11:20:07.126 - \n{b}2026-03-01T11:20:07.126 - \n", [4]),
    ],
)
def test_samplers_that_follow_each_other_with_nothing_between_are_told_apart(
    log: str, steps: list[int]
) -> None:
    bars = log.format(
        start="  0%|          | 0/4 [00:00<?, ?it/s]",
        half=" 50%|█████     | 2/4 [00:00<00:00, 10.00it/s]",
        a="100%|██████████| 4/4 [00:00<00:00, 10.00it/s]",
        b="100%|██████████| 4/4 [00:00<00:00,  9.90it/s]",
    )
    dress = "[2026-03-01 11:20] " if log.startswith("[2026") else ""

    report = diagnose(f"{dress}got prompt\n{bars}{dress}Prompt executed in 2.00 seconds\n")

    assert [[sampler.steps for sampler in prompt.samplers] for prompt in report.prompts] == [steps]


def test_a_prompt_that_does_not_pass_is_refused_though_its_beginning_is_cut_off() -> None:
    report = diagnose(
        "Failed to validate prompt for output 5:\n* UNETLoader 35:\n"
        "  - Value not in list: unet_name: 'wan.safetensors' not in []\nOutput will be ignored\n"
        "invalid prompt: {'type': 'prompt_outputs_failed_validation', "
        "'message': 'Prompt outputs failed validation', 'details': '', 'extra_info': {}}\n"
    )

    assert [prompt.status for prompt in report.prompts] == [Status.REFUSED]
    assert [finding.id for finding in report.findings] == ["prompt-refused"]


@pytest.mark.parametrize(
    ("frame", "error"),
    [
        ('main.py", line 147, in <module>', "ModuleNotFoundError: No module named 'torch'"),
        ('main.py", line 367, in <module>', "OSError: [Errno 98] address already in use"),
    ],
)
def test_an_error_that_ends_the_servers_start_ends_no_prompt(frame: str, error: str) -> None:
    report = diagnose(f'Traceback (most recent call last):\n  File "/comfyui/{frame}\n    run()\n{error}\n')

    assert report.prompts == ()


def test_what_failed_may_be_told_in_the_traceback_alone() -> None:
    error = "Could not allocate tensor with 419430400 bytes. There is not enough GPU video memory available!"

    report = diagnose(
        "got prompt\nERROR:root:!!! Exception during processing !!!\n"
        f"ERROR:root:Traceback (most recent call last):\nRuntimeError: {error}\n\n"
        "Prompt executed in 7.5 seconds\n"
    )

    assert [(prompt.status, prompt.error) for prompt in report.prompts] == [(Status.OUT_OF_MEMORY, error)]


def test_a_control_net_that_is_asked_for_between_two_full_bars_is_of_a_second_sampler() -> None:
    bar = "100%|██████████| 5/5 [00:03<00:00,  1.44it/s]\n"

    report = diagnose(f"got prompt\n{bar}Requested to load ControlNet\nLoading 1 new model\n{bar}")

    assert [sampler.steps for sampler in report.prompts[0].samplers] == [5, 5]


def test_an_error_of_a_nodes_import_ends_no_prompt() -> None:
    traceback = "Traceback (most recent call last):\nModuleNotFoundError: No module named 'colour'\n"

    report = diagnose(
        f"{traceback}Cannot import /nodes/box module for custom nodes: No module named 'colour'\n"
    )

    assert report.prompts == ()
    assert [finding.id for finding in report.findings] == ["import-failed"]


def test_prompts_that_wait_at_the_end_of_a_log_are_unfinished() -> None:
    queued = diagnose("Requested to load WAN21\ngot prompt\ngot prompt\n")
    many = diagnose("got prompt\nPrompt executed in 9.00 seconds\n" + "got prompt\n" * 9000)

    assert [prompt.status for prompt in queued.prompts] == [Status.UNFINISHED] * 3
    assert many.prompts[0].status is Status.DONE
    assert len(many.prompts) == 200


def test_what_another_server_said_at_its_start_does_not_count() -> None:
    listens = "To see the GUI go to: http://127.0.0.1:8188\n"

    report = diagnose(f"{_START}Using sage attention\n{listens}{_START}got prompt\n")

    assert report.server.attention == ""


_AT_WORK = f"got prompt\nRequested to load WAN21\n{_BAR}\n"


@pytest.mark.parametrize(
    "end",
    [
        "Aborted (core dumped)",
        "Aborted",
        "Segmentation fault",
        "Segmentation fault (core dumped)",
        "Bus error (core dumped)",
        "Illegal instruction (core dumped)",
        "段错误 (核心已转储)",
        "Violación de segmento (`core' generado)",
        "Speicherzugriffsfehler (Speicherabzug geschrieben)",
        "Fatal Python error: Segmentation fault",
        "Fatal Python error: Aborted",
        "Windows fatal exception: access violation",
        "Memory access fault by GPU node-1 (Agent handle: 0x5d) on address 0x79. Reason: Page not present.",
        "terminate called after throwing an instance of 'c10::Error'\n  what():  CUDA error: illegal",
        "terminate called without an active exception",
        "libc++abi: terminating due to uncaught exception of type std::runtime_error",
        "free(): invalid pointer",
        "double free or corruption (!prev)",
        "/AppleInternal/MPSNDArray.mm:761: failed assertion `[MPSNDArray init] Error: total bytes > 2**32'",
        "zsh: abort      python main.py",
        "zsh: segmentation fault  python main.py --listen",
        "[1]    12345 segmentation fault (core dumped)  python main.py",
        "/comfyui-nvidia_init.bash: line 637:   289 Segmentation fault      ${COMFY_CMDLINE}",
        "./run.sh: line 12:  2211 Aborted                 (core dumped) python3 main.py",
        ":0:rocdevice.cpp :2984: Callback: Queue 0x7f aborting with error : HSA_STATUS_ERROR_OUT_OF",
        "Exception in thread Thread-1 (prompt_worker):\nTraceback (most recent call last):",
        "comfyui-1 exited with code 139",
        "2024-01-30 00:33:08,473 INFO exited: comfyui (exit status 139; not expected)",
        "2024-01-30 00:33:08,473 WARN exited: comfyui (terminated by SIGSEGV; not expected)",
        "comfyui.service: Main process exited, code=dumped, status=11/SEGV",
        "comfyui.service: Main process exited, code=killed, status=6/ABRT",
        "Python process exited with code 3221225477 and signal null",
        "Process finished with exit code -1073741819 (0xC0000005)",
        "D:\\ComfyUI>pause\nPress any key to continue . . .",
        "请按任意键继续. . .",
        "Drücken Sie eine beliebige Taste . . .",
        "UserWarning: There appear to be 1 leaked semaphore objects to clean up at shutdown",
    ],
)
@pytest.mark.parametrize("before", ["", "  0%|          | 0/20 [00:00<?, ?it/s]"])
def test_a_server_that_dies_under_a_prompt_is_told(end: str, before: str) -> None:
    report = diagnose(f"{_AT_WORK}{before}{end}\n")

    assert [finding.id for finding in report.findings] == ["prompt-failed"]
    assert [prompt.status for prompt in report.prompts] == [Status.LOST]
    assert report.findings[0].evidence[0].text in end


@pytest.mark.parametrize(
    ("log", "status"),
    [
        # Somebody has stopped it, or nobody knows why the log ends.
        (f"{_AT_WORK}Stopped server\nPress any key to continue . . .\n", Status.UNFINISHED),
        (f"{_AT_WORK}Stopped server\n", Status.UNFINISHED),
        (f"{_AT_WORK}Gracefully stopping...\ncomfyui-1 exited with code 137\n", Status.UNFINISHED),
        (f"{_AT_WORK}^C\nTerminate batch job (Y/N)?\n", Status.UNFINISHED),
        (_AT_WORK, Status.UNFINISHED),
        # It was another process, and the prompt went on.
        (f"{_AT_WORK}Segmentation fault (core dumped)\nPrompt executed in 9.00 seconds\n", Status.DONE),
        (f"{_AT_WORK}Windows fatal exception: access violation\n{_BAR}\n", Status.UNFINISHED),
        (f"{_AT_WORK}ffmpeg exited with code 1\n", Status.UNFINISHED),
        (f"{_AT_WORK}comfyui exited with code 0\n", Status.UNFINISHED),
        (f"{_AT_WORK}[ComfyUI-Manager] pip exited with code 1\n", Status.UNFINISHED),
        (f"{_AT_WORK}Floating point exception handling on\n", Status.UNFINISHED),
        (f"{_AT_WORK}Exception in thread Thread-12 (download):\n", Status.UNFINISHED),
        (f"{_AT_WORK}C:\\ComfyUI>python main.py\n", Status.UNFINISHED),
        (f"{_AT_WORK}Stopped server\nPS D:\\ComfyUI>\n", Status.UNFINISHED),
        (f"{_AT_WORK}Aborted by a kind soul\n", Status.UNFINISHED),
        # No prompt was running.
        (f"{_AT_WORK}Prompt executed in 9.00 seconds\nPress any key to continue . . .\n", Status.DONE),
        (f"{_AT_WORK}Prompt executed in 9.00 seconds\nSegmentation fault\n", Status.DONE),
    ],
)
def test_a_server_that_ends_otherwise_has_failed_no_prompt(log: str, status: Status) -> None:
    report = diagnose(log)

    assert report.findings == ()
    assert [prompt.status for prompt in report.prompts] == [status]


def test_a_server_that_dies_while_it_starts_fails_no_prompt() -> None:
    assert diagnose("Total VRAM 24080 MB, total RAM 64000 MB\nSegmentation fault\n").prompts == ()
    assert diagnose("Segmentation fault (core dumped)\n").prompts == ()


@pytest.mark.parametrize(
    "line", ["Killed", "zsh: killed     python main.py", "comfyui-1 exited with code 137"]
)
def test_a_server_that_the_system_ended_has_lost_its_prompt(line: str) -> None:
    report = diagnose(f"{_AT_WORK}{line}\n")

    assert [finding.id for finding in report.findings] == ["host-ram-short"]
    assert [prompt.status for prompt in report.prompts] == [Status.LOST]


def _asked(name: str) -> str:
    return f"Requested to load {name}\n"


def _whole(mib: float) -> str:
    return f"loaded completely 9.5367431640625e+25 {mib} True\n"


_PART_OF_4125 = (
    "loaded partially; 97.00 MB usable, 96.00 MB loaded, 4029.00 MB offloaded, lowvram patches: 0\n"
    "loaded completely; 9999.00 MB usable, 4125.00 MB loaded, full load: True\n"
)


@pytest.mark.parametrize(
    ("log", "classes"),
    [
        # Asked for together: loaded in that order.
        (
            f"{_asked('SDXL')}{_asked('ControlNet')}{_whole(4897.0)}loaded partially 128.0 127.9 0",
            ["SDXL", "ControlNet"],
        ),
        # Without a request: what came at this size before, in whatever prompt.
        (
            f"{_asked('SDXL')}{_whole(4897.05)}{_asked('Clip')}{_whole(1560.8)}{_whole(4897.05)}",
            ["SDXL", "Clip", "SDXL"],
        ),
        (
            f"{_asked('SDXL')}{_whole(4897.05)}Prompt executed in 9.0 seconds\ngot prompt\n{_whole(4897.05)}",
            ["SDXL", "SDXL"],
        ),
        (f"{_asked('WAN21')}{_PART_OF_4125}", ["WAN21", "WAN21"]),
        (
            f"{_asked('WAN21')}loaded partially 9700.0 9600.5 0\nloaded partially 9650.0 9550.5 0",
            ["WAN21", "WAN21"],
        ),
        # Nobody knows.
        (f"{_asked('WanVAE')}{_whole(242.0)}{_whole(7910.3)}", ["WanVAE", ""]),
        (_whole(7910.3), [""]),
        # Two of one size.
        (f"{_asked('A')}{_whole(242.0)}{_asked('B')}{_whole(242.0)}{_whole(242.0)}", ["A", "B", ""]),
        # Some lines say whose they are, and some do not.
        (f"(pid=2211) {_asked('WanVAE')}{_whole(242.0)}", ["WanVAE"]),
        # A node that counts on the same line.
        (f"{_asked('WanVAE')}{_whole(242.0)}.{_asked('Qwen_')}{_whole(7910.3)}", ["WanVAE", "Qwen_"]),
        # The lines of dynamic VRAM name their models.
        (
            f"{_asked('H3')}{_asked('VAE')}Model H3 prepared for dynamic VRAM loading.\n{_whole(242.0)}",
            ["H3", "VAE"],
        ),
        # In 2024 only what did not fit was told.
        (
            f"{_asked('Clip')}Loading 1 new model\n{_asked('SDXL')}\nloading in lowvram mode 64.0",
            ["SDXL"],
        ),
    ],
)
def test_a_load_has_the_class_that_was_asked_for_or_came_at_its_size_or_none(
    log: str, classes: list[str]
) -> None:
    report = diagnose(f"got prompt\n{log}\n")

    assert [use.model_class for prompt in report.prompts for use in prompt.models] == classes


_IGNORED = (
    "got prompt\nFailed to validate prompt for output 30:\n* LoadImage 18:\n"
    "  - Value not in list: model_name: 'a.pth' not in []\nOutput will be ignored\n"
)


@pytest.mark.parametrize(
    ("rest", "is_refused"),
    [
        ("Requested to load WAN21\nPrompt executed in 9.00 seconds\n", False),
        ("Prompt executed in 0.05 seconds\n", False),
        ("invalid prompt: {'message': 'Prompt outputs failed validation', 'details': ''}\n", True),
        ("", True),
    ],
)
def test_a_prompt_of_which_only_some_outputs_are_left_out_is_not_refused(rest: str, is_refused: bool) -> None:
    found = [finding.id for finding in diagnose(_IGNORED + rest).findings]

    assert found == ["prompt-refused"] * is_refused


@pytest.mark.parametrize(
    ("vram", "state", "is_told"),
    [(4096, "LOW_VRAM", False), (4096, "NO_VRAM", True), (8192, "LOW_VRAM", True)],
)
def test_a_small_card_is_low_on_memory_without_a_flag(vram: int, state: str, is_told: bool) -> None:
    report = diagnose(
        f"Total VRAM {vram} MB, total RAM 64000 MB\nSet vram state to: {state}\nDevice: cuda:0 NVIDIA X\n"
    )

    assert [finding.id for finding in report.findings] == ["low-vram-forced"] * is_told


@pytest.mark.parametrize(
    "line", ["AssertionError", "RuntimeError:", "torch._dynamo.exc.Unsupported: no rule", "Exception"]
)
def test_an_error_without_a_text_or_of_a_module_ends_a_prompt_as_any_other(line: str) -> None:
    frame = 'got prompt\n  File "/c/execution.py", line 510, in execute\n'

    report = diagnose(f"{frame}{line}\n")

    assert [finding.id for finding in report.findings] == ["prompt-failed"]
    assert report.prompts[0].error


_ELSEWHERE = {
    "swarmui": "18:04:{:02d}.141 [Debug] [ComfyUI-0/STDERR] [INFO] {}",
    "python's logging": "2024-03-31 16:19:{:02d},816 INFO {}",
    "journald": "Nov 30 04:36:{:02d} gpu-host-1 comfyui[2211]: {}",
    "electron": "[2026-11-30 04:36:{:02d}.123] [info]  {}",
    "pm2": "0|comfyui  | {1}",
    "a block": "    {1}",
}
_TIMED = {"slow-disk", "cold-start", "queue-wait", "slow-encode", "interpolation"}


@pytest.mark.parametrize("dress", _ELSEWHERE)
def test_every_log_says_the_same_in_the_dress_of_another_machinery(dress: str) -> None:
    for path in sorted(CORPUS.glob("*.log")):
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.stat().st_size > 20_000 or text[:1] in "{[2\x1b":
            continue  # it has a dress of its own
        lines = [
            _ELSEWHERE[dress].format(n % 60, line) if line.strip() else line
            for n, line in enumerate(text.split("\n"))
        ]

        bare, dressed = diagnose(text), diagnose("\n".join(lines))

        found = {finding.id for finding in dressed.findings} - _TIMED
        assert found == {finding.id for finding in bare.findings} - _TIMED, path.name
        assert [(prompt.status, prompt.models) for prompt in dressed.prompts] == [
            (prompt.status, prompt.models) for prompt in bare.prompts
        ], path.name


_TWO_PROMPTS = [
    "got prompt", "model weight dtype torch.float16, manual cast: None", "Requested to load WAN21",
    "loaded completely; 9999.00 MB usable, 4125.00 MB loaded, full load: True", _BAR,
    "Prompt executed in 9.00 seconds", "got prompt", "got prompt", "Requested to load WAN21",
    "loaded completely; 9999.00 MB usable, 4125.00 MB loaded, full load: True",
    "Prompt executed in 9.00 seconds",
]  # fmt: skip


@pytest.mark.parametrize("times", [2, 3])
def test_a_log_that_as_many_handlers_write_tells_each_prompt_once(times: int) -> None:
    stamped = [
        "".join(f"2025-06-05T14:57:10.{n}{k} - {line}\n" for k in range(1 if line == _BAR else times))
        for n, line in enumerate(_TWO_PROMPTS, 100)
    ]

    report = diagnose("".join(stamped)[40:])

    once = diagnose("\n".join(_TWO_PROMPTS))
    assert [prompt.status for prompt in report.prompts] == [Status.DONE, Status.DONE, Status.UNFINISHED]
    assert [prompt.models for prompt in report.prompts] == [prompt.models for prompt in once.prompts]


def test_prompts_that_are_queued_at_once_are_as_many_as_they_are() -> None:
    log = "got prompt\n" * 3 + "Prompt executed in 0.01 seconds\n" * 3 + "got prompt\n" * 3

    assert len(diagnose(log).prompts) == 6


@pytest.mark.parametrize(
    "message",
    [
        "CUDA out of memory. Tried to allocate 20.00 GiB.",
        "HIP out of memory. Tried to allocate 288.00 MiB.",
        "XPU out of memory. Tried to allocate 288.00 MiB.",
        "MPS backend out of memory (MPS allocated: 17.66 GB)",
        "Allocation on device ",
        "Could not allocate tensor with 67108864 bytes. There is not enough GPU video memory available!",
        "vk::Device::allocateMemory: ErrorOutOfDeviceMemory",
        "Command buffer execution failed: Insufficient Memory (kIOGPUCommandBufferCallbackErrorOutOfMemory)",
        "[ONNXRuntimeError] Failed to allocate memory for requested buffer of size 75497472",
    ],
)
def test_every_back_end_says_in_its_own_words_that_the_card_is_full(message: str) -> None:
    report = diagnose(f"got prompt\n!!! Exception during processing !!! {message}\n")

    assert [finding.id for finding in report.findings] == ["out-of-memory"]


@pytest.mark.parametrize(
    "message",
    [
        "[enforce fail at alloc_cpu.cpp:117] data. DefaultCPUAllocator: not enough memory",
        "The paging file is too small for this operation to complete. (os error 1455)",
        "页面文件太小，无法完成操作。 (os error 1455)",
        "[WinError 1455] Die Auslagerungsdatei ist zu klein",
        "Unable to allocate 11.9 GiB for an array with shape (81, 1280, 720, 3)",
        "std::bad_alloc",
        "MemoryError",
    ],
)
def test_every_system_says_in_its_own_words_that_the_host_is_full(message: str) -> None:
    report = diagnose(f"got prompt\n!!! Exception during processing !!! {message}\n")

    assert {finding.id for finding in report.findings} == {"host-ram-short", "prompt-failed"}


@pytest.mark.parametrize(
    ("bar", "steps"),
    [
        ("100%|██████████| 20/20 [00:10<00:00,  1.90it/s, loss=0.1]", [20]),
        ("100%|██████████| 20/20 [00:30<00:00,  1.50s/step]", [20]),
        ("100%|██████████| 81/81 [00:03<00:00, 27.00frames/s]", []),
        ("config.json: 100%|██████████| 612/612 [00:00<00:00, 3.10MB/s]", []),
    ],
)
def test_a_bar_that_counts_something_else_is_no_sampler(bar: str, steps: list[int]) -> None:
    report = diagnose(f"got prompt\n{bar}\nPrompt executed in 50.00 seconds\n")

    assert [sampler.steps for prompt in report.prompts for sampler in prompt.samplers] == steps


@pytest.mark.parametrize("end", ["\r", "\n"])
def test_a_clock_that_is_set_anew_behind_the_first_step_makes_no_second_sampler(end: str) -> None:
    states = (
        "  0%|          | 0/4 [00:00<?, ?it/s,   Model Initializing ...  ]",
        " 25%|██▌       | 1/4 [01:05<03:15, 65.08s/it,  Model Initialization complete!  ]",
        " 50%|█████     | 2/4 [00:10<00:10,  5.00s/it]",
        "100%|██████████| 4/4 [00:20<00:00,  5.00s/it]",
    )

    report = diagnose(f"got prompt\n{end.join(states)}\nPrompt executed in 100.00 seconds\n")

    (sampler,) = report.prompts[0].samplers
    assert (sampler.steps, sampler.first_step_s, sampler.seconds_per_step) == (4, 65, 5.0)
    assert sampler.seconds == pytest.approx(80)


def test_a_traceback_of_the_executor_that_is_cut_off_has_ended_the_prompt_as_well() -> None:
    report = diagnose(
        'got prompt\nTraceback:\n  File "/c/execution.py", line 510, in execute\n    return_value ='
    )

    assert [finding.id for finding in report.findings] == ["prompt-failed"]
