"""What `--json` prints: the farm's own values, as plain JSON."""

from __future__ import annotations

import functools
import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import TypeAdapter
from rich.console import Console

from comfy.log.foreign import to_json
from comfy.wan.templates import Template
from farm.asking.sources import public_source
from farm.job import JobRecord
from farm.reports import told_with_report

if TYPE_CHECKING:
    from farm.status.worker import WorkerStatus

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_LISTED: Final = (
    "job_id",
    "state",
    "queue",
    "submitted_at",
    "started_at",
    "finished_at",
    "attempt",
    "attempts_failed",
    "attempts_lost",
    "worker",
    "progress",
    "error",
    "parked",
)


@functools.cache
def _adapter(kind: type) -> TypeAdapter[Any]:
    """Made when something is printed by it: that takes milliseconds for each."""
    return TypeAdapter(kind)


def plain(value: Any) -> Any:
    """A value of the farm's own as plain JSON."""
    kind: Any = type(value)  # to mypy no type is hashable
    return _adapter(kind).dump_python(value, mode="json")


def record(job: JobRecord) -> dict[str, Any]:
    """Everything that is known of a job; addresses of inputs without their secrets."""
    value: dict[str, Any] = plain(told_with_report(job))
    inputs = value["spec"]["inputs"]
    value["spec"]["inputs"] = {input_path: public_source(source) for input_path, source in inputs.items()}
    return value


def listed(job: JobRecord) -> dict[str, Any]:
    """A job as a listing shows it: without its graph, files and past attempts."""
    whole = record(job)
    spec = job.spec
    about = {"title": spec.title, "priority": spec.priority, "labels": list(spec.labels)}
    return {name: whole[name] for name in _LISTED} | about


def worker(status: WorkerStatus) -> dict[str, Any]:
    """All that a worker says of itself."""
    value: dict[str, Any] = json.loads(status.to_json())
    return value


def put(out: Console, value: Any) -> None:
    """One JSON document, indented."""
    out.file.write(to_json(value, indent=2) + "\n")
    out.file.flush()


def put_line(out: Console, value: Any) -> None:
    """One JSON document on one line: an entry of a stream."""
    out.file.write(to_json(value) + "\n")
    out.file.flush()


def template(shown: Template) -> dict[str, Any]:
    """A template with its parameters and presets."""
    parameters = [
        {
            "name": each.name,
            "type": str(each.kind),
            "takes": each.takes,
            "unit": each.unit,
            "required": each.required,
            "default": each.default,
            "choices": list(each.choices),
            "help": each.help,
        }
        for each in shown.parameters
    ]
    presets = {name: asdict(preset) for name, preset in shown.presets.items()}
    return {"name": shown.name, "title": shown.title, "parameters": parameters, "presets": presets}
