"""The loops that repair and clear up: steward and janitor."""
