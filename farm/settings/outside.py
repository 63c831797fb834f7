"""Settings of whoever calls addresses that strangers give."""

from __future__ import annotations

from pydantic import Field, SecretStr

from farm.settings.environment import FromEnvironment


class OutsideSettings(FromEnvironment):
    """Where such addresses may lead."""

    allow_private_urls: bool = Field(
        False,
        description="Whether inputs may come from private, loopback and link-local addresses, "
        "and webhooks may go there.",
    )
    input_proxy: SecretStr | None = Field(
        None,
        description="Proxy to the internet, for inputs and webhooks: `http://[user:password@]host[:port]`. "
        "It takes CONNECT, and gets addresses that are resolved and judged before. Empty: none. "
        "`HTTP_PROXY` and its kin do not count here.",
    )
