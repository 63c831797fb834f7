"""Checks of the ComfyUI that a worker on this machine would use."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Final

from comfy.canary.report import Verdict
from comfy.protocol.address import ComfyAddress
from farm.check.finding import Finding, bad, good, note
from farm.errors import SettingsError
from farm.installed import how_to_install
from farm.local.surroundings import settings_here
from farm.settings.worker import WorkerSettings

NAME: Final = "ComfyUI"
CANARY: Final = "canary"
CANARY_TIMEOUT_S: Final = 120.0  # it waits behind the prompts of others
# CVE-2026-56670 to -56674: a graph could read files outside ComfyUI's folders.
OLDEST_SAFE: Final = (0, 28, 0)
TORCH_TIMEOUT_S: Final = 120.0  # its first import from a cold disk
ASK_TORCH: Final = "import json, torch; print(json.dumps([torch.__version__, torch.cuda.is_available()]))"


def check_comfyui(folder: Path | None = None) -> list[Finding]:
    """The folder or server that the settings name, or the stack has; without one the emulator stands in.

    Args:
        folder: of the stack; default: the one that is found from here.
    """
    try:
        settings = settings_here(WorkerSettings, folder)
    except SettingsError:
        return []  # told by `check_variables`
    if settings.comfyui_address is not None:
        return check_server(settings.comfyui_address, output=settings.comfyui_output)
    if settings.comfyui_dir is None:
        return [
            note(
                NAME,
                "none is named; a worker here would use the emulator, whose clips are no WAN videos",
                "set COMFYUI_DIR to the folder that holds ComfyUI's main.py",
            )
        ]
    return _check_folder(settings.comfyui_dir, settings)


def interpreter_of(settings: WorkerSettings) -> Path:
    """The Python that runs ComfyUI, as the description of COMFYUI_PYTHON says."""
    if settings.comfyui_python is not None:
        return settings.comfyui_python
    folder = settings.comfyui_dir or Path()
    own = (folder / name / "bin" / "python" for name in (".venv", "venv"))
    return next((path for path in own if path.exists()), Path(sys.executable))


def _check_folder(folder: Path, settings: WorkerSettings) -> list[Finding]:
    if not (folder / "main.py").is_file():
        what = f"COMFYUI_DIR is {folder}, and there is no main.py in it"
        return [bad(NAME, what, "name the folder that ComfyUI was cloned into")]
    if settings.comfyui_base is not None and not settings.comfyui_base.is_dir():
        what = f"COMFYUI_BASE is {settings.comfyui_base}, which is no folder"
        return [bad(NAME, what, "name the folder that holds `models` and `custom_nodes`")]
    return [_check_version(folder), _check_torch(interpreter_of(settings))]


def _check_version(folder: Path) -> Finding:
    version = version_of(folder)
    if version is None:
        return note(NAME, f"{folder} does not say its version", "update ComfyUI")
    text = ".".join(map(str, version))
    if version < OLDEST_SAFE:
        return note(
            NAME,
            f"{folder} holds version {text}, in which a graph can read files outside ComfyUI's folders",
            f"update it to {'.'.join(map(str, OLDEST_SAFE))} or newer; until then run only graphs you trust",
        )
    return good(NAME, f"version {text} in {folder}")


def version_of(folder: Path) -> tuple[int, ...] | None:
    """The version that ComfyUI's folder states, as numbers.

    Source: ComfyUI ``comfyui_version.py``, which its release makes.
    """
    try:
        text = (folder / "comfyui_version.py").read_text()
    except OSError:
        return None
    said = re.search(r'__version__\s*=\s*"(\d+)\.(\d+)\.(\d+)', text)
    return tuple(map(int, said.groups())) if said else None


def _check_torch(python: Path) -> Finding:
    name = "ComfyUI's Python"
    remedy = "set COMFYUI_PYTHON to the interpreter that ComfyUI was installed for"
    try:
        # Isolated, and not from the folder where one stands: what is imported must be what is installed.
        asked = subprocess.run(
            [python, "-I", "-c", ASK_TORCH],
            capture_output=True,
            text=True,
            timeout=TORCH_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return bad(name, f"{python} does not run: {exc}", remedy)
    if asked.returncode != 0:
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        return bad(name, f"{python} cannot import torch: {reason}", remedy)
    version, cuda = json.loads(asked.stdout.splitlines()[-1])
    if not cuda:
        what = f"torch {version} of {python} sees no CUDA device: ComfyUI would render on the CPU"
        return note(name, what, "install a torch for CUDA, and see the line on the GPU")
    return good(name, f"torch {version} with CUDA in {python}")


def check_server(server: str | ComfyAddress, *, output: Path | None = None) -> list[Finding]:
    """Whether a ComfyUI that runs is one the farm can use: a canary is sent through it.

    Args:
        output: its output folder on this machine's disk; None: it is not shared.
    """
    try:
        address = ComfyAddress.parse(server) if isinstance(server, str) else server
    except ValueError as exc:
        return [bad(NAME, f"the server that was named is none: {exc}", "name it as http://host:port")]
    version, why_not = _version_at(address)
    if version is None:
        what = f"the server at {address} does not answer: {why_not}"
        return [bad(NAME, what, "start it, or correct its address (COMFYUI_URL)")]
    return [good(NAME, f"version {version} answers at {address}"), _fly_canary(address, output)]


def _version_at(address: ComfyAddress) -> tuple[str | None, str]:
    url = f"{address.url}/system_stats"  # http or https: the address was parsed
    request = urllib.request.Request(url, headers=dict(address.headers))  # noqa: S310
    try:
        # As the worker does it: the server is ours, and behind no proxy.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(request, timeout=5) as answer:
            return str(json.load(answer)["system"]["comfyui_version"]), ""
    except (OSError, ValueError, KeyError, TypeError) as exc:
        return None, str(exc)


def _fly_canary(address: ComfyAddress, output: Path | None) -> Finding:
    # What speaks with ComfyUI comes with the worker, and a producer may do without: it is asked as a program.
    folder = ["--output", str(output)] if output is not None else []
    try:
        asked = subprocess.run(
            [sys.executable, "-m", "comfy.canary", address.url, "--json", *folder],
            # Not among the arguments, which every user of this machine can read.
            env={**os.environ, "COMFYUI_AUTHORIZATION": address.headers.get("Authorization", "")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=CANARY_TIMEOUT_S,
            check=False,
        )
        report = json.loads(asked.stdout)
        verdict, sentence = Verdict(report["verdict"]), str(report["sentence"])
    except subprocess.TimeoutExpired:
        return bad(CANARY, f"nothing came back in {CANARY_TIMEOUT_S:.0f} s", "look at ComfyUI's own log")
    except (ValueError, KeyError):
        reason = (asked.stderr.strip().splitlines() or ["no reason given"])[-1]
        return note(CANARY, f"it was not sent: {reason}", how_to_install("worker"))
    return judge_canary(verdict, sentence)


def judge_canary(verdict: Verdict, sentence: str, *, name: str = CANARY) -> Finding:
    """How grave it is what a canary found."""
    match verdict:
        case Verdict.PROVEN:
            return good(name, sentence)
        case Verdict.UNPROVEN:
            return note(name, sentence, "jobs run; look for a newer version of the farm")
        case Verdict.BUSY:
            return note(name, sentence, "check again when it is idle")
        case Verdict.UNUSABLE:
            return bad(name, sentence, "use a version of ComfyUI that this farm knows, or a newer farm")
