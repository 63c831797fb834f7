"""The plan is explained for this machine and for cards that are not here, and starts nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_nvml import FakeDriver
from worker.comfyui.command import run


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert run([*arguments, "--json"]) == 0
    answer: dict[str, Any] = json.loads(capsys.readouterr().out)
    return answer


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models folder with the template's files, as large as the real ones and without taking disk."""
    sizes = {
        "diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors": 13.31,
        "diffusion_models/wan2.2_t2v_low_noise_14B_fp8_scaled.safetensors": 13.31,
        "clip/umt5_xxl_fp8_e4m3fn_scaled.safetensors": 6.27,
        "vae/wan_2.1_vae.safetensors": 0.24,
    }
    for name, gib in sizes.items():
        path = tmp_path / "models" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.truncate(int(gib * 2**30))
    monkeypatch.setenv("COMFYUI_BASE", str(tmp_path))
    return tmp_path / "models"


def test_this_machines_card_is_planned_for(driver: FakeDriver, capsys: pytest.CaptureFixture[str]) -> None:
    driver.cards[0].used_mib = 6000

    answer = asked(capsys, "--comfyui", "0.3.64")

    assert answer["card"]["name"] == "NVIDIA GeForce RTX 4090"
    assert (answer["plan"]["mode"], answer["plan"]["flags"][0]) == ("reserved", "--reserve-vram")


@pytest.mark.parametrize(
    ("arguments", "name", "gib"),
    [
        (("--gpu", "RTX 4090"), "RTX 4090", 24),
        (("--gpu", "4090", "--vram", "48"), "RTX 4090", 48),
        (("--vram", "24"), "a card of 24 GiB", 24),
        (("--gpu", "My Own", "--vram", "16"), "My Own", 16),
    ],
)
def test_a_card_that_is_not_here_is_planned_for(
    capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], name: str, gib: int
) -> None:
    answer = asked(capsys, *arguments)

    assert answer["card"]["name"] == name
    assert round(answer["card"]["total_bytes"] / 2**30) == gib


def test_real_file_sizes_say_what_streams(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = asked(capsys, "--vram", "24", "--ram", "64", "--comfyui", "0.3.64")
    large = asked(capsys, "--vram", "48", "--ram", "64", "--comfyui", "0.3.64")

    assert small["plan"]["whole"] is False
    assert any("3.6 GiB of an expert's 13.3 GiB stream" in why for why in small["plan"]["reasons"])
    assert large["plan"]["whole"] is True


def test_models_that_the_operator_names_may_stay_on_a_card_that_holds_them(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = ("--models", "wan22-t2v-a14b", "--comfyui", "0.3.64", "--ram", "128")

    assert asked(capsys, "--vram", "80", *named)["plan"]["flags"] == ["--highvram"]
    assert asked(capsys, "--vram", "24", *named)["plan"]["flags"] == []
    assert asked(capsys, "--vram", "80", "--comfyui", "0.3.64")["plan"]["flags"] == []


def test_a_forced_mode_is_taken_and_judged(models: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = asked(capsys, "--vram", "16", "--mode", "resident", "--comfyui", "0.38")

    assert answer["plan"]["flags"] == ["--highvram"]
    assert any("dynamic VRAM off" in why for why in answer["plan"]["reasons"])
    assert any("run out of memory" in why for why in answer["plan"]["reasons"])


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--gpu", "Voodoo 2"), "its VRAM in GiB"),
        (("--vram", "0.1"), "holds no model"),
        (("--vram", "24", "--comfyui", "newest"), "no version"),
        (("--vram", "24", "--models", "missing.safetensors"), "FARM_MODELS"),
    ],
)
def test_a_question_without_answer_is_refused_in_words(
    models: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], words: str
) -> None:
    assert run(arguments) == 78

    assert words in capsys.readouterr().err


def test_a_missing_models_folder_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COMFYUI_BASE", str(tmp_path))

    assert run(["--vram", "24"]) == 78
    said = capsys.readouterr().err
    (tmp_path / "extra_model_paths.yaml").touch()

    assert f"there is no folder {tmp_path / 'models'}" in said
    assert "COMFYUI_BASE" in said
    assert run(["--vram", "24"]) == 0
    assert "not sized" in capsys.readouterr().out


def test_a_person_reads_card_mode_flags_and_reasons(capsys: pytest.CaptureFixture[str]) -> None:
    run(["--gpu", "H100", "--ram", "64", "--comfyui", "0.38"])

    said = capsys.readouterr().out
    assert "no video encoder" in said
    assert "mode      balanced" in said
    assert "because   dynamic VRAM" in said
