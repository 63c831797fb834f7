"""The loops that repair and clear up: the steward with its courier, and the janitor."""
