"""What `farm inspect` and `farm templates` show, and how a graph of one's own is set in the same words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.doctor import CORPUS
from comfy.wan.templates import TEMPLATES
from farm.asking.prepare import build, prepare
from farm.asking.request import JobRequest
from farm.asking.seeds import with_seeds
from farm.cli.terminal.exits import ExitCode
from farm.errors import InvalidJob
from farm.testing import FolderStorage, MemoryJobStore
from tests.support.clips import PNG_HEAD
from tests.support.wan_graphs import a14b_by_switches, wrapper_i2v
from tests.unit.farm.test_cli import Cli, written

GRAPHS = Path(__file__).parents[2] / "data" / "graphs"
PUBLIC = sorted(path.stem for path in GRAPHS.glob("*.json") if "_ui" not in path.stem)


@pytest.fixture
def cli(
    store: MemoryJobStore, storage: FolderStorage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Cli:
    """A command line without any worker, whose own templates are in a folder of the test."""
    monkeypatch.setenv("FARM_TEMPLATES_DIR", str(tmp_path / "templates"))
    return Cli(store=store, storage=storage)


def test_inspect_shows_each_role_with_the_input_where_it_is_set(cli: Cli, tmp_path: Path) -> None:
    ended = cli("inspect", written(tmp_path, a14b_by_switches()))

    assert ended.code == ExitCode.OK
    rows = [line.split() for line in ended.out.splitlines()]
    assert ["prompt", "a", "dragon", "93.text", "93", "CLIPTextEncode"] in rows
    assert any(row[:4] == ["stage", "1:", "steps", "20"] and "128.value" in row for row in rows)
    assert "computed by node 163 (ComfyMathExpression)" in ended.out
    assert "640×640, 81 frames at 16 fps, 5.06 s" in ended.out
    assert "97.image: start.png" in ended.out


def test_inspect_tells_a_program_the_same(cli: Cli) -> None:
    found = cli("inspect", str(GRAPHS / "gguf_rife_script.json"), "--json").json

    assert found["clip"] == {"width": 480, "height": 832, "frames": 161, "fps": 32.0, "seconds": 5.03}
    assert (found["nodes"], found["running"]) == (19, 19)
    seed = next(row for row in found["rows"] if row["role"] == "seed")
    assert (seed["input_path"], seed["value"]) == ("12.noise_seed", 99)
    assert {"folder": "vae", "name": "wan_2.1_vae.safetensors"}.items() <= found["models"][3].items()


def test_inspect_names_the_nodes_that_nobody_knows(cli: Cli, tmp_path: Path) -> None:
    graph = a14b_by_switches() | {"900": {"class_type": "SomebodysNode", "inputs": {}}}

    assert "SomebodysNode" in cli("inspect", written(tmp_path, graph)).out


@pytest.mark.parametrize(
    "name", sorted(path.stem for path in GRAPHS.glob("*.json") if "_ui" not in path.stem)
)
def test_every_public_graph_can_be_inspected(cli: Cli, name: str) -> None:
    ended = cli("inspect", str(GRAPHS / f"{name}.json"))

    assert ended.code == ExitCode.OK, ended.err
    assert "prompt" in ended.out


def test_templates_are_listed_and_shown(cli: Cli) -> None:
    listed = cli("templates")
    shown = cli("templates", "wan22-flf2v-a14b")
    as_json = cli("templates", "wan22-flf2v-a14b", "--json").json

    assert all(name in listed.out for name in TEMPLATES)
    assert "integer, 64 to 2048, a multiple of 16" in shown.out
    assert "lightx2v_4steps_lora_v1_high_noise" in shown.out
    needed = [each["name"] for each in as_json["parameters"] if each["required"]]
    assert needed == ["prompt", "image", "end_image"]
    assert cli("templates", "wan22").code == ExitCode.USAGE


def test_submit_sets_roles_names_and_files_of_a_plain_graph(cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "mine.png"
    picture.write_bytes(PNG_HEAD)
    file = written(tmp_path, wrapper_i2v())

    values = ["-p", "prompt=a crow", "-p", "seed=8", "-p", "width=641", "-p", "tiled=true"]
    ended = cli(
        "submit", file, *values, "-p", f"image={picture}", "-b", "tiled=28.enable_vae_tiling", "--snap"
    )

    assert ended.code == ExitCode.OK, ended.err
    spec = cli.store.get(ended.out.strip()).spec
    assert spec.parameters == {
        "28.enable_vae_tiling": True,
        "16.positive_prompt": "a crow",
        "27.seed": 8,
        "80.value": 640,
    }
    assert spec.graph["80"]["inputs"]["value"] == 640
    assert list(spec.inputs) == ["58.image"]
    assert spec.inputs["58.image"] != str(picture)  # it was stored where a worker finds it


def test_a_name_that_means_nothing_lists_what_there_is(cli: Cli, tmp_path: Path) -> None:
    ended = cli("validate", written(tmp_path, wrapper_i2v()), "-p", "mood=grim")

    assert ended.code == ExitCode.USAGE
    assert "mood" in ended.err
    assert "prompt (16.positive_prompt)" in ended.err
    assert "node.input" in ended.err


def test_a_graph_is_kept_as_a_template_with_its_names(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path, wrapper_i2v())

    kept = cli("templates", "mine", "--save", file, "-b", "mood=16.positive_prompt", "-b", "seed=27.seed")
    job = cli("submit", "-t", "mine", "-p", "mood=grim", "-p", "width=640")

    assert kept.code == ExitCode.OK, kept.err
    assert "your own: mine" in cli("templates").out
    assert "mood: 16.positive_prompt" in cli("templates", "mine").out
    spec = cli.store.get(job.out.strip()).spec
    assert (spec.template, spec.graph["16"]["inputs"]["positive_prompt"]) == ("mine", "grim")
    assert spec.graph["80"]["inputs"]["value"] == 640


def test_a_template_of_ones_own_is_kept_again_as_it_is_and_not_replaced(cli: Cli, tmp_path: Path) -> None:
    file = written(tmp_path, wrapper_i2v())
    save = ["templates", "mine", "--save", file, "-b", "mood=16.positive_prompt"]
    cli(*save)

    again = cli(*save)
    other = cli("templates", "mine", "--save", file, "-b", "seed=27.seed")

    assert again.code == ExitCode.OK
    assert (other.code, "mine is kept already: remove" in other.err) == (ExitCode.USAGE, True)
    assert "mood: 16.positive_prompt" in cli("templates", "mine").out


@pytest.mark.parametrize(
    ("name", "bind", "words"),
    [
        ("wan22-t2v-a14b", "a=16.positive_prompt", "built-in"),
        ("Mine!", "a=16.positive_prompt", "no name for a template"),
        ("mine", "a=16.prompt", "there is no such input"),
        ("mine", "a=99.text", "there is no node 99"),
    ],
)
def test_what_cannot_be_kept_is_refused(cli: Cli, tmp_path: Path, name: str, bind: str, words: str) -> None:
    ended = cli("templates", name, "--save", written(tmp_path, wrapper_i2v()), "-b", bind)

    assert ended.code == ExitCode.USAGE
    assert words in ended.err


def test_a_kept_file_that_is_broken_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "mine.json").write_text("{")

    assert "mine.json holds no template" in cli("validate", "-t", "mine").err


def test_a_templates_picture_is_a_parameter_or_an_input(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    picture.write_bytes(PNG_HEAD)

    for given in ({"parameters": {"image": str(picture)}}, {"inputs": {"image": picture}}):
        wanted: dict[str, Any] = {"parameters": {}, **given}
        request = JobRequest(
            template="wan22-i2v-a14b",
            parameters={"prompt": "x", **wanted["parameters"]},
            inputs=wanted.get("inputs", {}),
        )
        assert prepare(request).inputs == {"62.image": str(picture)}
        assert prepare(request).template_parameters["image"] == str(picture)
    with pytest.raises(InvalidJob, match=r"input 62\.image: cannot read nowhere\.png"):
        prepare(JobRequest(template="wan22-i2v-a14b", parameters={"prompt": "x", "image": "nowhere.png"}))


def test_an_input_that_turns_a_switch_decides_which_branch_a_role_means() -> None:
    request = JobRequest(graph=a14b_by_switches(), parameters={"131.value": True, "steps": 6})

    built = build(request)

    assert built.values == {"131.value": True, "118.value": 6, "124.value": 3}


def test_copies_of_a_graph_differ_in_the_seed_that_counts() -> None:
    specs = [prepare(each) for each in with_seeds(JobRequest(graph=wrapper_i2v()), 3)]

    assert [spec.graph["27"]["inputs"]["seed"] for spec in specs] == [5, 6, 7]
    # The second sampler goes on from the first one's noise: another seed would only spoil the cache.
    assert {spec.graph["90"]["inputs"]["seed"] for spec in specs} == {6}


def test_copies_of_a_graph_begin_at_the_seed_that_is_given() -> None:
    request = JobRequest(graph=wrapper_i2v(), parameters={"seed": 100})

    assert [prepare(each).graph["27"]["inputs"]["seed"] for each in with_seeds(request, 2)] == [100, 101]


def test_many_jobs_of_one_graph_by_roles_do_not_see_each_other() -> None:
    graph = json.loads(json.dumps(wrapper_i2v()))

    specs = [prepare(JobRequest(graph=graph, parameters={"prompt": f"take {n}"})) for n in range(3)]

    assert [spec.graph["16"]["inputs"]["positive_prompt"] for spec in specs] == ["take 0", "take 1", "take 2"]
    assert graph == wrapper_i2v()


def test_a_template_is_written_as_a_graph_that_can_be_queued(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "fox.json"

    ended = cli("templates", "wan22-t2v-a14b", "-o", str(file), "-p", "prompt=a fox", "-p", "seed=7")

    assert ended.code == 0, ended.err
    assert "API format" in ended.out
    graph = json.loads(file.read_text())
    assert graph["6"]["inputs"]["text"] == "a fox"
    assert cli("validate", str(file)).code == 0


def test_every_template_can_be_written_without_any_parameter(cli: Cli, tmp_path: Path) -> None:
    for name in TEMPLATES:
        assert cli("templates", name, "-o", str(tmp_path / f"{name}.json")).code == 0
        assert cli("inspect", str(tmp_path / f"{name}.json")).code == 0
        assert "'<prompt>' was to be replaced" in cli("lint", str(tmp_path / f"{name}.json")).out


@pytest.mark.parametrize(
    "command",
    [
        ["templates", "wan22-t2v-a14b", "-o"],
        ["optimize", "-t", "wan22-t2v-a14b", "-p", "prompt=x", "--gpu", "RTX 4090", "-o"],
        ["diagnose", str(CORPUS / "origin-450s.log"), "--html"],
    ],
    ids=lambda each: each[0],
)
def test_no_command_replaces_a_file_that_is_there(cli: Cli, tmp_path: Path, command: list[str]) -> None:
    file = tmp_path / "mine.json"
    file.write_text("mine")

    ended = cli(*command, str(file))

    assert (ended.code, "is there already" in ended.err) == (ExitCode.USAGE, True)
    assert file.read_text() == "mine"


def test_a_template_as_the_editor_saves_it_is_submitted_with_what_was_set(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "workflow.json"

    written = cli("templates", "wan22-t2v-a14b", "-o", str(file), "--editor", "-p", "steps=8")
    ended = cli("submit", str(file), "-p", "prompt=a crow", "-p", "seed=7", "--json")

    assert (written.code, ended.code) == (0, 0), written.err + ended.err
    assert json.loads(file.read_text())["version"] == 0.4
    spec = cli.store.get(ended.json["jobs"][0]).spec
    assert spec.title.startswith("a crow \u00b7 seed 7")
    assert "8 steps" in spec.title
