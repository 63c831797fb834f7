"""Files that a command writes."""

from __future__ import annotations

from pathlib import Path

import typer


def write_file(path: Path, text: str) -> None:
    """Write text to a new file; one that is there stays as it is.

    Raises:
        BadParameter: it cannot be written, or is there.
    """
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise typer.BadParameter(f"{path} is there already: name another file, or remove it") from None
    except OSError as exc:
        raise typer.BadParameter(f"cannot write {path}: {exc.strerror or exc}") from exc
