"""What a run has made, as files on this disk: in place when ComfyUI's disk is shared, else by /view."""

from __future__ import annotations

import errno
import itertools
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Final

from comfy.errors import ServerError, ServerUnreachable
from comfy.protocol.client import ComfyClient
from comfy.protocol.outputs import NodeText, OutputFile, locate
from comfy.protocol.run import PromptRun
from worker.errors import AttemptStopped, BrokenOutput
from worker.jobs.context import RenderContext
from worker.jobs.names import run_folder
from worker.results.publish import LocalOutput

log = logging.getLogger(__name__)

_GONE: Final = (400, 403, 404)  # what /view answers for a file that is not there, or that may not be seen


def collect(run: PromptRun, client: ComfyClient, context: RenderContext) -> tuple[LocalOutput, ...]:
    """Every result of the run; of a graph that ends with text alone, that text as a file.

    Raises:
        BrokenOutput: a file that a node has named is not there.
        ServerError, ServerUnreachable: the way to it stays shut.
        AttemptStopped: the attempt was stopped meanwhile.
    """
    collector = _Collector(client, context)
    files = tuple(
        LocalOutput(path=path, node_id=file.node_id, filename=file.filename)
        for named in run.outputs
        if named.is_result
        for file, path in collector.members(named)
    )
    return files or tuple(collector.as_file(text) for text in run.texts)


def _open_itself(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as exc:
        if exc.errno == errno.ELOOP:
            raise FileNotFoundError(path) from exc
        raise


class _Collector:
    def __init__(self, client: ComfyClient, context: RenderContext) -> None:
        self._client = client
        self._comfy = context.comfy
        self._scratch = context.scratch / run_folder(context.claim)
        self._stop = context.stop

    def as_file(self, text: NodeText) -> LocalOutput:
        self._scratch.mkdir(parents=True, exist_ok=True)
        name = f"text-{re.sub(r'[^A-Za-z0-9]', '-', text.node_id)}.txt"
        path = self._scratch / name
        path.write_text(text.text, encoding="utf-8", errors="replace")
        return LocalOutput(path=path, node_id=text.node_id, filename=name)

    def members(self, named: OutputFile) -> Iterator[tuple[OutputFile, Path]]:
        """The file that a node has named; all of them where the name is the pattern of a sequence."""
        try:
            yield named, self._on_disk(named)
            return
        except BrokenOutput:
            if not named.is_sequence:
                raise
        first = named.member(1)
        yield first, self._on_disk(first)
        for number in itertools.count(2):
            file = named.member(number)
            try:
                yield file, self._on_disk(file)
            except BrokenOutput:
                return

    def _on_disk(self, file: OutputFile) -> Path:
        if self._comfy.output_dir is not None:
            try:
                return self._taken(locate(self._comfy.output_dir, file), file)
            except FileNotFoundError:
                log.warning(
                    "An output is not in the folder of ComfyUI; downloading it",
                    extra={"event": "output_by_view", "file": str(file.relative_path)},
                )
        path = self._place_for(file)
        self._download(file, path)
        return path

    def _place_for(self, file: OutputFile) -> Path:
        self._scratch.mkdir(parents=True, exist_ok=True)
        # Two nodes may use one name in different subfolders.
        return self._scratch / f"{file.node_id}-{PurePosixPath(file.filename).name}"

    def _taken(self, path: Path, file: OutputFile) -> Path:
        """Where nobody can put something else in its place, if ComfyUI is a user with fewer rights than ours.

        Raises:
            FileNotFoundError: it is not that user's own but, say, a link to what only we may read. By /view
                ComfyUI gives what it may read itself.
        """
        owner = self._comfy.output_owner
        if owner is None:
            return path
        place = self._place_for(file)
        place.unlink(missing_ok=True)
        with open(path, "rb", opener=_open_itself) as source:  # Path.open takes no opener
            facts = os.fstat(source.fileno())
            if facts.st_uid != owner or not stat.S_ISREG(facts.st_mode):
                raise FileNotFoundError(path)
            try:
                os.link(f"/proc/self/fd/{source.fileno()}", place, follow_symlinks=True)
            except OSError:  # the folders are on different disks
                with place.open("wb") as target:
                    shutil.copyfileobj(source, target)
        return place

    def _download(self, file: OutputFile, path: Path) -> None:
        until = time.monotonic() + (0.0 if self._comfy.is_ours else self._client.patience.dead_timeout_s)
        while True:
            try:
                with path.open("wb") as target:
                    self._client.view(file, target)
                return
            except ServerError as exc:
                if exc.status in _GONE:
                    why = f"ComfyUI names it and does not have it ({exc})"
                    raise BrokenOutput(file.filename, why) from exc
                if time.monotonic() > until:
                    raise
            except ServerUnreachable:
                # What is rendered is there still, when the way to it is back.
                if time.monotonic() > until:
                    raise
            if self._stop.wait(self._client.patience.look_again_s):
                raise AttemptStopped(f"stopped while {file.filename} was fetched")
