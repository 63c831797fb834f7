"""What a group of settings is: a frozen pydantic model whose fields describe the variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from pydantic import AliasChoices, AliasGenerator, BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from farm.errors import SettingsError, in_words

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


_IN_FILE: Final = "_FILE"
_LONGEST_SECRET: Final = 65_536  # characters; /dev/zero has no end


def variable(name: str, *others: str) -> AliasChoices:
    """The variables of a field that is not called as its variable is."""
    return AliasChoices(name, *others)


def called(prefix: str) -> AliasGenerator:
    """The variable of every other field: its own name behind a prefix."""
    return AliasGenerator(validation_alias=lambda field: AliasChoices(prefix + field.upper()))


class FromEnvironment(BaseModel):
    """A group of settings. pydantic-settings does the same, but takes a tenth of a second to import."""

    # Their input may be a secret, and an error ends in logs.
    model_config = ConfigDict(
        frozen=True,
        extra="ignore",
        populate_by_name=True,
        hide_input_in_errors=True,
        allow_inf_nan=False,
        alias_generator=called("FARM_"),
    )

    def __init__(self, **given: Any) -> None:
        """What is not `given`, by a field's name or by a variable's, is read from the environment."""
        super().__init__(**given, **_set_in_environment(type(self), given))

    @classmethod
    def read(cls, **given: Any) -> Self:
        """From the environment; `given` wins.

        Raises:
            SettingsError: a variable is missing or wrong; the message names it.
        """
        try:
            return cls(**given)
        except ValidationError as exc:
            raise SettingsError("; ".join(map(_in_words, exc.errors()))) from exc


def _in_words(error: ErrorDetails) -> str:
    """One fault, with its variable; what a group says of itself as a whole names its variables itself."""
    setting = ".".join(map(str, error["loc"]))
    message = in_words(error["msg"])
    return f"{setting}: {message}" if setting else message


def variables_of(field: FieldInfo) -> list[str]:
    """The variables that set a field; the first one that is set counts."""
    alias = field.validation_alias
    return [str(name) for name in alias.choices] if isinstance(alias, AliasChoices) else []


def variables_for(*groups: type[FromEnvironment]) -> set[str]:
    """Names of all variables that these groups read."""
    fields = [field for group in groups for field in group.model_fields.values()]
    read = {variable for field in fields for variable in variables_of(field)}
    return read | {f"{variable}{_IN_FILE}" for variable in secrets_of(*groups)}


def secrets_of(*groups: type[FromEnvironment]) -> set[str]:
    """Names of those that hold a secret."""
    fields = [field for group in groups for field in group.model_fields.values() if _is_secret(field)]
    return {variable for field in fields for variable in variables_of(field)}


def _set_in_environment(group: type[FromEnvironment], given: Mapping[str, Any]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, field in group.model_fields.items():
        variables = variables_of(field)
        if given.keys().isdisjoint((name, *variables)):
            # An empty variable counts as not set: that is how a compose file passes on what it does not have.
            found.update([(each, value) for each in variables if (value := _value_of(each, field))][:1])
    return found


def _value_of(variable: str, field: FieldInfo) -> str | None:
    """What a variable says; a secret may stand in the file that the variable with ``_FILE`` behind it names.

    Raises:
        SettingsError: there is such a file and it cannot be read, or is far too long for a secret.
    """
    value = os.environ.get(variable)
    path = os.environ.get(f"{variable}{_IN_FILE}") if not value and _is_secret(field) else None
    if not path:
        return value
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(_LONGEST_SECRET + 1)
    except (OSError, UnicodeDecodeError) as exc:
        raise SettingsError(f"{variable}{_IN_FILE} cannot be read: {exc}") from None
    if len(text) > _LONGEST_SECRET:
        raise SettingsError(
            f"{variable}{_IN_FILE} names no secret: {path} has more than {_LONGEST_SECRET} characters"
        )
    return text.strip()


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)
