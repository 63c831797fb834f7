"""A start that fails is explained by its last words, as real servers of each generation print them."""

from __future__ import annotations

from pathlib import Path

import pytest

from comfy.generations import GENERATIONS
from comfy.log.text import plain_lines
from worker.comfyui.process import PortTaken, explain_exit
from worker.errors import ComfyStartFailed, ComfyUnusable

LOGS = Path(__file__).parents[3] / "data" / "comfyui" / "logs"
NAMES = [each.version for each in GENERATIONS]


def last_words(generation: str, name: str) -> list[str]:
    printed = (LOGS / generation / name).read_bytes().decode()
    return [line.text for line in plain_lines(printed)][-60:]


@pytest.mark.parametrize("generation", NAMES)
def test_a_port_that_is_taken_is_known_in_every_generation(generation: str) -> None:
    assert isinstance(explain_exit(1, last_words(generation, "port-taken.log")), PortTaken)


@pytest.mark.parametrize(
    ("generation", "name", "words"),
    [
        *((generation, "unknown-flag.log", "unrecognized arguments: --no-such-flag") for generation in NAMES),
        ("0.3.64", "unknown-level.log", "argument --verbose: invalid choice: 'LOUD'"),
        ("0.12.1", "unknown-level.log", "argument --verbose: invalid choice: 'LOUD'"),
        ("0.33.0", "unknown-level.log", "--verbose expects no values, a console LEVEL, or LEVEL FILE"),
    ],
)
def test_an_argument_that_is_not_taken_is_named_with_the_setting(
    generation: str, name: str, words: str
) -> None:
    error = explain_exit(2, last_words(generation, name))

    assert isinstance(error, ComfyUnusable)
    assert words in error.reason
    assert error.setting == "COMFYUI_ARGS"


def test_a_database_that_another_one_has_is_named_and_tried_again() -> None:
    error = explain_exit(1, last_words("0.33.0", "database-locked-with-assets.log"))

    assert isinstance(error, ComfyStartFailed)
    assert "Could not acquire lock on database '/worker/user/comfyui.db'" in error.reason
    assert "another ComfyUI" in error.advice


@pytest.mark.parametrize(
    ("line", "kind", "advice"),
    [
        ("ASSETS_STARTUP_FAILED: in_use", ComfyStartFailed, "another ComfyUI"),
        ("ASSETS_STARTUP_FAILED: locked", ComfyStartFailed, "another ComfyUI"),
        ("ASSETS_STARTUP_FAILED: newer_revision", ComfyUnusable, "remove"),
        ("ASSETS_STARTUP_FAILED: corrupt: file is not a database", ComfyUnusable, "remove"),
        ("ASSETS_STARTUP_FAILED: not_writable", ComfyUnusable, "writable"),
        ("ASSETS_STARTUP_FAILED: missing_packages alembic", ComfyUnusable, "requirements.txt"),
        (
            "Database is locked. Another ComfyUI process is already using this database.",
            ComfyStartFailed,
            "another ComfyUI",
        ),
        ("ModuleNotFoundError: No module named 'alembic'", ComfyUnusable, "requirements.txt"),
        ("ModuleNotFoundError: No module named 'comfy.options'", ComfyUnusable, "hides"),
        ("AssertionError: Torch not compiled with CUDA enabled", ComfyUnusable, "torch build"),
        ("RuntimeError: No CUDA GPUs are available", ComfyUnusable, "nvidia-smi"),
        ("PermissionError: [Errno 13] Permission denied: '/w/user'", ComfyUnusable, "writable"),
        ("OSError: [Errno 28] No space left on device: '/w/temp'", ComfyUnusable, "free space"),
        ("Killed", ComfyStartFailed, "see its last lines"),
    ],
)
def test_each_way_in_which_a_start_ends_has_its_advice(line: str, kind: type, advice: str) -> None:
    error = explain_exit(1, ["ComfyUI version: 0.46.0", line])

    assert type(error) is kind
    assert advice in str(error)


@pytest.mark.parametrize("generation", NAMES)
def test_errors_that_a_start_survives_are_not_blamed_for_its_end(generation: str) -> None:
    broken_node = ["Traceback (most recent call last):", "ModuleNotFoundError: No module named 'insightface'"]
    lines = [*broken_node, *last_words(generation, "start-lru.log")]

    error = explain_exit(-9, lines)

    assert type(error) is ComfyStartFailed
    assert "memory" in error.advice
