"""The command line: arguments in, one call out, a named exit code. `main.py` is the way in."""
