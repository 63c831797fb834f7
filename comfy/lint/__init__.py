"""What is wrong, slow or without effect in a graph that ComfyUI would run without a word."""

from comfy.lint.diagnostic import Diagnostic, Severity
from comfy.lint.lint import lint

__all__ = ["Diagnostic", "Severity", "lint"]
