"""Whether all that this machine needs is in place, and what to do if not: the facts behind `farm check`."""
