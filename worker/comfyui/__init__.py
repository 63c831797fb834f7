"""The ComfyUI that a worker owns: started, watched, stopped, renewed, and what it has installed."""
