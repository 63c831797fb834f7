"""What a WAN graph consists of, each part with the inputs where its values are set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from comfy.graphs.values import Setting
from comfy.wan.models import Expert
from comfy.wan.names import expert_of_lora
from comfy.wan.sizes import Grid, sides_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A node that plays a part."""

    node_id: str
    class_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Loader(Part):
    """A node that reads a model file."""

    file: Setting | None  # None: no input of it is known to name a file

    @property
    def file_name(self) -> str | None:
        """The file's name; None when it is not known before the graph runs."""
        return self.file.value if self.file is not None and isinstance(self.file.value, str) else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lora(Part):
    """One LoRA on its way into a model."""

    file: Setting
    strength: Setting | None

    @property
    def has_effect(self) -> bool:
        """Whether it changes the model: with strength 0 its loader leaves it out.

        Source: ComfyUI nodes.py, ``LoraLoader.load_lora``.
        """
        return self.strength is None or self.strength.value != 0

    @property
    def expert(self) -> Expert | None:
        """For which expert its file is made, as far as its name tells."""
        return expert_of_lora(self.file.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One sampler with the model that it is given; a clip of WAN 2.2 A14B takes two."""

    sampler_id: str
    class_type: str
    expert: Expert
    evidence: str  # how `expert` is known, in words
    by_file: Expert | None  # what the model file's name says; None: nothing
    by_position: Expert | None  # what the steps say; None: the sampler does all of them
    loader: Loader | None  # None: the graph does not say where the model comes from
    loras: tuple[Lora, ...]  # in the order in which they are put on the model
    patches: tuple[Part, ...]  # other nodes that the model passes, the one next to the loader first
    guided: bool | None  # whether a step takes two passes; None: cfg is computed, or the sampler has none
    own_steps: int | None  # of a sampler that runs several models: the steps that this one does
    settings: Mapping[str, Setting]  # by `STAGE_ROLES`; only those that the sampler has

    def get(self, name: str) -> Setting | None:
        """One of the sampler's settings by its role ("steps", "cfg", …); None when it has none."""
        return self.settings.get(name)

    def whole(self, name: str) -> int | None:
        """A setting as a whole number; None when it is missing, unknown or something else."""
        found = self.settings.get(name)
        return None if found is None else found.whole

    @property
    def file_name(self) -> str | None:
        """The model's file; None when it is not known before the graph runs."""
        return None if self.loader is None else self.loader.file_name

    @property
    def active_loras(self) -> tuple[Lora, ...]:
        """The LoRAs that change the model."""
        return tuple(lora for lora in self.loras if lora.has_effect)

    @property
    def steps_run(self) -> int | None:
        """How many steps the model does; None when that is not known."""
        if self.own_steps is not None:
            return self.own_steps
        steps = self.whole("steps")
        if steps is None or any(self._is_hidden(name) for name in ("start", "end")):
            return None
        end = self.whole("end")
        # WanVideoSampler writes -1 for "to the end", KSamplerAdvanced a number beyond it.
        last = steps if end is None or end < 0 else min(end, steps)
        return max(last - (self.whole("start") or 0), 0)

    @property
    def adds_noise(self) -> bool:
        """Whether its seed counts: a stage that goes on from leftover noise adds none."""
        found = self.settings.get("add_noise")
        if found is not None and found.value is not None:
            return found.value not in ("disable", False)
        return (self.whole("start") or 0) == 0

    def _is_hidden(self, name: str) -> bool:
        found = self.settings.get(name)
        return found is not None and found.value is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Part):
    """A node that writes files."""

    saves: bool  # False: a preview, which ComfyUI keeps for a moment only
    fps: Setting | None
    format: Setting | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpolation(Part):
    """A node that puts frames between frames."""

    multiplier: Setting | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """A node that says how large a clip is sampled."""

    node_id: str
    class_type: str
    width: Setting  # pixels
    height: Setting  # pixels
    frames: Setting
    batch: Setting | None
    is_piece: bool = False  # `frames` are those of one piece of a clip that may be of any length

    @property
    def sides(self) -> Grid:
        """The widths and heights that it takes."""
        return sides_of(self.class_type)
