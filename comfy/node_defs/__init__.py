"""What ComfyUI's node classes take and give: as a server says it, and as facts that ship with the farm."""
