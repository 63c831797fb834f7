"""``docs/configuration.md``, made from the settings themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from farm.settings.environment import variables_of
from farm.settings.groups import GROUPS

_INTRODUCTION: Final = """\
# Configuration

Everything is set by environment variables, read once when a process starts. A value that is wrong is
refused with the variable's name. A secret (an address with a password, a key, a token) may stand in a file
instead, which the variable with `_FILE` behind it names. A variable that begins with `FARM_` and that nobody
knows is reported by `farm check`.

Where `farm up` runs, in that folder and those below it, commands, workers and `Farm()` take what is not set
from that local stack. `farm env` prints it as a shell reads it: `eval "$(farm env)"`.

This page is made from the settings by `make docs`; a test holds the two together. The names after the
first one of a row are accepted too: those of runpod's worker-comfyui, and older names of ours.
"""

_OTHERS: Final = """
## Read by others

| variable | meaning |
| --- | --- |
| `CUDA_VISIBLE_DEVICES` | The worker's card: index, list (the first counts), GPU or MIG UUID; `-1`: none. |
| `FARM_DEBUG` | `1`: the command line shows tracebacks. |
| `HTTP_PROXY`, `HTTPS_PROXY`, `NO_PROXY` | For S3 elsewhere, never for loopback, Redis, ComfyUI, or inputs. |
| `AWS_…`, profiles | boto3's own search for keys, where none are set; else only `AWS_CA_BUNDLE` counts. |

What the farm starts gets a clean environment: no variables of rclone, Flower, Celery or Python's own, no
links to services of Kubernetes (`FARM_PORT=tcp://…`), UTF-8 for all text. ComfyUI gets what it computes by,
and what `FARM_COMFY_VARIABLES` names.
"""


def page() -> str:
    """The page as text."""
    groups = (
        "\n".join(
            [
                f"\n## {(group.__doc__ or '').splitlines()[0].rstrip('.')}\n",
                "| variable | default | meaning |",
                "| --- | --- | --- |",
                *_rows(group.model_fields),
            ]
        )
        for group in GROUPS
    )
    return _INTRODUCTION + "\n".join(groups) + "\n" + _OTHERS


def _rows(fields: dict[str, FieldInfo]) -> Iterator[str]:
    for info in fields.values():
        variables = ", ".join(f"`{name}`" for name in variables_of(info))
        yield f"| {variables} | {_shown(info.default)} | {info.description} |"


def _shown(default: Any) -> str:
    if isinstance(default, SecretStr):
        default = default.get_secret_value()
    return "–" if default is None or default == "" else f"`{default}`"
