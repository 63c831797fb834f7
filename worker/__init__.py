"""One process for each GPU: owns ComfyUI, runs jobs, publishes their files."""
