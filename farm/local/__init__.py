"""The farm on one machine with nothing installed: Valkey and S3 from wheels, one worker, Flower.

`LocalStack` runs it; `farm.local.running` finds one and stops it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from farm.local.stack import LocalStack

__all__ = ["LocalStack"]


def __getattr__(name: str) -> Any:
    """Loaded at its first use: whoever only looks for a stack that runs needs nothing of it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from farm.local.stack import LocalStack

    return LocalStack
