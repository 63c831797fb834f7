"""The row of noise levels that is linked into a sampler: it says how many steps are run.

A sampler's own steps count no more then. Source: WanVideoWrapper wanvideo/schedulers/__init__.py,
``get_scheduler``; ComfyUI comfy_extras/nodes_custom_sampler.py; https://github.com/cmeka/ComfyUI-WanMoEScheduler.
"""

from __future__ import annotations

import re
from typing import Final

from comfy.graphs.values import InputPath, Setting
from comfy.wan.reader import Reader

SIGMAS: Final = "sigmas"
# What makes another row of as many levels, or cuts it at a step that is read for itself.
_AS_LONG: Final = frozenset(
    {"FlipSigmas", "MultiplySigmas", "PrintSigmas", "SetFirstSigma", "SplitSigmas", "VisualizeSigmasKJ"}
)
# Output -> the inputs whose sum its row has in steps: all of it, or the part of one expert.
_SUMS: Final = {
    "WanMoEScheduler": {4: ("steps_high", "steps_low"), 5: ("steps_high",), 6: ("steps_low",)},
}
_WRITTEN: Final = "ManualSigmas"
_LEVEL: Final = re.compile(r"[-+]?(?:\d*\.*\d+)")


def steps_of_row(reader: Reader, node_id: str) -> Setting | None:
    """The steps that the row linked into a node has; None: none is linked, so its own steps count.

    The value is unknown where the row's maker does not tell. It is computed, unless the maker has ``steps``.
    """
    source = reader.source(node_id, SIGMAS)
    if source is None:
        return None
    passed = {node_id}
    while reader.base(source[0]) in _AS_LONG and source[0] not in passed:
        passed.add(source[0])
        source = reader.source(source[0], SIGMAS) or source
    maker, slot = source
    if reader.source(maker, SIGMAS) is None and (steps := reader.setting(maker, "steps")) is not None:
        return steps
    asked = InputPath(node_id=node_id, input_name=SIGMAS)
    value = _sum(reader, maker, slot) or _written(reader, maker)
    return Setting(asked=asked, set_at=asked, value=value, source_id=maker, slot=slot)


def _sum(reader: Reader, maker: str, slot: int) -> int | None:
    names = _SUMS.get(reader.base(maker), {}).get(slot, ())
    found = [reader.setting(maker, name) for name in names]
    wholes = [each.whole for each in found if each is not None and each.whole is not None]
    return sum(wholes) if len(wholes) == len(names) else None


def _written(reader: Reader, maker: str) -> int | None:
    text = reader.value(maker, SIGMAS) if reader.base(maker) == _WRITTEN else None
    return len(_LEVEL.findall(text)) - 1 if isinstance(text, str) else None
