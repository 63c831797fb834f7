"""Files of every kind with a prompt in them, and the search for it in whatever coding."""

from __future__ import annotations

import contextlib
import json
import re
import struct
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from PIL import Image, ImageSequence
from PIL.PngImagePlugin import PngInfo

from tests.support.clips import make_clip, make_sound

SECRET: Final = "fox-nobody-may-read-of"
_CODINGS: Final = ("utf-8", "utf-16-le", "utf-16-be")
# What may begin a zlib stream with a window of 32 KiB: the two bytes are a multiple of 31.
_ZLIB_HEAD: Final = re.compile(
    b"\x78[%b]" % re.escape(bytes(n for n in range(256) if (0x7800 + n) % 31 == 0))
)
_TAGGED: Final = {"movflags": "use_metadata_tags+faststart"}


def graph_text(length: int = 400) -> str:
    """A graph as ComfyUI's nodes write it into a file, with the secret at its beginning and at its end."""
    nodes = {
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": SECRET, "clip": ["38", 0]}},
        "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "x" * length + SECRET + " лиса"}},
    }
    return json.dumps(nodes)


def has_secret(content: bytes) -> bool:
    """Whether it stands in the bytes as text, in UTF-16, or within a zlib stream."""
    words = [SECRET.encode(coding) for coding in _CODINGS]
    return any(word in text for text in (content, *_inflated(content)) for word in words)


def _inflated(content: bytes) -> list[bytes]:
    found = []
    for head in _ZLIB_HEAD.finditer(content):
        inflater = zlib.decompressobj()
        with contextlib.suppress(zlib.error):
            found.append(inflater.decompress(content[head.start() :], 1 << 22))
    return found


def _picture(path: Path, frames: int = 1, **options: Any) -> Path:
    images = [Image.effect_noise((48, 32), 60 + number).convert("RGB") for number in range(frames)]
    more: dict[str, Any] = (
        {"save_all": True, "append_images": images[1:], "duration": 100} if frames > 1 else {}
    )
    images[0].save(path, **more, **options)
    return path


def _exif(text: str) -> Image.Exif:
    """As ComfyUI writes it into a WEBP: the prompt as "model", the workflow as "make"."""
    exif = Image.Exif()
    exif[0x0110] = f"prompt:{text}"
    exif[0x010F] = f"workflow:{text}"
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode("utf-16-le")
    return exif


def _xmp(text: str) -> bytes:
    return f"<x:xmpmeta xmlns:x='adobe:ns:meta/'>{text}</x:xmpmeta>".encode()


def _png_texts(text: str) -> PngInfo:
    info = PngInfo()
    info.add_text("prompt", text)
    info.add_text("workflow", text, zip=True)
    info.add_itxt("parameters", text, "en", "параметри", zip=True)
    info.add_itxt("XML:com.adobe.xmp", text)
    # As ComfyUI's animated PNG has it, behind the pictures too.
    info.add(b"comf", b"prompt\0" + text.encode("latin-1", "replace"), after_idat=True)
    return info


def _gif(path: Path, text: str) -> Path:
    _picture(path, frames=3, comment=text.encode())
    content = path.read_bytes()
    xmp = b"\x21\xff\x0bXMP DataXMP" + _xmp(text)[:200].replace(b"\0", b"")
    # Its text is no row of blocks, but ends with bytes that lead any reader out of it.
    xmp += b"\x01" + bytes(range(255, -1, -1)) + b"\0"
    path.write_bytes(content[:-1] + xmp + b";")
    return path


def _mp3(path: Path, text: str) -> Path:
    make_sound(path, encoder="libmp3lame", metadata={"prompt": text, "comment": text})
    with path.open("ab") as file:
        file.write(b"TAG" + SECRET.encode().ljust(124, b"\0") + b"\x0c")
    return path


def _wav(path: Path, text: str) -> Path:
    make_sound(path, encoder="pcm_s16le", metadata={"comment": text, "title": SECRET})
    content = bytearray(path.read_bytes())
    content += b"id3 " + struct.pack("<I", len(text)) + text.encode("latin-1", "replace")
    content += bytes(len(content) % 2)
    content[4:8] = struct.pack("<I", len(content) - 8)
    path.write_bytes(content)
    return path


def _safetensors(path: Path, text: str) -> Path:
    head = {
        "__metadata__": {"prompt": text, "workflow": text, "modelspec.title": "x"},
        "latent_tensor": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
    }
    body = json.dumps(head).encode()
    path.write_bytes(struct.pack("<Q", len(body)) + body + b"\1\2\3\4\5\6\7\x08")
    return path


def _glb(path: Path, text: str) -> Path:
    scene = {"asset": {"version": "2.0", "extras": {"prompt": text}}, "buffers": [{"byteLength": 4}]}
    body = json.dumps(scene).encode()
    body += b" " * (-len(body) % 4)
    chunks = struct.pack("<I4s", len(body), b"JSON") + body + struct.pack("<I4s", 4, b"BIN\0") + b"\1\2\3\4"
    path.write_bytes(struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks)
    return path


def _exr(path: Path, text: str) -> Path:
    def attribute(name: str, kind: str, value: bytes) -> bytes:
        return name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value

    head = b"v/1\x01" + struct.pack("<I", 2) + attribute("compression", "compression", b"\0")
    head += attribute("prompt", "string", text.encode()) + attribute("type", "string", b"scanlineimage")
    path.write_bytes(head + b"\0" + struct.pack("<Q", len(head) + 9) + b"pixels")
    return path


def _svg(path: Path, text: str) -> Path:
    data = f"<metadata>\n<![CDATA[\n{text} </metadata> \n]]>\n</metadata>"
    path.write_text(f'<svg xmlns="http://www.w3.org/2000/svg" width="4">\n{data}<path d="M0 0h4"/></svg>')
    return path


def _clip(**options: Any) -> Callable[[Path, str], Path]:
    def make(path: Path, text: str) -> Path:
        # A key of ours, one that every container knows, and one that is a player's.
        metadata = {"prompt": text, "comment": text, "title": SECRET, "workflow": text}
        return make_clip(path, frames=9, metadata=metadata, **options)

    return make


def _sound(encoder: str) -> Callable[[Path, str], Path]:
    return lambda path, text: make_sound(path, encoder=encoder, metadata={"prompt": text, "comment": text})


# What it is called -> file name, and how it is made.
FILES: Final[Mapping[str, tuple[str, Callable[[Path, str], Path]]]] = {
    "mp4": ("a.mp4", _clip()),
    "mp4 as SaveVideo writes it": ("a.mp4", _clip(options=_TAGGED, sound=True)),
    "mp4 with the index behind": ("a.mp4", _clip(options={"movflags": "use_metadata_tags"})),
    "mp4 in fragments": ("a.mp4", _clip(options={"movflags": "frag_keyframe+empty_moov+use_metadata_tags"})),
    "mp4 of H.265": ("a.mp4", _clip(options=_TAGGED, encoder="libx265")),
    "mov": ("a.mov", _clip()),
    "mov of ProRes": ("a.mov", _clip(options=_TAGGED, encoder="prores")),
    "m4a": ("a.m4a", _sound("aac")),
    "mkv": ("a.mkv", _clip(sound=True)),
    "mkv of FFV1": ("a.mkv", _clip(encoder="ffv1")),
    "webm of VP9": ("a.webm", _clip(sound=True)),
    "webm of AV1": ("a.webm", _clip(encoder="libsvtav1")),
    "avi": ("a.avi", _clip()),
    "gif": ("a.gif", _gif),
    "png": ("a.png", lambda path, text: _picture(path, pnginfo=_png_texts(text), exif=_exif(text))),
    "animated png": ("a.png", lambda path, text: _picture(path, 3, pnginfo=_png_texts(text))),
    "webp": ("a.webp", lambda path, text: _picture(path, exif=_exif(text[:9000]), xmp=_xmp(text))),
    "animated webp": ("a.webp", lambda path, text: _picture(path, 3, exif=_exif(text), xmp=_xmp(text))),
    "jpeg": (
        "a.jpg",
        lambda path, text: _picture(
            path, exif=_exif(text[:9000]), comment=text[:9000].encode(), xmp=_xmp(text[:9000])
        ),
    ),
    "tiff": ("a.tiff", lambda path, text: _picture(path, tiffinfo=dict(_exif(text)), description=text)),
    "avif": ("a.avif", lambda path, text: _picture(path, exif=_exif(text), xmp=_xmp(text))),
    "flac": ("a.flac", _sound("flac")),
    "mp3": ("a.mp3", _mp3),
    "opus": ("a.opus", _sound("libopus")),
    "wav": ("a.wav", _wav),
    "latent": ("a.latent", _safetensors),
    "model": ("a.safetensors", _safetensors),
    "glb": ("a.glb", _glb),
    "exr": ("a.exr", _exr),
    "svg": ("a.svg", _svg),
}


def frames_of(path: Path) -> list[tuple[bytes, Any]]:
    """Every picture of a file that Pillow reads, with how long it is shown."""
    with Image.open(path) as picture:
        return [
            (frame.convert("RGBA").tobytes(), frame.info.get("duration"))
            for frame in ImageSequence.Iterator(picture)
        ]
