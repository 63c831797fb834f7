"""Every name of Celery, kombu and redis-py that they do not document and that this worker rests on.

Each has one function here and one test in ``tests/contract/test_celery_internals.py``, which holds it against
the installed release and a real server: an upgrade that takes one away fails there, by name.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from queue import Empty
from types import MethodType
from typing import Any, Final, NoReturn

from celery import Celery
from celery.bin.base import CLIContext
from celery.bin.worker import worker
from celery.worker import state
from celery.worker.control import Panel
from celery.worker.request import Request
from celery.worker.state import maybe_shutdown
from redis.exceptions import ResponseError

from worker.fetching.flower import Told


def end_if_told() -> None:
    """End this process from within a loop of the consumer, if a signal has asked for that.

    Raises:
        SystemExit: it has (Celery's `WorkerShutdown`, `WorkerTerminate`).
    """
    maybe_shutdown()


# What Flower asks to show a worker, and what `celery inspect ping` asks. `enable_events` it sends every few
# seconds, and it changes nothing here.
QUESTIONS: Final = frozenset(
    {
        *("ping", "stats", "active_queues", "registered", "enable_events"),
        *("scheduled", "active", "reserved", "revoked"),
    }
)


def answer_only_questions() -> None:
    """Have this process take no orders by Celery's remote control: whoever may write to Redis can send them.

    Without this a message shuts a worker down, takes its queues away or has it hold a job back. The farm has
    orders of its own (`farm drain`, `farm cancel`).
    """
    for name in Panel.data.keys() - QUESTIONS:
        del Panel.data[name]
    # Flower asks for it too, and it would tell what the settings hide: how the sentinels are logged in to.
    Panel.data["conf"] = lambda _state, **_options: {}


def tell_of_worker(facts: Callable[[], Mapping[str, str]]) -> None:
    """Show facts of the worker where Flower shows its pool: on the page of the worker, before any click."""
    stats = Panel.data["stats"]

    def with_facts(state: Any, **options: Any) -> dict[str, Any]:
        told = dict(stats(state, **options))
        return {**told, "pool": {**facts(), **told.get("pool", {})}}

    Panel.data["stats"] = with_facts


def redis_of(connection: Any) -> Any:
    """The client by which a kombu connection speaks to Redis."""
    return connection.default_channel.client


def queues_were_chosen(app: Celery) -> bool:
    """Whether the command line (``-Q``) said which queues to consume."""
    queues: Any = app.amqp.queues
    return bool(queues._consume_from)


def sockets_of(connection: Any) -> Iterator[socket.socket]:
    """Those of a kombu connection over Redis. Only what is there: asking a channel for a client opens one."""
    for channel in list(getattr(getattr(connection, "transport", None), "channels", None) or ()):
        parts = vars(channel)
        links = [getattr(parts.get(name), "connection", None) for name in ("client", "subclient")]
        for pool in (parts.get("_pool"), parts.get("_async_pool")):
            for kind in ("_in_use_connections", "_available_connections"):
                links += list(getattr(pool, kind, None) or ())
        for link in links:
            found = getattr(link, "_sock", None)
            if found is not None:
                yield found


def decide_fetching(channel: Any, may_fetch: Callable[[int], bool]) -> None:
    """Put `may_fetch` in the place of the channel's prefetch rule; it hears how many messages are held."""

    def can_consume(_self: Any) -> bool:
        return may_fetch(len(state.reserved_requests))

    channel.qos.can_consume = MethodType(can_consume, channel.qos)


def drop_unreadable(channel: Any, on_dropped: Callable[[Exception], None]) -> None:
    """Have what is no message (no JSON, no headers, no body) end where the channel reads it.

    Celery's event loop takes every error that is not the connection's for its own end: one wrong byte in
    the queue would end worker after worker.
    """
    read = channel.handlers["BRPOP"]
    # kombu counts KeyError among them, for a poller that hears of a channel that is gone. In here it is a
    # message without a field.
    of_the_connection = tuple(kind for kind in channel.connection_errors if kind is not KeyError)

    def read_carefully(**options: Any) -> Any:
        before = set(channel.qos._delivered)
        try:
            return read(**options)
        except (Empty, ResponseError, *of_the_connection):
            raise
        except Exception as exc:  # noqa: BLE001 - whatever a stranger has put there
            on_dropped(exc)
            for tag in set(channel.qos._delivered) - before:
                channel.qos.reject(tag, requeue=False)  # else it comes again when its time is over
            return True

    channel.handlers["BRPOP"] = read_carefully


def request_that_tells(ending_of: Callable[[str], Told | None]) -> type[Request]:
    """A kind of request that tells the outcome of its job where Celery would tell that of its message.

    By Celery's own line of events: so it comes after what Celery says of the same message, keeps no thread
    waiting, and wakes the event loop, which would else fetch the next message half a second later.
    """

    class TellingRequest(Request):
        def send_event(self, type: str, **fields: Any) -> None:  # noqa: A002 - its name in the base
            if type not in ("task-succeeded", "task-failed"):
                super().send_event(type, **fields)
            elif (told := ending_of(self.id)) is not None:
                super().send_event(told.kind, **told.fields)

    return TellingRequest


def run_worker(app: Celery, arguments: list[str]) -> NoReturn:
    """Run Celery's ``worker`` command for `app`, then exit with its code.

    `app.worker_main` does the same and keeps the exit code to itself: a supervisor must see a refusal. And it
    goes through the whole command line: it imports every command of Celery and of its plugins, which takes as
    long as all that a worker needs, and takes options from variables (LOADER, …) of another project.
    """
    worker.main(args=arguments, prog_name="worker", obj=CLIContext(app, no_color=False, workdir=None))
    raise AssertionError("unreachable: click exits")
