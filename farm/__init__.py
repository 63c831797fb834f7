"""The producer, and what producer and worker share.

    from farm import Farm

    with Farm() as farm:
        job = farm.submit(template="wan22-t2v-a14b", parameters={"prompt": "a fox in the snow"})
        paths = job.wait().result().download("clips")

What is listed in `__all__` is the interface for callers; everything is loaded at its first use, so that
a worker or a server that needs one module of this package does not pay for the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str

    from farm.aio import AsyncFarm, AsyncJob, AsyncResult
    from farm.asking.request import JobOptions, JobRequest
    from farm.asking.selection import Selection
    from farm.client import Farm
    from farm.errors import (
        BucketNotFound,
        FarmError,
        IdempotencyConflict,
        IllegalMove,
        InputUnavailable,
        InvalidArgument,
        InvalidJob,
        JobFailed,
        JobForgotten,
        JobNotFound,
        NoResult,
        NotDurable,
        ObjectDamaged,
        ObjectNotFound,
        Problem,
        SettingsError,
        StackError,
        StorageDenied,
        StorageUnavailable,
        StoreMisconfigured,
        StoreUnavailable,
        Unplaceable,
        WaitTimeout,
    )
    from farm.handle import Job, Result
    from farm.job import Artifact, EventKind, JobEvent, JobRecord, JobSpec, JobState, Progress, VideoFacts
    from farm.settings.redis import RedisSettings
    from farm.settings.s3 import S3Settings
    from farm.status.worker import WorkerStatus

__all__ = [
    "Artifact",
    "AsyncFarm",
    "AsyncJob",
    "AsyncResult",
    "BucketNotFound",
    "EventKind",
    "Farm",
    "FarmError",
    "IdempotencyConflict",
    "IllegalMove",
    "InputUnavailable",
    "InvalidArgument",
    "InvalidJob",
    "Job",
    "JobEvent",
    "JobFailed",
    "JobForgotten",
    "JobNotFound",
    "JobOptions",
    "JobRecord",
    "JobRequest",
    "JobSpec",
    "JobState",
    "NoResult",
    "NotDurable",
    "ObjectDamaged",
    "ObjectNotFound",
    "Problem",
    "Progress",
    "RedisSettings",
    "Result",
    "S3Settings",
    "Selection",
    "SettingsError",
    "StackError",
    "StorageDenied",
    "StorageUnavailable",
    "StoreMisconfigured",
    "StoreUnavailable",
    "Unplaceable",
    "VideoFacts",
    "WaitTimeout",
    "WorkerStatus",
]

_MODULES = {
    "aio": ("AsyncFarm", "AsyncJob", "AsyncResult"),
    "client": ("Farm",),
    "status.worker": ("WorkerStatus",),
    "handle": ("Job", "Result"),
    "job": (
        "Artifact",
        "EventKind",
        "JobEvent",
        "JobRecord",
        "JobSpec",
        "JobState",
        "Progress",
        "VideoFacts",
    ),
    "asking.selection": ("Selection",),
    "asking.request": ("JobOptions", "JobRequest"),
    "settings.redis": ("RedisSettings",),
    "settings.s3": ("S3Settings",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return importlib.import_module("farm.installed").own_version()
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"farm.{_HOMES.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
