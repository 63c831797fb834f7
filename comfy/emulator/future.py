"""A server from a time that nobody knows yet: ways in which a coming ComfyUI may differ, one by one.

`--future log_prefix no_route=/history` and so on, or `PUT /emulator/future` with a list of such words, which
leaves the log as it was. Unlike faults, which happen once, these are how the server is. What goes over HTTP
is altered around the handlers, so that each of them stays what a known server does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # else `--help`, which has to answer in no time, would load a server
    from aiohttp import web


class Strange(StrEnum):
    """One way to differ; what may stand behind a `=` is its value."""

    VERSION = "version"  # the version that it tells; default 0.99.0
    LOG_PREFIX = "log_prefix"  # what each line of its log begins with; default a stamp and a level
    MORE_FIELDS = "more_fields"  # a field that nobody knows, in each JSON object and message
    MORE_MESSAGES = "more_messages"  # before each message one of a type that nobody knows
    OTHER_MESSAGES = "other_messages"  # each message about a run has another type
    LATE_MESSAGES = "late_messages"  # each message so many seconds late; default 1
    NO_SOCKET = "no_socket"  # no websocket at all
    NO_ROUTE = "no_route"  # 404 for all paths that begin so; several with commas between
    REFUSED_ID = "refused_id"  # no UUID is a prompt id any more
    OWN_ID = "own_id"  # POST /prompt answers with an id of the server's own
    OTHER_HISTORY = "other_history"  # entries are in a list
    OTHER_STATUS = "other_status"  # a history entry tells its status in a word
    OTHER_QUEUE = "other_queue"  # entries are objects
    OTHER_JOBS = "other_jobs"  # a job's status has other names
    OTHER_NODES = "other_nodes"  # what /object_info tells is in a list
    OTHER_FILES = "other_files"  # a file is named by a path in one piece
    NO_TYPES = "no_types"  # a preview is named as a file of the output folder
    IGNORES_CANCEL = "ignores_cancel"  # says yes, and does nothing
    WIDE_CANCEL = "wide_cancel"  # stops what runs, whichever was meant


_DEFAULTS: Final[Mapping[Strange, str]] = {
    Strange.VERSION: "0.99.0",
    Strange.LOG_PREFIX: "2031-05-04T12:00:00.000Z INFO comfy.core | ",
    Strange.NO_ROUTE: "/history",
    Strange.LATE_MESSAGES: "1",
}
_NEW_FIELD: Final = "since_0_99"
_ABOUT_RUNS: Final = ("execut", "progress")


class Future:
    """The ways in which one server differs."""

    def __init__(self, ways: Mapping[Strange, str] | None = None) -> None:
        self._ways = ways or {}

    @property
    def log_prefix(self) -> str:
        """What each line of the log begins with."""
        return self._ways.get(Strange.LOG_PREFIX, "")

    @property
    def late_s(self) -> float:
        """How late each message is."""
        return float(self._ways.get(Strange.LATE_MESSAGES, 0))

    @property
    def cancels_widely(self) -> bool:
        """Whether a cancel stops what runs, whichever was meant."""
        return Strange.WIDE_CANCEL in self._ways

    def messages(self, event: str, data: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        """What is sent in the place of a message."""
        if Strange.MORE_MESSAGES in self._ways:
            yield f"{event}.v2", {"what": data}
        if Strange.OTHER_MESSAGES in self._ways and event.startswith(_ABOUT_RUNS):
            event = f"run.{event}"
        yield event, {**data, _NEW_FIELD: {"a": [1]}} if Strange.MORE_FIELDS in self._ways else data

    def early_answer(self, request: web.Request) -> web.StreamResponse | None:
        """An answer without asking the handler; None: ask it."""
        from aiohttp import web

        path = _plain(request.path)
        if path == "/ws" and Strange.NO_SOCKET in self._ways:
            return web.Response(status=404)
        if Strange.NO_ROUTE in self._ways and path.startswith(tuple(self._ways[Strange.NO_ROUTE].split(","))):
            return web.Response(status=404)
        if request.method != "POST":
            return None
        if path == "/prompt" and Strange.REFUSED_ID in self._ways:
            error = {"type": "invalid_prompt_id", "message": "prompt_id must be a ULID", "details": ""}
            body = {"error": {**error, "extra_info": {}}, "node_errors": {}}
            return web.json_response(body, status=400)
        if Strange.IGNORES_CANCEL in self._ways and _cancels(path):
            return web.json_response({"cancelled": True})
        return None

    def altered(self, request: web.Request, answer: web.StreamResponse) -> web.StreamResponse:
        """A handler's answer as this server gives it."""
        from aiohttp import web

        if not self._ways or not isinstance(answer, web.Response) or not isinstance(answer.body, bytes):
            return answer
        if answer.content_type != "application/json":
            return answer
        body = self._body(_plain(request.path), json.loads(answer.body))
        return web.json_response(body, status=answer.status)

    def _body(self, path: str, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        if path == "/system_stats" and Strange.VERSION in self._ways:
            body["system"]["comfyui_version"] = self._ways[Strange.VERSION]
        if path == "/prompt" and Strange.OWN_ID in self._ways and "prompt_id" in body:
            body["prompt_id"] = f"01J{body['prompt_id'].replace('-', '').upper()[:23]}"
        if path == "/queue" and Strange.OTHER_QUEUE in self._ways:
            body = {key: [{"id": item[1]} for item in items] for key, items in body.items()}
        if path.startswith("/jobs/") and Strange.OTHER_JOBS in self._ways and "status" in body:
            body["status"] = f"job_{body['status']}"
        if path.startswith("/object_info") and Strange.OTHER_NODES in self._ways:
            body = {"nodes": list(body.values())}
        if path.startswith("/history"):
            body = self._history(body)
        return {**body, _NEW_FIELD: {"a": [1]}} if Strange.MORE_FIELDS in self._ways else body

    def _history(self, body: dict[str, Any]) -> Any:
        for entry in body.values():
            if Strange.OTHER_STATUS in self._ways:
                entry["status"] = entry["status"]["status_str"]
            for file in _files(entry["outputs"]):
                if Strange.OTHER_FILES in self._ways:
                    file["path"] = f"{file.pop('type')}/{file.pop('subfolder')}/{file.pop('filename')}"
                if Strange.NO_TYPES in self._ways:
                    file["type"] = "output"
        if Strange.OTHER_HISTORY in self._ways:
            return {prompt_id: [entry] for prompt_id, entry in body.items()}
        return body


def read_future(words: Sequence[str]) -> Future:
    """Read what stands behind ``--future``.

    Raises:
        ValueError: one of the words is no way to differ.
    """
    ways: dict[Strange, str] = {}
    for word in words:
        name, _, value = word.partition("=")
        strange = Strange(name)
        ways[strange] = value or _DEFAULTS.get(strange, "")
    return Future(ways)


def _plain(path: str) -> str:
    """The path of a route without the `/api` under which each is found a second time."""
    return path.removeprefix("/api")


def _cancels(path: str) -> bool:
    return path in {"/interrupt", "/queue"} or path.endswith("/cancel")


def _files(outputs: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for shown in outputs.values():
        for entries in shown.values():
            yield from (entry for entry in entries if isinstance(entry, dict) and "filename" in entry)
