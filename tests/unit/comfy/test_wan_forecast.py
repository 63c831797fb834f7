"""What is said of a graph on a card: held against published times, and against what the farm measured."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from comfy.wan.forecast import EMULATED, Forecast, Target, forecast, host_bytes, pace_key
from comfy.wan.models import GIB, WAN_1_3B, WAN_14B
from comfy.wan.names import file_bytes
from comfy.wan.pace_book import PaceBook
from comfy.wan.paces import Pace
from comfy.wan.precision import Precision
from comfy.wan.sizes import ClipSize, read_size
from comfy.wan.speed import Estimate, rate_of
from comfy.wan.templates import get_template
from comfy.wan.weights import weights_of
from comfy.wan.workload import Workload, read_workload, smallest_vram_class_gib

NOTHING = PaceBook({})
HIGH = "wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors"
VAE = "wan_2.1_vae.safetensors"
GRAPHS = Path(__file__).parents[2] / "data" / "graphs"


def a_graph(**parameters: Any) -> dict[str, Any]:
    return get_template("wan22-t2v-a14b").build(**{"prompt": "x", "seed": 1, **parameters}).graph


def read(graph: dict[str, Any], real_sizes: dict[str, int] | None = None) -> Workload:
    work = read_workload(graph, real_sizes)
    assert work is not None
    return work


def a_work(**parameters: Any) -> Workload:
    return read(a_graph(**parameters))


def a_target(gpu: str = "NVIDIA GeForce RTX 4090", free_gib: float = 23.7, **facts: Any) -> Target:
    return Target(name="gpu0@here", gpu=gpu, free_bytes=int(free_gib * GIB), **facts)


def step_of(found: Forecast, stage: int = 0) -> Estimate:
    """What a step takes."""
    step = found.stages[stage].step
    assert step is not None
    return step


def seconds_of(found: Forecast) -> tuple[float, float, float]:
    assert found.warm is not None
    return found.warm.low, found.warm.seconds, found.warm.high


# --- what a graph asks for ------------------------------------------------------------------------------


def test_a_graph_of_two_experts_is_two_stages_with_their_files() -> None:
    work = a_work(preset="fast")

    stages = [(s.label, s.steps, s.passes, s.loras, s.weights.precision) for s in work.stages]
    assert stages == [("high", 2, 1, 1, Precision.FP8), ("low", 2, 1, 1, Precision.FP8)]
    assert work.experts()[0].name == HIGH
    assert work.of_folder("loras") / GIB == pytest.approx(2.28, abs=0.01)
    assert work.file_bytes / GIB == pytest.approx(2 * 13.31 + 6.27 + 0.24 + 2.28, abs=0.05)


def test_the_class_is_the_one_in_which_the_job_would_be_queued() -> None:
    graph = a_graph(width=1280, height=720)
    work = read(graph)

    assert max(s.memory.smallest_class_gib for s in work.stages) == smallest_vram_class_gib(graph) == 16


def test_real_sizes_count_more_than_the_table() -> None:
    work = read(a_graph(), {HIGH: 9 * GIB, VAE: GIB})

    assert work.stages[0].weights.resident_bytes == 9 * GIB
    assert work.of_folder("vae") == GIB


def test_host_memory_holds_the_files_a_margin_and_the_frames() -> None:
    work = a_work()

    assert host_bytes(work) == work.file_bytes + 8 * GIB + 81 * 832 * 480 * 3 * 4


def test_a_graph_without_a_model_that_we_know_asks_for_nothing_we_could_name() -> None:
    graph = a_graph()
    for node_id in ("37", "56"):
        graph[node_id]["inputs"]["unet_name"] = "flux1-dev.safetensors"

    assert read_workload(graph) is None


@pytest.mark.parametrize(
    ("name", "size_gib", "dtype", "precision", "resident_gib"),
    [
        ("wan2.1_t2v_14B_fp16.safetensors", 26.6, "default", Precision.WIDE, 26.6),
        ("wan2.1_t2v_14B_fp16.safetensors", 26.6, "fp8_e4m3fn", Precision.FP8, 13.3),
        ("wan2.2-t2v-a14b-Q4_K_M.gguf", 9.0, "default", Precision.GGUF, 9.0),
        ("wan_14B_mine.safetensors", 26.6, "default", Precision.WIDE, 26.6),
        ("wan_14B_mine.safetensors", 13.4, "default", Precision.FP8, 13.4),
    ],
)
def test_weights_take_on_the_card_what_their_loader_makes_of_them(
    name: str, size_gib: float, dtype: str, precision: Precision, resident_gib: float
) -> None:
    graph = {"1": {"class_type": "UNETLoader", "inputs": {"unet_name": name, "weight_dtype": dtype}}}

    found = weights_of(graph, "1", name, WAN_14B, {name: int(size_gib * GIB)})

    assert found.precision is precision
    assert found.resident_bytes / GIB == pytest.approx(resident_gib, abs=0.01)


@pytest.mark.parametrize(
    ("name", "gib"),
    [
        ("Wan2.2-I2V-A14B-HighNoise-Q4_K_M.gguf", 8.99),
        ("wan2.2/wan2.2_i2v_low_noise_14B_Q5_K_S.gguf", 9.44),
        ("Wan2.2-TI2V-5B-Q8_0.gguf", 5.03),
        ("wan2.2_t2v_high_noise_14B_Q3_K_S.gguf", 6.07),
        ("flux1-dev-Q8_0.gguf", None),
    ],
)
def test_gguf_files_are_sized_by_family_and_kind(name: str, gib: float | None) -> None:
    found = file_bytes(name, "diffusion_models")

    assert found is None if gib is None else found == pytest.approx(gib * GIB, rel=0.03)


def test_the_attention_of_the_server_counts_where_the_graph_names_none() -> None:
    work = a_work()

    plain, sage = (pace_key("step", work.stages[0], work, a_target(attention=a)) for a in ("default", "sage"))

    assert (plain.attention, sage.attention) == ("default", "sage")


@pytest.mark.parametrize("size", [ClipSize(width=832, height=480, frames=81, batch=b) for b in (1, 2)])
def test_a_size_is_read_back_from_its_name(size: ClipSize) -> None:
    assert read_size(size.name) == size
    assert read_size(size.name + "x1x1") is None


@pytest.mark.parametrize(
    "path",
    [path for path in sorted(GRAPHS.glob("*.json")) if not path.stem.endswith(".ui")],
    ids=lambda path: path.stem,
)
def test_public_graphs_are_planned(path: Path) -> None:
    work = read(json.loads(path.read_text(encoding="utf-8")))

    assert all(stage.steps for stage in work.stages)
    found = forecast(work, a_target("RTX 5090", 31), NOTHING)
    assert found.runs
    assert found.warm is not None
    assert found.cold is not None
    assert 0 < found.warm.low < found.warm.seconds < found.warm.high


def test_a_clip_in_windows_takes_the_memory_of_one_and_the_time_of_all() -> None:
    path = GRAPHS / "wrapper_i2v_a14b_context_windows.json"
    work = read(json.loads(path.read_text(encoding="utf-8")))

    stage = work.stages[0]
    assert (work.size.frames, stage.size.frames, stage.windows) == (241, 81, 6)
    assert stage.extra == "6 windows"
    step = step_of(forecast(work, a_target("RTX 4090", 23.7), NOTHING), 1)
    assert step.seconds == pytest.approx(6 * 10.7, rel=0.02)


def test_a_sampler_in_a_loop_takes_the_time_of_all_its_rounds() -> None:
    graph = json.loads((GRAPHS / "core_ti2v_5b.json").read_text(encoding="utf-8"))
    plain = read(graph)
    (sampler,) = [key for key, node in graph.items() if node["class_type"] == "KSampler"]
    latent = graph[sampler]["inputs"]["latent_image"]
    graph["a"] = {"class_type": "easy forLoopStart", "inputs": {"total": 3, "initial_value1": latent}}
    graph["z"] = {
        "class_type": "easy forLoopEnd",
        "inputs": {"flow": ["a", 0], "initial_value1": [sampler, 0]},
    }
    for node in graph.values():
        for name, value in node["inputs"].items():
            if value == [sampler, 0] and node["class_type"] != "easy forLoopEnd":
                node["inputs"][name] = ["z", 0]
    graph[sampler]["inputs"]["latent_image"] = ["a", 2]
    looped = read(graph)

    steps = [step_of(forecast(each, a_target("RTX 4090", 23.7), NOTHING)) for each in (plain, looped)]

    assert looped.stages[0].rounds == 3
    assert steps[1].seconds == pytest.approx(3 * steps[0].seconds)


# --- seconds from published times -----------------------------------------------------------------------


def test_the_documented_job_on_a_4090_lies_within_what_is_said() -> None:
    """ComfyUI's documentation, 4090D, fp8_scaled, 640x640x81: 513 s for 20 steps, 71 s for 4 with LoRAs."""
    twenty = forecast(a_work(width=640, height=640), a_target(), NOTHING)
    four = forecast(a_work(width=640, height=640, preset="fast"), a_target(), NOTHING)

    low, taken, high = seconds_of(twenty)
    assert low < 513 < high
    assert taken == pytest.approx(513, rel=0.1)
    low, taken, high = seconds_of(four)
    assert low < 71 < high
    assert four.cold is not None
    assert four.cold.low < 97 < four.cold.high  # its first run


@pytest.mark.parametrize(
    ("gpu", "size", "table_s"),
    [
        ("NVIDIA A100-SXM4-80GB", (1280, 720), 2735.7 / 40),
        ("NVIDIA A100-SXM4-80GB", (832, 480), 785.7 / 40),
        ("NVIDIA H100 80GB HBM3", (1280, 720), 1041.5 / 40),
        ("NVIDIA H100 80GB HBM3", (832, 480), 326.9 / 40),
        ("NVIDIA H20", (1280, 720), 4048.7 / 40),
    ],
)
def test_a_step_takes_what_the_makers_table_says(gpu: str, size: tuple[int, int], table_s: float) -> None:
    found = forecast(a_work(width=size[0], height=size[1]), a_target(gpu, 79), NOTHING)

    step = step_of(found)
    assert step.low < table_s < step.high
    assert "README" in step.source


def test_guidance_doubles_a_step() -> None:
    guided, plain = (
        step_of(forecast(a_work(preset=preset), a_target("NVIDIA A100-SXM4-80GB", 79), NOTHING))
        for preset in ("quality", "fast")
    )

    assert guided.seconds == pytest.approx(2 * plain.seconds)


def test_a_card_without_a_published_time_gets_an_estimate_that_says_so_or_none() -> None:
    estimated = forecast(a_work(), a_target("NVIDIA L40S", 44), NOTHING)
    unknown = forecast(a_work(), a_target("Voodoo 2", 11.7), NOTHING)

    step = step_of(estimated)
    assert "a bound, no time is published for this card" in step.source
    assert step.high > 2 * step.seconds
    assert (unknown.stages[0].step, unknown.warm, unknown.cold) == (None, None, None)
    assert unknown.notes == ("no measured rate for this card yet",)


def test_an_h200_is_taken_for_an_h100_and_not_for_an_h20() -> None:
    assert rate_of("NVIDIA H200", Precision.WIDE) == rate_of("NVIDIA H100 80GB HBM3", Precision.WIDE)
    assert rate_of("NVIDIA H20", Precision.WIDE) != rate_of("NVIDIA H200", Precision.WIDE)
    assert rate_of("Voodoo 2", Precision.WIDE) is None


def test_streaming_is_felt_only_where_the_bus_is_slower_than_the_card() -> None:
    whole = forecast(a_work(), a_target("RTX 4090", 23.7), NOTHING)
    streamed = forecast(a_work(), a_target("RTX 4090", 9), NOTHING)
    tiny = forecast(a_work(width=256, height=256, frames=5), a_target("RTX 4090", 4), NOTHING)

    assert (whole.fate, streamed.fate) == ("whole", "streams 80%")
    assert step_of(streamed).seconds == step_of(whole).seconds
    step = step_of(tiny)
    assert step.seconds > 1.0  # 12.3 GiB over the bus in each of two passes, for a blink of computing
    assert "stream in each pass" in step.source


def test_gguf_may_take_four_times_as_long() -> None:
    graph = a_graph()
    for node_id in ("37", "56"):
        graph[node_id]["inputs"]["unet_name"] = "wan2.2-t2v-a14b-14B-Q4_K_M.gguf"
    work = read(graph)

    step = step_of(forecast(work, a_target(), NOTHING))

    assert step.high / step.low > 4
    assert "GGUF unpacks" in step.source


def test_a_clip_that_does_not_fit_has_no_seconds() -> None:
    found = forecast(a_work(width=1280, height=720), a_target("RTX 4060", 7.7), NOTHING)

    assert (found.fate, found.runs, found.warm) == ("too small", False, None)


def test_short_host_memory_is_told_and_costs_a_read() -> None:
    roomy = forecast(a_work(), a_target(ram_bytes=128 * GIB), NOTHING)
    short = forecast(a_work(), a_target(ram_bytes=32 * GIB), NOTHING)

    assert roomy.notes == ()
    assert short.notes == ("32 GiB of host memory, 41 GiB are wanted",)
    assert short.phases["swap"].seconds > roomy.phases["swap"].seconds


# --- what the farm measured -----------------------------------------------------------------------------


def book_of(
    work: Workload, target: Target, seconds: float, count: int, what: str = "step"
) -> dict[str, Pace]:
    name = pace_key(what, work.stages[0], work, target).name()
    return {name: Pace(count=count, mean_s=seconds, variance_s2=0.04)}


def test_enough_jobs_of_the_farm_count_more_than_any_table() -> None:
    work, target = a_work(), a_target()

    few = forecast(work, target, PaceBook(book_of(work, target, 30.0, 2)))
    enough = forecast(work, target, PaceBook(book_of(work, target, 30.0, 12)))

    assert "4090 D" in step_of(few).source
    step = step_of(enough)
    assert (step.seconds, step.source) == (30.0, "measured on 12 jobs of this farm")
    assert (step.low, step.high) == pytest.approx((29.6, 30.4))


def test_phases_are_corrected_by_what_was_measured() -> None:
    work, target = a_work(), a_target()
    paces = book_of(work, target, 30.0, 5) | book_of(work, target, 3.0, 5, "text")

    plain, known = forecast(work, target, NOTHING), forecast(work, target, PaceBook(paces))

    assert "text" not in plain.phases
    assert known.phases["text"].seconds == 3.0


def test_other_sizes_tell_the_rate_of_a_card() -> None:
    target = a_target("NVIDIA GeForce RTX 3060", 11.7)
    small, large = a_work(), a_work(width=1280, height=720, frames=49)
    paces = book_of(small, target, 60.0, 4)

    step = step_of(forecast(large, target, PaceBook(paces)))

    assert step.seconds == pytest.approx(60.0 * 3.0 / 1.8, rel=0.1)
    assert step.source == "by the rate of 4 jobs of this farm at other sizes"


def test_another_comfyui_is_nearly_the_same_kind() -> None:
    work = a_work()
    paces = book_of(work, a_target(comfyui="0.12.1"), 30.0, 4)

    step = step_of(forecast(work, a_target(comfyui="0.38.1"), PaceBook(paces)))

    assert step.seconds == 30.0
    assert "other attention, LoRAs or ComfyUI" in step.source
    assert step.high > 30.4


@pytest.mark.parametrize(
    "other",
    [
        a_target("NVIDIA GeForce RTX 3090"),
        a_target(mode="streamed"),
        a_target(EMULATED),
    ],
)
def test_what_is_not_alike_is_not_taken(other: Target) -> None:
    work = a_work()
    paces = book_of(work, other, 1000.0, 40)

    step = step_of(forecast(work, a_target(), PaceBook(paces)))

    assert step.seconds < 100


def test_a_worker_without_a_card_is_said_to_compute_on_the_cpu() -> None:
    found = forecast(a_work(), a_target("no card", 64, mode="cpu"), NOTHING)

    assert (found.fate, found.warm, found.runs) == ("on the CPU", None, True)
    assert "no measured rate" in found.notes[0]


def test_an_emulated_worker_computes_nothing_and_is_never_predicted_by_cards() -> None:
    work = a_work()

    found = forecast(work, a_target(EMULATED, 141), NOTHING)

    assert (found.fate, found.warm, found.runs) == ("computes nothing", None, True)
    assert found.phases == {}


def test_names_of_another_version_are_passed_over() -> None:
    assert (
        PaceBook({"v2:step": Pace(count=9, mean_s=1.0)}).seconds(
            pace_key("step", a_work().stages[0], a_work(), a_target())
        )
        is None
    )


def test_a_small_model_is_a_small_load() -> None:
    graph = a_graph()
    for node_id in ("37", "56"):
        graph[node_id]["inputs"]["unet_name"] = "wan2.1_t2v_1.3B_fp16.safetensors"
    work = read(graph)

    assert work.stages[0].weights.family is WAN_1_3B
    assert work.stages[0].weights.precision is Precision.WIDE
    assert forecast(work, a_target("RTX 4060", 7.7), NOTHING).fate == "whole"
