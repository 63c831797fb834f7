"""What flows along the links of a graph in here: not tensors, but what would be known about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """How a picture would have come to be; it is written on each frame."""

    prompt: str = ""
    seed: int = 0
    steps: tuple[str, ...] = ()  # one entry for each sampler: "high noise 0-2 of 4, euler"
    spoilt: str = ""  # "black", "noise": nothing else is to be seen

    def then(self, step: str, *, seed: int | None = None, prompt: str | None = None) -> Story:
        """The same story with one more sampler."""
        return replace(
            self,
            steps=(*self.steps, step),
            seed=self.seed if seed is None else seed,
            prompt=self.prompt or prompt or "",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A diffusion model: its file and what was patched onto it."""

    file: str
    loras: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """A text encoder."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Vae:
    """A video auto-encoder."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditioning:
    """An encoded text."""

    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Latent:
    """A latent video, by the size of the pictures it would be decoded to."""

    width: int  # px
    height: int  # px
    frames: int
    batch: int = 1
    story: Story = field(default_factory=Story)


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A batch of pictures that are drawn only when somebody saves them."""

    width: int  # px
    height: int  # px
    count: int
    story: Story = field(default_factory=Story)


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """Pictures at a pace."""

    images: Images
    fps: Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Sound, of which only the length is known."""

    duration_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Guider:
    """What a custom sampler samples with."""

    model: Model
    positive: Any
    cfg: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """What stands in for an output that must not be used (ComfyUI's ExecutionBlocker)."""

    message: str


_STAND_INS: Final[Mapping[str, Any]] = {
    "IMAGE": Images(width=512, height=512, count=1),
    "LATENT": Latent(width=512, height=512, frames=1),
    "MODEL": Model(file="unknown"),
    "CLIP": Clip(file="unknown"),
    "VAE": Vae(file="unknown"),
    "CONDITIONING": Conditioning(text=""),
    "VIDEO": Video(images=Images(width=512, height=512, count=1), fps=Fraction(16)),
    "WANVIDEOMODEL": Model(file="unknown"),
    "WANTEXTENCODER": Clip(file="unknown"),
    "WANVAE": Vae(file="unknown"),
    "WANVIDIMAGE_EMBEDS": Latent(width=512, height=512, frames=1),
    "WANVIDEOTEXTEMBEDS": Conditioning(text=""),
    "AUDIO": Audio(duration_s=1.0),
    "INT": 0,
    "FLOAT": 0.0,
    "BOOLEAN": False,
    "STRING": "",
}


def stand_in(kind: str) -> Any:
    """Something of this type, for an output of a node class that the emulator does not act out."""
    return _STAND_INS.get(kind)
