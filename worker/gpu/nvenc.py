"""Whether video can be encoded on the card: tried with a real frame, in a process of its own.

The list of encoders names ``h264_nvenc`` on every machine, and a card that has the encoder may still be
without it: a container without the ``video`` driver capability, an old driver, all sessions taken. The
try makes a CUDA context, which would stay with the worker as long as it lives: so a child does it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import asdict, dataclass
from fractions import Fraction
from typing import Final

TIMEOUT_S: Final = 30.0  # a cold driver takes seconds to make its first context
_SIDE: Final = 256  # pixels; the smallest frame that NVENC takes is about 145 wide


@dataclass(frozen=True, slots=True, kw_only=True)
class NvencFinding:
    """What came of it."""

    usable: bool
    reason: str  # in words


def try_nvenc(card_uuid: str | None) -> NvencFinding:
    """Encode one frame on a card; never raises, and takes `TIMEOUT_S` at most.

    Args:
        card_uuid: None: whichever the driver takes.
    """
    of_card = {"CUDA_VISIBLE_DEVICES": card_uuid} if card_uuid is not None else {}
    try:
        answer = subprocess.run(
            [sys.executable, "-m", "worker.gpu.nvenc"],
            env={**os.environ, **of_card},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=TIMEOUT_S,
            check=False,
            text=True,
            errors="replace",
        )
    except (OSError, subprocess.TimeoutExpired) as exc:
        return NvencFinding(usable=False, reason=f"the try did not end: {exc}")
    try:
        return NvencFinding(**json.loads(answer.stdout.splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        return NvencFinding(usable=False, reason=f"the try ended with {answer.returncode} and no word")


def encode_one_frame() -> NvencFinding:
    """Encode a grey frame with ``h264_nvenc`` in this process."""
    import av

    if "h264_nvenc" not in av.codecs_available:
        return NvencFinding(usable=False, reason="this PyAV is built without h264_nvenc")
    try:
        codec = av.CodecContext.create("h264_nvenc", "w")
        codec.width = codec.height = _SIDE
        codec.pix_fmt = "yuv420p"
        codec.framerate = Fraction(16)
        frame = av.VideoFrame(_SIDE, _SIDE, "yuv420p")
        packets = [*codec.encode(frame), *codec.encode(None)]
    except (av.FFmpegError, OSError, ValueError) as exc:
        return NvencFinding(usable=False, reason=f"the driver refuses: {exc}")
    if not any(packet.size for packet in packets):
        return NvencFinding(usable=False, reason="it took a frame and gave nothing back")
    return NvencFinding(usable=True, reason="one frame was encoded")


if __name__ == "__main__":
    sys.stdout.write(json.dumps(asdict(encode_one_frame())) + "\n")
