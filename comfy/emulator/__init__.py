"""A stand-in for a ComfyUI server: the same HTTP and websocket behaviour, no model, no GPU.

Start it with ``python -m comfy.emulator --port 8188``. It says everywhere that it is an emulator: at start,
in ``/system_stats``, and in every frame that it draws.
"""
