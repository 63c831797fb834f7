from __future__ import annotations

import io

from comfy.emulator.console import Console, Level


def printed(*, colours_levels: bool, text: str, level: Level = Level.INFO, green: bool = False) -> str:
    stream = io.StringIO()
    Console(stream, colours_levels=colours_levels).line(text, level, green=green)
    return stream.getvalue()


def test_a_line_is_bare_where_levels_are_not_coloured() -> None:
    assert printed(colours_levels=False, text="got prompt", level=Level.ERROR, green=True) == "got prompt\n"


def test_levels_are_coloured_as_a_real_server_prints_them() -> None:
    assert printed(colours_levels=True, text="got prompt") == "\x1b[32m[INFO]\x1b[0m got prompt\n"
    assert printed(colours_levels=True, text="no", level=Level.WARNING) == (
        "\x1b[1m\x1b[33m[WARNING]\x1b[0m no\n"
    )
    assert printed(colours_levels=True, text="no", level=Level.ERROR) == "\x1b[1m\x1b[31m[ERROR]\x1b[0m no\n"
    assert printed(colours_levels=True, text="done", green=True) == (
        "\x1b[32m[INFO]\x1b[0m \x1b[32mdone\x1b[0m\n"
    )


def test_only_the_first_line_of_a_message_has_a_level() -> None:
    text = printed(colours_levels=True, text="\nImport times for custom nodes:")

    assert text == "\x1b[32m[INFO]\x1b[0m \nImport times for custom nodes:\n"
