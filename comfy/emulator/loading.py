"""Pretended model loading: which models are on the card, and what the log says when one is brought there.

Source: the log lines of ComfyUI ``comfy/model_management.py`` and ``comfy/model_patcher.py``, as printed by
each generation.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from comfy.emulator.console import Console
from comfy.generations import Generation, LoadLines

_NO_LIMIT: Final = "9.5367431640625e+25"
# Of a model that does not fit, this share stays on the card in the mode "partial".
_PARTIAL_SHARE: Final = 0.6
_BUFFER_MIB: Final = 352.0


class LoadMode(StrEnum):
    """How the emulated server holds its models."""

    RESIDENT = "resident"  # all of them on the card
    PARTIAL = "partial"  # one diffusion model at a time, and not all of it
    DYNAMIC = "dynamic"  # staged in RAM, brought over as needed (newer servers)
    NOVRAM = "novram"  # nothing stays on the card
    CPU = "cpu"  # no card


@dataclass(frozen=True, slots=True, kw_only=True)
class Loadable:
    """A model that a node brings to the card."""

    class_name: str  # ComfyUI's: WAN21, WAN22, WanTEModel, WanVAE
    file: str
    size_mib: float
    is_diffusion_model: bool = False
    patches: int = 0


class Residency:
    """The models on the card."""

    def __init__(
        self, console: Console, mode: LoadMode, generation: Generation, *, load_s: float, budget_mib: float
    ) -> None:
        self._console = console
        self._mode = mode
        self._generation = generation
        self._load_s = load_s
        self._budget_mib = budget_mib
        self._here: list[Loadable] = []

    def bring(self, model: Loadable, *, pause: Callable[[float], None] = time.sleep) -> None:
        """Have the model on the card; says and takes nothing when it is there already."""
        if model in self._here:
            return
        self._console.line(f"Requested to load {model.class_name}")
        self._make_room(model)
        pause(self._load_s)
        self._console.line(self._loaded_line(model))
        self._here.append(model)

    def unload_all(self) -> None:
        """Take everything off the card."""
        self._here.clear()

    def used_mib(self) -> float:
        """What the models take on the card."""
        return min(self._budget_mib, sum(model.size_mib for model in self._here))

    def _make_room(self, model: Loadable) -> None:
        if self._mode in {LoadMode.RESIDENT, LoadMode.CPU}:
            return
        # Without room for all, a diffusion model pushes the others out; everything leaves in novram.
        leaving = [
            other
            for other in self._here
            if self._mode is LoadMode.NOVRAM or (model.is_diffusion_model and other.is_diffusion_model)
        ]
        for other in leaving:
            self._here.remove(other)
        if leaving and self._mode is LoadMode.PARTIAL and self._generation.tells_partial_unloads:
            freed = sum(other.size_mib for other in leaving) * _PARTIAL_SHARE
            self._console.line(
                f"Unloaded partially: {freed:.2f} MB freed, 0.00 MB remains loaded, "
                f"{_BUFFER_MIB:.2f} MB buffer reserved, lowvram patches: 0"
            )

    def _loaded_line(self, model: Loadable) -> str:
        match self._mode:
            case LoadMode.DYNAMIC:
                return (
                    f"Model {model.class_name} prepared for dynamic VRAM loading. "
                    f"{model.size_mib:.0f}MB Staged. {model.patches} patches attached."
                )
            case LoadMode.NOVRAM:
                return self._partially(model, usable_mib=0.0)
            case LoadMode.PARTIAL if model.is_diffusion_model:
                return self._partially(model, usable_mib=model.size_mib * _PARTIAL_SHARE)
            case _:
                return self._completely(model)

    def _partially(self, model: Loadable, *, usable_mib: float) -> str:
        match self._generation.load_lines:
            case LoadLines.BARE_NUMBERS:
                return f"loaded partially {usable_mib} {usable_mib} {model.patches}"
            case LoadLines.IN_WORDS:
                return (
                    f"loaded partially; {usable_mib:.2f} MB usable, {usable_mib:.2f} MB loaded, "
                    f"{model.size_mib - usable_mib:.2f} MB offloaded, {_BUFFER_MIB:.2f} MB buffer reserved, "
                    f"lowvram patches: {model.patches}"
                )
        assert_never(self._generation.load_lines)

    def _completely(self, model: Loadable) -> str:
        match self._generation.load_lines:
            case LoadLines.BARE_NUMBERS:
                budget = _NO_LIMIT if self._mode is LoadMode.CPU else str(self._budget_mib)
                return f"loaded completely {budget} {model.size_mib} True"
            case LoadLines.IN_WORDS:
                usable = "" if self._mode is LoadMode.CPU else f"{self._budget_mib:.2f} MB usable,"
                return f"loaded completely; {usable} {model.size_mib:.2f} MB loaded, full load: True"
        assert_never(self._generation.load_lines)
