"""Traits in which generations of ComfyUI differ, as servers show them; the emulator must behave the same."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from comfy.generations import CycleFaults, Generation, PromptIds
from comfy.judging.validation import validate
from comfy.node_defs.definitions import shipped_definitions
from comfy.node_defs.dynamic_inputs import is_dynamic
from comfy.node_defs.later_inputs import with_later_inputs
from comfy.node_defs.replacements import replacements_of
from tests.contract.graphs import (
    a_prefix,
    changed,
    hold,
    kinds,
    node,
    normal,
    picture_graph,
    sampler,
    with_node,
)

if TYPE_CHECKING:
    from tests.contract.conftest import ComfyServer


# Inputs of SaveVideo where its format is a dynamic list; what becomes of the run, and the kinds of problems.
DYNAMIC_FORMATS: dict[str, tuple[dict[str, Any], str, set[str]]] = {
    "plain": ({"format": "mp4", "codec": "h264"}, "success", set()),
    "dotted": ({"format": "mkv", "format.codec": "h264"}, "success", set()),
    "webm": ({"format": "webm", "format.codec": "av1"}, "success", set()),
    "no codec": ({"format": "mp4"}, "success", set()),
    "no format": ({"codec": "auto"}, "TypeError", {"required_input_missing"}),
    "format is a number": ({"format": 5, "codec": "auto"}, "TypeError", {"value_not_in_list"}),
    "unknown codec": ({"format": "mp4", "codec": "xyz"}, "success", {"value_not_in_list"}),
    "unknown codec, dotted": ({"format": "mp4", "format.codec": "xyz"}, "success", {"value_not_in_list"}),
    "webm takes no h264": ({"format": "webm", "codec": "h264"}, "ValueError", {"value_not_in_list"}),
    "linked to pictures": ({"format": ["1", 0], "codec": "auto"}, "ValueError", {"return_type_mismatch"}),
    "unknown encoding": (
        {"format": "mp4", "codec": "h264", "codec.encoding": "nope"}, "success", {"value_not_in_list"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DYNAMIC_FORMATS)
def test_a_choice_of_a_dynamic_list_is_a_problem_although_the_server_queues_it(
    comfy: ComfyServer, name: str
) -> None:
    definitions = comfy.definitions()
    if not is_dynamic(definitions["SaveVideo"]):
        pytest.skip("its SaveVideo has plain lists of choices")
    inputs, ending, problems = DYNAMIC_FORMATS[name]
    graph = picture_graph()
    given = {"video": ["2", 0], "filename_prefix": a_prefix(), **inputs}
    graph["3"]["inputs"] = given

    answer = comfy.post("/prompt", {"prompt": graph})

    verdict = validate(graph, definitions, generation=comfy.generation)
    assert {each.kind for each in verdict.problems} == problems
    assert (answer.status, verdict.status) == (200, 200)
    status = comfy.wait_for_history(answer.json["prompt_id"])["status"]
    if ending == "success":
        assert status["status_str"] == "success"
    else:
        assert status["messages"][-1][1]["exception_type"] == ending


@pytest.mark.parametrize(
    ("crf", "kind"),
    [(99, "value_bigger_than_max"), ("much", "invalid_input_type"), (None, "required_input_missing")],
)
def test_what_belongs_to_a_chosen_option_is_checked_by_its_dotted_name(
    comfy: ComfyServer, crf: Any, kind: str
) -> None:
    definitions = comfy.definitions()
    if not is_dynamic(definitions["SaveVideo"]):
        pytest.skip("its SaveVideo has plain lists of choices")
    name = "codec.encoding.crf"
    graph = changed(picture_graph(), "3", format="mp4", codec="h264")
    graph["3"]["inputs"] |= {"codec.encoding": "re-encode", "codec.encoding.color_space": "auto", name: crf}
    if crf is None:
        del graph["3"]["inputs"][name]

    answer = comfy.post("/prompt", {"prompt": graph})

    (error,) = answer.json["node_errors"]["3"]["errors"]
    assert (answer.status, error["type"], error["extra_info"]["input_name"]) == (400, kind, name)
    verdict = validate(graph, definitions, generation=comfy.generation)
    assert normal(json.loads(json.dumps(verdict.rejection()))) == normal(answer.json)


def test_what_a_node_came_to_require_is_filled_in_and_then_taken(comfy: ComfyServer) -> None:
    definitions = comfy.definitions()
    known = definitions.get("WanContextWindowsManual")
    if known is None or known.input("retain_first_frame") is None:
        pytest.skip("its WanContextWindowsManual requires nothing new")
    older = shipped_definitions(Generation.named("0.12.1"))["WanContextWindowsManual"]
    given = {each.name: each.default for each in older.inputs if each.kind != "MODEL"}
    graph = with_node(
        with_node(sampler(model=["6", 0]), "6", node("WanContextWindowsManual", model=["5", 0], **given)),
        "5",
        node("ModelSamplingSD3", model=["6", 0], shift=8.0),
    )

    def reasons(graph: Any) -> set[tuple[str, str | None]]:
        answer = comfy.post("/prompt", {"prompt": graph}).json
        entry = answer["node_errors"].get("6", {"errors": []})
        return {(each["type"], each["extra_info"].get("input_name")) for each in entry["errors"]}

    needed = {("required_input_missing", name) for name in ("retain_first_frame", "split_conds_to_windows")}
    assert needed <= reasons(graph)
    assert not needed & reasons(with_later_inputs(graph, definitions))


PROMPT_IDS: dict[str, tuple[Any, bool]] = {
    "uuid4": (str(uuid.uuid4()), True),
    "uuid5": (str(uuid.uuid5(uuid.NAMESPACE_URL, "farm")), True),
    "nil": ("00000000-0000-0000-0000-000000000000", True),
    "without hyphens": (uuid.uuid4().hex, False),
    "upper case": (str(uuid.uuid4()).upper(), False),
    "braces": ("{" + str(uuid.uuid4()) + "}", False),
    "urn": (uuid.uuid4().urn, False),
    "other text": ("job-1", False),
    "empty": ("", False),
    "number": (5, False),
    "list": ([str(uuid.uuid4())], False),
    "boolean": (True, False),
}


@pytest.mark.parametrize("name", PROMPT_IDS)
def test_an_id_of_the_clients_own_must_be_a_uuid_where_the_generation_says_so(
    comfy: ComfyServer, name: str
) -> None:
    prompt_id, is_canonical = PROMPT_IDS[name]

    answer = comfy.post("/prompt", {"prompt": picture_graph(frames=1), "prompt_id": prompt_id})

    if is_canonical or comfy.generation.prompt_ids is PromptIds.ANY:
        assert (answer.status, answer.json["prompt_id"]) == (200, str(prompt_id))
        return
    assert answer.status == 400
    assert answer.json == {
        "error": {
            "type": "invalid_prompt_id",
            "message": "prompt_id must be a valid UUID",
            "details": "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
            "omit it to let the server generate one",
            "extra_info": {},
        },
        "node_errors": {},
    }


def test_an_id_is_looked_at_before_the_graph(comfy: ComfyServer) -> None:
    answer = comfy.post("/prompt", {"prompt": {}, "prompt_id": "job-1"})

    is_any = comfy.generation.prompt_ids is PromptIds.ANY
    assert answer.json["error"]["type"] == ("prompt_no_outputs" if is_any else "invalid_prompt_id")


def test_a_class_that_moved_is_renamed_before_the_check_and_history_has_the_new_one(
    comfy: ComfyServer,
) -> None:
    moved = {
        "class_type": "ResizeImagesByLongerEdge",
        "inputs": {"images": ["1", 0], "longer_edge": 32},
        "_meta": {"title": "Smaller"},
    }
    graph = changed(with_node(picture_graph(), "4", moved), "2", images=["4", 0])

    answer = comfy.post("/prompt", {"prompt": graph})

    if "ResizeImagesByLongerEdge" in comfy.definitions() or not comfy.generation.replaces_nodes:
        assert answer.status in {200, 400}
        return
    history = comfy.wait_for_history(answer.json["prompt_id"])
    assert history["prompt"][2]["4"]["class_type"] == "ImageScaleToMaxDimension"
    verdict = validate(graph, comfy.definitions(), generation=comfy.generation)
    assert (verdict.ok, verdict.graph["4"]) == (True, history["prompt"][2]["4"])
    del graph["4"]["_meta"]
    assert comfy.post("/prompt", {"prompt": graph}).status == 500
    assert validate(graph, comfy.definitions(), generation=comfy.generation).status == 500


def test_replacements_are_told_where_there_are_any(comfy: ComfyServer) -> None:
    answer = comfy.get("/node_replacements")

    told = comfy.get("/features").json.get("node_replacements", False)
    assert told is comfy.generation.replaces_nodes
    assert answer.status == (200 if comfy.generation.replaces_nodes else 404)
    if comfy.generation.replaces_nodes:
        ours = replacements_of(comfy.generation)
        assert {old: new[0]["new_node_id"] for old, new in ours.items()} == {
            old: new[0]["new_node_id"] for old, new in answer.json.items()
        }


# --- jobs ---------------------------------------------------------------------------------------------------


def _needs_jobs(comfy: ComfyServer) -> None:
    if not comfy.generation.lists_jobs:
        pytest.skip("it lists no jobs")


def _needs_cancel(comfy: ComfyServer) -> None:
    if not comfy.generation.cancels_jobs:
        pytest.skip("it cancels no job by its id")


def test_a_job_is_told_while_it_runs_and_after(comfy: ComfyServer) -> None:
    _needs_jobs(comfy)
    running = hold(comfy)
    waiting = comfy.submit(picture_graph())
    statuses = [comfy.get(f"/api/jobs/{each}").json["status"] for each in (running, waiting)]
    comfy.post("/interrupt", {"prompt_id": running})
    for each in (running, waiting):
        comfy.wait_for_history(each)

    stopped, done = (comfy.get(f"/api/jobs/{each}").json for each in (running, waiting))

    assert statuses == ["in_progress", "pending"]
    assert (stopped["status"], done["status"]) == ("cancelled", "completed")
    assert done["id"] == waiting
    assert done["outputs"] == comfy.history(waiting)["outputs"]
    assert done["workflow"]["prompt"] == comfy.history(waiting)["prompt"][2]
    assert done["outputs_count"] == 1
    assert done["preview_output"]["filename"] == done["outputs"]["3"]["images"][0]["filename"]
    assert done.keys() >= {"priority", "create_time", "execution_start_time", "execution_end_time"}


def test_a_job_that_failed_tells_its_error(comfy: ComfyServer) -> None:
    _needs_jobs(comfy)
    prompt_id = comfy.submit(picture_graph("../x"))
    comfy.wait_for_history(prompt_id)

    job = comfy.get(f"/api/jobs/{prompt_id}").json

    assert job["status"] == "failed"
    assert job["execution_error"]["node_id"] == "3"
    assert "execution_error" in [kind for kind, _ in job["execution_status"]["messages"]]


def test_jobs_are_listed_in_parts_the_newest_first(comfy: ComfyServer) -> None:
    _needs_jobs(comfy)
    comfy.post("/history", {"clear": True})
    ids = []
    for _ in range(3):
        ids.append(comfy.submit(picture_graph(frames=1)))
        comfy.wait_for_history(ids[-1])

    page = comfy.get("/api/jobs?limit=2").json
    rest = comfy.get("/api/jobs?limit=2&offset=2").json

    assert [job["id"] for job in page["jobs"] + rest["jobs"]] == ids[::-1]
    assert page["pagination"] == {"offset": 0, "limit": 2, "total": 3, "has_more": True}
    assert rest["pagination"]["has_more"] is False
    assert comfy.get("/api/jobs?status=pending,in_progress").json["jobs"] == []
    assert not {"outputs", "workflow"} & page["jobs"][0].keys()


@pytest.mark.parametrize("query", ["status=lost", "limit=0", "limit=many"])
def test_a_bad_question_for_jobs_is_refused(comfy: ComfyServer, query: str) -> None:
    _needs_jobs(comfy)

    answer = comfy.get(f"/api/jobs?{query}")

    assert answer.status == 400
    assert answer.json.keys() == {"error"}


def test_an_unknown_job_is_not_found(comfy: ComfyServer) -> None:
    assert comfy.get(f"/api/jobs/{uuid.uuid4()}").status == 404


def test_a_server_that_cannot_cancel_by_id_answers_405(comfy: ComfyServer) -> None:
    answer = comfy.post(f"/api/jobs/{uuid.uuid4()}/cancel")

    assert answer.status == (200 if comfy.generation.cancels_jobs else 405)


def test_a_waiting_job_that_is_cancelled_is_gone_and_the_running_one_stays(comfy: ComfyServer) -> None:
    _needs_cancel(comfy)
    running = hold(comfy)
    listener = comfy.connect()
    listener.next()
    waiting = comfy.submit(picture_graph(), client_id=listener.client_id)

    answer = comfy.post(f"/api/jobs/{waiting}/cancel")

    assert (answer.status, answer.json) == (200, {"cancelled": True})
    assert comfy.get(f"/api/jobs/{waiting}").status == 404
    assert comfy.get(f"/history/{waiting}").json == {}
    assert [item[1] for item in comfy.get("/queue").json["queue_running"]] == [running]
    assert comfy.post(f"/api/jobs/{waiting}/cancel").json == {"cancelled": False}


def test_a_running_job_that_is_cancelled_ends_as_interrupted(comfy: ComfyServer) -> None:
    _needs_cancel(comfy)
    listener = comfy.connect()
    listener.next()
    prompt_id = hold(comfy, client_id=listener.client_id)
    listener.until(lambda message: message[0] == "progress")

    answer = comfy.post(f"/api/jobs/{prompt_id}/cancel")
    messages = listener.until_end(prompt_id)

    assert answer.json == {"cancelled": True}
    assert kinds(messages, without=("progress", "progress_state", "binary")) == [
        "execution_interrupted", "status", "executing",
    ]  # fmt: skip
    assert comfy.get(f"/api/jobs/{prompt_id}").json["status"] == "cancelled"


@pytest.mark.parametrize("name", ["unknown", "00000000-0000-4000-8000-000000000000"])
def test_a_job_that_is_not_there_is_not_cancelled(comfy: ComfyServer, name: str) -> None:
    _needs_cancel(comfy)
    done = comfy.submit(picture_graph(frames=1))
    comfy.wait_for_history(done)

    assert comfy.post(f"/api/jobs/{name}/cancel").json == {"cancelled": False}
    assert comfy.post(f"/api/jobs/{done}/cancel").json == {"cancelled": False}


def test_of_several_jobs_those_that_are_there_are_cancelled(comfy: ComfyServer) -> None:
    _needs_cancel(comfy)
    hold(comfy)
    waiting = comfy.submit(picture_graph())
    unknown = str(uuid.uuid4())

    refused = comfy.post("/api/jobs/cancel", {"job_ids": [waiting, "x", 5]})
    is_left = comfy.get(f"/api/jobs/{waiting}").status == 200
    answer = comfy.post("/api/jobs/cancel", {"job_ids": [unknown, waiting]})

    assert (refused.status, is_left) == (400, True)
    assert refused.json == {"error": "job_ids contains invalid id(s)", "invalid_ids": ["x", "5"]}
    assert answer.json == {"cancelled": True}
    assert comfy.get(f"/api/jobs/{waiting}").status == 404
    assert comfy.post("/api/jobs/cancel", {"job_ids": [unknown]}).json == {"cancelled": False}
    assert comfy.post("/api/jobs/cancel", {"job_ids": unknown}).status == 400
    assert comfy.request("POST", "/api/jobs/cancel", body=b"{no").status == 400


# --- who may ask, and for which files -----------------------------------------------------------------------


@pytest.mark.parametrize("site", ["cross-site", "same-site", "same-origin", "none"])
def test_a_browser_on_another_site_is_refused_where_the_generation_says_so(
    comfy: ComfyServer, site: str
) -> None:
    answer = comfy.get("/queue", headers={"Sec-Fetch-Site": site})

    is_refused = comfy.generation.refuses_other_sites and site == "cross-site"
    assert answer.status == (403 if is_refused else 200)


def test_a_file_that_a_browser_would_run_is_only_handed_out(comfy: ComfyServer) -> None:
    (comfy.output / "page.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    (comfy.output / "plain.png").write_bytes(b"x")

    active, plain = (comfy.get(f"/view?filename={name}").headers for name in ("page.svg", "plain.png"))

    guards = comfy.generation.guards_views
    assert (plain.get("X-Content-Type-Options") == "nosniff") is guards
    assert active["Content-Disposition"].startswith("attachment") is guards
    if guards:
        assert active["Content-Type"] == "application/octet-stream"
    assert plain["Content-Type"] == "image/png"


def _picture(path: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (16, 16)).save(path)


@pytest.mark.parametrize("way", ["path", "link"])
def test_an_input_outside_its_folder_is_read_only_where_files_are_not_confined(
    comfy: ComfyServer, way: str
) -> None:
    outside = comfy.input.parent / "elsewhere" / f"{uuid.uuid4().hex}.png"
    _picture(outside)
    name = str(outside) if way == "path" else f"link-{outside.name}"
    if way == "link":
        (comfy.input / name).symlink_to(outside)
    graph = {"1": node("LoadImage", image=name), "2": node("PreviewImage", images=["1", 0])}

    answer = comfy.post("/prompt", {"prompt": graph})

    if not comfy.generation.confines_files:
        assert answer.status == 200
        comfy.wait_for_history(answer.json["prompt_id"])
        return
    (reason,) = answer.json["node_errors"]["1"]["errors"]
    assert (answer.status, reason["type"]) == (400, "custom_validation_failed")


def test_a_save_folder_that_leads_out_is_refused_where_files_are_confined(comfy: ComfyServer) -> None:
    outside = comfy.output.parent / f"elsewhere-{uuid.uuid4().hex}"
    outside.mkdir()
    (comfy.output / outside.name).symlink_to(outside)

    prompt_id = comfy.submit(picture_graph(f"{outside.name}/clip", frames=1))

    status = comfy.wait_for_history(prompt_id)["status"]
    assert status["completed"] is not comfy.generation.confines_files
    assert bool(list(outside.iterdir())) is not comfy.generation.confines_files


# --- a run --------------------------------------------------------------------------------------------------


def test_the_index_of_a_clip_stands_where_the_generation_puts_it(comfy: ComfyServer) -> None:
    _, history = comfy.run(picture_graph())

    (file,) = history["outputs"]["3"]["images"]
    content = (comfy.output / file["subfolder"] / file["filename"]).read_bytes()
    assert (content.index(b"moov") < content.index(b"mdat")) is comfy.generation.puts_index_first


def test_outputs_of_a_cached_node_are_in_history_also_when_nobody_listens_where_they_are(
    comfy: ComfyServer,
) -> None:
    graph = picture_graph(frames=1)
    comfy.wait_for_history(comfy.submit(graph))

    again = comfy.wait_for_history(comfy.submit(graph))

    assert bool(again["outputs"]) is comfy.generation.tells_cached_outputs_to_nobody


def test_results_of_all_prompts_are_kept_while_there_is_memory(
    tmp_path: Path, emulator_factory: Callable[..., ComfyServer]
) -> None:
    comfy = emulator_factory("0.33.0", tmp_path, "--ram-gib", "512")
    try:
        graph = picture_graph()
        _, first = comfy.run(graph)
        for _ in range(3):
            comfy.run(picture_graph(frames=1))

        messages, again = comfy.run(graph)
    finally:
        comfy.stop()

    assert "executing" not in kinds(messages)[:-1]
    assert again["outputs"] == first["outputs"]


def test_nodes_that_wait_for_each_other_are_named_as_a_cycle_where_they_are(comfy: ComfyServer) -> None:
    graph = changed(picture_graph(), "2", images=["8", 0])
    graph["8"] = node("ImageInvert", image=["9", 0])
    graph["9"] = node("ImageInvert", image=["8", 0])

    answer = comfy.post("/prompt", {"prompt": graph}).json

    verdict = validate(graph, comfy.definitions(), generation=comfy.generation)
    assert normal(answer) == normal(json.loads(json.dumps(verdict.rejection())))
    assert [each.kind for each in verdict.problems] == ["cycle"]
    named = {error["type"] for entry in answer["node_errors"].values() for error in entry["errors"]}
    assert ("dependency_cycle" in named) is (comfy.generation.cycle_faults is CycleFaults.DEPENDENCY_CYCLE)


@pytest.mark.parametrize("value", [5, "it's", "back\\slash", ["a"], None, True])
def test_a_choice_that_is_none_is_quoted_as_the_generation_does(comfy: ComfyServer, value: Any) -> None:
    graph = sampler(scheduler={"__value__": value})

    answer = comfy.post("/prompt", {"prompt": graph}).json

    verdict = validate(graph, comfy.definitions(), generation=comfy.generation)
    assert normal(answer) == normal(json.loads(json.dumps(verdict.rejection())))
