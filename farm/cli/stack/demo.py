"""One small WAN clip through the whole farm: what `farm demo` runs."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from farm.asking.prepare import build
from farm.asking.request import JobRequest
from farm.client import Farm
from farm.errors import StackError
from farm.local.model_files import DEFAULT_TEMPLATE, need_models
from farm.local.running import NAMES_REDIS, attach
from farm.local.stack import LocalStack
from farm.local.supervisor import PartNews
from farm.settings.worker import WorkerSettings

DEMO_FOLDER: Final = Path("demo-output")
DEMO_PROMPT: Final = "a red fox trots through fresh snow at dawn, breath steaming, birch trunks behind it"


def demo_request(prompt: str | None = None) -> JobRequest:
    """A WAN 2.2 graph in its draft preset, at a small size: seconds on a good card."""
    return JobRequest(
        template=DEFAULT_TEMPLATE,
        parameters={
            "prompt": prompt or DEMO_PROMPT,
            "preset": "draft",
            "width": 320,
            "height": 192,
            "frames": 33,
        },
        options={"labels": ["demo"], "priority": 0},
    )


def keep_out_of_git(folder: Path) -> None:
    """Have git pass over a folder of ours in somebody's tree, as `.venv` and `.farm` do."""
    folder.mkdir(exist_ok=True)
    with contextlib.suppress(FileExistsError), (folder / ".gitignore").open("x") as file:
        file.write("*\n")


@contextmanager
def running_farm(
    folder: Path | None = None,
    open_farm: Callable[[], Farm] = Farm,
    *,
    needs: JobRequest | None = None,
    on_news: Callable[[PartNews], None] = lambda _news: None,
) -> Iterator[Farm]:
    """The farm that is there; or else one that is started for as long as the block lasts.

    A farm that the environment names is used as it is: a worker of this machine, an emulated one
    perhaps, must not take jobs from somebody's real queue.

    Args:
        needs: what will be rendered: a ComfyUI that lacks its models is not even started.

    Raises:
        SettingsError: COMFYUI_DIR is none, or lacks model files; says which.
        StackError: the stack does not start; or the farm that the environment names has no worker.
    """
    named = any(os.environ.get(name) for name in NAMES_REDIS)
    stack = None if named or attach(folder) is not None else LocalStack(folder, on_news=on_news)
    if stack is not None:
        if needs is not None:
            need_models(WorkerSettings.read(), build(needs).graph, needs.template or "of the graph")
        stack.start()
    try:
        with open_farm() as farm:
            if not farm.workers():
                raise StackError("no worker lives: the clip would wait for ever; start one and try again")
            yield farm
    finally:
        if stack is not None:
            stack.stop()
