"""Settings as the variables of a child process."""

from __future__ import annotations

from pydantic import SecretStr

from farm.settings.environment import FromEnvironment, variables_of


def environment_of(settings: FromEnvironment) -> dict[str, str]:
    """The variables that make a child process read these same settings (secrets included)."""
    found: dict[str, str] = {}
    for name, field in type(settings).model_fields.items():
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            found[variables_of(field)[0]] = str(plain)
    return found
