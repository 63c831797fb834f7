"""Files that a command writes."""

from __future__ import annotations

from pathlib import Path

import typer


def write_file(path: Path, text: str, *, new: bool = False) -> None:
    """Write text to a file.

    Args:
        new: leave one that is there as it is.

    Raises:
        BadParameter: it cannot be written, or is there and has to be new.
    """
    try:
        with path.open("x" if new else "w", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise typer.BadParameter(f"{path} is there already") from None
    except OSError as exc:
        raise typer.BadParameter(f"cannot write {path}: {exc.strerror or exc}") from exc
