"""What ComfyUI can be asked over HTTP, and one call that runs a prompt to its end.

One `ComfyClient` may be used by several threads; each run has its own websocket (`comfy.protocol.follow`).
"""

from __future__ import annotations

import copy
import json
import logging
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO
from urllib.parse import urlencode

from comfy.errors import ServerUnreachable, UnknownMessage
from comfy.protocol.address import ComfyAddress
from comfy.protocol.follow import Follower, OnEvent
from comfy.protocol.http import ComfyHttp, json_or_text, quoted
from comfy.protocol.outputs import OutputFile
from comfy.protocol.patience import Cancel, Patience
from comfy.protocol.rejection import read_rejection
from comfy.protocol.run import PromptRun
from comfy.protocol.verdict import raise_unless_succeeded
from comfy.protocol.whereabouts import Whereabouts, told_by_job, told_by_queue

log = logging.getLogger(__name__)

_MOST_POSTS = 3
# Statuses of a server without a route that we ask for. 200: it has a page for every address.
_NO_SUCH_ROUTE = (200, 404, 405)


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A prompt that the server has taken."""

    prompt_id: str
    number: float | None  # its place in the queue's order; None when the answer was lost on its way to us


class ComfyClient:
    """Speaks with one ComfyUI server.

    Every method raises `ServerUnreachable` when there is no answer and `ServerError` when the answer is none.
    """

    def __init__(
        self,
        address: str | ComfyAddress,
        *,
        patience: Patience | None = None,
        http_timeout_s: float = 10.0,
        connect_timeout_s: float = 3.0,
    ) -> None:
        """Prepare; nothing is sent yet.

        Args:
            address: for example ``http://127.0.0.1:8188``.
            patience: how long `run` and `follow` wait for what.
            http_timeout_s: for one answer. ComfyUI answers in milliseconds, but reading a model file or
                Python's garbage collector can hold it for seconds.
        """
        self.address = ComfyAddress.parse(address) if isinstance(address, str) else address
        self.base_url = self.address.url
        self.patience = patience or Patience()
        self._http = ComfyHttp(self.address, answer_s=http_timeout_s, connect_s=connect_timeout_s)
        # Found out by asking: a server's version does not tell what it has. False: not asked again.
        self._lists_jobs = self._cancels_jobs = True

    def with_patience(self, patience: Patience) -> ComfyClient:
        """The same server over the same connections, waited for in another way."""
        other = copy.copy(self)
        other.patience = patience
        return other

    def answering_within(self, seconds: float) -> ComfyClient:
        """The same server over the same connections, none of whose answers is waited for longer than that."""
        other = copy.copy(self)
        other._http = self._http.answering_within(seconds)
        return other

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def system_stats(self) -> dict[str, Any]:
        """Ask for versions, the command line and the memory of host and devices, in bytes."""
        return self._http.get("/system_stats")

    def features(self) -> dict[str, Any]:
        """Ask for the server's feature flags."""
        return self._http.get("/features")

    def object_info(self, class_type: str | None = None) -> dict[str, Any]:
        """Ask for the definitions of all node classes (half a MB), or of one; unknown: empty."""
        return self._http.get("/object_info" if class_type is None else f"/object_info/{quoted(class_type)}")

    def printed(self) -> str:
        """Ask for what the server has printed, as far as it remembers: its last three hundred writes."""
        path = "/internal/logs/raw"
        answer = self._http.get(path)
        try:
            return "".join(str(entry["m"]) for entry in answer["entries"])
        except (KeyError, TypeError) as exc:
            raise UnknownMessage("log", answer) from exc

    def queue(self) -> dict[str, Any]:
        """Ask for the running and the pending prompts, each with its whole graph."""
        return self._http.get("/queue")

    def history(self, prompt_id: str) -> dict[str, Any]:
        """Ask for a prompt's history entry; empty while it is queued or running, and when it is not known."""
        return self._http.get(f"/history/{quoted(prompt_id)}")

    def whereabouts(self, prompt_id: str) -> Whereabouts:
        """Ask where a prompt is: one small question where there is ``/api/jobs``, else queue and history."""
        told = self._told_by_job(prompt_id)
        if told is not None:
            return told
        # In this order: a prompt that ends in between is in one of the two.
        told = told_by_queue(self.queue(), prompt_id)
        if told is Whereabouts.UNKNOWN and prompt_id in self.history(prompt_id):
            return Whereabouts.OVER
        return told

    def knows(self, prompt_id: str) -> bool:
        """Tell whether the prompt is queued, running or over."""
        return self.whereabouts(prompt_id) is not Whereabouts.UNKNOWN

    def submit(
        self,
        graph: Mapping[str, Any],
        *,
        prompt_id: str,
        client_id: str,
        extra_data: Mapping[str, Any] | None = None,
        front: bool = False,
    ) -> Submitted:
        """Put a prompt into the server's queue, and not a second time when only the answer was lost.

        Args:
            client_id: of the websocket that is to hear of it.
            front: before all others that wait.

        Raises:
            GraphRejected: the server refuses the graph, or would leave out a part of it.
        """
        body: dict[str, Any] = {"prompt": with_meta(graph), "prompt_id": prompt_id, "client_id": client_id}
        if extra_data:
            body["extra_data"] = dict(extra_data)
        if front:
            body["front"] = True
        encoded = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        for post in range(1, _MOST_POSTS + 1):
            try:
                return self._post_prompt(encoded, graph, prompt_id)
            except ServerUnreachable as exc:
                # Refused means that it never arrived. Otherwise it may be queued although nobody told us.
                if exc.refused or post == _MOST_POSTS:
                    raise
                if self._arrived_after_all(prompt_id):
                    return Submitted(prompt_id=prompt_id, number=None)
                log.warning(
                    "The prompt is posted again", extra={"event": "prompt_reposted", "prompt_id": prompt_id}
                )
        raise AssertionError("unreachable: the last post returns or raises")

    @property
    def cancels_by_job(self) -> bool:
        """Whether `cancel` is one call, which can reach no other prompt; known after the first one."""
        return self._cancels_jobs

    def cancel(self, prompt_id: str) -> bool:
        """Ask that this prompt stop, whether it waits or runs; no other one is touched.

        One that waits is gone at once. One that runs stops at its next check, which may be half a minute
        away, or is done before that: how it ended, only its history tells.

        Returns:
            False when the server says that there was nothing to stop. An older one does not say.
        """
        if self._cancels_jobs:
            status, data = self._http.ask("POST", f"/api/jobs/{quoted(prompt_id)}/cancel", b"{}")
            answer = json_or_text(data)
            if status == 200 and isinstance(answer, dict) and "cancelled" in answer:
                return bool(answer["cancelled"])
            self._cancels_jobs = status not in _NO_SUCH_ROUTE
        self._http.post("/queue", {"delete": [prompt_id]})
        self._http.post("/interrupt", {"prompt_id": prompt_id})
        return True

    def forget(self, prompt_ids: Sequence[str]) -> None:
        """Take prompts that are over out of the server's history; nothing where they are not in it."""
        self._http.post("/history", {"delete": list(prompt_ids)})

    def free(self, *, unload_models: bool = True, free_memory: bool = True) -> None:
        """Have the models unloaded and the node cache dropped, at once or after the running prompt."""
        self._http.post("/free", {"unload_models": unload_models, "free_memory": free_memory})

    def view(self, file: OutputFile, into: BinaryIO) -> int:
        """Write an output file into an open one, in pieces; return its size in bytes.

        Raises:
            ServerError: the file is gone (404), or its name leaves the folder (400, 403).
        """
        query = urlencode({"filename": file.filename, "subfolder": file.subfolder, "type": file.type})
        return self._http.download(f"/view?{query}", into)

    def has_input(self, name: str, *, subfolder: str = "", size_bytes: int) -> bool:
        """Whether a file of that size is in ComfyUI's input folder under that name."""
        query = urlencode({"filename": name, "subfolder": subfolder, "type": "input"})
        return self._http.size_of(f"/view?{query}") == size_bytes

    def upload_input(
        self, name: str, content: bytes, *, subfolder: str = "", overwrite: bool = False
    ) -> dict[str, Any]:
        """Put a file into ComfyUI's input folder; the answer's ``name`` is the one it got there."""
        fields = {
            "image": (name, content, "application/octet-stream"),
            "overwrite": "true" if overwrite else "false",
            "subfolder": subfolder,
            "type": "input",
        }
        return self._http.send_form("/upload/image", fields)

    def run(
        self,
        graph: Mapping[str, Any],
        *,
        prompt_id: str | None = None,
        extra_data: Mapping[str, Any] | None = None,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
        gone: Cancel | None = None,
        time_limit_s: float | None = None,
        steps: Mapping[str, int] | None = None,
    ) -> PromptRun:
        """Run a graph to its end and return the run, which has at least one output file.

        Args:
            prompt_id: our own name for it; drawn when None.
            on_event: called for each message about this prompt or the server, in this thread. It must be
                quick: while it runs nothing is read, and ComfyUI waits for its slowest reader.
            cancel: looked at several times a second; when set, the prompt is interrupted.
            gone: as often; set by who knows that the server's process has ended, so that nobody waits for it.
            time_limit_s: counted from now, waiting in the server's queue included.
            steps: as `PromptRun` takes them.

        Raises:
            GraphRejected: the server refused the graph.
            RunFailed: a node raised (`OutOfMemory` when that was why).
            RunInterrupted: by `cancel`, by the time limit, or by somebody else; see its `yielded`.
            RunLost: the server forgot the prompt, because it was restarted.
            ServerUnreachable: also when `gone` was set before all was heard.
            NothingToShow: it ended well and named no file that is kept.
        """
        run = PromptRun(prompt_id or str(uuid.uuid4()), graph, steps=steps)
        with Follower(
            self, run, on_event=on_event, cancel=cancel, gone=gone, time_limit_s=time_limit_s
        ) as follower:
            taken = self.submit(
                graph, prompt_id=run.prompt_id, client_id=follower.client_id, extra_data=extra_data
            )
            # Without the answer to the post nobody knows what was missed.
            follower.follow(ask_first=taken.number is None)
        raise_unless_succeeded(run)
        return run

    def follow(
        self,
        run: PromptRun,
        *,
        client_id: str,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
        time_limit_s: float | None = None,
    ) -> PromptRun:
        """Follow a prompt that was submitted before with this client id; see `run`."""
        follower = Follower(
            self, run, client_id=client_id, on_event=on_event, cancel=cancel, time_limit_s=time_limit_s
        )
        with follower:
            follower.follow()
        raise_unless_succeeded(run)
        return run

    def _post_prompt(self, encoded: bytes, graph: Mapping[str, Any], prompt_id: str) -> Submitted:
        status, data = self._http.ask("POST", "/prompt", encoded)
        if status == 400:
            raise read_rejection(status, json_or_text(data), graph)
        answer = self._http.object_of("/prompt", status, data)
        if answer.get("node_errors"):
            # The server would run the sound outputs and silently leave out the others.
            self.cancel(prompt_id)
            raise read_rejection(status, answer, graph)
        # A server that does not take our id names the prompt itself; one without an id is none.
        return Submitted(prompt_id=str(answer.get("prompt_id", prompt_id)), number=answer.get("number"))

    def _arrived_after_all(self, prompt_id: str) -> bool:
        """Find out whether a post whose answer was lost is known, as soon as the server answers again."""
        deadline = time.monotonic() + self.patience.freeze_timeout_s
        looks = 0
        while True:
            try:
                if self.knows(prompt_id):
                    return True
                looks += 1
                # Two looks: the server may still be busy with checking what it has received.
                if looks == 2:
                    return False
            except ServerUnreachable as exc:
                if exc.refused or time.monotonic() > deadline:
                    raise
            time.sleep(self.patience.look_again_s)

    def _told_by_job(self, prompt_id: str) -> Whereabouts | None:
        """None where the server does not have that route, or fails at it."""
        if not self._lists_jobs:
            return None
        status, data = self._http.ask("GET", f"/api/jobs/{quoted(prompt_id)}")
        answer = json_or_text(data)
        if status == 404 and isinstance(answer, dict) and "error" in answer:
            return Whereabouts.UNKNOWN
        told = told_by_job(answer) if status == 200 else None
        if told is None:
            self._lists_jobs = status not in _NO_SUCH_ROUTE
        return told


def with_meta(graph: Mapping[str, Any]) -> dict[str, Any]:
    """The graph with a ``_meta`` in every node.

    A server that replaces a class which has moved answers 500 to a node without one.

    Source: ComfyUI app/node_replace_manager.py, ``copy_node_struct``.
    """
    return {
        node_id: {**node, "_meta": node["_meta"] if isinstance(node.get("_meta"), Mapping) else {}}
        if isinstance(node, Mapping)
        else node
        for node_id, node in graph.items()
    }
