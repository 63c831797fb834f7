"""Everything that can go wrong between us and ComfyUI, as types.

ComfyError
├── GraphError               the graph itself is wrong; `problems` name node and input
│   └── GraphRejected        the same, said by a server that was asked to run it
├── UnknownMessage           the server said something that we cannot read
├── ServerUnreachable        no answer: refused, reset, timed out
├── ServerError              an HTTP answer that is no answer to the question (5xx, bad body)
│   └── ServerForbids        … because it does not know who asks, or does not let us (401, 403)
├── RunFailed                the prompt ended with an error inside a node
│   └── OutOfMemory          … which was the card's or the host's memory
├── RunInterrupted           the prompt was interrupted
├── RunLost                  the server does not know the prompt (any more)
└── NothingToShow            the prompt ended well and left no output file
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphProblem:
    """One thing that is wrong with a graph, placed as exactly as it is known."""

    kind: str  # stable id, ComfyUI's own where it has one: "value_not_in_list", "cycle", …
    message: str  # what is wrong and what to do, for a person
    node_id: str | None = None
    class_type: str | None = None
    input_name: str | None = None

    def __str__(self) -> str:
        where = []
        if self.node_id is not None:
            where.append(f"node {self.node_id}" + (f" ({self.class_type})" if self.class_type else ""))
        if self.input_name is not None:
            where.append(f"input {self.input_name}")
        return f"{', '.join(where)}: {self.message}" if where else self.message


_MOST_PROBLEMS: Final = 100  # nobody reads more, and a graph made to hurt could have many thousands


class ComfyError(Exception):
    """Base of everything raised by this package."""


class GraphError(ComfyError):
    """The graph cannot run as it is; `problems` says why, never empty."""

    def __init__(self, problems: Sequence[GraphProblem]) -> None:
        self.problems = tuple(problems[:_MOST_PROBLEMS])
        more = f"; … and {len(problems) - _MOST_PROBLEMS:,} more" if len(problems) > _MOST_PROBLEMS else ""
        super().__init__("; ".join(str(problem) for problem in self.problems) + more)


class GraphRejected(GraphError):
    """A server refused the graph before queueing it (or would have run only a part of it)."""

    def __init__(self, problems: Sequence[GraphProblem], *, status: int, body: Any = None) -> None:
        super().__init__(problems)
        self.status = status
        self.body = body


class UnknownMessage(ComfyError):
    """A message or answer of the server that does not have the expected form."""

    def __init__(self, what: str, data: Any) -> None:
        super().__init__(f"the server's {what} is not understood: {str(data)[:200]}")
        self.what = what
        self.data = data


class ServerUnreachable(ComfyError):
    """No answer from ComfyUI: refused, reset or timed out."""

    def __init__(self, url: str, reason: str, *, refused: bool = False) -> None:
        super().__init__(f"ComfyUI at {url} does not answer: {reason}")
        self.url = url
        self.reason = reason
        self.refused = refused  # nobody listens there, so the request never arrived


class ServerError(ComfyError):
    """ComfyUI answered, but with a failure of its own."""

    def __init__(self, url: str, status: int, body: str) -> None:
        super().__init__(f"ComfyUI at {url} answered {status}: {body[:200]}")
        self.url = url
        self.status = status
        self.body = body


class ServerForbids(ServerError):
    """The server, or what stands before it, wants to know who asks, or says no."""


class RunFailed(ComfyError):
    """A node raised while the prompt ran."""

    def __init__(
        self,
        *,
        prompt_id: str,
        exception_type: str,
        exception_message: str,
        node_id: str | None = None,
        node_type: str | None = None,
        traceback: Sequence[str] = (),
    ) -> None:
        where = f" in node {node_id} ({node_type})" if node_id is not None else ""
        super().__init__(f"{exception_type}{where}: {exception_message.strip()}")
        self.prompt_id = prompt_id
        self.exception_type = exception_type
        self.exception_message = exception_message
        self.node_id = node_id
        self.node_type = node_type
        self.traceback = tuple(traceback)


class OutOfMemory(RunFailed):
    """A node ran out of memory; ComfyUI has unloaded its models and goes on."""


class RunInterrupted(ComfyError):
    """The prompt was interrupted before it ended."""

    def __init__(
        self,
        prompt_id: str,
        *,
        node_id: str | None = None,
        why: str = "somebody else interrupted it",
        yielded: bool = True,
    ) -> None:
        where = f" at node {node_id}" if node_id else ""
        stuck = "" if yielded else "; ComfyUI goes on with it and must be killed to stop"
        super().__init__(f"prompt {prompt_id} was interrupted{where}: {why}{stuck}")
        self.prompt_id = prompt_id
        self.node_id = node_id
        self.why = why
        self.yielded = yielded  # False: the GPU is still busy with it, only killing the process stops it


class RunLost(ComfyError):
    """The server neither runs, queues nor remembers the prompt: it was restarted, or lost it."""

    def __init__(self, prompt_id: str) -> None:
        super().__init__(f"ComfyUI does not know prompt {prompt_id} (any more): it was probably restarted")
        self.prompt_id = prompt_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """A node that was not run: one before it put ComfyUI's ``ExecutionBlocker`` in its way."""

    node_id: str | None
    node_type: str | None
    message: str  # the blocker's reason

    def __str__(self) -> str:
        where = f"node {self.node_id} ({self.node_type})" if self.node_id is not None else "a node"
        return f"{where} was blocked: {self.message}"


class NothingToShow(ComfyError):
    """The prompt ended well and named no output file that is kept."""

    def __init__(self, prompt_id: str, *, seen: Sequence[str] = (), blocked: Sequence[Blocked] = ()) -> None:
        if blocked:
            told = f"ended without an output file: {'; '.join(map(str, blocked))}"
        elif seen:
            told = (
                f"ran well and saved nothing but previews ({_some(seen)}), which are not kept; end the graph "
                "with a node that saves: SaveVideo, SaveImage, or VHS_VideoCombine with save_output true"
            )
        else:
            told = "ended without an output file; does the graph have a node that saves?"
        super().__init__(f"prompt {prompt_id} {told}")
        self.prompt_id = prompt_id
        self.seen = tuple(seen)
        self.blocked = tuple(blocked)


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
