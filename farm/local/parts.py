"""The parts of the local stack: how each one is started, and how one sees that it answers."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from farm.installed import MODULES_OF_WORKER
from farm.local.addresses import BUCKET, HOST, PartName
from farm.local.probes import http_refuses, redis_refuses, s3_refuses, worker_missing
from farm.local.state import Passwords, write_private
from farm.local.wheels import need_module, rclone_binary, valkey_binary
from farm.process.environment import for_python, for_server, for_worker
from farm.settings.environment import variables_for
from farm.settings.groups import known_variables
from farm.settings.redis import RedisSettings

log = logging.getLogger(__name__)

_REDIS: Final = ("FARM_REDIS_URL", "FARM_NAMESPACE")
FLOWER_USER: Final = "farm"
# `deploy/farm-entrypoint.sh` has the same.
FLOWER_OPTIONS: Final[Mapping[str, str]] = {
    "read_only": "True",
    "tasks_columns": "args,state,result,runtime,received,worker,uuid",  # its args: the title of a job
    "task_runtime_metric_buckets": "1,5,15,30,60,120,300,600,1200,1800,3600",  # renders take minutes
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What to run. It starts in the stack's folder `run`, and is told of no other path of the stack's:
    whatever its folder is called, no server reads more into the name.
    """

    command: tuple[str, ...]
    env: Mapping[str, str]  # the whole environment of the child


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One server of the stack."""

    name: PartName
    prepare: Callable[[], Launch]  # files and folders first; StackError when something is missing
    refuses: Callable[[int], str | None]  # why the process of that number does not answer yet, or None
    needs: frozenset[PartName] = frozenset()  # started only when these answer
    timeout_s: float = 60.0  # from start to first answer
    grace_s: float = 5.0  # from SIGTERM to SIGKILL


def valkey_part(folder: Path, port: int, passwords: Passwords, environ: Mapping[str, str]) -> Part:
    """Valkey over ``<folder>/valkey``, every write in its append-only file."""

    def prepare() -> Launch:
        binary = valkey_binary()
        (folder / "valkey").mkdir(mode=0o700, exist_ok=True)
        config = _valkey_config(port, passwords.valkey)  # a file, because arguments can be read by everybody
        write_private(folder / "run" / "valkey.conf", config.encode())
        # Not by its path: Valkey takes one with a bracket for a pattern, and if nothing fits it starts
        # with its defaults, open to everybody on another port.
        command = ("/bin/sh", "-c", 'exec "$0" - <valkey.conf', str(binary))
        return Launch(command=command, env=for_server(environ))

    return Part(
        name=PartName.VALKEY,
        prepare=prepare,
        refuses=lambda _pid: redis_refuses(port, passwords.valkey),
    )


def s3_part(folder: Path, port: int, passwords: Passwords, environ: Mapping[str, str]) -> Part:
    """rclone's S3 over ``<folder>/s3``, where the bucket is a plain folder."""
    data = folder / "s3"

    def prepare() -> Launch:
        binary = rclone_binary()
        data.mkdir(mode=0o700, exist_ok=True)
        (data / BUCKET).mkdir(mode=0o700, exist_ok=True)
        _remove_leftovers(data)
        command = (str(binary), "serve", "s3", "--addr", f"{HOST}:{port}", "--config", "")
        keys = f'"{passwords.s3_key_id},{passwords.s3_secret}"'  # the quotes belong to it: it is CSV
        return Launch(
            command=(*command, "--cache-dir", "rclone", f"../{data.name}"),
            env={**for_server(environ), "RCLONE_AUTH_KEY": keys},
        )

    return Part(
        name=PartName.S3,
        prepare=prepare,
        refuses=lambda _pid: s3_refuses(port, BUCKET, passwords.s3_key_id, passwords.s3_secret),
    )


def flower_part(port: int, passwords: Passwords, environ: Mapping[str, str]) -> Part:
    """Flower, to look only: with a password, on loopback, no button that does anything.

    Its interface can run any registered task, so an open one is a door to the machine.
    """

    def prepare() -> Launch:
        need_module("flower", "Flower", "flower")
        options = {"address": HOST, "port": port, **FLOWER_OPTIONS}
        return Launch(
            command=(
                *(sys.executable, "-m", "celery", "-A", "farm.broker", "flower"),
                *(f"--{name}={value}" for name, value in options.items()),
            ),
            env={
                **for_python(environ, variables_for(RedisSettings)),
                "FLOWER_BASIC_AUTH": f"{FLOWER_USER}:{passwords.flower}",
            },
        )

    return Part(
        name=PartName.FLOWER,
        prepare=prepare,
        refuses=lambda _pid: http_refuses(port, "/healthcheck"),
        needs=frozenset({PartName.VALKEY}),
    )


def gateway_part(port: int, environ: Mapping[str, str]) -> Part:
    """The gateway, for this machine alone: without API keys whoever is on it may use the farm."""

    def prepare() -> Launch:
        need_module("uvicorn", "The gateway", "gateway")
        command = (sys.executable, "-m", "farm.cli", "gateway", "--host", HOST, "--port", str(port))
        return Launch(command=command, env=for_python(environ, known_variables()))

    return Part(
        name=PartName.GATEWAY,
        prepare=prepare,
        refuses=lambda _pid: http_refuses(port, "/healthz"),
        needs=frozenset({PartName.VALKEY, PartName.S3}),
    )


def worker_part(name: str, environ: Mapping[str, str], *, timeout_s: float, grace_s: float) -> Part:
    """One worker, with the ComfyUI that the environment names, or else the emulator."""
    settings = RedisSettings.read(**{name: environ[name] for name in _REDIS if environ.get(name)})

    def prepare() -> Launch:
        for module in MODULES_OF_WORKER:
            need_module(module, f"The worker (its module {module})", "worker")
        # What it serves and which ComfyUI it starts is its own affair.
        return Launch(
            command=(sys.executable, "-m", "worker"),
            env={**for_worker(environ), "PYTHONUNBUFFERED": "1", "FARM_WORKER_NAME": name},
        )

    return Part(
        name=PartName.WORKER,
        prepare=prepare,
        refuses=lambda pid: worker_missing(settings.address, settings.namespace, name, pid),
        needs=frozenset({PartName.VALKEY, PartName.S3}),
        timeout_s=timeout_s,
        grace_s=grace_s,
    )


def _valkey_config(port: int, password: str) -> str:
    return "\n".join(
        (
            f"bind {HOST}",
            f"port {port}",
            "dir ../valkey",
            f"requirepass {password}",
            "appendonly yes",
            "appendfsync always",  # what was accepted outlives a power cut; one producer pays a quarter
            'save ""',
            "maxmemory-policy noeviction",  # anything else may throw away queued jobs
            "",
        )
    )


def _remove_leftovers(data: Path) -> None:
    """rclone's half-written files of a server that was killed; only safe while none runs."""
    for path in data.rglob(".rclone_temp_*"):
        log.info("Unfinished upload removed", extra={"event": "s3_leftover_removed", "path": str(path)})
        path.unlink(missing_ok=True)
