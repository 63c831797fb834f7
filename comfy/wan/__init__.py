"""What we know of WAN: its sizes, what it needs, how long it takes, and graphs that work."""
