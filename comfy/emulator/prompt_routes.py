"""Routes of prompts: `/prompt`, `/queue`, `/history`, `/interrupt` and `/free`.

Source: ComfyUI ``server.py``; status codes and bodies as measured.
"""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final, assert_never

from aiohttp import web

from comfy.emulator.console import Level
from comfy.emulator.fault_injection import FaultInjector
from comfy.emulator.faults import FaultKind, Moment, Phase
from comfy.emulator.folders import may_be_loaded
from comfy.emulator.http import Routes, read_json, trouble
from comfy.emulator.prompt_queue import PromptQueue, QueuedPrompt
from comfy.emulator.record import Record
from comfy.emulator.world import World
from comfy.generations import PromptIds
from comfy.judging.validation import Verdict, validate

_NO_PROMPT: Final = {
    "type": "no_prompt",
    "message": "No prompt provided",
    "details": "No prompt provided",
    "extra_info": {},
}
_BAD_ID: Final = {
    "type": "invalid_prompt_id",
    "message": "prompt_id must be a valid UUID",
    "details": (
        "prompt_id must be a UUID string in canonical lowercase hyphenated form; "
        "omit it to let the server generate one"
    ),
    "extra_info": {},
}


class PromptRoutes:
    """What is asked about prompts."""

    def __init__(
        self, world: World, queue: PromptQueue, fault_injector: FaultInjector, record: Record
    ) -> None:
        self._world = world
        self._generation = world.settings.generation
        self._queue = queue
        self._fault_injector = fault_injector
        self._record = record
        self._number = 0

    def routes(self) -> Routes:
        """Methods, paths and who answers."""
        return [
            ("GET", "/prompt", self._get_prompt),
            ("POST", "/prompt", self._post_prompt),
            ("GET", "/queue", self._get_queue),
            ("POST", "/queue", self._post_queue),
            ("GET", "/history", self._get_history),
            ("GET", "/history/{prompt_id}", self._get_history_of),
            ("POST", "/history", self._post_history),
            ("POST", "/interrupt", self._post_interrupt),
            ("POST", "/free", self._post_free),
        ]

    async def _post_prompt(self, request: web.Request) -> web.StreamResponse:
        if self._fault_injector.asked(FaultKind.REFUSE_PROMPT, Moment(at=Phase.HTTP)) is not None:
            raise trouble()
        self._world.console.line("got prompt")
        data = await read_json(request, kinds=(dict, list, str))
        number = self._take_number(data)
        # In a list or a text nothing is found either: the real server asks the same way.
        if "prompt" not in data:
            return _refused(_NO_PROMPT)
        if not isinstance(data, dict):
            raise trouble()
        prompt_id = self._prompt_id(data)
        if prompt_id is None:
            return _refused(_BAD_ID)
        verdict = self._judge(data)
        self._print_rejections(verdict)
        if verdict.status == 500:
            raise trouble()
        if not verdict.accepted:
            self._world.console.line(f"invalid prompt: {verdict.error}", Level.WARNING)
            return web.json_response(verdict.rejection(), status=400)
        self._put(self._queued(data, number, prompt_id, verdict))
        answer = {"prompt_id": prompt_id, "number": number, "node_errors": verdict.node_errors}
        return web.json_response(answer)

    def _take_number(self, data: Any) -> float:
        if not isinstance(data, dict):
            data = {}
        if "number" in data:
            try:
                return float(data["number"])
            except (TypeError, ValueError):
                raise trouble() from None
        number = -self._number if data.get("front") else self._number
        self._number += 1
        return number

    def _prompt_id(self, data: Mapping[str, Any]) -> str | None:
        """The id that the prompt gets; None when the client's own is refused."""
        match self._generation.prompt_ids:
            case PromptIds.ANY:
                return str(data.get("prompt_id", uuid.uuid4()))
            case PromptIds.CANONICAL_UUID:
                given = data.get("prompt_id")
                if given is None:
                    return str(uuid.uuid4())
                return given if is_canonical_uuid(given) else None
        assert_never(self._generation.prompt_ids)

    def _judge(self, data: dict[str, Any]) -> Verdict:
        folders, confined = self._world.settings.folders, self._generation.confines_files
        return validate(
            data["prompt"],
            self._world.definitions(),
            generation=self._generation,
            input_file_exists=lambda name: may_be_loaded(folders, name, confined=confined),
            targets=data.get("partial_execution_targets"),
        )

    def _queued(self, data: dict[str, Any], number: float, prompt_id: str, verdict: Verdict) -> QueuedPrompt:
        extra = data.get("extra_data")
        extra_data = dict(extra) if isinstance(extra, dict) else {}
        if "client_id" in data:
            extra_data["client_id"] = data["client_id"]
        if self._generation.stamps_prompts:
            extra_data["create_time"] = int(time.time() * 1000)
        return QueuedPrompt(number, prompt_id, dict(verdict.graph), extra_data, list(verdict.outputs))

    def _put(self, prompt: QueuedPrompt) -> None:
        client_id = prompt.extra_data.get("client_id")
        self._record.note("posted", prompt.prompt_id, number=prompt.number, client_id=client_id)
        self._queue.put(prompt)
        self._fault_injector.reach(Moment(at=Phase.POSTED, prompt_id=prompt.prompt_id))

    def _print_rejections(self, verdict: Verdict) -> None:
        def line(text: str) -> None:
            self._world.console.line(text, Level.ERROR)

        for node_id, entry in verdict.node_errors.items():
            for output in entry["dependent_outputs"]:
                line(f"Failed to validate prompt for output {output}:")
            line(f"* {entry['class_type']} {node_id}:")
            for reason in entry["errors"]:
                line(f"  - {reason['message']}: {reason['details']}")
            line("Output will be ignored")

    async def _get_prompt(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._queue.info())

    async def _get_queue(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self._queue.listing())

    async def _post_queue(self, request: web.Request) -> web.StreamResponse:
        data = await read_json(request)
        if data.get("clear"):
            self._queue.clear()
        if "delete" in data:
            for prompt_id in data["delete"]:
                self._queue.delete(prompt_id)
        return web.Response(status=200)

    async def _get_history(self, request: web.Request) -> web.StreamResponse:
        max_items = request.query.get("max_items")
        offset = request.query.get("offset")
        body = self._queue.history(
            max_items=int(max_items) if max_items is not None else None,
            offset=int(offset) if offset is not None else -1,
        )
        return web.json_response(body)

    async def _get_history_of(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._queue.history(request.match_info["prompt_id"]))

    async def _post_history(self, request: web.Request) -> web.StreamResponse:
        data = await read_json(request)
        if data.get("clear"):
            self._queue.forget(None)
        if "delete" in data:
            self._queue.forget(data["delete"])
        return web.Response(status=200)

    async def _post_interrupt(self, request: web.Request) -> web.StreamResponse:
        try:
            data = await request.json()
        except json.JSONDecodeError:
            data = {}
        prompt_id = data.get("prompt_id")
        line = self._world.console.line
        if not prompt_id or self._world.future.cancels_widely:
            line("Global interrupt (no prompt_id specified)")
            self._world.interrupted.set()
        elif self._queue.is_running(prompt_id):
            line(f"Interrupting prompt {prompt_id}")
            self._world.interrupted.set()
        else:
            line(f"Prompt {prompt_id} is not currently running, skipping interrupt")
        return web.Response(status=200)

    async def _post_free(self, request: web.Request) -> web.StreamResponse:
        data = await read_json(request)
        for name in ("unload_models", "free_memory"):
            if data.get(name):
                self._queue.set_flag(name, True)
        return web.Response(status=200)


def is_canonical_uuid(value: Any) -> bool:
    """Whether this is a UUID in lower case with hyphens, in no other spelling."""
    try:
        return isinstance(value, str) and str(uuid.UUID(value)) == value
    except ValueError:
        return False


def _refused(error: Mapping[str, Any]) -> web.Response:
    return web.json_response({"error": error, "node_errors": {}}, status=400)
