"""Graphs in ComfyUI's API format: reading them, following links, what they need, and the gate on paths."""
