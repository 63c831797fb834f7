from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from comfy.errors import NothingToShow, OutOfMemory, RunFailed, RunInterrupted, RunLost, UnknownMessage
from comfy.protocol import wire
from comfy.protocol.events import Event, ExecutionStart, Preview
from comfy.protocol.phases import Phase
from comfy.protocol.run import Outcome, PromptRun
from comfy.protocol.verdict import raise_unless_succeeded
from comfy.protocol.whereabouts import Whereabouts, told_by_queue

Capture = Callable[[str], dict[str, Any]]
P = "our-prompt"
GRAPH = {
    "1": {"class_type": "KSampler", "inputs": {"steps": 16}},
    "2": {"class_type": "SaveVideo", "inputs": {"x": ["1", 0]}},
}
FILE = {"images": [{"filename": "a.mp4", "subfolder": "", "type": "output"}]}


def told(kind: str, **data: Any) -> Event:
    return wire.read_message(kind, data)


def an_entry(status: str, *messages: list[Any], outputs: Any = None) -> dict[str, Any]:
    return {P: {"outputs": outputs or {}, "status": {"status_str": status, "messages": list(messages)}}}


def replay(captured: dict[str, Any], *, until: int | None = None) -> PromptRun:
    run = PromptRun(captured["prompt_id"], captured["graph"])
    times = captured.get("times_ms") or [10.0 * n for n in range(len(captured["messages"]))]
    for (kind, data), at_ms in list(zip(captured["messages"], times, strict=True))[:until]:
        if kind != "binary":
            run.feed(wire.read_message(kind, data), at_ms / 1000)
    return run


def test_messages_alone_never_decide_the_outcome(capture: Capture) -> None:
    for name in ("wan22_t2v_savevideo", "raise_value_error", "interrupt_in_ksampler"):
        run = replay(capture(name))

        assert run.outcome is None
        assert run.wants_history


@pytest.mark.parametrize(
    ("name", "outcome"),
    [
        ("wan22_t2v_savevideo", Outcome.SUCCEEDED),
        ("wan22_t2v_savevideo_again", Outcome.SUCCEEDED),
        ("wan22_t2v_vhs", Outcome.SUCCEEDED),
        ("raise_blocked", Outcome.SUCCEEDED),
        ("raise_value_error", Outcome.FAILED),
        ("raise_cuda_oom", Outcome.FAILED),
        ("interrupt_by_prompt_id", Outcome.INTERRUPTED),
        ("interrupt_in_ksampler", Outcome.INTERRUPTED),
    ],
)
@pytest.mark.parametrize("heard", ["all", "nothing"])
def test_history_decides_whether_the_messages_were_heard_or_not(
    capture: Capture, name: str, outcome: Outcome, heard: str
) -> None:
    captured = capture(name)
    run = replay(captured, until=None if heard == "all" else 0)

    run.feed_history(captured["history"], 9.0)

    assert run.outcome is outcome
    assert run.ended_s == 9.0


@pytest.mark.parametrize(
    "name", ["wan22_t2v_savevideo", "raise_value_error", "interrupt_in_ksampler", "raise_blocked"]
)
def test_an_empty_history_while_running_means_nothing(capture: Capture, name: str) -> None:
    captured = capture(name)

    for until in range(len(captured["messages"])):
        run = replay(captured, until=until)
        run.feed_history({}, 5.0)
        assert run.outcome is None


def test_a_blocked_branch_is_no_reason_to_look_for_the_end(capture: Capture) -> None:
    captured = capture("raise_blocked")
    error_at = next(i for i, (kind, _) in enumerate(captured["messages"]) if kind == "execution_error")

    run = replay(captured, until=error_at + 1)

    assert run.blocked
    assert not run.wants_history


def test_events_of_other_prompts_change_nothing() -> None:
    run = PromptRun(P, GRAPH)

    for event in (
        told("execution_start", prompt_id="other", timestamp=1),
        told("executing", node=None, prompt_id="other"),
        told("execution_error", prompt_id="other", exception_type="X", exception_message="y"),
        told("status", status={"exec_info": {"queue_remaining": 0}}),
    ):
        assert run.feed(event, 1.0) is False

    assert not run.is_running
    assert not run.wants_history


def test_the_reconnects_message_without_prompt_id_is_ours_only_while_we_run() -> None:
    run = PromptRun(P, GRAPH)
    again = told("executing", node="1")

    assert run.feed(again, 1.0) is False
    run.feed(ExecutionStart(prompt_id=P, timestamp_ms=None), 2.0)
    assert run.feed(again, 3.0) is True
    assert run.progress.node_id == "1"


def test_an_end_that_names_nobody_is_not_ours() -> None:
    run = PromptRun(P, GRAPH)
    run.feed(ExecutionStart(prompt_id=P, timestamp_ms=None), 1.0)

    assert run.feed(told("executing", node=None), 2.0) is False
    assert not run.wants_history


def test_an_old_preview_is_ours_while_we_run() -> None:
    run = PromptRun(P, GRAPH)
    preview = Preview(image=b"", media_type="image/jpeg")

    assert run.feed(preview, 1.0) is False
    run.feed(ExecutionStart(prompt_id=P, timestamp_ms=None), 1.0)
    assert run.feed(preview, 2.0) is True


def test_a_prompt_that_is_nowhere_twice_is_lost() -> None:
    run = PromptRun(P, GRAPH)

    for expected in (None, Outcome.LOST):
        run.feed_whereabouts(Whereabouts.UNKNOWN, 1.0)
        assert run.outcome is expected

    with pytest.raises(RunLost):
        raise_unless_succeeded(run)


def test_a_prompt_in_the_queue_is_not_lost(capture: Capture) -> None:
    queue = capture("queue")
    running, waiting = queue["queue_running"][0][1], queue["queue_pending"][1][1]

    for prompt_id, begun in ((running, True), (waiting, False)):
        run = PromptRun(prompt_id, GRAPH)
        for _ in range(3):
            run.feed_whereabouts(told_by_queue(queue, prompt_id), 1.0)
        assert run.outcome is None
        assert run.is_running is begun


def test_a_sign_of_life_between_two_absences_starts_the_count_again() -> None:
    run = PromptRun(P, GRAPH)
    run.feed_whereabouts(Whereabouts.UNKNOWN, 1.0)

    run.feed(told("progress", value=1, max=16, prompt_id=P, node="1"), 2.0)
    run.feed_whereabouts(Whereabouts.UNKNOWN, 3.0)

    assert run.outcome is None


def test_a_finished_render_survives_the_death_of_its_server() -> None:
    run = PromptRun(P, GRAPH)
    run.feed(told("executed", node="2", output=FILE, prompt_id=P), 1.0)
    run.feed(told("execution_success", prompt_id=P, timestamp=5), 2.0)
    run.note_gap()

    run.conclude(3.0)

    assert run.outcome is Outcome.SUCCEEDED
    assert [file.filename for file in run.outputs] == ["a.mp4"]


def test_a_success_with_messages_missing_is_not_taken_on_trust() -> None:
    run = PromptRun(P, GRAPH)
    run.note_gap()
    run.feed(told("execution_success", prompt_id=P, timestamp=5), 2.0)

    run.conclude(3.0)

    assert run.outcome is Outcome.LOST


def test_an_error_heard_before_the_server_died_is_what_happened() -> None:
    run = PromptRun(P, GRAPH)
    run.feed(told("execution_error", prompt_id=P, exception_type="ValueError", exception_message="x\n"), 1.0)

    run.conclude(2.0)

    assert run.outcome is Outcome.FAILED


def test_the_outputs_of_history_replace_what_was_heard() -> None:
    run = PromptRun(P, GRAPH)
    run.feed(told("executed", node="2", output={"images": [{"filename": "old.mp4"}]}, prompt_id=P), 1.0)

    run.feed_history(an_entry("success", outputs={"2": FILE}), 2.0)

    assert [file.filename for file in run.outputs] == ["a.mp4"]


def test_what_comes_after_the_outcome_changes_nothing() -> None:
    run = PromptRun(P, GRAPH)
    run.feed_history(an_entry("success", outputs={"2": FILE}), 1.0)

    run.feed_history(an_entry("error"), 2.0)
    run.feed(told("execution_interrupted", prompt_id=P, node_id="1", node_type="X"), 3.0)

    assert run.outcome is Outcome.SUCCEEDED


def test_an_entry_without_a_status_is_a_success_and_one_of_another_form_is_refused() -> None:
    run = PromptRun(P, GRAPH)
    with pytest.raises(UnknownMessage):
        run.feed_history({P: "text"}, 1.0)

    run.feed_history({P: {"outputs": {}, "status": None}}, 1.0)

    assert run.outcome is Outcome.SUCCEEDED


def test_the_graph_that_ran_is_the_one_in_the_history() -> None:
    run = PromptRun(P, {"1": {"class_type": "OldName", "inputs": {"steps": 16}}})
    run.feed(told("executing", node="1", prompt_id=P), 1.0)
    replaced = {"1": {"class_type": "KSampler", "inputs": {"steps": 16}, "_meta": {}}}
    entry = {**an_entry("success")[P], "prompt": [0, P, replaced, {}, ["1"]]}

    run.feed_history({P: entry}, 2.0)

    assert run.graph == {"1": {"class_type": "KSampler", "inputs": {"steps": 16}}}
    assert [timing.class_type for timing in run.timings] == ["KSampler"]


@pytest.mark.parametrize("prompt", [None, "text", [], [0, P], [0, P, []]])
def test_a_history_without_a_graph_leaves_the_one_that_was_sent(prompt: Any) -> None:
    run = PromptRun(P, GRAPH)

    run.feed_history({P: {**an_entry("success")[P], "prompt": prompt}}, 2.0)

    assert (run.outcome, run.graph) == (Outcome.SUCCEEDED, GRAPH)


def test_a_failure_whose_details_cannot_be_read_is_still_a_failure() -> None:
    run = PromptRun(P, GRAPH)

    run.feed_history(an_entry("error", ["execution_error", {"prompt_id": P}]), 1.0)

    with pytest.raises(RunFailed, match="no reason"):
        raise_unless_succeeded(run)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("raise_cuda_oom", OutOfMemory),
        ("raise_allocation_oom_text", RunFailed),
        ("raise_memory_error", OutOfMemory),
        ("raise_value_error", RunFailed),
        ("interrupt_by_prompt_id", RunInterrupted),
        ("wan22_t2v_preview", NothingToShow),
        ("raise_blocked", NothingToShow),
    ],
)
def test_each_bad_end_has_its_own_error(capture: Capture, name: str, error: type[Exception]) -> None:
    captured = capture(name)
    run = replay(captured)
    run.feed_history(captured["history"], 9.0)

    with pytest.raises(error) as caught:
        raise_unless_succeeded(run)

    assert type(caught.value) is error


def test_only_temporary_files_are_named_as_what_was_seen(capture: Capture) -> None:
    captured = capture("wan22_t2v_preview")
    run = replay(captured)
    run.feed_history(captured["history"], 9.0)

    with pytest.raises(NothingToShow, match="ComfyUI_temp_"):
        raise_unless_succeeded(run)


def test_progress_goes_through_the_phases_of_a_two_expert_render(capture: Capture) -> None:
    captured = capture("wan22_t2v_savevideo")
    run = PromptRun(captured["prompt_id"], captured["graph"])
    phases: list[Phase] = [run.progress.phase]
    fractions: list[float] = []

    for (kind, data), at_ms in zip(captured["messages"], captured["times_ms"], strict=True):
        if kind != "binary":
            run.feed(wire.read_message(kind, data), at_ms / 1000)
        phases.append(run.progress.phase)
        fractions.append(run.progress.fraction)
    run.feed_history(captured["history"], 3.0)

    seen = [phase for phase, before in zip(phases[1:], phases, strict=False) if phase is not before]
    assert phases[0] is Phase.QUEUED
    order = [Phase.TEXT, Phase.SAMPLE_HIGH, Phase.SAMPLE_LOW, Phase.VAE, Phase.SAVE]
    assert [phase for phase in seen if phase in order] == order
    assert fractions == sorted(fractions)
    assert fractions[-1] < 1.0
    assert run.progress.phase is Phase.DONE
    assert run.progress.fraction == 1.0


def test_steps_are_counted_and_timed_in_the_sampler(capture: Capture) -> None:
    captured = capture("wan22_t2v_savevideo")
    second = next(
        i for i, (kind, data) in enumerate(captured["messages"]) if kind == "progress" and data["value"] == 2
    )

    progress = replay(captured, until=second + 1).progress

    assert (progress.phase, progress.class_type) == (Phase.SAMPLE_HIGH, "KSamplerAdvanced")
    assert (progress.step, progress.steps) == (2, 2)
    # 1418.5 ms, when progress_state first told of step 1, to 1452.5 ms.
    assert progress.seconds_per_step == pytest.approx(0.034)


def test_seconds_per_step_count_steps_and_not_messages() -> None:
    run = PromptRun(P, GRAPH)
    for value, at_s in ((1, 10.0), (6, 20.0), (11, 30.0)):  # throttled: five steps to a message
        run.feed(told("progress", value=value, max=16, prompt_id=P, node="1"), at_s)

    assert run.progress.seconds_per_step == pytest.approx(2.0)


def test_every_node_is_timed(capture: Capture) -> None:
    captured = capture("wan22_t2v_savevideo")

    run = replay(captured)

    seconds = {timing.node_id: timing.seconds for timing in run.timings}
    assert set(seconds) == set(captured["graph"])
    assert seconds["8"] == pytest.approx(0.16, abs=0.005)  # VAEDecode
    assert all(value is not None and value >= 0 for value in seconds.values())


def test_a_cached_run_has_run_nothing(capture: Capture) -> None:
    captured = capture("wan22_t2v_savevideo_again")

    run = replay(captured)
    run.feed_history(captured["history"], 1.0)

    assert run.timings == ()
    assert run.cached_nodes == set(captured["graph"])
    assert run.progress.fraction == 1.0


def test_nodes_that_ran_unheard_count_as_done_and_not_as_cached(capture: Capture) -> None:
    captured = capture("wan22_t2v_savevideo")
    late = next(i for i, (kind, _) in enumerate(captured["messages"]) if kind == "executed") - 1
    run = PromptRun(captured["prompt_id"], captured["graph"])

    run.feed(wire.read_message(*captured["messages"][late - 1]), 1.0)
    run.feed(wire.read_message(*captured["messages"][late]), 1.0)

    assert run.progress.fraction > 0.8
    assert run.cached_nodes == frozenset()


def test_the_servers_own_clock_gives_the_execution_time(capture: Capture) -> None:
    captured = capture("wan22_t2v_savevideo")
    run = PromptRun(captured["prompt_id"], captured["graph"])

    run.feed_history(captured["history"], 1.0)

    assert run.server_times.execution_s == pytest.approx(1.731)


TEXT = {"text": ["a red fox, ", "running"]}
PREVIEW = {"images": [{"filename": "ComfyUI_temp_x.png", "subfolder": "", "type": "temp"}]}


def ended_with(outputs: dict[str, Any], *blocked: str) -> PromptRun:
    """A run that the server calls a success."""
    run = PromptRun(P, GRAPH)
    for message in blocked:
        what = {"exception_type": "ExecutionBlocked", "exception_message": f"Execution Blocked: {message}\n"}
        run.feed(told("execution_error", prompt_id=P, node_id="2", node_type="SaveVideo", **what), 1.0)
    run.feed_history(an_entry("success", outputs=outputs), 2.0)
    return run


def test_a_run_that_ends_with_text_alone_has_a_result() -> None:
    run = ended_with(
        {"2": TEXT, "3": {"text": "a caption"}, "4": {"text": [7, None]}, "5": {"text": ["", ""]}}
    )

    raise_unless_succeeded(run)

    assert [(each.node_id, each.text) for each in run.texts] == [
        ("2", "a red fox, \nrunning"),
        ("3", "a caption"),
    ]


def test_text_beside_a_preview_is_no_result() -> None:
    with pytest.raises(NothingToShow, match="saved nothing but previews"):
        raise_unless_succeeded(ended_with({"2": TEXT, "3": PREVIEW}))


def test_why_a_branch_was_blocked_is_told_when_nothing_came_of_the_run() -> None:
    with pytest.raises(NothingToShow, match=r"node 2 \(SaveVideo\) was blocked: no face found") as caught:
        raise_unless_succeeded(ended_with({}, "no face found"))

    (blocked,) = caught.value.blocked
    assert (blocked.node_id, blocked.node_type, blocked.message) == ("2", "SaveVideo", "no face found")


def test_why_a_branch_was_blocked_is_known_when_another_one_made_a_file() -> None:
    run = ended_with({"2": FILE}, "no face found", "no face found", "no hands found")

    raise_unless_succeeded(run)

    assert [each.exception_message for each in run.blocked] == [
        "Execution Blocked: no face found\n",
        "Execution Blocked: no hands found\n",
    ]
    assert run.error is None
