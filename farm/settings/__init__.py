"""Settings, read from the environment once, at the entry point. `docs/configuration.md` lists them.

A module for each who reads them: a command that asks Redis alone builds no others.
"""
