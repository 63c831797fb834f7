"""Progress of a run as the websocket tells it.

Source: ComfyUI ``comfy_execution/progress.py`` (``WebUIProgressHandler``) and ``main.py``
(``hijack_progress``); order of the messages as captured.
"""

from __future__ import annotations

from typing import Any

from comfy.emulator.hub import Hub


class RunProgress:
    """The state of each node of one run, sent whole each time it changes."""

    def __init__(self, hub: Hub, prompt_id: str) -> None:
        self._hub = hub
        self._prompt_id = prompt_id
        self._nodes: dict[str, dict[str, Any]] = {}

    def start(self, node_id: str) -> None:
        """A node begins."""
        self._set(node_id, 0.0, 1.0, "running")

    def finish(self, node_id: str) -> None:
        """A node is done; one that never began (it was cached) counts one of one."""
        state = self._nodes.get(node_id)
        if state is None:
            self._set(node_id, 1, 1, "finished")
        else:
            self._set(node_id, state["max"], state["max"], "finished")

    def step(self, node_id: str, value: int, total: int, preview: bytes | None) -> None:
        """A node did a step of its own."""
        client = self._hub.client_id
        self._set(node_id, value, total, "running")
        wants_metadata = self._hub.wants_metadata(client)
        if preview is not None and wants_metadata:
            metadata = {"node_id": node_id, "prompt_id": self._prompt_id, **_display(node_id)}
            self._hub.send_preview_with_metadata(preview, metadata, client)
        data = {"value": value, "max": total, "prompt_id": self._prompt_id, "node": node_id}
        self._hub.send("progress", data, client)
        if preview is not None and not wants_metadata:
            self._hub.send_preview(preview, client)

    def _set(self, node_id: str, value: float, total: float, state: str) -> None:
        self._nodes[node_id] = {
            "value": value,
            "max": total,
            "state": state,
            "node_id": node_id,
            "prompt_id": self._prompt_id,
            **_display(node_id),
        }
        data = {"prompt_id": self._prompt_id, "nodes": dict(self._nodes)}
        self._hub.send("progress_state", data, self._hub.client_id)


def _display(node_id: str) -> dict[str, Any]:
    return {"display_node_id": node_id, "parent_node_id": None, "real_node_id": node_id}
