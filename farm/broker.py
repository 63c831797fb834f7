"""The Celery side of the farm: queues, delivery options, and the message that announces a job.

The message carries no truth: "job X is waiting", no more. So it is acknowledged early, sent again
freely, and none of Celery's own redelivery plays a part. `celery -A farm.broker flower` shows the fleet.
"""

from __future__ import annotations

import functools
import json
import uuid
from typing import Any, Final

from celery import Celery
from celery.loaders.app import AppLoader
from kombu import Connection, Exchange, Queue

from farm.errors import SettingsError
from farm.job import DEFAULT_PRIORITY, LEAST_URGENT, MOST_URGENT, VRAM_CLASSES_GIB, queue_for
from farm.plain_redis import speak_resp2
from farm.redis_address import RedisAddress
from farm.settings.redis import RedisSettings

TASK_NAME: Final = "farm.render"
PRIORITIES: Final = tuple(range(MOST_URGENT, LEAST_URGENT + 1))
_SEPARATOR: Final = ":"

# Where a wrong value loses or doubles jobs; `assert_safe` holds a worker's configuration against this.
_MUST_BE: Final = {
    "task_acks_late": False,  # nothing for a reconnect to "restore" while it is being rendered
    "worker_disable_prefetch": True,  # never hold a second job while another GPU is idle
    "worker_prefetch_multiplier": 1,
    "worker_send_task_events": True,  # without it the event loop sleeps 0.5 s between two jobs
    "task_ignore_result": True,  # a failing result backend would turn finished jobs into repeats
    "worker_cancel_long_running_tasks_on_connection_loss": False,  # on Redis it loses the job
    "task_reject_on_worker_lost": False,  # the steward decides, with a limit
    "task_default_priority": DEFAULT_PRIORITY,
    "accept_content": ["json"],
}


def queues_served_by(vram_gib: int) -> list[str]:
    """What a worker of that class consumes: its own class and those below, largest first."""
    return [queue_for(size) for size in sorted(VRAM_CLASSES_GIB, reverse=True) if size <= vram_gib]


def key_prefix(namespace: str) -> str:
    """Prefix of the broker's keys; the braces keep all keys of a farm in one cluster slot."""
    return f"{{{namespace}}}:q:"


class _OurLoader(AppLoader):
    """Celery's own for apps, but that it reads no CELERY_CONFIG_MODULE of another project."""

    def read_configuration(self, *_: object) -> dict[str, Any]:
        """Nothing: all settings are given to the app."""
        return {}


class FarmCelery(Celery):
    """Celery at the farm's Redis, whatever CELERY_BROKER_URL and its kin of another project say."""

    backend_cls = "disabled"  # the store has the results

    def __init__(self, name: str, *, broker: str) -> None:
        """As Celery's own, without looking into the environment."""
        super().__init__(name, broker=broker, loader=_OurLoader)
        self._our_broker = broker

    def connection_for_read(self, url: str | None = None, **given: Any) -> Connection:
        """As Celery's own."""
        return super().connection_for_read(url or self._our_broker, **given)

    def connection_for_write(self, url: str | None = None, **given: Any) -> Connection:
        """As Celery's own."""
        return super().connection_for_write(url or self._our_broker, **given)

    def connection(self, hostname: str | None = None, *args: Any, **given: Any) -> Connection:
        """As Celery's own."""
        return super().connection(hostname or self._our_broker, *args, **given)


def make_app(settings: RedisSettings, *, name: str = "farm") -> Celery:
    """A Celery app that speaks to the farm's Redis; the same for producer, worker and Flower."""
    speak_resp2()
    address = settings.address
    app = FarmCelery(name, broker=";".join(address.urls()))
    app.conf.update(
        **_MUST_BE,
        task_serializer="json",
        result_serializer="json",
        event_serializer="json",
        task_default_queue=queue_for(VRAM_CLASSES_GIB[0]),
        task_queues=[
            Queue(queue_for(size), Exchange(""), routing_key=queue_for(size))
            for size in sorted(VRAM_CLASSES_GIB, reverse=True)
        ],
        task_create_missing_queues=False,
        worker_pool="threads",
        worker_hijack_root_logger=False,
        worker_soft_shutdown_timeout=0,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a full Redis answers with an error: no reason for a worker to end
        broker_transport_options={
            "global_keyprefix": key_prefix(settings.namespace),
            "priority_steps": list(PRIORITIES),
            "sep": _SEPARATOR,
            "queue_order_strategy": "priority",
            # These cover only the milliseconds between the pop and the early acknowledgement.
            "visibility_timeout": 30,
            "unacked_restore_interval": 5,
            "unacked_restore_throttle": 1,
            "unacked_mutex_expire": 15,
            # Celery's default has no socket time-out: a publish on a dead connection blocks for ever.
            "socket_connect_timeout": settings.timeout_s,
            "socket_timeout": 30,
            "socket_keepalive": True,
            "health_check_interval": 15,
            **_of_sentinels(address),
        },
        # Left to itself kombu takes any certificate, and Flower none.
        broker_use_ssl=dict(address.tls) or None,
    )
    return app


def _of_sentinels(address: RedisAddress) -> dict[str, Any]:
    if not address.master:
        return {}
    asked = {"socket_timeout": 5, **address.sentinel_credentials}
    return {"master_name": address.master, "sentinel_kwargs": asked}


def assert_safe(app: Celery) -> None:
    """Refuse a configuration that would lose or double jobs.

    Raises:
        SettingsError: names each setting, its value, and what it must be.
    """
    wrong = [
        f"{setting} is {app.conf[setting]!r} and must be {value!r}"
        for setting, value in _MUST_BE.items()
        if app.conf[setting] != value
    ]
    if wrong:
        raise SettingsError(f"Celery would lose or double jobs: {'; '.join(wrong)}")


class CeleryNotifier:
    """Makes the messages that Celery itself would send, about thirty times faster.

    Celery builds one message for each queue and priority (in memory, nothing is sent); the few
    strings that differ from job to job are then put in. So a batch goes out in one pipeline, in the
    same script that stores the job, and a retried job can be put at the front, which Celery cannot.
    A contract test holds the result against what `app.send_task` puts into Redis.
    """

    def __init__(self, app: Celery, namespace: str) -> None:
        self._app = app
        self._prefix = key_prefix(namespace)
        self._templates: dict[tuple[str, int], str] = {}

    def list_key(self, queue: str, priority: int) -> str:
        """Full name of the Redis list that workers of that queue pop at that priority."""
        # As kombu's redis transport names it: no suffix for the most urgent.
        return f"{self._prefix}{queue}{_SEPARATOR}{priority}" if priority else f"{self._prefix}{queue}"

    def message(self, job_id: str, *, queue: str, priority: int, title: str) -> bytes:
        """The message that says "this job is waiting"; Flower shows it under the job's id and title."""
        template = self._templates.get((queue, priority))
        if template is None:
            template = self._templates[(queue, priority)] = self._template(queue, priority)
        return (
            template.replace("@job-id@", job_id)
            .replace("@delivery-tag@", str(uuid.uuid4()))
            .replace("@title@", json.dumps(title)[1:-1])
            .encode()
        )

    def _template(self, queue: str, priority: int) -> str:
        # kombu's own in-memory transport: the same virtual channel class as the Redis one prepares it.
        with Connection("memory://") as connection:
            channel: Any = connection.default_channel
            channel.queue_declare(queue)
            self._app.send_task(
                TASK_NAME,
                task_id="@job-id@",
                queue=queue,
                priority=priority,
                argsrepr="@title@",
                kwargsrepr="{}",
                connection=connection,
            )
            message: dict[str, Any] = channel.basic_get(queue, no_ack=True).serializable()
        message["properties"]["delivery_tag"] = "@delivery-tag@"
        return json.dumps(message, separators=(",", ":"))


@functools.cache
def _app_of_environment() -> Celery:
    from farm.local.surroundings import settings_here

    return make_app(settings_here(RedisSettings))


def __getattr__(name: str) -> Any:
    # `celery -A farm.broker …` asks for `app`; a producer that imports this module reads no environment.
    if name == "app":
        return _app_of_environment()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
