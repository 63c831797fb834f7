"""ComfyUI's HTTP and websocket protocol: the client, and one prompt followed to its end."""
