"""Clocks that contradict each other: what ComfyUI says that a prompt took counts, and the rest is doubted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from comfy.doctor.diagnose import diagnose
from comfy.doctor.report import Confidence, Phase, PromptReport, Report, Status
from tests.support.tables import for_each

# Seconds from the log's first line, and the line.
LINES = (
    (0, "ComfyUI version: 0.3.64"),
    (0, "Total VRAM 24080 MB, total RAM 64000 MB"),
    (5, "got prompt"),
    (22, "model weight dtype torch.float16, manual cast: None"),
    (23, "Requested to load WAN21"),
    (26, "loaded completely 20500.1 13629.0 True"),
    (26, "  0%|          | 0/2 [00:00<?, ?it/s]"),
    (53, "100%|██████████| 2/2 [00:27<00:00, 13.50s/it]"),
    (53, "Requested to load WanVAE"),
    (56, "loaded completely 12016.47 242.02 True"),
    (60, "got prompt"),
    (67, "Prompt executed in 62.11 seconds"),
    (70, "Requested to load WAN21"),
    (73, "loaded completely 20500.1 13629.0 True"),
    (100, "100%|██████████| 2/2 [00:27<00:00, 13.50s/it]"),
    (109, "Prompt executed in 42.05 seconds"),
)
BEGAN = datetime(2026, 11, 30, 10, tzinfo=UTC)


def log_of(*, jump_before: int = len(LINES), by_s: float = 0) -> str:
    """The log by a clock that was set before a line."""
    return "".join(
        f"{moment(at_s + (by_s if number >= jump_before else 0))} {text}\n"
        for number, (at_s, text) in enumerate(LINES)
    )


def own_log(line: str, end: str) -> str:
    """The log as ComfyUI's own report and its manager show it: bars stand between stamps of others."""
    return "".join(
        line.format(stamp=moment(at_s)[:-1], text=text)
        if "%|" in text
        else f"{moment(at_s)[:-1]} - {text}{end}"
        for at_s, text in LINES
    )


def moment(at_s: float) -> str:
    return f"{BEGAN + timedelta(seconds=at_s):%Y-%m-%dT%H:%M:%S}Z"


def loading_s(prompt: PromptReport) -> float:
    return sum(each.seconds for each in prompt.phases if each.phase is Phase.LOADING)


def doubts(report: Report) -> list[str]:
    return [each.what for each in report.questions if "not believed" in each.what]


@pytest.mark.parametrize(
    ("end", "status", "wall_s"),
    [
        ("Killed", Status.LOST, 53.0),
        ("Total VRAM 24080 MB, total RAM 64000 MB", Status.LOST, 36.0),  # no word of its end: another start
        ("!!! Exception during processing !!! no luck", Status.FAILED, 53.0),
        ("Processing interrupted", Status.INTERRUPTED, 53.0),
        ("to be continued", Status.UNFINISHED, None),
    ],
)
def test_stamps_tell_how_long_a_prompt_ran_that_something_else_ended(
    end: str, status: Status, wall_s: float | None
) -> None:
    lines = (*LINES[:7], (41, " 50%|█████     | 1/2 [00:15<00:15, 15.00s/it]"), (58, end))

    (prompt,) = diagnose("".join(f"{moment(at_s)} {text}\n" for at_s, text in lines)).prompts

    assert (prompt.status, prompt.wall_s) == (status, wall_s)
    seconds = {each.phase: each.seconds for each in prompt.phases}
    if wall_s is not None:
        assert sum(each.seconds for each in prompt.phases) == pytest.approx(wall_s)
        assert seconds[Phase.LOADING] > 0


def test_a_prompt_that_was_killed_while_it_loaded_is_no_cold_start() -> None:
    lines = (*LINES[:5], (58, "Killed"))

    report = diagnose("".join(f"{moment(at_s)} {text}\n" for at_s, text in lines))

    assert loading_s(report.prompts[0]) > 20
    assert {finding.id for finding in report.findings} == {"host-ram-short"}


def test_a_prompt_whose_beginning_is_cut_off_tells_no_time_by_stamps() -> None:
    lines = (*LINES[4:7], (30, "Killed"))

    (prompt,) = diagnose("".join(f"{moment(at_s)} {text}\n" for at_s, text in lines)).prompts

    assert (prompt.status, prompt.wall_s) == (Status.LOST, None)


def test_stamps_that_agree_with_the_told_time_are_believed() -> None:
    report = diagnose(log_of())

    assert [loading_s(prompt) for prompt in report.prompts] == pytest.approx([24.11, 3.05], abs=1)
    assert report.prompts[1].phases[0].phase is Phase.WAITING
    assert doubts(report) == []


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize(
    "bar",
    [
        "{stamp} - \n{text}{stamp} - \n",
        "{stamp} - \n{text}{stamp}.000100 - \n",
        "{stamp} -\n{text}\n",
        "{stamp} - \n{text}\n{stamp} - \n",
        "{stamp} - \r{text}{stamp} - \n",
        "{stamp} - \n{text}{stamp} - \n{text}{stamp} - \n",
    ],
)
def test_a_bar_between_stamps_is_of_the_moment_that_stands_above_it(bar: str, end: str) -> None:
    report = diagnose(own_log(bar.replace("\n", end), end))

    assert doubts(report) == []
    assert [loading_s(prompt) for prompt in report.prompts] == pytest.approx([24.11, 3.05], abs=1)
    for prompt in report.prompts:
        assert all(each.seconds < 4 for each in prompt.phases if each.phase is Phase.UNEXPLAINED)


def test_a_bar_above_the_block_that_is_read_at_once_has_its_stamp_too() -> None:
    log = own_log("{stamp} - \n{text}{stamp} - \n", "\n").encode()
    cut = log.index(b"\n100%") + 1

    report = diagnose(iter([b"x" * (1 << 18) + b"\n" + log[:cut], log[cut:]]))

    assert doubts(report) == []


def test_bars_without_a_stamp_among_lines_that_have_one_leave_the_others_their_time() -> None:
    """Whoever stamps a server's output may leave out its other pipe."""
    report = diagnose(own_log("{text}\n", "\n"))

    assert doubts(report) == []
    first = {each.phase: each.seconds for each in report.prompts[0].phases}
    assert first[Phase.SAMPLING] == pytest.approx(27, abs=0.1)
    assert first[Phase.LOADING] == pytest.approx(24.11, abs=4)


@for_each("by_s", [-86400, -3600, -30, 30, 3600, 86400])
@for_each("jump_before", range(len(LINES)))
def test_no_jump_of_the_clock_makes_a_phase_longer_than_its_prompt(jump_before: int, by_s: float) -> None:
    report = diagnose(log_of(jump_before=jump_before, by_s=by_s))

    for prompt in report.prompts:
        assert prompt.wall_s is not None
        assert prompt.wall_s < 70
        assert all(0 <= phase.seconds <= prompt.wall_s for phase in prompt.phases)
        assert sum(phase.seconds for phase in prompt.phases) == pytest.approx(prompt.wall_s, abs=0.01)
    assert all(each.cost is None or each.cost.high < 70 for each in report.findings)


@pytest.mark.parametrize(
    ("by_s", "words"),
    [
        (-3600, "prompt 1: stamps that go back by 1 h 00 min were not believed"),
        (3600, "prompt 1: stamps 1 h 00 min apart in a prompt of 62.1 s were not believed"),
        (-27, "prompt 1: stamps that go back by 27.0 s were not believed"),
    ],
)
def test_stamps_that_were_not_believed_are_named_with_their_prompt(by_s: float, words: str) -> None:
    report = diagnose(log_of(jump_before=6, by_s=by_s))

    assert doubts(report) == [words]
    assert {phase.source for phase in report.prompts[0].phases} == {"bars", "rest"}
    assert loading_s(report.prompts[1]) == pytest.approx(3.05, abs=1)  # its own stamps are sound


def test_a_clock_that_was_set_while_a_prompt_waited_tells_no_waiting() -> None:
    report = diagnose(log_of(jump_before=11, by_s=3600))

    assert Phase.WAITING not in {each.phase for each in report.prompts[1].phases}


def test_bars_of_another_server_in_the_same_log_are_not_believed() -> None:
    report = diagnose(
        "got prompt\n100%|####| 20/20 [04:30<00:00, 13.50s/it]\nPrompt executed in 12.00 seconds\n"
    )

    (prompt,) = report.prompts
    assert [(each.phase, each.seconds) for each in prompt.phases] == [(Phase.UNEXPLAINED, 12.0)]
    assert doubts(report) == ["prompt 1: bars of 4 min 30 s in a prompt of 12.0 s were not believed"]


def test_what_holds_of_many_prompts_is_not_concluded_once_for_all() -> None:
    report = diagnose("got prompt\nPrompt executed in 90.00 seconds\n" * 150)

    (question,) = [each for each in report.questions if "unexplained" in each.what]
    assert question.what.startswith("150 prompts, 1 to 150: 3 h 45 min are unexplained")


def test_many_prompts_of_a_clock_that_jumps_are_told_in_a_few_lines() -> None:
    one = log_of(jump_before=6, by_s=-3600)
    report = diagnose(one * 20)

    assert 1 < len(doubts(report)) <= 4
    assert "more prompts" in doubts(report)[-1]


SERVER = ("ComfyUI version: 0.18.2", "Total VRAM 24080 MB, total RAM 64000 MB", "got prompt")
READ = "model weight dtype torch.float8_e4m3fn, manual cast: torch.float16"
FULL = "loaded completely; 20000.00 MB usable, 13629.08 MB loaded, full load: True"
ASKED = "Requested to load WAN21"
PARTIAL = (
    "loaded partially; 4821.43 MB usable, 3050.79 MB loaded, 10578.00 MB offloaded, "
    "340.08 MB buffer reserved, lowvram patches: 0"
)
VAE = ("Requested to load WanVAE", "loaded completely; 20000.00 MB usable, 242.03 MB loaded, full load: True")
TEXT = (
    "CLIP/text encoder model load device: {}, offload device: cpu, current: cpu, dtype: torch.float16",
    "Requested to load WanTEModel",
    "loaded completely; 95367431640625005117571072.00 MB usable, 10835.48 MB loaded, full load: True",
)
BEGUN = "  0%|          | 0/4 [00:00<?, ?it/s]"
SAMPLED = "100%|##########| 4/4 [00:40<00:00, 10.00s/it]"


def told(*lines: tuple[float, str], server: tuple[str, ...] = SERVER) -> Report:
    """The report of a log of lines and of the seconds that each came after the one before it."""
    at_s, log = 0.0, "".join(f"{moment(0)} {text}\n" for text in server)
    for after_s, text in lines:
        at_s += after_s
        log += f"{moment(at_s)} {text.format(at_s)}\n"
    return diagnose(log)


def seconds_of(report: Report) -> dict[Phase, float]:
    found: dict[Phase, float] = {}
    for each in report.prompts[0].phases:
        found[each.phase] = found.get(each.phase, 0.0) + round(each.seconds, 1)
    return {phase: seconds for phase, seconds in found.items() if seconds}


DONE = "Prompt executed in {:.2f} seconds"
SAMPLES = ((8, ASKED), (3, FULL), (0, BEGUN), (40, SAMPLED))


def encoder(device: str) -> tuple[tuple[float, str], ...]:
    """A text encoder is read, and brought to where it computes."""
    return tuple((1, text.format(device)) for text in TEXT)


def making_room(seconds: float, *, models: int = 1) -> tuple[tuple[float, str], ...]:
    """A model is asked for, and others have to leave."""
    return ((1, ASKED), (seconds, f"{models} models unloaded."), (1, FULL), (0, BEGUN), (40, SAMPLED))


DECODES = ((1, VAE[0]), (1, VAE[1]), (18, DONE))


@pytest.mark.parametrize(
    ("lines", "phase", "seconds"),
    [
        # A text encoder on the CPU computes until the next model is opened; on a card that takes no time.
        ((*encoder("cpu"), (100, READ), *SAMPLES, *DECODES), Phase.TEXT, 100),
        ((*encoder("cuda:0"), (20, READ), *SAMPLES, *DECODES), Phase.TEXT, 0),
        # Before a model is asked for no line says what ran.
        (((88, TEXT[1]), (3, TEXT[2]), (1, READ), *SAMPLES, *DECODES), Phase.UNEXPLAINED, 88),
        (((18, READ), *SAMPLES, *DECODES), Phase.LOADING, 30),
        # A model that is loaded computes, and only a bar tells how long.
        (((2, READ), (8, ASKED), (3, FULL), (90, VAE[0]), (1, VAE[1]), (18, DONE)), Phase.LOADING, 14),
        # Another model is in the way, or the same one comes back.
        (
            ((2, READ), *making_room(15), *DECODES),
            Phase.EVICTING, 15,
        ),
        (
                ((2, READ), *SAMPLES, *DECODES[:2], (15, ASKED), (20, FULL), (40, SAMPLED), *DECODES),
                Phase.EVICTING, 20,
            ),
        (((2, READ), *making_room(15, models=0), *DECODES), Phase.EVICTING, 0),
        # A start image is encoded before the sampler, and a clip decoded behind it.
        (((2, READ), *DECODES[:2], (9, ASKED), *SAMPLES[1:], *DECODES), Phase.IMAGE, 9),
        (((2, READ), *SAMPLES, (1, VAE[0]), (1, VAE[1]), (18, DONE)), Phase.FINISHING, 19),
    ],
)  # fmt: skip
def test_time_belongs_to_what_the_lines_around_it_tell(
    lines: tuple[tuple[float, str], ...], phase: Phase, seconds: float
) -> None:
    assert seconds_of(told(*lines)).get(phase, 0.0) == pytest.approx(seconds, abs=0.1)


@pytest.mark.parametrize("done", [0, 2])
@pytest.mark.parametrize(
    "end",
    [
        "Processing interrupted",
        "!!! Exception during processing !!! list index out of range",
        "!!! Exception during processing !!! Allocation on device 0 would exceed allowed memory.",
    ],
)
def test_a_step_that_did_not_end_is_sampling(done: int, end: str) -> None:
    state = ((400, " 50%|#####     | 2/4 [06:40<06:40, 200.00s/it]"),) if done else ()

    report = told((2, READ), (8, ASKED), (3, FULL), (0, BEGUN), *state, (180, end), (0, DONE))

    assert seconds_of(report) == {Phase.LOADING: 13, Phase.SAMPLING: 580 if done else 180}


TWICE = ((2, READ), *SAMPLES, (1, READ), *SAMPLES, *DECODES)
AGAIN = ((2, READ), *SAMPLES, (1, "1 models unloaded."), *SAMPLES, *DECODES)
FLUX = ((2, READ), (8, "Requested to load Flux"), *SAMPLES[1:], (1, READ), *SAMPLES, *DECODES)


@pytest.mark.parametrize(
    ("lines", "server", "are_experts"),
    [
        (TWICE, SERVER, True),
        (TWICE, SERVER[2:], True),
        (TWICE[1:5] + TWICE[6:], SERVER[2:], True),  # its models were read before the log begins
        (AGAIN, SERVER, False),
        (AGAIN, SERVER[2:], False),
        (FLUX, SERVER, False),
        (FLUX, SERVER[2:], False),
        (((40, SAMPLED), (41, SAMPLED), (1, DONE)), SERVER[2:], False),  # nothing tells of a model
    ],
)
def test_two_samplers_are_of_two_experts_where_two_models_of_wan_were_read(
    lines: tuple[tuple[float, str], ...], server: tuple[str, ...], are_experts: bool
) -> None:
    report = told(*lines, server=server)

    assert ({Phase.SAMPLING_HIGH, Phase.SAMPLING_LOW} <= seconds_of(report).keys()) is are_experts
    assert ("requested-twice" in [each.id for each in report.folklore]) is are_experts


@pytest.mark.parametrize(
    ("lines", "is_told", "confidence"),
    [
        (AGAIN, True, Confidence.PROVEN),
        (tuple(each for each in AGAIN if "unloaded" not in each[1]), True, Confidence.LIKELY),
        (TWICE, False, None),
        (((2, READ), *making_room(90), *DECODES), True, Confidence.PROVEN),
        (((2, READ), *making_room(2), *DECODES), False, None),
    ],
)  # fmt: skip
def test_models_that_push_each_other_off_the_card_are_told(
    lines: tuple[tuple[float, str], ...], is_told: bool, confidence: Confidence | None
) -> None:
    finding = next((each for each in told(*lines).findings if each.id == "model-evicted"), None)

    assert (finding is not None) is is_told
    assert finding is None or finding.confidence is confidence


def test_what_the_server_read_for_an_earlier_prompt_counts() -> None:
    again = ((0, "got prompt"), (8, ASKED), (3, FULL), (40, SAMPLED))
    ends = ((18, "Prompt executed in 133.00 seconds"), (9, "Prompt executed in 111.00 seconds"))
    report = told(*TWICE[:-1], ends[0], *again, *again[1:], ends[1])

    assert Phase.SAMPLING_LOW in {each.phase for each in report.prompts[1].phases}
    assert [each.id for each in report.findings if each.id == "model-evicted"] == []


@pytest.mark.parametrize(
    ("lines", "ids"),
    [
        # 13.3 GiB in 22 s, of which 3 GiB lie on the card.
        (
            (
                (18, READ), (1, ASKED),
                (3, PARTIAL),
                (40, SAMPLED), *DECODES,
            ),
            ["cold-start"],
        ),
        ((*encoder("cpu"), (100, READ), *SAMPLES, *DECODES), []),
        (((88, TEXT[1]), (3, TEXT[2]), (1, READ), *SAMPLES, *DECODES), []),
        (((2, READ), *making_room(90), *DECODES), []),
        (((110, READ), *SAMPLES, *DECODES), ["cold-start", "slow-disk"]),
    ],
)  # fmt: skip
def test_only_loading_is_blamed_on_the_disk_and_on_a_cold_start(
    lines: tuple[tuple[float, str], ...], ids: list[str]
) -> None:
    found = {each.id: each for each in told(*lines).findings if each.id in ("cold-start", "slow-disk")}

    assert sorted(found) == ids
    assert {each.confidence for each in found.values()} <= {Confidence.LIKELY}


@for_each("is_stamped", [True, False])
@for_each(
    "bar, phase",
    [
        ("Loading model and applying LoRA weights:: 100%|##| 999/999 [01:05<00:00, 19.9it/s]", Phase.LOADING),
        ("Loading transformer parameters to cuda: 100%|##| 999/999 [01:05<00:00, 19.9it/s]", Phase.LOADING),
        ("Loading T5 parameters: 100%|####| 242/242 [01:05<00:00, 3.7it/s]", Phase.LOADING),
        ("Loading checkpoint shards: 100%|####| 5/5 [01:05<00:00, 13.00s/it]", Phase.LOADING),
        ("Initializing block swap: 100%|####| 40/40 [01:05<00:00, 1.63s/it]", Phase.LOADING),
        ("T5Encoder: 100%|####| 24/24 [01:05<00:00, 2.70s/it]", Phase.TEXT),
        ("VAE encoding: 100%|####| 1/1 [01:05<00:00, 65.00s/it]", Phase.IMAGE),
        ("WanVAE encoding frames: 100%|####| 21/21 [01:05<00:00, 3.10s/it]", Phase.IMAGE),
        ("VAE decoding: 100%|####| 1/1 [01:05<00:00, 65.00s/it]", Phase.VAE),
        ("WanVAE decoding frames: 100%|####| 21/21 [01:05<00:00, 3.10s/it]", Phase.VAE),
        ("Sampling audio indices 0-81: 100%|####| 6/6 [01:05<00:00, 10.80s/it]", Phase.SAMPLING),
    ],
)  # fmt: skip
def test_a_bar_that_says_what_it_counts_tells_its_time(bar: str, phase: Phase, is_stamped: bool) -> None:
    lines = ((5, "Detected model in_channels: 36"), (65, bar), (7, DONE))
    log = "got prompt\n" + "".join(f"{text.format(77)}\n" for _, text in lines)

    report = told(*lines) if is_stamped else diagnose(log)

    found = seconds_of(report)
    assert found[phase] == 65
    assert sum(found.values()) == pytest.approx(77, abs=0.1)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (((88, TEXT[1]), (3, TEXT[2]), (1, READ), *SAMPLES, *DECODES), "before the first model"),
        (((2, READ), *SAMPLES, *DECODES[:2], (300, DONE)), "behind the last step"),
        (((2, READ), *SAMPLES, *DECODES), None),
    ],
)
def test_minutes_that_no_line_tells_of_are_asked_for(
    lines: tuple[tuple[float, str], ...], words: str | None
) -> None:
    asked = [each.what for each in told(*lines).questions if "prompt 1" in each.what]

    assert len(asked) == (words is not None)
    assert words is None or words in asked[0]


RETRY = "Warning: Ran out of memory when regular VAE decoding, retrying with tiled VAE decoding."


@pytest.mark.parametrize(
    ("lines", "seconds"),
    [
        (((2, READ), *SAMPLES, *DECODES[:2], (60, RETRY), (46, DONE)), 60),
        (((2, READ), *SAMPLES, (60, RETRY), (46, DONE)), None),  # when it began is not told
        (((2, READ), *SAMPLES, *DECODES[:2], (60, RETRY), (-300, DONE)), None),  # by a clock that was set
    ],
)
def test_a_decode_that_was_thrown_away_took_what_stamps_say(
    lines: tuple[tuple[float, str], ...], seconds: float | None
) -> None:
    report = told(*lines[:-1], (lines[-1][0], "Prompt executed in 161.00 seconds"))

    cost = next(each.cost for each in report.findings if each.id == "vae-retried")
    assert (cost.seconds if cost is not None else None) == seconds
    assert seconds_of(report).get(Phase.VAE) == seconds


@pytest.mark.parametrize(
    ("first_s", "rest_s", "is_told"), [(70, 10, True), (40, 4, True), (15, 10, False), (130, 90, False)]
)
def test_a_first_step_that_took_much_longer_is_told(first_s: int, rest_s: int, is_told: bool) -> None:
    whole = first_s + 9 * rest_s
    report = diagnose(
        f"got prompt\n 10%|#| 1/10 [{first_s // 60:02}:{first_s % 60:02}<01:00, {first_s}.00s/it]\n"
        f"100%|#| 10/10 [{whole // 60:02}:{whole % 60:02}<00:00, {rest_s}.00s/it]\n"
        f"Prompt executed in {whole + 9}.00 seconds\n"
    )

    assert any("the first step took" in each.what for each in report.questions) is is_told


def test_text_on_the_cpu_is_blamed_for_no_more_than_its_time() -> None:
    report = told((1, TEXT[0].format("cpu")), *encoder("cpu")[1:], (100, READ), *SAMPLES, *DECODES)

    cost = next(each.cost for each in report.findings if each.id == "encoder-on-cpu")
    assert cost is not None
    assert 80 < cost.low < cost.seconds < cost.high == 100  # the next model's file may be read meanwhile


VAE_COMES = "Requested to load WanVAE\nloaded completely 12016.47 242.02 True"
MODEL_COMES = "Requested to load WAN21\nloaded completely 20500.1 13629.0 True"


@pytest.mark.parametrize("is_stamped", [False, True])
@pytest.mark.parametrize(
    ("between", "steps", "samplers"),
    [
        pytest.param(VAE_COMES, 81, [4], id="frames-behind-the-decoder"),
        pytest.param(VAE_COMES, 4, [4, 4], id="a-second-pass-with-the-model-still-there"),
        pytest.param(f"{VAE_COMES}\n{MODEL_COMES}", 20, [4, 20], id="a-second-model"),
        pytest.param("", 20, [4, 20], id="nothing-between"),
    ],
)
def test_a_bar_behind_the_decoder_with_more_steps_than_the_sampler_is_not_a_samplers(
    between: str, steps: int, samplers: list[int], is_stamped: bool
) -> None:
    timed = [
        (0, "got prompt"),
        *((0, line) for line in MODEL_COMES.splitlines()),
        (0, "  0%|          | 0/4 [00:00<?, ?it/s]"),
        (40, "100%|██████████| 4/4 [00:40<00:00, 10.00s/it]"),
        *((40, line) for line in between.splitlines()),
        (40, f"  0%|          | 0/{steps} [00:00<?, ?it/s]"),
        (40 + steps, f"100%|██████████| {steps}/{steps} [00:{steps:02d}<00:00,  1.00s/it]"),
        (40 + steps, f"Prompt executed in {40 + steps}.00 seconds"),
    ]

    (prompt,) = diagnose(
        "".join(f"{moment(at_s)} {text}\n" if is_stamped else f"{text}\n" for at_s, text in timed)
    ).prompts

    assert [each.steps for each in prompt.samplers] == samplers
    sampling_s = sum(each.seconds for each in prompt.phases if each.phase.startswith("sampling"))
    finishing_s = sum(each.seconds for each in prompt.phases if each.phase is Phase.FINISHING)
    assert sampling_s == 40 + sum(samplers[1:])
    assert finishing_s == 40 + steps - sampling_s


@pytest.mark.parametrize(
    ("model_class", "phase"),
    [
        ("CLIPVisionModelProjection", Phase.IMAGE),
        ("SD1ClipModel", Phase.TEXT),
        ("FluxClipModel_", Phase.TEXT),
        ("HunyuanVideoClipModel_", Phase.TEXT),
        ("WanTEModel", Phase.TEXT),
        ("LTXAVTEModel_", Phase.TEXT),
        ("T5XXLModel_", Phase.TEXT),
    ],
)
def test_the_time_behind_an_encoders_load_is_what_it_encodes(model_class: str, phase: Phase) -> None:
    timed = (
        (0, "got prompt"),
        (1, f"Requested to load {model_class}"),
        (2, "loaded completely 20500.1 6419.0 True"),
        (22, "Requested to load WAN21"),
        (25, "loaded completely 20500.1 13629.0 True"),
        (65, "100%|██████████| 4/4 [00:40<00:00, 10.00s/it]"),
        (66, "Prompt executed in 66.00 seconds"),
    )

    (prompt,) = diagnose("".join(f"{moment(at_s)} {text}\n" for at_s, text in timed)).prompts

    assert {each.phase: each.seconds for each in prompt.phases}[phase] == 20
