"""Comfy API v2: the contract that ComfyUI's own clients speak (`comfy-sdk`, `@comfyorg/sdk`).

Source: the published specification, version 2.0.0, and what `comfy-sdk` 0.5.0 asks for beyond it.
"""
