"""Links are whole and can be clicked; a clip is opened with what the system has for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.cli.terminal.opening import opener, say_link
from tests.support.terminal import a_console, text_of

URL = "http://127.0.0.1:9000/farm/jobs/0123456789abcdef/clip.mp4?X-Amz-Signature=" + "f" * 64


def test_a_terminal_gets_a_link_that_is_neither_wrapped_nor_cut() -> None:
    console = a_console(terminal=True, width=40)

    say_link(console, "link", URL)

    said = text_of(console)
    assert said.count("\n") == 1
    assert f";{URL}\x1b\\" in said  # where a click leads to
    assert f"{URL}\x1b]8;;\x1b\\" in said  # what is shown


def test_a_file_gets_the_address_alone() -> None:
    console = a_console(width=40)

    say_link(console, "link", URL)

    assert text_of(console) == f"link: {URL}\n"


@pytest.mark.parametrize(
    ("platform", "environ", "program"),
    [
        ("linux", {"DISPLAY": ":0"}, "xdg-open"),
        ("linux", {"WAYLAND_DISPLAY": "wayland-0"}, "xdg-open"),
        ("linux", {}, None),
        ("linux", {"WSL_DISTRO_NAME": "Ubuntu"}, "wslview"),
        ("darwin", {}, "open"),
    ],
)
def test_each_system_has_its_opener(
    platform: str,
    environ: dict[str, str],
    program: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("xdg-open", "open", "wslview"):
        (tmp_path / name).touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))

    assert opener(platform, environ) == (str(tmp_path / program) if program else None)
