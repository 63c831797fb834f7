"""The client against a server that misbehaves in every way we know of."""

from __future__ import annotations

import io
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, Protocol

import pytest
import websocket

from comfy.errors import (
    GraphRejected,
    NothingToShow,
    OutOfMemory,
    RunFailed,
    RunInterrupted,
    RunLost,
    ServerError,
    ServerUnreachable,
)
from comfy.generations import Generation
from comfy.protocol.client import ComfyClient
from comfy.protocol.events import (
    Event,
    Executed,
    Executing,
    ExecutionStart,
    ExecutionSuccess,
    Preview,
    Progress,
)
from comfy.protocol.outputs import locate
from comfy.protocol.patience import Patience
from comfy.protocol.phases import Phase
from comfy.protocol.run import Outcome, PromptRun
from comfy.rewrites.output_prefix import set_output_prefix
from comfy.wan.templates import get_template
from tests.integration.comfy.cutter import Cutter

pytestmark = pytest.mark.timeout(150)

Graph = dict[str, Any]
QUICK = Patience(
    poll_interval_s=0.5,
    look_again_s=0.1,
    freeze_timeout_s=20.0,
    dead_timeout_s=0.5,
    reconnect_delay_s=0.1,
    connect_timeout_s=2.0,
    interrupt_grace_s=15.0,
)
# Without the socket only a poll can bring the end: longer than any test may take, so that it cannot be luck.
NO_POLLS = Patience(poll_interval_s=600.0, reconnect_attempts=0)
HASTY = Patience(
    poll_interval_s=0.2,
    look_again_s=0.1,
    freeze_timeout_s=1.0,
    dead_timeout_s=0.5,
    reconnect_delay_s=0.1,
    connect_timeout_s=0.3,
    interrupt_grace_s=1.0,
)


class Server(Protocol):
    url: str
    output: Any
    port: int

    def misbehave(self, kind: str, **details: Any) -> None: ...
    def ask(self, path: str) -> dict[str, Any]: ...
    def freeze(self) -> None: ...
    def thaw(self) -> None: ...
    def kill(self) -> None: ...
    def start(self) -> Any: ...


def a_graph(*, prefix: str | None = None, **parameters: Any) -> Graph:
    wanted = {"prompt": "a fox", "width": 64, "height": 64, "frames": 9, "steps": 4, **parameters}
    graph = get_template("wan22-t2v-a14b").build(**wanted).graph
    rewritten, _ = set_output_prefix(graph, prefix or uuid.uuid4().hex)
    return rewritten


def client_for(server: Server | Cutter, patience: Patience = QUICK, **more: Any) -> ComfyClient:
    return ComfyClient(server.url, patience=patience, **more)


class Heard:
    """Keeps what was heard, and does something at the first event of a kind."""

    def __init__(self, kind: type[Any] | None = None, then: Callable[[], object] = lambda: None) -> None:
        self.events: list[Event] = []
        self._kind, self._then = kind, then

    def __call__(self, run: PromptRun, event: Event) -> None:
        self.events.append(event)
        if self._kind is not None and isinstance(event, self._kind):
            self._kind = None
            self._then()

    def kinds(self) -> set[type[Any]]:
        return {type(event) for event in self.events}


@pytest.fixture
def client(emulator: Server) -> Iterator[ComfyClient]:
    made = client_for(emulator)
    yield made
    made.close()


@pytest.fixture
def cutter(server: Server) -> Iterator[Cutter]:
    made = Cutter(server.port)
    yield made
    made.close()


@pytest.fixture
def any_client(server: Server) -> Iterator[ComfyClient]:
    made = client_for(server)
    yield made
    made.close()


def assert_finished(run: PromptRun, server: Server) -> None:
    assert run.outcome is Outcome.SUCCEEDED
    (file,) = [file for file in run.outputs if file.is_result]
    assert locate(server.output, file).stat().st_size > 1000
    assert run.prompt_id in server.ask(f"/history/{run.prompt_id}")


def test_a_run_tells_its_way_and_ends_with_a_file(server: Server) -> None:
    heard = Heard()

    # Without polls: on a slow machine one may see the history entry before the last message comes.
    run = client_for(server, NO_POLLS).run(a_graph(), on_event=heard)

    assert_finished(run, server)
    assert {Progress, Executing, ExecutionSuccess} <= heard.kinds()
    sampled = [timing for timing in run.timings if timing.phase is Phase.SAMPLE_HIGH]
    assert [timing.class_type for timing in sampled] == ["KSamplerAdvanced"]
    assert run.server_times.execution_s is not None
    assert run.progress.fraction == 1.0


def test_previews_come_with_their_node(start_emulator: Callable[..., Server]) -> None:
    heard = Heard()

    client_for(start_emulator("--preview-method", "latent2rgb")).run(a_graph(), on_event=heard)

    previews = [event for event in heard.events if isinstance(event, Preview)]
    assert {preview.node for preview in previews} == {"57", "58"}
    assert all(preview.image[:2] == b"\xff\xd8" for preview in previews)


def test_the_older_generation_is_understood_as_well(start_emulator: Callable[..., Server]) -> None:
    server = start_emulator("--generation", "0.3.64")

    assert_finished(client_for(server).run(a_graph()), server)
    with pytest.raises(GraphRejected) as caught:
        client_for(server).run({"8": {"class_type": "NoSuchNode", "inputs": {}}})

    assert caught.value.problems[0].class_type == "NoSuchNode"


@pytest.mark.parametrize("how", ["abort", "close"])
@pytest.mark.parametrize(
    "at", ["posted", "start", "node", "step", "saved", "before_success", "before_history", "before_end"]
)
def test_a_socket_dropped_at_any_moment_loses_nothing(
    client: ComfyClient, emulator: Server, at: str, how: str
) -> None:
    emulator.misbehave("drop_socket", at=at, how=how)

    run = client.run(a_graph())

    assert_finished(run, emulator)


@pytest.mark.parametrize("moment", [ExecutionStart, Executing, Progress, Executed, ExecutionSuccess])
def test_a_connection_cut_by_the_network_loses_nothing(
    server: Server, moment: type[Any], cutter: Cutter
) -> None:
    run = client_for(cutter).run(a_graph(), on_event=Heard(moment, cutter.cut_websockets))

    assert_finished(run, server)
    assert cutter.cuts == 1


def test_an_answer_to_the_post_cut_by_the_network_does_not_post_twice(server: Server, cutter: Cutter) -> None:
    before = len(server.ask("/history"))
    cutter.lose_next_answer_to_post()

    run = client_for(cutter).run(a_graph())

    assert_finished(run, server)
    assert cutter.cuts == 1
    assert len(server.ask("/history")) == before + 1


def test_after_a_reconnect_progress_is_heard_again(client: ComfyClient, emulator: Server) -> None:
    emulator.misbehave("drop_socket", at="step", node="57", step=1)
    heard = Heard()

    client.run(a_graph(steps=30), on_event=heard)

    assert any(isinstance(event, Progress) and event.node == "58" for event in heard.events)


def test_a_socket_that_never_comes_back_is_replaced_by_polling(emulator: Server) -> None:
    emulator.misbehave("drop_socket", at="start")
    patience = Patience(poll_interval_s=0.2, reconnect_attempts=0)

    run = client_for(emulator, patience).run(a_graph())

    assert_finished(run, emulator)


def test_a_socket_struck_off_by_another_of_the_same_name_loses_nothing(server: Server) -> None:
    client, client_id, graph = client_for(server), uuid.uuid4().hex, a_graph(steps=20)
    run = PromptRun(str(uuid.uuid4()), graph)

    def strike_off() -> None:
        rival = websocket.create_connection(f"ws://127.0.0.1:{server.port}/ws?clientId={client_id}")
        rival.close()

    client.submit(graph, prompt_id=run.prompt_id, client_id=client_id)
    client.follow(run, client_id=client_id, on_event=Heard(Progress, strike_off))

    assert_finished(run, server)


@pytest.mark.parametrize("message", ["executing_null", "execution_success", "executed", "progress_state"])
def test_a_lost_message_loses_nothing(client: ComfyClient, emulator: Server, message: str) -> None:
    emulator.misbehave("mute", message=message)

    assert_finished(client.run(a_graph()), emulator)


def test_the_end_is_not_waited_for_once_history_has_the_result(emulator: Server) -> None:
    emulator.misbehave("delay", at="before_end", seconds=2)
    heard = Heard()

    run = client_for(emulator, NO_POLLS).run(a_graph(), on_event=heard)

    assert_finished(run, emulator)
    assert not any(isinstance(event, Executing) and event.node is None for event in heard.events)


def test_a_late_history_entry_is_waited_for(emulator: Server) -> None:
    emulator.misbehave("delay", at="before_history", seconds=0.5)

    assert_finished(client_for(emulator, NO_POLLS).run(a_graph()), emulator)


def test_a_cached_run_names_the_files_of_the_first(any_client: ComfyClient, server: Server) -> None:
    graph = a_graph(seed=1)

    first, second = any_client.run(graph), any_client.run(graph)

    assert second.outputs == first.outputs
    assert second.cached_nodes == set(graph)
    assert second.timings == ()


def test_a_prefix_of_its_own_makes_a_cached_job_write_its_own_file(any_client: ComfyClient) -> None:
    first, second = any_client.run(a_graph(seed=1)), any_client.run(a_graph(seed=1))

    assert second.outputs[0].subfolder != first.outputs[0].subfolder
    assert {timing.class_type for timing in second.timings} == {"SaveVideo"}


def test_a_frozen_server_is_told_from_a_slow_one(mortal: Server) -> None:
    client = client_for(mortal, HASTY, http_timeout_s=0.3)

    with pytest.raises(ServerUnreachable) as caught:
        client.run(a_graph(steps=40), on_event=Heard(Progress, mortal.freeze))

    assert not caught.value.refused


def test_a_server_that_thaws_in_time_finishes_the_run(mortal: Server) -> None:
    thaw = threading.Timer(1.0, mortal.thaw)

    def freeze() -> None:
        mortal.freeze()
        thaw.start()

    run = client_for(mortal, QUICK, http_timeout_s=0.3).run(a_graph(), on_event=Heard(Progress, freeze))

    assert_finished(run, mortal)


def test_a_killed_server_is_noticed(mortal: Server) -> None:
    with pytest.raises(ServerUnreachable) as caught:
        client_for(mortal, HASTY).run(a_graph(steps=40), on_event=Heard(Progress, mortal.kill))

    assert caught.value.refused


def test_a_server_that_died_after_the_work_was_done_does_not_cost_the_render(doomed: Server) -> None:
    doomed.misbehave("delay", at="before_history", seconds=0.3)  # lets the last message out
    doomed.misbehave("exit", at="before_history")

    run = client_for(doomed, HASTY).run(a_graph())

    assert run.outcome is Outcome.SUCCEEDED
    assert locate(doomed.output, run.outputs[0]).stat().st_size > 1000


def test_a_restarted_server_has_lost_the_run(mortal: Server) -> None:
    def restart() -> None:
        mortal.kill()
        mortal.start()

    patience = Patience(poll_interval_s=0.3, look_again_s=0.1, dead_timeout_s=30.0, reconnect_delay_s=0.1)

    with pytest.raises(RunLost):
        client_for(mortal, patience).run(a_graph(steps=40), on_event=Heard(Progress, restart))


def test_a_prompt_lost_from_the_queue_is_noticed(emulator: Server) -> None:
    client = client_for(emulator)
    emulator.misbehave("slow", factor=20.0)
    client.submit(a_graph(), prompt_id=str(uuid.uuid4()), client_id="first")
    run = PromptRun(str(uuid.uuid4()), {})
    client.submit(a_graph(), prompt_id=run.prompt_id, client_id="second")
    emulator.misbehave("lose_queue", at="step")

    with pytest.raises(RunLost):
        client.follow(run, client_id="second")


def test_nobody_listening_is_said_at_once() -> None:
    client = ComfyClient("http://127.0.0.1:1", patience=HASTY)

    with pytest.raises(ServerUnreachable) as caught:
        client.run(a_graph())

    assert caught.value.refused
    assert "127.0.0.1:1" in str(caught.value)


def test_a_lost_answer_to_the_post_does_not_post_twice(doomed: Server) -> None:
    doomed.misbehave("hang", at="posted", seconds=1.5)
    client = client_for(doomed, QUICK, http_timeout_s=0.4)

    run = client.run(a_graph())

    assert_finished(run, doomed)
    assert len(doomed.ask("/history")) == 1


def test_a_post_that_never_arrived_is_posted_again(client: ComfyClient, emulator: Server) -> None:
    emulator.misbehave("stall_http", path="/prompt", seconds=None)
    impatient = client_for(emulator, QUICK, http_timeout_s=0.4)

    assert_finished(impatient.run(a_graph()), emulator)


def test_node_errors_in_a_200_are_a_rejection_and_nothing_stays_queued(any_client: ComfyClient) -> None:
    graph = a_graph(steps=40)
    graph["62"] = {"class_type": "SaveImage", "inputs": {"filename_prefix": "x"}}

    with pytest.raises(GraphRejected) as caught:
        any_client.run(graph)

    assert caught.value.status == 200
    assert {problem.node_id for problem in caught.value.problems} == {"62"}
    assert not any_client.queue()["queue_pending"]


def test_a_missing_model_is_named_with_its_folder_and_what_is_there(any_client: ComfyClient) -> None:
    graph = a_graph()
    graph["39"]["inputs"]["vae_name"] = "wan_2.1_vea.safetensors"

    with pytest.raises(GraphRejected) as caught:
        any_client.run(graph)

    (problem,) = caught.value.problems
    assert (problem.node_id, problem.class_type, problem.input_name) == ("39", "VAELoader", "vae_name")
    assert "models/vae" in problem.message
    assert "wan_2.1_vae.safetensors" in problem.message


def test_the_videos_of_two_kinds_of_saving_nodes_both_arrive(any_client: ComfyClient, server: Server) -> None:
    graph = a_graph()
    graph["62"] = {
        "class_type": "VHS_VideoCombine",
        "inputs": {
            "images": ["8", 0],
            "frame_rate": 16,
            "loop_count": 0,
            "filename_prefix": f"jobs/{uuid.uuid4().hex}/vhs",
            "format": "video/h264-mp4",
            "pingpong": False,
            "save_output": True,
            "pix_fmt": "yuv420p",
            "crf": 19,
            "save_metadata": True,
            "trim_to_audio": False,
        },
    }

    run = any_client.run(graph)

    files = {file.key: file for file in run.outputs}
    assert set(files) == {"images", "gifs"}
    assert all(locate(server.output, file).stat().st_size > 1000 for file in files.values())


def test_a_run_with_nothing_to_keep_says_so(any_client: ComfyClient) -> None:
    graph = a_graph()
    graph["61"] = {"class_type": "PreviewImage", "inputs": {"images": ["8", 0]}}
    del graph["60"]

    with pytest.raises(NothingToShow) as caught:
        any_client.run(graph)

    assert caught.value.seen


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("cuda_oom", OutOfMemory),
        ("oom_text", OutOfMemory),
        ("memory_error", OutOfMemory),
        ("value_error", RunFailed),
    ],
)
def test_an_error_in_a_node_names_the_node(
    client: ComfyClient, emulator: Server, error: str, kind: type[RunFailed]
) -> None:
    emulator.misbehave("raise", node="KSamplerAdvanced", error=error)

    with pytest.raises(RunFailed) as caught:
        client.run(a_graph())

    assert type(caught.value) is kind
    assert caught.value.node_id == "57"
    assert caught.value.node_type == "KSamplerAdvanced"


def test_the_next_run_is_not_troubled_by_the_error_of_the_last(client: ComfyClient, emulator: Server) -> None:
    emulator.misbehave("raise", node="57")
    with pytest.raises(RunFailed):
        client.run(a_graph())

    assert_finished(client.run(a_graph()), emulator)


def test_a_canceled_run_is_interrupted_by_its_own_id(any_client: ComfyClient) -> None:
    cancel = threading.Event()

    with pytest.raises(RunInterrupted) as caught:
        any_client.run(a_graph(steps=100), on_event=Heard(Progress, cancel.set), cancel=cancel)

    assert caught.value.yielded
    assert "canceled" in caught.value.why


def test_a_run_canceled_while_it_waits_leaves_the_queue(client: ComfyClient, emulator: Server) -> None:
    emulator.misbehave("slow", factor=20.0)
    other, ours, cancel = str(uuid.uuid4()), str(uuid.uuid4()), threading.Event()
    client.submit(a_graph(), prompt_id=other, client_id="other")
    cancel.set()

    with pytest.raises(RunInterrupted) as caught:
        client.run(a_graph(), prompt_id=ours, cancel=cancel)

    assert caught.value.yielded
    assert client.knows(other)
    assert not client.knows(ours)


def test_a_run_that_was_done_before_the_cancel_took_hold_is_a_success(
    client: ComfyClient, emulator: Server
) -> None:
    emulator.misbehave("delay", at="before_success", seconds=0.5)
    cancel = threading.Event()

    # No node comes after this one that would look whether it is to stop.
    run = client.run(a_graph(), on_event=Heard(Executed, cancel.set), cancel=cancel)

    assert_finished(run, emulator)


def test_a_cancel_of_one_that_waits_leaves_its_running_neighbour_alone(
    any_client: ComfyClient, server: Server
) -> None:
    waiting = str(uuid.uuid4())

    def cancel_the_next() -> None:
        any_client.submit(a_graph(), prompt_id=waiting, client_id="another")
        any_client.cancel(waiting)

    run = any_client.run(a_graph(), on_event=Heard(Progress, cancel_the_next))

    assert_finished(run, server)
    assert not any_client.knows(waiting)


def test_a_class_that_has_moved_is_judged_as_what_takes_its_place(
    any_client: ComfyClient, server: Server
) -> None:
    graph = a_graph()
    graph["57"]["inputs"]["positive"] = ["70", 0]
    # Its name ended in a blank, long ago. The server forgets its inputs when it replaces it.
    graph["70"] = {"class_type": "ConditioningAverage ", "inputs": {"conditioning_to": ["6", 0]}}

    # Not a 500, as for a node without `_meta`.
    with pytest.raises(GraphRejected) as caught:
        any_client.run(graph)

    version = server.ask("/system_stats")["system"]["comfyui_version"]
    named = {problem.class_type for problem in caught.value.problems if problem.node_id == "70"}
    replaced = Generation.of(version).replaces_nodes
    assert named == {"ConditioningAverage" if replaced else "ConditioningAverage "}


def test_the_time_limit_interrupts(client: ComfyClient, emulator: Server) -> None:
    emulator.misbehave("slow", factor=20.0)

    with pytest.raises(RunInterrupted, match=r"time limit of 0\.2 s"):
        client.run(a_graph(), time_limit_s=0.2)


def test_a_node_that_does_not_yield_is_reported_so_that_the_process_can_be_killed(doomed: Server) -> None:
    doomed.misbehave("hang", at="node", node="VAEDecode")
    cancel = threading.Event()

    def cancel_at_the_decode(_run: PromptRun, event: Event) -> None:
        if isinstance(event, Executing) and event.node == decode:
            cancel.set()

    graph = a_graph()
    decode = next(node_id for node_id, node in graph.items() if node["class_type"] == "VAEDecode")
    with pytest.raises(RunInterrupted, match="must be killed") as caught:
        client_for(doomed, HASTY).run(graph, on_event=cancel_at_the_decode, cancel=cancel)

    assert not caught.value.yielded


def test_a_frozen_server_does_not_keep_a_run_that_is_to_stop_by_its_slow_answers(doomed: Server) -> None:
    patience = replace(QUICK, freeze_timeout_s=600.0, interrupt_grace_s=0.5)
    client, cancel = client_for(doomed, patience, http_timeout_s=120.0), threading.Event()
    began_s = time.monotonic()

    def freeze_and_cancel() -> None:
        doomed.freeze()
        cancel.set()

    with pytest.raises(RunInterrupted) as caught:
        client.run(a_graph(steps=100), on_event=Heard(Progress, freeze_and_cancel), cancel=cancel)

    assert not caught.value.yielded
    assert time.monotonic() - began_s < 110  # less than one answer may take otherwise


def test_an_interruption_by_somebody_else_is_no_success(any_client: ComfyClient, server: Server) -> None:
    theirs = str(uuid.uuid4())

    with pytest.raises(RunInterrupted, match="somebody else"):
        any_client.run(
            a_graph(steps=100),
            prompt_id=theirs,
            on_event=Heard(Progress, lambda: any_client.cancel(theirs)),
        )


def test_an_interruption_of_another_prompt_does_not_touch_ours(
    any_client: ComfyClient, server: Server
) -> None:
    another = str(uuid.uuid4())

    run = any_client.run(a_graph(), on_event=Heard(Progress, lambda: any_client.cancel(another)))

    assert_finished(run, server)


def test_several_runs_at_once_hear_each_their_own(any_client: ComfyClient, server: Server) -> None:
    def one(number: int) -> tuple[PromptRun, set[str | None]]:
        heard = Heard()
        run = any_client.run(a_graph(seed=number), on_event=heard)
        return run, {getattr(event, "prompt_id", None) for event in heard.events} - {None}

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(one, range(4)))

    for run, prompt_ids in results:
        assert_finished(run, server)
        assert prompt_ids == {run.prompt_id}
    assert len({run.outputs for run, _ in results}) == 4


def test_a_graph_of_three_mebibytes_is_no_trouble(any_client: ComfyClient, server: Server) -> None:
    graph = a_graph()
    graph["6"]["_meta"]["title"] = "fox " * 750_000

    assert_finished(any_client.run(graph), server)


def test_a_file_is_viewed_in_a_stream(any_client: ComfyClient, server: Server) -> None:
    run = any_client.run(a_graph())
    into = io.BytesIO()

    size = any_client.view(run.outputs[0], into)

    assert into.getvalue() == locate(server.output, run.outputs[0]).read_bytes()
    assert size == len(into.getvalue())
    locate(server.output, run.outputs[0]).unlink()
    with pytest.raises(ServerError) as caught:
        any_client.view(run.outputs[0], io.BytesIO())
    assert caught.value.status == 404


def test_the_plain_questions_are_answered(any_client: ComfyClient) -> None:
    assert any_client.system_stats()["system"]["comfyui_version"]
    assert any_client.features()["supports_preview_metadata"] is True
    assert list(any_client.object_info("KSamplerAdvanced")) == ["KSamplerAdvanced"]
    assert any_client.object_info("No/Such Node?") == {}
    assert any_client.history("no such prompt") == {}
    assert any_client.upload_input("start.png", b"\x89PNG")["name"].startswith("start")
    any_client.free()


def test_an_answer_that_is_none_is_a_server_error(client: ComfyClient, emulator: Server) -> None:
    emulator.misbehave("refuse_prompt")

    with pytest.raises(ServerError) as caught:
        client.run(a_graph())

    assert caught.value.status == 500
