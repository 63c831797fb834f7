"""How people's files fare: taken, converted, read, judged and planned. ``make bench-files [FILES=folder]``.

The corpus (`tests/data/corpus`) has each kind of file at least twice, with the export of ComfyUI's own front
end as truth; what is right of roles and of lint stands beside it, written by hand. The figures are of files
that the code was written against: of files that nobody here has seen they say that these kinds are known.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from bench import files_of_folder
from bench.documented_runs import held_errors, table
from comfy.errors import GraphError
from comfy.generations import NEWEST
from comfy.graphs.required import input_files, model_files
from comfy.lint import lint
from comfy.node_defs.definitions import Definitions, definitions_to_json, shipped_definitions, with_choices
from comfy.rewrites.site import Site
from comfy.ui.load import load_any
from comfy.wan.models import GIB
from comfy.wan.roles import Roles, find_roles
from farm.asking.graphs import read_graph
from farm.fleet.judge import Judge
from farm.fleet.preflight import definitions_name, definitions_of
from farm.testing import MemoryJobStore
from tests.support import corpus
from worker.service.shared import Shared

# The folders that ComfyUI-GGUF's loaders name.
_GGUF: Final = {"unet": "diffusion_models", "clip": "text_encoders"}
EXPECTED: Final = corpus.DATA / "lint_expectations.json"
FOLDERS: Final = {
    "corpus": corpus.DATA / "corpus",
    "cases": corpus.DATA / "cases",
    "graphs": corpus.DATA / "graphs",
}
SITE: Final = Site(definitions=shipped_definitions(), name="RTX 4090", vram_bytes=24 * GIB)


@dataclass(slots=True)
class Score:
    """What was found against what is there."""

    right: int = 0
    found: int = 0
    there: int = 0

    def add(self, found: Iterable[object], there: Iterable[object]) -> None:
        """Count one more file."""
        found, there = list(found), list(there)
        self.right += sum(each in there for each in found)
        self.found += len(found)
        self.there += len(there)

    @property
    def precision(self) -> float:
        """Of what was found, the part that is right."""
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        """Of what is there, the part that was found."""
        return self.right / self.there if self.there else 1.0


def live_definitions() -> Definitions:
    """The nodes of a worker that has the corpus's files, the way that a real one's go: told, stored, read."""
    models: dict[str, set[str]] = {}
    pictures: set[str] = set()
    for name in corpus.facts():
        graph = corpus.right(name)
        for file in model_files(graph):
            models.setdefault(file.folder, set()).add(file.name)
        pictures |= {file.name for file in input_files(graph)}
    models |= {f"{kind}_gguf": models.get(folder, set()) for kind, folder in _GGUF.items()}
    known = shipped_definitions(NEWEST, files={folder: sorted(names) for folder, names in models.items()})
    nodes = {**known, "LoadImage": with_choices(known["LoadImage"], "image", sorted(pictures))}
    store = MemoryJobStore()
    shared = Shared(store, definitions_name)
    shared.put(definitions_to_json(nodes))
    found = definitions_of(store, shared.digest or "")
    if found is None:
        raise ValueError("what the worker told cannot be read")
    return found


def is_read(name: str, known: Callable[[], Definitions] | None) -> bool:
    """Whether a file becomes a graph."""
    try:
        read_graph(corpus.content(name)) if known is None else read_graph(corpus.content(name), known)
    except GraphError:
        return False
    return True


def is_taken_live(name: str, definitions: Definitions, judge: Judge) -> bool:
    """Whether a farm with that worker takes the file, and what would run is the front end's graph."""
    try:
        graph = read_graph(corpus.content(name), lambda: definitions)
    except GraphError:
        return False
    return not judge.problems(graph)


def is_exact(name: str) -> bool | None:
    """Whether the conversion equals the front end's; None where the file is refused."""
    try:
        graph = load_any(corpus.content(name), shipped_definitions).graph
    except GraphError:
        return None
    return corpus.is_right(name, graph)


def role_scores() -> dict[str, Score]:
    """Each role of all files."""
    scores = {role: Score() for role in ("width", "height", "frames", "fps", "steps", "loras")}
    for name, fact in corpus.facts().items():
        graph = corpus.right(name)
        roles = find_roles(graph, shipped_definitions())
        found: dict[str, Any] = {role: roles.value(role) for role in ("width", "height", "frames", "fps")}
        steps = [stage.steps_run for stage in roles.stages]
        found["steps"] = sum(each or 0 for each in steps) if steps and None not in steps else None
        there = {**fact, "steps": sum(fact["steps"])} if "steps" in fact else fact
        for role in ("width", "height", "frames", "fps", "steps"):
            if role in there:
                scores[role].add(_known(found[role]), _known(there[role]))
        if "loras" in fact:
            scores["loras"].add(*map(list, _loras(fact["loras"], roles)))
    return scores


def _known(value: object) -> list[object]:
    return [] if value is None else [value]


def _loras(there: Mapping[str, Mapping[str, float]], roles: Roles) -> tuple[set[object], set[object]]:
    found: set[object] = {
        (stage.expert.value, lora.file.value, lora.strength.value if lora.strength else None)
        for stage in roles.stages
        for lora in stage.loras
    }
    return found, {
        (expert, file, strength) for expert, rows in there.items() for file, strength in rows.items()
    }


def lint_score() -> tuple[Score, list[str]]:
    """Rules told and expected over all labelled files, and each difference in words."""
    score, differences = Score(), []
    for folder, files in json.loads(EXPECTED.read_text(encoding="utf-8")).items():
        for name, expected in files.items():
            told = rules_told((FOLDERS[folder] / f"{name}.json").read_bytes())
            score.add(told, expected)
            differences += [f"{folder}/{name}: not told {rule}" for rule in expected if rule not in told]
            differences += [f"{folder}/{name}: false alarm {rule}" for rule in told if rule not in expected]
    return score, differences


def rules_told(content: bytes) -> list[str]:
    """The rules that strike a file, each once."""
    loaded = load_any(content, shipped_definitions)
    return sorted({each.rule for each in lint(loaded.graph, SITE, left_out=loaded.left_out)})


def report() -> Iterator[str]:
    """All figures."""
    names = list(corpus.facts())
    live = live_definitions()
    ways: dict[str, Callable[[str], bool]] = {
        "offline": partial(is_read, known=None),
        "with definitions": partial(is_read, known=shipped_definitions),
        "on a live farm": partial(is_taken_live, definitions=live, judge=Judge(live, NEWEST)),
    }
    for way, accepts in ways.items():
        refused = [name for name in names if not accepts(name)]
        yield _part(f"accepted {way}", len(names) - len(refused), len(names)) + _named(refused)
    equal = {name: is_exact(name) for name in names}
    unequal = [name for name, same in equal.items() if same is False]
    converted = sum(same is not None for same in equal.values())
    what = "equal to the front end's export, of accepted"
    yield _part(what, converted - len(unequal), converted) + _named(unequal)
    for role, score in role_scores().items():
        yield f"role {role:8} precision {score.precision:.3f}, recall {score.recall:.3f} of {score.there}"
    score, differences = lint_score()
    false = score.found - score.right
    yield f"lint recall {score.recall:.3f} of {score.there}, false alarms {false} of {score.found}"
    yield from (f"    {each}" for each in differences)
    yield f"plan, worst of the documented runs that it has to meet: {max(held_errors()):.0%}"
    yield from (f"    {line}" for line in table())


def _part(what: str, some: int, all_of: int) -> str:
    return f"{what}: {some} of {all_of} ({some / all_of:.1%})"


def _named(names: list[str]) -> str:
    return f"; not: {', '.join(names)}" if names else ""


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=Path, help="a folder of other files")
    folder = parser.parse_args().files
    print("\n".join(report() if folder is None else files_of_folder.report(folder)))
