"""The farm works whatever other programs left in the environment, and from any folder below its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import av
import psutil
import pytest

from farm.client import Farm
from farm.local.running import attach
from farm.local.stack import LocalStack
from tests.support.environment import environment_of_others
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
    "PYTHONSTARTUP": "/nowhere/startup.py",
    "PYTHONUSERBASE": "/nowhere",
    "PYTHONHASHSEED": "7",
    "PYTHONOPTIMIZE": "1",
    "PYTHONWARNINGS": "always",
    # S3 as other tools are told of it, and Redis.
    **dict.fromkeys(
        ("AWS_ENDPOINT_URL_S3", "S3_ENDPOINT", "S3_ENDPOINT_URL", "MINIO_ENDPOINT"), "http://127.0.0.1:9"
    ),
    **dict.fromkeys(("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_WEB_IDENTITY_TOKEN_FILE"), "theirs"),
    **dict.fromkeys(("AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_FULL_URI"), "http://127.0.0.1:9/theirs"),
    **dict.fromkeys(("AWS_USE_DUALSTACK_ENDPOINT", "AWS_S3_USE_ARN_REGION"), "true"),
    **dict.fromkeys(("REDIS_URL", "REDIS_TLS_URL", "CELERY_RESULT_BACKEND_URL"), "redis://10.0.0.7:1/9"),
    **dict.fromkeys(("REDIS_PORT", "REDIS_PORT_6379_TCP", "WORKER_PORT", "S3_PORT"), "tcp://10.0.0.7:80"),
    "REDISCLI_AUTH": "theirs",
    "CELERY_CONFIG_MODULE": "no.such.module",
    "CELERY_WORKER_RUNNING": "1",
    "C_FORCE_ROOT": "",
    "FLOWER_PERSISTENT": "true",
    "FLOWER_DB": "/nowhere/flower",
    "FLOWER_AUTH": ".*",
    # What torch and libraries read; no ComfyUI of another machine is named by these.
    "TORCH_HOME": "/nowhere",
    "TORCH_LOGS": "+dynamo",
    "PYTORCH_CUDA_ALLOC_CONF": "backend:nonsense",
    "COMFYUI_PATH": "/nowhere/ComfyUI",
    "COMFYUI_PORT": "tcp://10.0.0.7:8188",
    "COMFYUI_SERVICE_HOST": "10.0.0.7",
    **dict.fromkeys(("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"), "/nowhere"),
    **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"), "/nowhere/ca.pem"),
    "SSL_CERT_DIR": "/nowhere",
    # A terminal that can do nothing.
    "COLUMNS": "1",
    "LINES": "0",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "FORCE_COLOR": "1",
    "PAGER": "/nowhere/pager",
    "DEBUG": "*",
    "HOSTNAME": "",
    "TZ": "Nowhere/Else",
}


def plain_environ() -> dict[str, str]:
    return environment_of_others() | {"PATH": PATH, "FARM_EMULATOR_ARGS": QUICK}


def test_the_demo_renders_among_the_variables_of_other_programs(tmp_path: Path) -> None:
    blank = tmp_path / "with blanks, and ' ümlauts"
    comfyui = tmp_path / "ComfyUI"  # whose folders are called as ours, and whose modules as everybody's
    for name in ("comfy/options.py", "utils/__init__.py", "app/__init__.py", "nodes.py", "server.py"):
        (comfyui / name).parent.mkdir(parents=True, exist_ok=True)
        (comfyui / name).write_text("raise SystemExit('imported by mistake')\n")
    blank.mkdir()

    done = subprocess.run(
        ["farm", "demo", "--json"],
        cwd=tmp_path,
        env={**plain_environ(), **OF_OTHERS, "TMPDIR": str(blank), "PYTHONPATH": str(comfyui)},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    (clip,) = json.loads(done.stdout)["files"]
    with av.open(str(tmp_path / clip)) as container:
        assert sum(1 for _frame in container.decode(video=0)) > 1
    assert not done.stderr.count("Traceback"), done.stderr
    for ours in (".farm", "demo-output"):
        assert (tmp_path / ours / ".gitignore").read_text() == "*\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder below that of a running stack."""
    top = tmp_path_factory.mktemp("stack")
    below = top / "clips" / "today"
    below.mkdir(parents=True)
    with LocalStack(top / ".farm", environ=plain_environ()):
        yield below


@pytest.mark.long
def test_workers_started_below_the_stacks_folder_join_it_however_they_are_started(
    folder: Path, tmp_path: Path
) -> None:
    ways = (
        [sys.executable, "-m", "worker", "-n", "module@there"],
        [str(BIN / "celery"), "-A", "worker.app", "worker", "-n", "celery@there"],
        [str(BIN / "farm-worker"), "up"],
    )
    environ = {**plain_environ(), "FARM_EMULATOR_ARGS": QUICK}
    with Farm(folder=folder.parents[1] / ".farm") as farm, contextlib.ExitStack() as stack:
        workers = []
        for number, command in enumerate(ways):
            log = stack.enter_context((tmp_path / f"worker{number}.log").open("wb"))
            own = {**environ, "FARM_WORKER_DIR": str(tmp_path / str(number))}
            workers.append(subprocess.Popen(command, cwd=folder, env=own, stdout=log, stderr=log))
        try:
            eventually(lambda: len(farm.workers()) == 1 + len(ways), within_s=DEADLINE_S)
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGTERM)
            for worker in workers:
                worker.wait(DEADLINE_S)

        eventually(lambda: len(farm.workers()) == 1, within_s=DEADLINE_S)
    assert not (folder / ".farm").exists()


def workers_here() -> list[psutil.Process]:
    """The workers below this process, without the guards that have their command line in their own."""
    found = []
    for each in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            if each.cmdline()[1:] == ["-m", "worker"]:
                found.append(each)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look into a worker")
def test_a_worker_keeps_no_password_in_its_environment_and_one_that_is_started_again_gets_them(
    folder: Path,
) -> None:
    state = attach(folder.parents[1] / ".farm")
    assert state is not None
    secrets = {state.passwords.valkey, state.passwords.s3_secret}

    def shown_by(worker: psutil.Process) -> set[str]:
        environ = Path(f"/proc/{worker.pid}/environ").read_text(errors="replace")
        return {secret for secret in secrets if secret in environ}

    (worker,) = workers_here()
    assert shown_by(worker) == set()
    assert not any(secret in str(each.environ()) for each in worker.children(True)[1:] for secret in secrets)
    worker.kill()

    eventually(lambda: workers_here() not in ([], [worker]), within_s=DEADLINE_S)
    (again,) = workers_here()
    with Farm(folder=folder.parents[1] / ".farm") as farm:
        eventually(lambda: again.pid in [each.pid for each in farm.workers()], within_s=DEADLINE_S)
    eventually(lambda: shown_by(again) == set(), within_s=DEADLINE_S)


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
