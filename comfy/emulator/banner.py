"""What everything that the emulator makes says of itself."""

from __future__ import annotations

from typing import Final

BANNER: Final = "EMULATED - not WAN"
