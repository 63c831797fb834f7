"""The farm works whatever other programs left in the environment, and from any folder below its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from farm.client import Farm
from farm.local import LocalStack
from tests.support.valkey import eventually

BIN = Path(sys.executable).parent
PATH = f"{BIN}{os.pathsep}{os.environ['PATH']}"
DEADLINE_S = 150.0
QUICK = "--step-seconds 0.01 --load-seconds 0.01"
OF_OTHERS = {
    # A proxy that answers nobody.
    **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9"),
    # Services of Kubernetes, called as we and our parts are.
    **dict.fromkeys(("FARM_PORT", "FLOWER_PORT", "FARM_PORT_80_TCP", "VALKEY_PORT"), "tcp://10.0.0.7:80"),
    **dict.fromkeys(("FARM_SERVICE_HOST", "FLOWER_SERVICE_HOST"), "10.0.0.7"),
    "RCLONE_CONFIG": "/nowhere/rclone.conf",
    "RCLONE_ADDR": "127.0.0.1:9",
    "RCLONE_READ_ONLY": "true",
    "RCLONE_NO_SUCH_THING": "yes",
    "FLOWER_BASIC_AUTH": "somebody:else",
    "FLOWER_ADDRESS": "10.0.0.7",
    "FLOWER_URL_PREFIX": "/elsewhere",
    "CELERY_BROKER_URL": "amqp://elsewhere:5672//",
    "CELERY_RESULT_BACKEND": "db+nonsense://",
    "CELERY_LOADER": "no.such:Loader",
    "BROKER_URL": "amqp://elsewhere:5672//",
    "LOADER": "no.such:Loader",
    "CONFIG_MODULE": "no.such.module",
    "APP": "no.such.app",
    "AWS_PROFILE": "of-another-machine",
    "AWS_CONFIG_FILE": "/nowhere/config",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
    "AWS_REGION": "eu-north-1",
    "AWS_USE_FIPS_ENDPOINT": "true",
    "AWS_SESSION_TOKEN": "theirs",
    "LC_ALL": "de_DE.ISO-8859-1",
    "LANG": "C",
    "PYTHONIOENCODING": "ascii",
    "PYTHONUTF8": "0",
}


def plain_environ() -> dict[str, str]:
    ours = ("FARM_", "BUCKET_", "COMFYUI_", "AWS_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)} | {
        "PATH": PATH,
        "FARM_EMULATOR_ARGS": QUICK,
    }


def test_the_demo_renders_among_the_variables_of_other_programs(tmp_path: Path) -> None:
    done = subprocess.run(
        ["farm", "demo", "--json"],
        cwd=tmp_path,
        env={**plain_environ(), **OF_OTHERS},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (clip,) = json.loads(done.stdout)["files"]
    assert (tmp_path / clip).stat().st_size > 0
    assert (tmp_path / ".farm" / ".gitignore").read_text() == "*\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder below that of a running stack."""
    top = tmp_path_factory.mktemp("stack")
    below = top / "clips" / "today"
    below.mkdir(parents=True)
    with LocalStack(top / ".farm", environ=plain_environ()):
        yield below


@pytest.mark.parametrize(
    "command",
    [
        [sys.executable, "-m", "worker"],
        [str(BIN / "celery"), "-A", "worker.app", "worker", "-n", "celery@there"],
        [str(BIN / "farm-worker"), "up"],
    ],
    ids=lambda command: " ".join(command[-2:]),
)
def test_a_worker_started_below_the_stacks_folder_joins_it(
    command: list[str], folder: Path, tmp_path: Path
) -> None:
    environ = {**plain_environ(), "FARM_EMULATOR_ARGS": QUICK}
    with (
        (tmp_path / "worker.log").open("wb") as log,
        Farm(folder=folder.parents[1] / ".farm") as farm,
        subprocess.Popen(command, cwd=folder, env=environ, stdout=log, stderr=log) as worker,
    ):
        try:
            eventually(lambda: len(farm.workers()) == 2, within_s=DEADLINE_S)
        finally:
            worker.send_signal(signal.SIGTERM)
            worker.wait(DEADLINE_S)

    eventually(lambda: len(farm.workers()) == 1, within_s=DEADLINE_S)
    assert not (folder / ".farm").exists()


def test_farm_env_leads_a_shell_elsewhere_to_the_stack(folder: Path, tmp_path: Path) -> None:
    script = f'eval "$(farm env --folder {folder.parents[1]}/.farm)"; farm workers --json'

    said = subprocess.check_output(
        ["sh", "-ec", script], cwd=tmp_path, env=plain_environ(), text=True, timeout=DEADLINE_S
    )

    assert [worker["name"].startswith("local@") for worker in json.loads(said)] == [True]


def test_up_says_what_renders_and_what_to_type_and_what_is_kept(tmp_path: Path) -> None:
    with subprocess.Popen(
        ["farm", "up", "--no-flower"],
        cwd=tmp_path,
        env=plain_environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        said = ""
        while "farm open JOB" not in said:
            line = process.stdout.readline()
            assert line, said
            said += line
        process.send_signal(signal.SIGINT)
        goodbye = process.stdout.read()

        assert process.wait(DEADLINE_S) == 0
    assert "the emulator draws placeholder clips" in said
    assert 'farm submit -t wan22-t2v-a14b -p prompt="a red fox in the snow" -p preset=draft --watch' in said
    assert f"kept in {tmp_path}/.farm" in goodbye


def test_missing_models_are_told_before_anything_starts(tmp_path: Path) -> None:
    comfyui = tmp_path / "ComfyUI"
    comfyui.mkdir()
    (comfyui / "main.py").touch()

    done = subprocess.run(
        ["farm", "demo"],
        cwd=tmp_path,
        env={**plain_environ(), "COMFYUI_DIR": str(comfyui)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 2
    assert "diffusion_models/wan2.2_t2v_high_noise_14B_fp8_scaled.safetensors  13.3 GiB" in done.stderr
    assert not (tmp_path / ".farm").exists()
