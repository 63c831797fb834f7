from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from comfy.emulator.arguments import DEFAULT_MODELS, build_parser, parse
from comfy.emulator.loading import LoadMode
from comfy.emulator.schedule import Caching
from comfy.emulator.world import Gpu
from comfy.generations import GENERATIONS, NEWEST, Generation


def test_defaults_are_those_of_a_server_with_a_card() -> None:
    settings = parse([])

    assert (settings.host, settings.port, settings.generation) == ("127.0.0.1", 8188, NEWEST)
    assert settings.gpu is not None
    assert (settings.vram_state, settings.load_mode) == ("NORMAL_VRAM", LoadMode.DYNAMIC)
    assert settings.pretended_models == DEFAULT_MODELS
    assert settings.folders.output == Path.cwd() / "output"


@pytest.mark.parametrize(
    ("flags", "state", "mode"),
    [
        (["--cpu"], "DISABLED", LoadMode.CPU),
        (["--novram"], "NO_VRAM", LoadMode.NOVRAM),
        (["--lowvram"], "LOW_VRAM", LoadMode.DYNAMIC),
        (["--lowvram", "--disable-dynamic-vram"], "LOW_VRAM", LoadMode.RESIDENT),
        (["--generation", "0.12.1", "--lowvram"], "LOW_VRAM", LoadMode.RESIDENT),
        (["--highvram"], "HIGH_VRAM", LoadMode.RESIDENT),
        (["--gpu-only"], "HIGH_VRAM", LoadMode.RESIDENT),
        (["--lowvram", "--load-mode", "partial"], "LOW_VRAM", LoadMode.PARTIAL),
    ],
)
def test_vram_flags_set_state_and_mode(flags: list[str], state: str, mode: LoadMode) -> None:
    settings = parse(flags)

    assert (settings.vram_state, settings.load_mode) == (state, mode)
    assert (settings.gpu is None) is ("--cpu" in flags)


@pytest.mark.parametrize(
    ("flags", "caching"),
    [
        (["--ram-gib", "512"], Caching.ALL_PROMPTS),
        (["--ram-gib", "64"], Caching.ALL_PROMPTS),  # all of it is free
        (["--ram-gib", "64", "--cache-ram", "1", "96"], Caching.LAST_PROMPT),
        (["--cache-ram", "0", "0"], Caching.ALL_PROMPTS),
        (["--ram-gib", "512", "--cache-classic"], Caching.LAST_PROMPT),
        (["--ram-gib", "512", "--high-ram"], Caching.LAST_PROMPT),
        (["--ram-gib", "512", "--cache-none"], Caching.NOTHING),
        (["--ram-gib", "512", "--generation", "0.12.1"], Caching.LAST_PROMPT),
    ],
)
def test_results_are_kept_as_flags_and_memory_say(flags: list[str], caching: Caching) -> None:
    assert parse(flags).caching is caching


def test_folders_follow_the_base_unless_they_are_named(tmp_path: Path) -> None:
    folders = parse(["--base-directory", str(tmp_path), "--temp-directory", str(tmp_path / "t")]).folders

    assert (folders.output, folders.input, folders.models) == (
        tmp_path / "output",
        tmp_path / "input",
        tmp_path / "models",
    )
    assert folders.temp == tmp_path / "t" / "temp"


def test_a_card_can_be_named() -> None:
    assert parse(["--gpu", "NVIDIA H100, 80GB HBM3,81559"]).gpu == Gpu(
        name="NVIDIA H100, 80GB HBM3", vram_mib=81559
    )


@pytest.mark.parametrize(
    "flags",
    [
        ["--gpu", "nothing"],
        ["--faults", "{not json"],
        ["--faults", '[{"kind": "x"}]'],
        ["--lowvram", "--novram"],
        ["--no-such-flag"],
        ["--port", "many"],
        ["--generation", "9.9"],
        ["--generation", "0.3.64", "--cache-ram", "4"],
    ],
)
def test_a_wrong_command_line_ends_with_2(flags: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(flags)

    assert stop.value.code == 2
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize(
    "flags",
    [
        [
            "--reserve-vram",
            "1.5",
            "--fast",
            "fp16_accumulation",
            "--use-sage-attention",
            "--disable-smart-memory",
        ],
        ["--verbose", "--listen", "--preview-method", "auto"],
        [
            "--verbose",
            "DEBUG",
            "--fast",
            "--cache-none",
            "--disable-metadata",
            "--async-offload",
            "--log-stdout",
        ],
    ],
)
@pytest.mark.parametrize("generation", GENERATIONS, ids=str)
def test_flags_of_a_real_server_are_taken(flags: list[str], generation: Generation) -> None:
    assert parse(["--generation", generation.version, *flags]).generation is generation


def test_flags_differ_by_generation() -> None:
    def flags(parser: argparse.ArgumentParser) -> set[str]:
        return {word.strip("[]|") for word in parser.format_usage().split() if word.startswith(("--", "[--"))}

    old, new = (
        flags(build_parser(Generation.named("0.3.64"))),
        flags(build_parser(Generation.named("0.12.1"))),
    )

    assert {"--cache-ram", "--disable-pinned-memory", "--disable-async-offload"} <= new - old


def test_the_help_loads_no_server() -> None:
    code = "import sys\nfrom comfy.emulator.arguments import parse\nparse([])\nprint(*sys.modules)"

    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )

    assert {"aiohttp", "asyncio", "av"}.isdisjoint(loaded.stdout.split())
