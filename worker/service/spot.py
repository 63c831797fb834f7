"""Hears that this machine will be taken away: by the cloud's metadata service, or by a command."""

from __future__ import annotations

import json
import logging
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

import urllib3

from farm.settings.worker import WorkerSettings

log = logging.getLogger(__name__)

POLL_EVERY_S: Final = 5.0
_TIMEOUT_S: Final = 2.0
_COMMAND_TIMEOUT_S: Final = 10.0
_SHORT_NOTICE_S: Final = 30.0  # what GCP and Azure give; nobody says more there
_MARGIN_S: Final = 5.0  # to end ComfyUI, and to write the last words
_LINK_LOCAL: Final = "http://169.254.169.254"
_GCP: Final = "http://metadata.google.internal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """The machine goes."""

    source: str
    left_s: float  # until then, with a margin taken off


class Metadata:
    """Asks one cloud. `ask` may raise `urllib3.exceptions.HTTPError` or `ValueError`."""

    def __init__(self, cloud: str, *, base_url: str | None = None) -> None:
        """Keep where to ask; `base_url` replaces the cloud's own address."""
        self._cloud = cloud
        self._base = (base_url or (_GCP if cloud == "gcp" else _LINK_LOCAL)).rstrip("/")
        self._http = urllib3.PoolManager(retries=False, timeout=_TIMEOUT_S)

    def ask(self) -> Notice | None:
        """A notice, if there is one."""
        return {"aws": self._aws, "gcp": self._gcp, "azure": self._azure}[self._cloud]()

    def _aws(self) -> Notice | None:
        """Source: AWS EC2 User Guide, "Spot Instance interruption notices", IMDSv2."""
        token = self._request("PUT", "/latest/api/token", {"X-aws-ec2-metadata-token-ttl-seconds": "60"})
        headers = {"X-aws-ec2-metadata-token": (token or b"").decode()}
        answer = self._request("GET", "/latest/meta-data/spot/instance-action", headers)
        if answer is None:
            return None
        at = datetime.fromisoformat(json.loads(answer)["time"].replace("Z", "+00:00"))
        return self._notice(_left_s(at))

    def _gcp(self) -> Notice | None:
        """Source: Google Compute Engine, "Detect if a VM was preempted"."""
        answer = self._request("GET", "/computeMetadata/v1/instance/preempted", {"Metadata-Flavor": "Google"})
        return self._notice(_SHORT_NOTICE_S) if answer and answer.strip().upper() == b"TRUE" else None

    def _azure(self) -> Notice | None:
        """Source: Azure, "Scheduled Events for Linux VMs", api-version 2020-07-01."""
        answer = self._request(
            "GET", "/metadata/scheduledevents?api-version=2020-07-01", {"Metadata": "true"}
        )
        events: list[dict[str, Any]] = json.loads(answer or b"{}").get("Events", [])
        going = [event for event in events if event.get("EventType") in ("Preempt", "Terminate")]
        if not going:
            return None
        before = going[0].get("NotBefore")
        return self._notice(_left_s(parsedate_to_datetime(before)) if before else _SHORT_NOTICE_S)

    def _request(self, method: str, path: str, headers: dict[str, str]) -> bytes | None:
        """The body; None when the service knows no such thing, which is its way to say no."""
        answer = self._http.request(method, self._base + path, headers=headers)
        if answer.status == 404:
            return None
        if answer.status != 200:
            raise ValueError(f"{path} answered {answer.status}")
        return answer.data

    def _notice(self, left_s: float) -> Notice:
        return Notice(source=self._cloud, left_s=max(left_s - _MARGIN_S, 0.0))


class Command:
    """Runs the operator's own command; exit code 0 is a notice."""

    def __init__(self, command: str, *, left_s: float) -> None:
        """Keep a shell command; a notice of it leaves `left_s` seconds."""
        self._command = command
        self._left_s = left_s

    def ask(self) -> Notice | None:
        """A notice, if there is one. `subprocess.TimeoutExpired` when it does not end."""
        # The operator's own words, from the environment: a shell is what they are written for.
        done = subprocess.run(  # noqa: S602
            self._command,
            shell=True,
            check=False,
            timeout=_COMMAND_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return Notice(source="command", left_s=self._left_s) if done.returncode == 0 else None


class SpotWatch:
    """Asks every few seconds until there is a notice; tells it once."""

    def __init__(
        self,
        ask: Callable[[], Notice | None],
        on_notice: Callable[[Notice], None],
        *,
        every_s: float = POLL_EVERY_S,
    ) -> None:
        self._ask = ask
        self._on_notice = on_notice
        self._every_s = every_s
        self._stopping = threading.Event()
        self._failing = False
        self._thread = threading.Thread(target=self._run, name="spot", daemon=True)

    def start(self) -> None:
        """Ask from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        self._thread.join(timeout=_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopping.is_set():
            notice = self._guarded()
            if notice is not None:
                log.warning(
                    "This machine will be taken away",
                    extra={"event": "spot_notice", "source": notice.source, "left_s": round(notice.left_s)},
                )
                self._on_notice(notice)
                return
            self._stopping.wait(self._every_s)

    def _guarded(self) -> Notice | None:
        try:
            notice = self._ask()
        except (
            urllib3.exceptions.HTTPError,
            ValueError,
            KeyError,
            OSError,
            subprocess.SubprocessError,
        ) as exc:
            # Once: a service that is not there is asked for as long as the worker lives.
            log.log(
                logging.DEBUG if self._failing else logging.WARNING,
                "Cannot ask whether this machine goes",
                extra={"event": "spot_unknown", "reason": str(exc)},
            )
            self._failing = True
            return None
        self._failing = False
        return notice


def spot_watch(settings: WorkerSettings, on_notice: Callable[[Notice], None]) -> SpotWatch | None:
    """The watch that the settings ask for; None when they ask for none."""
    if settings.spot is None:
        return None
    if settings.spot == "command":
        return SpotWatch(
            Command(settings.spot_command or "false", left_s=settings.drain_grace_s).ask, on_notice
        )
    return SpotWatch(Metadata(settings.spot, base_url=settings.spot_url).ask, on_notice)


def _left_s(at: datetime) -> float:
    return (at - datetime.now(UTC)).total_seconds()
