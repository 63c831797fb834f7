"""How long a run waits for what, and what may call it off."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


class Cancel(Protocol):
    """What says that a run is to stop: a `threading.Event` does."""

    def is_set(self) -> bool:
        """Whether to stop."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long to wait for what, in seconds."""

    poll_interval_s: float = 2.0  # silence about the prompt after which /history and /queue are asked
    look_again_s: float = 0.5  # the same while the server does not answer or knows nothing of the prompt
    freeze_timeout_s: float = 60.0  # no HTTP answer for so long: `ServerUnreachable`
    dead_timeout_s: float = 5.0  # nobody listening on the port for so long: `ServerUnreachable`
    reconnect_attempts: int = 5  # for the socket; then the run goes on by polling alone
    reconnect_delay_s: float = 3.0  # after the first attempt, which comes at once; grows by half each time
    connect_timeout_s: float = 3.0  # for the websocket's handshake
    silent_socket_s: float = 30.0  # a socket that said nothing for so long is replaced
    interrupt_grace_s: float = 20.0  # for a prompt to end after it was told to
