"""Log records as lines: for a person, or as JSON for a collector. Facts stay out of the sentence."""

from __future__ import annotations

import logging
import sys
import textwrap
from datetime import UTC, datetime
from typing import Any, Final, Literal

from comfy.log.foreign import one_line, plain, to_json

LogFormat = Literal["text", "json"]

# What every record has of its own; whatever else it carries came in by `extra`.
_OWN: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "data"}


def facts_of(record: logging.LogRecord) -> dict[str, Any]:
    """What a record was given by `extra`."""
    return {name: value for name, value in vars(record).items() if name not in _OWN}


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123Z WARNING worker.jobs.attempt: Attempt failed code=out_of_memory …``"""

    def format(self, record: logging.LogRecord) -> str:
        """One line, and the traceback below it, set in: nothing that is quoted begins a line."""
        facts = facts_of(record)
        facts.pop("event", None)
        told = "".join(f" {name}={value}" for name, value in facts.items())
        line = one_line(f"{_stamp(record)} {record.levelname} {record.name}: {record.getMessage()}{told}")
        if not record.exc_info:
            return line
        traceback = textwrap.indent(plain(self.formatException(record.exc_info)), "    ", lambda _line: True)
        return f"{line}\n{traceback}"


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and the facts."""

    def format(self, record: logging.LogRecord) -> str:
        """One line, whatever the record holds."""
        entry = {
            "time": _stamp(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **facts_of(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return to_json(entry)


def configure_logging(level: str = "INFO", form: LogFormat = "text") -> None:
    """Send every record of this process to stderr, once, in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in ("botocore", "boto3", "s3transfer", "urllib3", "kombu", "amqp", "websocket"):
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _stamp(record: logging.LogRecord) -> str:
    return (
        datetime.fromtimestamp(record.created, tz=UTC)
        .isoformat(timespec="milliseconds")
        .replace("+00:00", "Z")
    )
