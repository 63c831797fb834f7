"""Changes to a graph: each works on a copy and reports every input that it wrote."""

from comfy.rewrites.change import Change, ChangeKind
from comfy.rewrites.optimize import Optimized, Outcome, RewriteStatus, optimize
from comfy.rewrites.options import Attention, RewriteOptions
from comfy.rewrites.output_prefix import set_output_prefix
from comfy.rewrites.site import Site
from comfy.rewrites.tiled_decode import tile_decodes

__all__ = [
    "Attention",
    "Change",
    "ChangeKind",
    "Optimized",
    "Outcome",
    "RewriteOptions",
    "RewriteStatus",
    "Site",
    "optimize",
    "set_output_prefix",
    "tile_decodes",
]
