"""Commands about the gateway and its keys."""
