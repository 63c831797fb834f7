"""`RedisAddress`: where jobs are kept, read once; ledger, Celery, Flower and checks go by it alone."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import quote

from comfy.protocol.address import Url, read_url, target_of

FORM: Final = "redis://[user:password@]host[:port][/db]"
_SENTINEL_FORM: Final = "sentinel://[user:password@]host[:port][,host[:port]…][/db]?master=NAME"
# Valkey's own names for the same thing.
_SCHEMES: Final = {
    "redis": "redis",
    "valkey": "redis",
    "rediss": "rediss",
    "valkeys": "rediss",
    "sentinel": "sentinel",
}
_PORTS: Final = {"redis": 6379, "rediss": 6379, "sentinel": 26379}
_MOST_DB: Final = 99_999
_OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "redis": frozenset(),
    "rediss": frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs"}),
    "sentinel": frozenset({"master", "sentinel_user", "sentinel_password"}),
}
_VERIFY: Final = {"required": ssl.CERT_REQUIRED, "none": ssl.CERT_NONE}


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisAddress:
    """One server, or the sentinels that know it by a name."""

    scheme: str  # "redis", "rediss" or "sentinel"
    hosts: tuple[tuple[str, int], ...]  # of the server, or of the sentinels
    db: int = 0
    master: str = ""  # how the sentinels call the primary
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)  # username, password
    sentinel_credentials: Mapping[str, str] = field(default_factory=dict, repr=False)  # of the sentinels
    # As redis-py and kombu take it; empty without TLS. Left to itself kombu checks no certificate.
    tls: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        places = ",".join(target_of(*each) for each in self.hosts)
        return f"{self.scheme}://{places}/{self.db}" + (f"?master={self.master}" if self.master else "")

    @property
    def is_verified(self) -> bool:
        """Whether TLS makes sure that it is this server."""
        return self.tls.get("ssl_cert_reqs") == ssl.CERT_REQUIRED

    def urls(self) -> list[str]:
        """An address for each host, password included."""
        user, password = (quote(self.credentials.get(name, ""), safe="") for name in ("username", "password"))
        login = f"{user}:{password}@" if password else ""
        return [f"{self.scheme}://{login}{target_of(*each)}/{self.db}" for each in self.hosts]

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `FARM_REDIS_URL` says.

        Raises:
            ValueError: not all who go by it could use it; says what is wrong, without a secret.
        """
        is_sentinel = text.strip().lower().startswith("sentinel:")
        form = _SENTINEL_FORM if is_sentinel else f"{FORM}, or rediss:// for TLS"
        url = read_url(text, _SCHEMES, form=form, several_hosts=is_sentinel)
        scheme = _SCHEMES[url.scheme]
        if unknown := sorted(set(url.query) - _OPTIONS[scheme]):
            known = ", ".join(sorted(_OPTIONS[scheme])) or "none"
            raise ValueError(f"{', '.join(unknown)[:80]} is no option of {scheme}://; known: {known}")
        if url.user and not url.password:
            raise ValueError("it names a user and no password; a password alone is written :password@")
        return cls(
            scheme=scheme,
            hosts=tuple((host, port or _PORTS[scheme]) for host, port in url.hosts),
            db=_db(url.path),
            master=_master(url, scheme),
            credentials=_credentials(url.user, url.password),
            sentinel_credentials=_credentials(
                url.query.get("sentinel_user", ""), url.query.get("sentinel_password", "")
            ),
            tls=_tls(url.query) if scheme == "rediss" else {},
        )


def _db(path: str) -> int:
    text = path.strip("/")
    if text and not (text.isascii() and text.isdigit() and int(text[:9]) <= _MOST_DB):
        raise ValueError("what stands behind its host is no number of a database, such as /0")
    return int(text or 0)


def _master(url: Url, scheme: str) -> str:
    master = url.query.get("master", "")
    if scheme == "sentinel" and not master:
        raise ValueError(f"it does not say how the sentinels call the primary: {_SENTINEL_FORM}")
    return master


def _credentials(user: str, password: str) -> dict[str, str]:
    given = {"username": user, "password": password}
    return {name: value for name, value in given.items() if value}


def _tls(query: Mapping[str, str]) -> dict[str, Any]:
    wanted = query.get("ssl_cert_reqs", "required").lower()
    if wanted not in _VERIFY:
        raise ValueError("ssl_cert_reqs is required or none")
    files = {name: path for name, path in query.items() if name != "ssl_cert_reqs" and path}
    for name, path in files.items():
        if not os.access(path, os.R_OK):
            raise ValueError(f"{name} names a file that is not there or cannot be read: {path}")
    return {"ssl_cert_reqs": _VERIFY[wanted], "ssl_check_hostname": wanted == "required", **files}
