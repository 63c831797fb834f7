"""What is concluded from lines that are read rightly: causes, remedies, and what is not said."""

from __future__ import annotations

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Confidence, Finding, Phase, Report
from comfy.doctor.words import told_once

_SAGE = "Error running sage attention: {}, using pytorch attention instead.\n"
_AMD = "cuda:0 AMD Radeon RX 7900 XTX : native"
_NO_COMPILER = ("C compiler", False)
_ADA = "cuda:0 NVIDIA GeForce RTX 4090 : cudaMallocAsync"


def found(report: Report, name: str) -> Finding | None:
    return next((each for each in report.findings if each.id == name), None)


def start(device: str = _ADA, attention: str = "pytorch attention", ram_mib: int = 65277) -> str:
    return (
        f"Total VRAM 24564 MB, total RAM {ram_mib} MB\nSet vram state to: NORMAL_VRAM\nDevice: {device}\n"
        f"Using {attention}\nTo see the GUI go to: http://127.0.0.1:8188\n"
    )


@pytest.mark.parametrize(
    ("error", "remedy", "computes"),
    [
        ("Command '['/usr/bin/gcc', '/tmp/x/main.c']' returned non-zero exit status 1", *_NO_COMPILER),
        (r"Command '['C:\\triton\\tcc.exe', 'a.c']' returned non-zero exit status 1", *_NO_COMPILER),
        ("Failed to find C compiler. Please specify via CC environment variable.", *_NO_COMPILER),
        ("CUDA error: no kernel image is available for execution", "for this card", False),
        ("SM89 kernel is not available. make sure you GPUs with 8.9", "for this card", False),
        ("Input tensors must be in dtype of torch.float16", "take --use-sage-attention", False),
        ("Unsupported head_dim: 80", "leave it", True),
    ],
)  # fmt: skip
def test_a_fallback_has_the_remedy_of_its_cause_and_nothing_beside_it_says_that_sage_computes(
    error: str, remedy: str, computes: bool
) -> None:
    log = (
        start(attention="sage attention") + "got prompt\nRequested to load WAN21\n" + _SAGE.format(error) * 2
    )
    report = diagnose(log + "Prompt executed in 60.00 seconds\n")

    finding = found(report, "attention-fallback")
    assert finding is not None
    assert remedy in finding.remedy
    assert ("sage-is-slow" in {each.id for each in report.folklore}) is computes


def test_sage_that_fails_on_a_card_where_it_gains_nothing_is_not_told_to_compute_there() -> None:
    a100 = start("cuda:0 NVIDIA A100-SXM4-80GB : cudaMallocAsync", "sage attention")
    fails = (
        "got prompt\n" + _SAGE.format("no kernel image is available") + "Prompt executed in 60.00 seconds\n"
    )

    assert found(diagnose(a100 + "got prompt\nPrompt executed in 60.00 seconds\n"), "sage-without-gain")
    assert found(diagnose(a100 + fails), "sage-without-gain") is None


_OVER_MIDNIGHT = """\
[23:58:50] got prompt
[23:58:51] Requested to load WAN21
[23:59:00] loaded completely; 20000.00 MB usable, 13629.00 MB loaded, full load: True
[{at}] 100%|██████████| 4/4 [02:00<00:00, 30.00s/it]
[{then}] Requested to load WanVAE
[{then}] loaded completely; 2500.00 MB usable, 242.03 MB loaded, full load: True
[{end}] Prompt executed in {took} seconds
"""


@pytest.mark.parametrize(
    ("log", "loading_s"),
    [
        (_OVER_MIDNIGHT.format(at="00:01:00", then="00:01:01", end="00:01:20", took="150.00"), 10.0),
        # The day begins in the last line, or in the second.
        (
            (
                "[23:56:50] got prompt\n[23:56:51] Requested to load WAN21\n"
                "[23:57:00] loaded completely; 20000.00 MB usable, 13629.00 MB loaded, full load: True\n"
                "[23:59:00] 100%|██████████| 4/4 [02:00<00:00, 30.00s/it]\n"
                "[00:01:20] Prompt executed in 270.00 seconds\n"
            ),
            9.0,
        ),
        (
            (
                "[23:59:59] got prompt\n[00:00:01] Requested to load WAN21\n"
                "[00:00:10] loaded completely; 20000.00 MB usable, 13629.00 MB loaded, full load: True\n"
                "[00:02:10] 100%|██████████| 4/4 [02:00<00:00, 30.00s/it]\n"
                "[00:02:20] Prompt executed in 140.00 seconds\n"
            ),
            9.0,
        ),
    ],
)
def test_stamps_that_begin_anew_are_believed_where_the_prompts_own_time_agrees(
    log: str, loading_s: float
) -> None:
    # The prompt behind it is read on the same clock.
    report = diagnose(log + log.splitlines()[-1][: log.splitlines()[-1].index("]") + 1] + " got prompt\n")

    assert not [each for each in report.questions if "not believed" in each.what]
    seconds = {phase.phase: phase.seconds for phase in report.prompts[0].phases if phase.source == "stamps"}
    assert seconds[Phase.LOADING] == pytest.approx(loading_s, abs=1.1)


@pytest.mark.parametrize(
    "log",
    [
        # Its own time says that a day less two minutes was set back, or that more is missing.
        _OVER_MIDNIGHT.format(at="00:01:00", then="00:01:01", end="00:01:20", took="900.00"),
        _OVER_MIDNIGHT.format(at="00:01:00", then="00:01:01", end="03:01:20", took="150.00"),
        # With a date a day is another one.
        "\n".join(
            f"[2026-01-05 {line[1:9]}] {line[11:]}"
            for line in _OVER_MIDNIGHT.format(
                at="00:01:00", then="00:01:01", end="00:01:20", took="150.00"
            ).splitlines()
        ),
        # Two jumps.
        _OVER_MIDNIGHT.format(at="00:01:00", then="00:01:01", end="00:01:20", took="150.00").replace(
            "[23:59:00]", "[12:59:00]"
        ),
    ],
)
def test_stamps_that_go_back_without_that_are_not_believed(log: str) -> None:
    assert [each for each in diagnose(log).questions if "not believed" in each.what]


@pytest.mark.parametrize(
    ("behind", "waited_s"),
    [("[23:58:51] Requested", 149), ("[00:01:00] 100%", 20), ("[00:01:20] Prompt", 0)],
)
def test_prompts_behind_midnight_wait_as_long_as_their_stamps_say(behind: str, waited_s: float) -> None:
    first = _OVER_MIDNIGHT.format(at="00:01:00", then="00:01:01", end="00:01:20", took="150.00")
    queued = first.replace(behind, f"{behind[:10]} got prompt\n{behind}")
    report = diagnose(
        queued + "[00:01:21] Requested to load WAN21\n[00:02:20] Prompt executed in 60.00 seconds\n"
    )

    waited = {phase.phase: phase.seconds for phase in report.prompts[1].phases}
    assert waited.get(Phase.WAITING, 0) == pytest.approx(waited_s, abs=1)


@pytest.mark.parametrize(
    ("device", "attention", "remedy", "confidence"),
    [
        (_ADA, "sub quadratic optimization for attention", "take --use-split", Confidence.PROVEN),
        (_AMD, "sub quadratic optimization for attention", "--use-pytorch-cross", Confidence.LIKELY),
        (_AMD, "split optimization for attention", "take --use-split-cross-attention out", Confidence.LIKELY),
    ],
)  # fmt: skip
def test_what_slow_attention_is_a_default_of_is_not_blamed_on_a_flag(
    device: str, attention: str, remedy: str, confidence: Confidence
) -> None:
    finding = found(diagnose(start(device, attention)), "slow-attention")

    assert finding is not None
    assert finding.remedy.startswith(remedy)
    assert finding.confidence is confidence


@pytest.mark.parametrize(
    ("card", "is_told"),
    [("RTX 4090", True), ("RTX 5090", True), ("RTX 3090", False), ("RTX 2080 Ti", False)],
)
def test_no_torch_is_advised_for_fp8_on_a_card_without_its_units(card: str, is_told: bool) -> None:
    log = start(f"cuda:0 NVIDIA GeForce {card} : cudaMallocAsync") + (
        "WARNING: You need pytorch with cu130 or higher to use optimized CUDA operations.\ngot prompt\n"
        "Native ops: , emulated ops: float8_e4m3fn\n"
        "model weight dtype torch.float8_e4m3fn, manual cast: torch.float16\n"
        "Prompt executed in 60.00 seconds\n"
    )

    told = [each for each in diagnose(log).findings if each.id == "kernels-emulated"]
    assert told
    assert any("cu130" in each.remedy for each in told) is is_told
    assert any("no FP8 units" in each.remedy for each in told) is not is_told


@pytest.mark.parametrize(
    ("missing", "confidence"), [(2, Confidence.LIKELY), (40, Confidence.LIKELY), (400, Confidence.PROVEN)]
)
def test_a_few_layers_of_a_lora_do_not_prove_that_it_is_for_another_model(
    missing: int, confidence: Confidence
) -> None:
    keys = "".join(
        f"lora key not loaded: diffusion_model.blocks.{at}.x.lora_A.weight\n" for at in range(missing)
    )
    finding = found(diagnose(f"got prompt\n{keys}Prompt executed in 3.00 seconds\n"), "lora-not-loaded")

    assert finding is not None
    assert finding.confidence is confidence


def test_a_refusal_names_its_prompt_among_many() -> None:
    missing = (
        "got prompt\nFailed to validate prompt for output 61:\n* UNETLoader 37:\n"
        "  - Value not in list: unet_name: '{0}.safetensors' not in ['flux1-dev.safetensors']\n"
        "Output will be ignored\ninvalid prompt: {{'type': 'prompt_outputs_failed_validation', 'message': "
        "'Prompt outputs failed validation', 'details': '', 'extra_info': {{}}}}\n"
    )
    log = missing.format("a") + "got prompt\nPrompt executed in 3.00 seconds\n" + missing.format("b")

    report = diagnose(log + missing.format("b"))

    assert {(each.message.split()[-1], each.prompt) for each in report.findings} == {
        ("a.safetensors", 1),
        ("b.safetensors", None),  # of two prompts
    }


def test_seconds_that_prompts_wait_together_are_not_added_up() -> None:
    lines = ["2026-01-01T00:00:00Z got prompt"] * 4
    for at in range(4):
        lines += [f"2026-01-01T00:{at * 2 + 1:02}:00Z Requested to load WAN21"]
        lines += [f"2026-01-01T00:{at * 2 + 2:02}:00Z Prompt executed in 120.00 seconds"]
    told = [words for finding, words in told_once(diagnose("\n".join(lines))) if finding.id == "queue-wait"]

    assert told
    assert not any("in all" in words for words in told)


@pytest.mark.parametrize(
    ("head", "why"),
    [
        (start(ram_mib=16000), "16 GiB of host memory do not hold"),
        (start() + "Using RAM pressure cache.\n", "its cache dropped them"),
        (start(), "a loader's inputs changed"),
    ],
)
def test_models_that_are_read_again_are_explained_by_memory_where_it_is_short(head: str, why: str) -> None:
    one = (
        "got prompt\nmodel weight dtype torch.float8_e4m3fn, manual cast: torch.float16\n"
        "Requested to load WAN21\n"
        "loaded completely; 20000.00 MB usable, 15000.00 MB loaded, full load: True\n"
        "Prompt executed in 60.00 seconds\n"
    )
    finding = found(diagnose(head + one * 3), "model-read-again")

    assert finding is not None
    assert why in finding.message


def folklore(report: Report) -> dict[str, str]:
    return {each.id: each.truth for each in report.folklore}


@pytest.mark.parametrize(
    ("card", "truth"),
    [
        ("RTX 4090", "it was measured faster"),
        ("RTX 5090", "it was measured faster"),
        ("Tesla T4", "depends on the card"),
        ("GeForce RTX 2080 Ti", "depends on the card"),
        ("B200", "depends on the card"),
    ],
)
def test_sage_is_called_faster_only_on_cards_of_a_kind_that_was_measured(card: str, truth: str) -> None:
    device = f"cuda:0 NVIDIA {card} : cudaMallocAsync"

    report = diagnose(start(device, "sage attention") + "got prompt\nPrompt executed in 60.00 seconds\n")

    assert truth in folklore(report)["sage-is-slow"]


@pytest.mark.parametrize(("size_mib", "is_normal"), [(2706, False), (13629, True), (8341, True)])
def test_a_long_step_is_excused_by_a14b_only_where_the_model_may_be_that(
    size_mib: int, is_normal: bool
) -> None:
    report = diagnose(
        f"{start()}got prompt\nRequested to load WAN21\nloaded completely 20500.1 {size_mib}.0 True\n"
        "100%|██████████| 20/20 [24:00<00:00, 72.00s/it]\nPrompt executed in 1460.00 seconds\n"
    )

    assert ("long-steps" in folklore(report)) == is_normal


@pytest.mark.parametrize(("sizes_mib", "are_experts"), [((13629, 13629), True), ((13629, 15628), False)])
def test_models_of_two_sizes_are_no_two_experts(sizes_mib: tuple[int, int], are_experts: bool) -> None:
    log = f"{start()}got prompt\n"
    for size_mib in sizes_mib:
        log += "model weight dtype torch.float16, manual cast: None\nRequested to load WAN21\n"
        log += f"loaded completely 20500.1 {size_mib}.0 True\n100%|██| 20/20 [05:00<00:00, 15.00s/it]\n"

    report = diagnose(f"{log}Prompt executed in 660.00 seconds\n")

    names = [each.phase for each in report.prompts[0].phases if each.phase.startswith("sampling")]
    experts = [Phase.SAMPLING_HIGH, Phase.SAMPLING_LOW]
    assert names == (experts if are_experts else [Phase.SAMPLING] * 2)
    assert ("requested-twice" in folklore(report)) == are_experts


@pytest.mark.parametrize(
    ("unloads", "confidence"),
    [("1 models unloaded.\n", Confidence.PROVEN), ("", Confidence.LIKELY), ("0 models unloaded.\n", None)],
)
def test_a_model_that_is_asked_for_again_has_left_the_card_only_where_something_was_unloaded(
    unloads: str, confidence: Confidence | None
) -> None:
    weights = "model weight dtype torch.float16, manual cast: None\n"
    asked = f"Requested to load WAN21\n{unloads}loaded completely 20500.1 13629.0 True\n"
    bar = "100%|██████████| 2/2 [00:20<00:00, 10.00s/it]\n"

    report = diagnose(f"{start()}got prompt\n{weights}{(asked + bar) * 2}Prompt executed in 60.00 seconds\n")

    finding = found(report, "model-evicted")
    assert (finding.confidence if finding else None) == confidence
