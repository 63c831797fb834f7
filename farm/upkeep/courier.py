"""Sends what webhooks are to be told; the steward that is elected has one at work."""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Final

from farm.errors import StoreUnavailable, TransferStopped
from farm.outside.cutoff import Cutoff, OutOfTime
from farm.outside.dial import AddressRefused, Dialer, NoAnswer, dialer_of, split
from farm.settings.outside import OutsideSettings
from farm.store.roles import WebhookStore
from farm.store.webhooks import Message, Webhook
from farm.upkeep.webhooks import body_of, headers_of

log = logging.getLogger(__name__)

# After the first try, as Standard Webhooks proposes: over three days in all.
WAITS_S: Final = (
    *(5.0, 300.0, 1800.0, 7200.0, 18000.0),
    *(36000.0, 50400.0, 72000.0, 86400.0),
)
_JITTER: Final = 0.2  # of a wait: what failed together is not sent together again
_TIME_S: Final = 15.0  # for one try, whatever the receiver does
_AT_ONCE: Final = 8  # receivers that are talked to at a time
_OF_ONE: Final = 20  # messages of one webhook in a round
_GONE: Final = 410


def courier_of(store: WebhookStore, settings: OutsideSettings) -> Courier:
    """One that calls what the settings allow.

    Raises:
        SettingsError: the proxy that they name is none.
    """
    return Courier(store, dialer_of(settings))


class Courier:
    """Sends to several receivers at a time, and to each one message after the other.

    A message is crossed out when it was taken and not before: who dies in between sends it again, under
    the same id.
    """

    def __init__(
        self,
        store: WebhookStore,
        dialer: Dialer,
        *,
        time_s: float = _TIME_S,
        waits_s: Sequence[float] = WAITS_S,
    ) -> None:
        """`waits_s` are those after each try that failed; once there is none left, it is a dead letter."""
        self._store = store
        self._dialer = dialer
        self._time_s = time_s
        self._waits_s = waits_s
        self._pool = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="courier")
        self._busy: set[str] = set()  # webhooks that a thread is at
        self._lock = threading.Lock()
        self._stopping = threading.Event()

    def turn(self) -> None:
        """Have sent what is due; returns at once.

        Raises:
            StoreUnavailable: nobody knows what that is.
        """
        due = self._store.due_messages(most=_OF_ONE)
        if not due:
            return
        for webhook in self._store.webhooks():
            messages = due.get(webhook.webhook_id)
            with self._lock:
                if not messages or self._stopping.is_set() or webhook.webhook_id in self._busy:
                    continue
                self._busy.add(webhook.webhook_id)
            self._pool.submit(self._round, webhook, messages)

    def stop(self) -> None:
        """Send no more; what is under way is cut off, and sent again by the next steward."""
        self._stopping.set()
        self._pool.shutdown(cancel_futures=True)

    def _round(self, webhook: Webhook, messages: Sequence[Message]) -> None:
        try:
            for message in messages:
                if not self._deliver(webhook, message):
                    break  # the receiver is in trouble: the next round asks it once more
        except StoreUnavailable:
            log.info("Messages stay in the outbox", extra={"event": "webhooks_later"})
        except TransferStopped:
            log.info("A message was cut off, and will be sent again", extra={"event": "webhook_cut"})
        except Exception:
            log.exception("A webhook cannot be told", extra={"event": "webhook_fault", "url": webhook.url})
        finally:
            with self._lock:
                self._busy.discard(webhook.webhook_id)

    def _deliver(self, webhook: Webhook, message: Message) -> bool:
        """Try once; whether it was taken."""
        status, failure = self._post(webhook, message)
        self._store.heard(webhook.webhook_id, failure or f"it was taken ({status})")
        if failure is None:
            self._store.delivered(webhook.webhook_id, message.message_id)
            return True
        facts = {"webhook": webhook.webhook_id, "job_id": message.end.job_id, "reason": failure}
        if status == _GONE:
            self._store.disable_webhook(webhook.webhook_id, reason=failure)
            log.warning("Webhook disabled: its receiver is gone", extra={"event": "webhook_gone", **facts})
        elif message.tries < len(self._waits_s):
            wait_s = self._waits_s[message.tries] * random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311
            self._store.postpone(webhook.webhook_id, message.message_id, in_s=wait_s, reason=failure)
            log.info("Webhook not told; it is tried again", extra={"event": "webhook_again", **facts})
        else:
            self._store.bury(webhook.webhook_id, [message.message_id], reason=failure)
            log.warning("Webhook not told; given up", extra={"event": "webhook_dead_letter", **facts})
        return False

    def _post(self, webhook: Webhook, message: Message) -> tuple[int, str | None]:
        """The status that came (0: none), and why the message was not taken."""
        body = body_of(message.end)
        headers = headers_of(webhook, message, body, now=datetime.now(UTC))
        try:
            with Cutoff(self._time_s, self._stopping.is_set, "webhook") as cutoff:
                answer = self._dialer.ask(
                    "POST", split(webhook.url), cutoff=cutoff, headers=headers, body=body
                )
                answer.close()  # what it says beside the status is nothing to us, and may have no end
        except OutOfTime:
            return 0, f"the receiver did not answer within {self._time_s:g} s"
        except (AddressRefused, NoAnswer) as exc:
            return 0, str(exc)
        taken = 200 <= answer.status < 300
        return answer.status, None if taken else f"the receiver answered {answer.status}"
