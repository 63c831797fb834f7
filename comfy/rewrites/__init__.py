"""Changes to a graph: each works on a copy and reports every input that it wrote."""

from comfy.rewrites.change import Change, ChangeKind
from comfy.rewrites.output_prefix import set_output_prefix
from comfy.rewrites.tiled_decode import tile_decodes

__all__ = ["Change", "ChangeKind", "set_output_prefix", "tile_decodes"]
