"""Commands about the local stack."""
