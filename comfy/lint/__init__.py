"""What is wrong, slow or without effect in a graph that ComfyUI would run without a word."""

from comfy.lint.lint import lint
from comfy.lint.remark import Remark, Severity

__all__ = ["Remark", "Severity", "lint"]
