"""Follow one prompt to its end, whatever happens to the socket.

The websocket tells things early, HTTP tells them for certain. Neither is trusted alone: each (re)connect and
each silence is followed by asking where the prompt is, and the run ends only with what its history says.
"""

from __future__ import annotations

import contextlib
import logging
import time
import uuid
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Protocol, Self

from comfy.errors import RunInterrupted, ServerError, ServerUnreachable, UnknownMessage
from comfy.protocol.address import ComfyAddress
from comfy.protocol.events import Event, Executing
from comfy.protocol.line import Line
from comfy.protocol.listener import Dropped
from comfy.protocol.patience import Cancel, Patience
from comfy.protocol.run import Outcome, PromptRun
from comfy.protocol.whereabouts import Whereabouts

log = logging.getLogger(__name__)

OnEvent = Callable[[PromptRun, Event], None]


class Server(Protocol):
    """What a follower asks of the server; `ComfyClient` is one."""

    address: ComfyAddress
    base_url: str
    patience: Patience

    def whereabouts(self, prompt_id: str) -> Whereabouts:
        """Where the prompt is."""

    def history(self, prompt_id: str) -> Mapping[str, Any]:
        """The prompt's history entry under its id; empty while there is none."""

    def cancel(self, prompt_id: str) -> bool:
        """Ask that the prompt stop; whether the server knew it."""

    def answering_within(self, seconds: float) -> Server:
        """The same server, none of whose answers is waited for longer than that."""


_TICK_S = 0.2  # how often the order to stop is looked at
_DEAF_S = 1.0  # so much longer than it was to wait for a message this process took: it stood still
_FIRST_PAUSE_S = 0.005  # between two looks for a history entry that is due
_LONGEST_PAUSE_S = 0.25
_HASTY_S = 3.0  # for one answer, once the run is to stop: a frozen server must not outlast the grace by much
_ENTRY_OVERDUE_S = 5.0  # the server said that it is over, and still has no entry: ask /queue as well


class Follower:
    """One run's connection and its loop. A context manager: entering connects, leaving closes."""

    def __init__(
        self,
        client: Server,
        run: PromptRun,
        *,
        client_id: str | None = None,
        on_event: OnEvent | None = None,
        cancel: Cancel | None = None,
        gone: Cancel | None = None,
        time_limit_s: float | None = None,
    ) -> None:
        # A client id of its own for each run: two sockets with one id starve each other.
        self.client_id = client_id or uuid.uuid4().hex
        self._client = client
        self._run = run
        self._patience = client.patience
        self._on_event = on_event
        self._gone = gone
        self._stop = _Stop(client, run.prompt_id, cancel, time_limit_s)
        self._line = Line(client.address, self.client_id, client.patience)
        self._answers = _Answers(client.base_url, client.patience)
        self._ask_at_s = time.monotonic()
        self._dropped_at_s: float | None = None  # None: there is a connection, or never was one
        self._over_since_s: float | None = None  # since when a history entry is due
        self._pause_s = _FIRST_PAUSE_S

    def __enter__(self) -> Self:
        # Before the prompt is posted: the server keeps no messages for a client that is not there yet.
        self._line.connect_if_due(time.monotonic())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._line.close()

    def follow(self, *, ask_first: bool = True) -> None:
        """Return when the run has an outcome.

        Args:
            ask_first: what the server knows by now; not needed right behind the answer to the post.

        Raises:
            RunInterrupted: we stopped it, or could not (`yielded` False).
            ServerUnreachable: no answer for longer than `Patience` allows, or the server is known to be gone.
        """
        if not ask_first:
            self._ask_at_s = time.monotonic() + self._patience.poll_interval_s
        while self._run.outcome is None:
            if self._gone is not None and self._gone.is_set():
                self._end_without_server()
                break
            now_s = time.monotonic()
            if self._stop.check(now_s):
                self._ask_at_s = min(self._ask_at_s, now_s + self._patience.look_again_s)
            self._client = self._stop.server
            if self._line.connect_if_due(now_s):
                self._ask_at_s = now_s
                self._hear_again()
            if time.monotonic() >= self._ask_at_s:
                self._ask()
            else:
                self._listen()
        if self._stop.why and self._run.outcome in (Outcome.INTERRUPTED, Outcome.LOST):
            # Lost: it still waited in the queue, and we took it out.
            raise RunInterrupted(
                self._run.prompt_id, node_id=self._run.interrupted_at or None, why=self._stop.why
            )

    def hear_out(self, enough: Callable[[], bool], *, within_s: float) -> None:
        """Hear what history has overtaken: after the end of a run, messages of it may still be on their way.

        Args:
            enough: looked at after each message; nothing more is waited for when it holds.
        """
        until_s = time.monotonic() + within_s
        with contextlib.suppress(Dropped):
            while not enough() and (left_s := until_s - time.monotonic()) > 0:
                event = self._line.receive(min(left_s, _TICK_S))
                if event is not None and self._on_event is not None and self._run.belongs(event):
                    self._on_event(self._run, event)

    def _listen(self) -> None:
        now_s = time.monotonic()
        wait_s = min(max(self._ask_at_s - now_s, 0.0), _TICK_S)
        due_s = now_s + wait_s
        try:
            event = self._line.receive(wait_s)
        except Dropped as exc:
            log.info(
                "The websocket was dropped",
                extra={"event": "comfy_socket_dropped", "prompt_id": self._run.prompt_id, "reason": str(exc)},
            )
            self._run.note_gap()
            # It may have ended while we were away, and the server may be gone.
            self._ask_at_s = self._dropped_at_s = time.monotonic()
            return
        now_s = time.monotonic()
        if now_s > due_s + _DEAF_S:
            self._run.note_deaf(due_s, now_s)
        if event is not None:
            self._hear(event)

    def _hear_again(self) -> None:
        if self._dropped_at_s is not None:
            self._run.note_deaf(self._dropped_at_s, time.monotonic())
            self._dropped_at_s = None

    def _end_without_server(self) -> None:
        """Take what it said last, which the socket may still hold, and decide from that."""
        with contextlib.suppress(Dropped):
            while (event := self._line.receive(0.0)) is not None:
                self._hear(event)
        self._run.conclude(time.monotonic())
        if self._run.outcome is Outcome.LOST:
            raise ServerUnreachable(self._client.base_url, "its process has ended", refused=True)

    def _hear(self, event: Event) -> None:
        now_s = time.monotonic()
        ours = self._run.feed(event, now_s)
        if ours:
            self._answers.alive()
            if not self._run.wants_history:
                self._ask_at_s = now_s + self._patience.poll_interval_s
            elif self._over_since_s is None or (isinstance(event, Executing) and event.node is None):
                self._ask_at_s = now_s
        if self._on_event is not None and (ours or getattr(event, "prompt_id", None) is None):
            self._on_event(self._run, event)

    def _ask(self) -> None:
        """Ask what the server knows for certain, and settle when to ask next."""
        asked_at_s = time.monotonic()
        try:
            self._ask_for_it(asked_at_s)
            self._answers.alive()
        except (ServerUnreachable, ServerError, UnknownMessage) as exc:
            self._answers.missed(exc, asked_at_s)
            if self._answers.given_up:
                self._conclude_or_raise(exc)
        self._ask_at_s = time.monotonic() + self._pause()

    def _ask_for_it(self, now_s: float) -> None:
        run, client = self._run, self._client
        overdue = self._over_since_s is not None and now_s - self._over_since_s > _ENTRY_OVERDUE_S
        if not run.wants_history or overdue:
            told = client.whereabouts(run.prompt_id)
            run.feed_whereabouts(told, time.monotonic())
            if told is not Whereabouts.OVER:
                return
        run.feed_history(client.history(run.prompt_id), time.monotonic())

    def _pause(self) -> float:
        if self._run.wants_history:
            if self._over_since_s is None:
                self._over_since_s = time.monotonic()
            # The entry is written within milliseconds, unless models are unloaded first.
            self._pause_s = min(self._pause_s * 2, _LONGEST_PAUSE_S)
            return self._pause_s
        if self._answers.missing or self._run.is_doubtful:
            return self._patience.look_again_s
        return self._patience.poll_interval_s

    def _conclude_or_raise(self, exc: Exception) -> None:
        self._run.conclude(time.monotonic())
        if self._run.outcome is Outcome.LOST:
            raise ServerUnreachable(
                self._client.base_url, self._answers.reason, refused=self._answers.refused
            ) from exc


class _Answers:
    """Keeps since when HTTP has not answered."""

    def __init__(self, base_url: str, patience: Patience) -> None:
        self._base_url = base_url
        self._patience = patience
        self._missing_since_s: float | None = None
        self.refused = False
        self.reason = ""

    @property
    def missing(self) -> bool:
        """Whether the last question had no answer."""
        return self._missing_since_s is not None

    def alive(self) -> None:
        """Note an answer."""
        self._missing_since_s = None

    def missed(self, exc: Exception, asked_at_s: float) -> None:
        """Note a question without a (sensible) answer."""
        if self._missing_since_s is None:
            self._missing_since_s = asked_at_s
            log.warning(
                "ComfyUI does not answer",
                extra={"event": "comfy_no_answer", "url": self._base_url, "reason": str(exc)},
            )
        self.refused = isinstance(exc, ServerUnreachable) and exc.refused
        silent_s = time.monotonic() - self._missing_since_s
        self.reason = f"for {silent_s:.0f} s; last: {exc}"

    @property
    def given_up(self) -> bool:
        """Whether it has been long enough to call the server gone."""
        if self._missing_since_s is None:
            return False
        limit_s = self._patience.dead_timeout_s if self.refused else self._patience.freeze_timeout_s
        return time.monotonic() - self._missing_since_s >= limit_s


class _Stop:
    """The order to stop a run, and how it is carried out."""

    _REPEAT_S = 2.0

    def __init__(
        self, client: Server, prompt_id: str, cancel: Cancel | None, time_limit_s: float | None
    ) -> None:
        self.server = client  # asked in haste, once the run is to stop
        self._prompt_id = prompt_id
        self._cancel = cancel
        self._time_limit_s = time_limit_s
        self._started_s = time.monotonic()
        self._since_s: float | None = None
        self._told_at_s = 0.0
        self.why: str | None = None  # for a person; None: nobody wants it to stop

    def check(self, now_s: float) -> bool:
        """Cancel the prompt when somebody wants that; True when the server was told so just now.

        Raises:
            RunInterrupted: it was told to stop and goes on.
        """
        if self.why is None:
            self.why = self._order(now_s)
            if self.why is None:
                return False
            self._since_s = now_s
            self.server = self.server.answering_within(_HASTY_S)
        if self._since_s is not None and now_s - self._since_s > self.server.patience.interrupt_grace_s:
            raise RunInterrupted(self._prompt_id, why=self.why, yielded=False)
        # Repeated: told while it waited, it may have begun since; and an interruption may have been lost.
        if now_s - self._told_at_s < self._REPEAT_S:
            return False
        self._tell()
        self._told_at_s = time.monotonic()
        return True

    def _order(self, now_s: float) -> str | None:
        if self._cancel is not None and self._cancel.is_set():
            return "it was canceled"
        if self._time_limit_s is not None and now_s - self._started_s > self._time_limit_s:
            return f"its time limit of {self._time_limit_s:g} s was reached"
        return None

    def _tell(self) -> None:
        try:
            self.server.cancel(self._prompt_id)
        except (ServerUnreachable, ServerError) as exc:
            log.warning(
                "The interrupt could not be delivered",
                extra={"event": "interrupt_failed", "prompt_id": self._prompt_id, "reason": str(exc)},
            )
