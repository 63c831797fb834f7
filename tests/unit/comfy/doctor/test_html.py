"""The page of a report: one file, nothing from the net, foreign text stays text; seen in a real browser."""

from __future__ import annotations

import re
import shutil
import subprocess
import zlib
from pathlib import Path

import pytest
from PIL import Image

from bench.doctor import CORPUS
from comfy.doctor.diagnose import diagnose
from comfy.doctor.html import page
from comfy.doctor.report import Phase
from comfy.doctor.words import shares

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def origin() -> str:
    with (CORPUS / "origin-450s.log").open("rb") as log:
        return page(diagnose(log), "The 450 s job")


def test_nothing_comes_from_the_net() -> None:
    text = origin()

    assert "<script" not in text
    assert not re.search(r"""(?:src|href)\s*=|url\(|@import""", text)


def test_what_a_log_says_is_no_markup() -> None:
    text = page(diagnose("[ERROR] <img src=x onerror=alert(1)>\n"), "<b>a log</b>")

    assert "<img" not in text
    assert "<b>" not in text
    assert "&lt;img" in text


def test_it_has_the_timeline_and_the_findings_with_their_lines() -> None:
    text = origin()

    assert '<svg class="bar"' in text
    assert "unexplained" in text
    assert "gguf-where-fp8-fits" in text
    assert "line 14" in text or "qtypes" in text
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text


def test_the_cells_of_a_bar_fill_its_width() -> None:
    with (CORPUS / "stamped-interpolation.log").open("rb") as log:
        phases = diagnose(log).prompts[0].phases

    cells = shares(phases, 80)

    assert sum(count for _, count in cells) == 80
    assert {phase for phase, _ in cells} >= {Phase.SAMPLING, Phase.FRAMES}
    assert shares((), 80) == []


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_browser_draws_the_timeline_and_takes_the_scheme(tmp_path: Path, scheme: str) -> None:
    (tmp_path / "report.html").write_text(origin(), encoding="utf-8")

    picture = screenshot(tmp_path / "report.html", tmp_path / "report.png", scheme)

    colours = {colour for _, colour in picture.convert("RGB").getcolors(picture.width * picture.height) or ()}
    assert (0x00, 0x72, 0xB2) in colours  # sampling
    assert (0xD5, 0x5E, 0x00) in colours  # unexplained
    paper = picture.convert("L").crop((0, 0, 4, 4)).getextrema()
    assert paper == ((22, 22) if scheme == "dark" else (255, 255))


@pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
def test_it_is_printed_on_white_paper_in_colour_even_by_a_dark_browser(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(origin(), encoding="utf-8")

    pdf = printed(tmp_path / "report.html", tmp_path / "report.pdf")

    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", pdf)) <= 4
    drawn = b"".join(map(zlib.decompress, re.findall(rb"stream\r?\n(x.*?)\r?\nendstream", pdf, re.DOTALL)))
    filled = {tuple(round(float(part) * 255) for part in found) for found in FILL.findall(drawn)}
    assert (0x00, 0x72, 0xB2) in filled  # sampling
    assert (0xD5, 0x5E, 0x00) in filled  # unexplained
    assert not any(max(colour) < 40 and min(colour) > 10 for colour in filled), (
        filled
    )  # the dark scheme's paper


# Red, green and blue that an area of a PDF is filled with.
FILL = re.compile(rb"([\d.]+) ([\d.]+) ([\d.]+) rg\b")


def printed(html: Path, pdf: Path) -> bytes:
    command = [
        BROWSER or "", "--headless=new", "--no-sandbox", "--disable-gpu", "--force-dark-mode",
        "--blink-settings=preferredColorScheme=0", "--no-pdf-header-footer",
        f"--user-data-dir={pdf.parent / 'profile'}", f"--print-to-pdf={pdf}", html.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return pdf.read_bytes()


def screenshot(html: Path, png: Path, scheme: str) -> Image.Image:
    forced = ["--force-dark-mode", "--blink-settings=preferredColorScheme=0"] if scheme == "dark" else []
    command = [
        BROWSER or "", "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
        "--window-size=900,1400",
        f"--user-data-dir={png.parent / 'profile'}", f"--screenshot={png}", *forced, html.as_uri(),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=120, capture_output=True)
    return Image.open(png)
