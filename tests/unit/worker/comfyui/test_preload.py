"""tcmalloc is preloaded where it is, and never in place of what the operator preloads."""

from __future__ import annotations

from pathlib import Path

from worker.comfyui.preload import find_tcmalloc
from worker.gpu.card import GIB
from worker.plan.flags import AcceptedFlags
from worker.plan.load_plan import plan_load


def test_it_is_found_in_the_usual_folders(tmp_path: Path) -> None:
    library = tmp_path / "libtcmalloc_minimal.so.4"
    library.touch()

    assert find_tcmalloc({}, folders=(str(tmp_path),)) == str(library)


def test_what_the_operator_preloads_stays(tmp_path: Path) -> None:
    (tmp_path / "libtcmalloc_minimal.so.4").touch()

    assert find_tcmalloc({"LD_PRELOAD": "libother.so"}, folders=(str(tmp_path),)) is None


def test_the_plan_hands_it_to_comfyui_and_says_why() -> None:
    plan = plan_load(None, 64 * GIB, AcceptedFlags(names=frozenset({"--cpu"})), preload="/lib/tc.so")

    assert plan.env["LD_PRELOAD"] == "/lib/tc.so"
    assert any("tcmalloc" in reason for reason in plan.reasons)
