"""`Door`: how commands come to a farm. A test brings one of its own."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

import typer
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from comfy.log.foreign import plain

if TYPE_CHECKING:
    from comfy.node_defs.definitions import Definitions
    from farm.client import Farm
    from farm.redis_address import RedisAddress

_CONNECT_S = 3.0
_FILE_WIDTH = 200  # of tables that go to a file or a pipe


class PlainConsole(Console):
    """The one exit to a terminal: a string is text and nothing else, whoever wrote it.

    No markup is read, so what is coloured is a `rich.text.Text` of ours; and nothing that acts on a terminal
    passes but what rich itself puts beside the text.
    """

    def __init__(self, *, file: IO[str] | None = None, stderr: bool = False, **given: Any) -> None:
        """As rich's own; it colours nothing by itself, and is wide where no terminal says how wide it is."""
        super().__init__(file=file, stderr=stderr, highlight=False, emoji=False, markup=False, **given)
        if not self.is_terminal and "width" not in given:
            self.width = _FILE_WIDTH

    def render_str(self, text: str, **given: Any) -> Text:
        """Before it is measured, so that columns stay straight."""
        return super().render_str(plain(text), **given)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Everything that is printed comes by here."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain(segment.text), segment.style)


@dataclass(slots=True, kw_only=True)
class Door:
    """The terminal and the way to the farm."""

    out: PlainConsole = field(default_factory=PlainConsole)
    err: PlainConsole = field(default_factory=lambda: PlainConsole(stderr=True))
    folder: Path | None = None  # of the local stack that `--folder` names; else it is looked for

    def farm(self) -> Farm:
        """The farm that the environment, or the local stack found from here, leads to.

        Raises:
            SettingsError: a variable is wrong.
            StoreUnavailable: nothing listens where Redis should be.
        """
        # What only reads a graph, or tells its own help, pays for neither Redis nor S3.
        from farm.local.surroundings import settings_here
        from farm.settings.redis import RedisSettings
        from farm.settings.s3 import S3Settings

        redis = settings_here(RedisSettings, self.folder)
        _refuse_where_nobody_listens(redis.address)
        from farm.client import Farm
        from farm.storage import S3Patience, S3Storage

        # A person at a terminal wants to hear soon that nobody answers.
        patience = S3Patience(connect_s=3.0, silence_s=30.0, attempts=2)
        storage = S3Storage(settings_here(S3Settings, self.folder), patience=patience)
        return Farm(redis=redis, storage=storage, folder=self.folder)

    def node_definitions(self) -> Definitions:
        """What is known of ComfyUI's nodes: by the live workers where a farm answers, else by ourselves."""
        from farm.asking.graphs import known_without_a_fleet
        from farm.errors import FarmError

        try:
            with self.farm() as farm:
                return farm.node_definitions()
        except FarmError:
            return known_without_a_fleet()

    @property
    def lively(self) -> bool:
        """Whether a person looks on, so that lines may change in place."""
        return self.out.is_terminal and sys.stdout.isatty()


def _refuse_where_nobody_listens(redis: RedisAddress) -> None:
    """Found out here, a farm that is not up costs nobody the import of Redis's client."""
    if redis.scheme != "redis":
        return
    from farm.errors import StoreUnavailable

    (host, port), *_ = redis.hosts
    try:
        socket.create_connection((host, port), _CONNECT_S).close()
    except ConnectionRefusedError as exc:
        raise StoreUnavailable(f"{host}:{port}", "connection refused; nothing listens there") from exc
    except OSError:
        return  # its client says more of it


def say(console: Console, text: str | Text) -> None:
    """A line as it is: a terminal may wrap it, a file keeps it whole."""
    console.print(text, soft_wrap=True)


def say_notes(console: Console, notes: Iterable[str]) -> None:
    """What was taken otherwise than it stands in the user's file."""
    for note in notes:
        say(console, f"taken so: {note}")


def door_of(context: typer.Context) -> Door:
    """The door that a command was started with."""
    return cast("Door", context.obj)
