"""Input files of jobs: from wherever their addresses lead to where ComfyUI's loaders find them."""
