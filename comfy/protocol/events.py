"""ComfyUI's websocket messages as typed events; `comfy.protocol.wire` reads them from frames.

Source: ComfyUI server.py, execution.py, comfy_execution/progress.py; each type seen on 0.3.64 and 0.12.1
(`ProgressText` only read in the source).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The length of the queue changed, or (with `sid`) the connection was just made."""

    queue_remaining: int  # running and pending
    sid: str | None = None  # the client id the server knows us by


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureFlags:
    """The server's answer to our own feature flags."""

    flags: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionStart:
    """The server has begun with a prompt."""

    prompt_id: str
    timestamp_ms: int | None  # the server's clock, since the epoch


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionCached:
    """These nodes are answered from the cache and will not run."""

    prompt_id: str
    nodes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Executing:
    """A node begins; with `node` None the prompt is over, well or not."""

    node: str | None
    prompt_id: str | None  # None in the one message that a reconnected client gets


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeProgress:
    """How far one node is, as part of `ProgressState`."""

    node: str
    value: float
    maximum: float
    state: str  # "running", "finished", "error", "pending"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressState:
    """How far all nodes are that have run so far."""

    prompt_id: str
    nodes: tuple[NodeProgress, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """A node counted a step. One message for each step is not promised: since 0.9.2 they are throttled."""

    node: str | None
    prompt_id: str | None
    value: float
    maximum: float  # > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Executed:
    """An output node is done; its files are complete on disk."""

    prompt_id: str
    node: str
    output: Mapping[str, Any]  # empty for a cached output node without anything to show


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionSuccess:
    """All nodes are done. Not the end: the history entry is written after this."""

    prompt_id: str
    timestamp_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionError:
    """A node raised. Its inputs are left out: they may be large, and they are the user's."""

    prompt_id: str
    node_id: str | None
    node_type: str | None
    exception_type: str
    exception_message: str
    traceback: tuple[str, ...] = ()

    @property
    def ends_the_prompt(self) -> bool:
        """False for a blocked branch: the server goes on and calls the prompt a success."""
        return self.exception_type != "ExecutionBlocked"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionInterrupted:
    """The prompt was interrupted; the node is the one that noticed, which may be later than the one meant."""

    prompt_id: str
    node_id: str | None
    node_type: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """A picture of the unfinished latent."""

    image: bytes
    media_type: str  # "image/jpeg" or "image/png"
    node: str | None = None  # None in the older form, which does not say
    prompt_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressText:
    """A line that a node shows while it runs."""

    node: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One write to the server's output, with its time as the server's clock had it (ISO, no zone)."""

    time: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Logs:
    """What the server printed; sent to subscribers only."""

    entries: tuple[LogLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unknown:
    """A message of a type that we do not know: custom nodes send their own."""

    type: str
    data: Any


Event = (
    Status
    | FeatureFlags
    | ExecutionStart
    | ExecutionCached
    | Executing
    | ProgressState
    | Progress
    | Executed
    | ExecutionSuccess
    | ExecutionError
    | ExecutionInterrupted
    | Preview
    | ProgressText
    | Logs
    | Unknown
)
