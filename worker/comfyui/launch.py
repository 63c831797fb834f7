"""What is run as ComfyUI, and with which command line and environment."""

from __future__ import annotations

import logging
import os
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

import comfy.errors
from comfy.log.text import LogLevel
from comfy.protocol.address import ComfyAddress
from farm.process.environment import for_comfyui
from farm.process.user import UnixUser, can_become_others
from farm.settings.worker import WorkerSettings
from worker.comfyui.folders import WorkerFolders
from worker.errors import ComfyUnusable
from worker.plan.flags import AcceptedFlags, parse_help
from worker.plan.load_plan import LoadPlan

log = logging.getLogger(__name__)

HELP_TRIES: Final = 3
HELP_TIMEOUT_S: Final = 60.0  # it takes 0.06 s, on a machine that does nothing else
LOOPBACK: Final = "127.0.0.1"

# What we give ourselves, or never; the operator's own value would send files where nobody looks for them.
_OURS: Final = {
    "--port": "a free port is taken",
    "--listen": "ComfyUI listens on loopback only",
    "--output-directory": "set FARM_WORKER_DIR instead",
    "--temp-directory": "set FARM_WORKER_DIR instead",
    "--input-directory": "set FARM_WORKER_DIR instead",
    "--user-directory": "set FARM_WORKER_DIR instead",
    "--base-directory": "set COMFYUI_BASE instead",
    # Without a card that can do it, this one ends the start with a traceback.
    "--enable-dynamic-vram": "ComfyUI switches it on by itself where it works",
}


class ComfyKind(StrEnum):
    """What stands behind the URL."""

    INSTALLED = "installed"  # a ComfyUI that we start
    ATTACHED = "attached"  # one that runs already, and that is not ours to stop
    EMULATOR = "emulator"  # no ComfyUI: placeholder clips


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What to run, or where it runs."""

    kind: ComfyKind
    command: tuple[str, ...] = ()  # interpreter and program, without arguments
    address: ComfyAddress | None = None  # of an attached one
    setting: str = "COMFYUI_DIR"  # the variable that named it
    user: UnixUser | None = None  # whom it runs as; None: as this process does


def find_target(settings: WorkerSettings) -> Target:
    """What the settings name: a URL before a folder, and the emulator when they name neither.

    Raises:
        ComfyUnusable: the folder is no ComfyUI, its interpreter is none, or it cannot run as that user.
    """
    if settings.comfyui_address is not None:
        return Target(kind=ComfyKind.ATTACHED, address=settings.comfyui_address, setting="COMFYUI_URL")
    if settings.comfyui_dir is None:
        command = (sys.executable, "-m", "comfy.emulator")
        user = _user_for(settings)
        return Target(kind=ComfyKind.EMULATOR, command=command, setting="FARM_EMULATOR_ARGS", user=user)
    folder = settings.comfyui_dir.expanduser().absolute()
    _check_folder(folder)
    python = _interpreter(settings, folder)
    return Target(
        kind=ComfyKind.INSTALLED, command=(str(python), str(folder / "main.py")), user=_user_for(settings)
    )


def _user_for(settings: WorkerSettings) -> UnixUser | None:
    if not settings.comfy_user:
        return None
    if not can_become_others():
        raise ComfyUnusable(
            "only a worker that runs as root, on Linux, can start ComfyUI as another user",
            "start the worker as root, or leave it out",
            setting="FARM_COMFY_USER",
        )
    try:
        return UnixUser.parse(settings.comfy_user)
    except ValueError as exc:
        raise ComfyUnusable(str(exc), "correct it, or make that user", setting="FARM_COMFY_USER") from exc


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise ComfyUnusable(f"there is no folder {folder}", "correct the path", setting="COMFYUI_DIR")
    missing = [name for name in ("main.py", "nodes.py", "comfy") if not (folder / name).exists()]
    if missing:
        raise ComfyUnusable(
            f"folder {folder} is no ComfyUI: it holds no {', '.join(missing)}",
            "name the folder that holds ComfyUI's main.py",
            setting="COMFYUI_DIR",
        )


def _interpreter(settings: WorkerSettings, folder: Path) -> Path:
    if settings.comfyui_python is not None:
        # Not resolved: a virtual environment's interpreter is a link, and is known by its own place.
        python = settings.comfyui_python.expanduser().absolute()
        if not python.is_file() or not os.access(python, os.X_OK):
            reason = "is not executable" if python.is_file() else "does not exist"
            raise ComfyUnusable(f"{python} {reason}", "name a Python program", setting="COMFYUI_PYTHON")
        return python
    own = [folder / name / "bin" / "python" for name in (".venv", "venv")]
    return next((python for python in own if os.access(python, os.X_OK)), Path(sys.executable))


def probe_flags(target: Target) -> AcceptedFlags:
    """Ask the program which flags it takes; it answers before it imports torch.

    Raises:
        ComfyUnusable: it cannot even be asked, or fails each time.
    """
    if target.kind is ComfyKind.ATTACHED:
        return AcceptedFlags(names=frozenset())
    setting = "COMFYUI_PYTHON" if target.kind is ComfyKind.INSTALLED else target.setting
    try:
        answer = _help_of(target)
    except (OSError, subprocess.TimeoutExpired) as exc:
        if target.user is not None and isinstance(exc, PermissionError):
            raise ComfyUnusable(
                f"user {target.user.name} may not run {target.command[0]}",
                "let that user read ComfyUI, its interpreter, and the folders above them",
                setting="FARM_COMFY_USER",
            ) from exc
        raise ComfyUnusable(f"{target.command[0]}: {exc}", "name a Python program", setting=setting) from exc
    if answer.returncode != 0:
        lines = answer.stderr.decode("utf-8", "replace").strip().splitlines() or ["no message"]
        raise ComfyUnusable(
            f"`{shlex.join(target.command)} --help` ended with {answer.returncode}: {lines[-1]}",
            "start it by hand to see why",
            setting=setting,
            lines=lines,
        )
    return parse_help(answer.stdout.decode("utf-8", "replace"))


def _help_of(target: Target) -> subprocess.CompletedProcess[bytes]:
    """Its help, asked for again when it fails: it may have been killed, and only what repeats is a fault."""
    for _ in range(HELP_TRIES):
        answer = subprocess.run(
            [*target.command, "--help"],
            env=child_environment(target, {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=HELP_TIMEOUT_S,
            check=False,
            **(target.user.start_options if target.user is not None else {}),
        )
        if answer.returncode == 0:
            break
    return answer


def extra_arguments(settings: WorkerSettings, target: Target, accepted: AcceptedFlags) -> list[str]:
    """The operator's own arguments.

    Raises:
        ComfyUnusable: one of them is not taken by this ComfyUI, or is ours to give.
    """
    if target.kind is ComfyKind.ATTACHED:
        return []
    emulated = target.kind is ComfyKind.EMULATOR
    setting = "FARM_EMULATOR_ARGS" if emulated else "COMFYUI_ARGS"
    try:
        arguments = shlex.split(settings.emulator_args if emulated else settings.comfyui_args)
    except ValueError as exc:
        raise ComfyUnusable(f"its arguments cannot be read: {exc}", "check quotes", setting=setting) from exc
    for flag in (argument.partition("=")[0] for argument in arguments if argument.startswith("--")):
        if flag in _OURS:
            raise ComfyUnusable(f"{flag} cannot be given", _OURS[flag], setting=setting)
        if flag not in accepted:
            raise ComfyUnusable(f"it does not take {flag}", "leave it out", setting=setting)
    return arguments


def command_line(
    target: Target,
    accepted: AcceptedFlags,
    plan: LoadPlan,
    folders: WorkerFolders,
    settings: WorkerSettings,
    port: int,
) -> list[str]:
    """The whole command line; only flags that the program takes, the operator's own last."""
    wanted: list[tuple[str, ...]] = [
        ("--listen", LOOPBACK),
        ("--port", str(port)),
        ("--output-directory", str(folders.output)),
        ("--temp-directory", str(folders.temp.parent)),  # ComfyUI appends "temp" itself
        ("--input-directory", str(folders.input)),
        ("--user-directory", str(folders.user)),
        # Else the database lies in the installation, which several workers share.
        ("--database-url", f"sqlite:///{folders.user / 'comfyui.db'}"),
        ("--disable-auto-launch",),
        ("--disable-api-nodes",),
        ("--verbose", _log_level(settings, accepted)),
    ]
    if settings.comfyui_base is not None and target.kind is ComfyKind.INSTALLED:
        wanted.append(("--base-directory", str(settings.comfyui_base.expanduser().absolute())))
    if not settings.prompt_metadata:
        wanted.append(("--disable-metadata",))
    if settings.previews:
        wanted.append(("--preview-method", "latent2rgb"))
    extra = [each for each in extra_arguments(settings, target, accepted) if each not in plan.dropped]
    if target.kind is ComfyKind.EMULATOR and settings.vram_gib is not None:
        wanted.append(("--gpu", f"Emulated GPU,{settings.vram_gib * 1024}"))
    given = {argument.partition("=")[0] for argument in extra}
    ours = [part for part in wanted if part[0] not in given and accepted.takes(part[0], part[-1])]
    return [*target.command, *(word for part in ours for word in part), *plan.flags, *extra]


def _log_level(settings: WorkerSettings, accepted: AcceptedFlags) -> str:
    level = settings.comfy_log_level.upper()
    # Since 0.30 the help does not list the levels, and any other word ends the start.
    if level in LogLevel.__members__ and accepted.takes("--verbose", level):
        return level
    log.warning("ComfyUI has no such log level", extra={"event": "unknown_log_level", "level": level})
    return "INFO"


def child_environment(
    target: Target, of_plan: Mapping[str, str], environ: Mapping[str, str] = os.environ
) -> dict[str, str]:
    """The environment for ComfyUI: what it computes by, what `FARM_COMFY_VARIABLES` names, and the plan's."""
    named = environ.get("FARM_COMFY_VARIABLES", "").split(",")
    kept = for_comfyui(environ, (name.strip() for name in named))
    kept["PYTHONUNBUFFERED"] = "1"  # a line that waits in a buffer is stamped too late
    kept["VHS_STRICT_PATHS"] = "1"  # VideoHelperSuite opens what lies below its working directory, no more
    if target.kind is ComfyKind.EMULATOR:
        # It is ours, and has to be found in a checkout that nobody installed too.
        kept["PYTHONPATH"] = str(Path(comfy.errors.__file__).parents[1])
    if target.user is not None:
        kept.update(USER=target.user.name, LOGNAME=target.user.name, HOME=str(target.user.home or "/"))
    return {**kept, **of_plan}


def describe(command: Sequence[str]) -> str:
    """A command line as a person would type it."""
    return shlex.join(command)
