"""Our notification is Celery's own message: held against what `send_task` puts into a real Valkey."""

from __future__ import annotations

import json
from typing import Any

import pytest
import redis

from farm.broker import TASK_NAME, CeleryNotifier, make_app
from farm.job import queue_for
from farm.settings.redis import RedisSettings

TITLE = 'WAN 2.2 "fox" é 832×480'


def without_tag(message: bytes) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(message)
    assert content["properties"].pop("delivery_tag")
    return content


@pytest.mark.parametrize("priority", [0, 5, 9])
def test_a_notification_is_what_celery_would_send(valkey_url: str, namespace: str, priority: int) -> None:
    settings = RedisSettings.read(url=valkey_url, namespace=namespace)
    app, queue = make_app(settings), queue_for(24)
    notifier = CeleryNotifier(app, namespace)

    app.send_task(
        TASK_NAME, task_id="job00001", queue=queue, priority=priority, argsrepr=TITLE, kwargsrepr="{}"
    )

    with redis.Redis.from_url(valkey_url) as client:
        sent = client.rpop(notifier.list_key(queue, priority))
    assert isinstance(sent, bytes)
    ours = notifier.message("job00001", queue=queue, priority=priority, title=TITLE)
    assert without_tag(ours) == without_tag(sent)


def test_every_notification_has_a_tag_of_its_own() -> None:
    notifier = CeleryNotifier(make_app(RedisSettings.read()), "farm")
    queue = queue_for(8)

    tags = {
        json.loads(notifier.message("job00001", queue=queue, priority=5, title=TITLE))["properties"][
            "delivery_tag"
        ]
        for _ in range(5)
    }

    assert len(tags) == 5
