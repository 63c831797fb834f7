"""What ComfyUI prints, read: text without its dress, facts, and how much of a log was understood."""
