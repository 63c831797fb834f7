"""A run's websocket with its reconnects."""

from __future__ import annotations

import logging
import time

from comfy.errors import ServerUnreachable
from comfy.protocol.address import ComfyAddress
from comfy.protocol.events import Event
from comfy.protocol.listener import Dropped, EventListener
from comfy.protocol.patience import Patience

log = logging.getLogger(__name__)


class Line:
    """The socket with its reconnects."""

    def __init__(self, address: ComfyAddress, client_id: str, patience: Patience) -> None:
        self._address = address
        self._client_id = client_id
        self._patience = patience
        self._listener: EventListener | None = None
        self._attempts = 0
        self._connect_at_s = time.monotonic()
        self._connected_at_s = 0.0
        self._heard_at_s = 0.0

    def connect_if_due(self, now_s: float) -> bool:
        """Connect when there is no connection and an attempt is due; True when there is a new one."""
        if self._listener is not None or now_s < self._connect_at_s:
            return False
        if self._attempts > self._patience.reconnect_attempts:
            return False
        try:
            self._listener = EventListener(
                self._address, self._client_id, timeout_s=self._patience.connect_timeout_s
            )
        except ServerUnreachable as exc:
            self._failed(str(exc))
            return False
        self._connected_at_s = self._heard_at_s = time.monotonic()
        return True

    def receive(self, wait_s: float) -> Event | None:
        """Wait for an event; without a connection, just wait.

        Raises:
            Dropped: the connection went away just now.
        """
        if self._listener is None:
            time.sleep(wait_s)
            return None
        try:
            event = self._listener.receive(wait_s)
            now_s = time.monotonic()
            if event is not None:
                self._heard_at_s = now_s
            elif now_s - self._heard_at_s > self._patience.silent_socket_s:
                raise Dropped(f"nothing heard for {self._patience.silent_socket_s:.0f} s")
        except Dropped:
            self._drop()
            raise
        return event

    def close(self) -> None:
        """Close without waiting for the server to confirm."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _drop(self) -> None:
        if self._listener is not None:
            # The server must have noticed the end of this connection before it sees the next.
            self._listener.close(wait_s=1.0)
            self._listener = None
        now_s = time.monotonic()
        if now_s - self._connected_at_s >= self._patience.reconnect_delay_s:
            self._attempts = 0
            self._connect_at_s = now_s
        else:
            self._failed("it did not last")

    def _failed(self, reason: str) -> None:
        self._attempts += 1
        delay_s = self._patience.reconnect_delay_s * 1.5 ** max(self._attempts - 2, 0)
        self._connect_at_s = time.monotonic() + (delay_s if self._attempts > 1 else 0.0)
        if self._attempts > self._patience.reconnect_attempts:
            log.warning(
                "The websocket is given up; polling from now on",
                extra={"event": "comfy_socket_given_up", "url": self._address.url, "reason": reason},
            )
