"""API keys: who comes, for which tenant, and what they may do. Redis has their digests, never the keys."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final

from farm.errors import KeyNotFound, SettingsError
from farm.job import JobRecord, utc_from_ms
from farm.store.redis.doors import DoorBook
from farm.store.webhooks import TENANT_LABEL

_TEXT: Final = re.compile(r"farm_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_TENANT: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_LONGEST_LABEL: Final = 100
_NOBODY: Final = hashlib.sha256(b"").hexdigest()  # compared with, so that an unknown id takes as long


class Scope(StrEnum):
    """What a key is good for."""

    SUBMIT = "submit"  # queue, cancel and retry jobs of its tenant, upload and delete assets
    READ = "read"  # see them
    ADMIN = "admin"  # all of that, for every tenant, and steer the workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who made a request."""

    key_id: str
    tenant: str  # "" for whoever comes to a farm that has no keys
    scopes: frozenset[Scope]

    @property
    def sees_all(self) -> bool:
        """Whether jobs of every tenant are theirs to see."""
        return Scope.ADMIN in self.scopes

    @property
    def label(self) -> str | None:
        """The label of their own jobs."""
        return f"{TENANT_LABEL}{self.tenant}" if self.tenant else None

    def may(self, scope: Scope) -> bool:
        """Whether they may do that."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, job: JobRecord) -> bool:
        """Whether a job is theirs to see."""
        return self.sees_all or (self.label is not None and self.label in job.spec.labels)


ANYBODY: Final = Caller(key_id="anybody", tenant="", scopes=frozenset(Scope))


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """What is known of a key."""

    key_id: str
    tenant: str
    scopes: frozenset[Scope]
    label: str
    digest: str  # SHA-256 of the secret: it has 256 random bits, so nothing slower is needed
    created_at: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None  # to the minute


def create_key(
    book: DoorBook, tenant: str, scopes: Iterable[Scope], *, label: str = ""
) -> tuple[ApiKey, str]:
    """Make a key; it, and its text, which is shown this once and kept nowhere.

    Raises:
        SettingsError: that can be no tenant, or no label.
    """
    if not _TENANT.fullmatch(tenant):
        raise SettingsError(f"{tenant[:50]!r} is no name of a tenant: up to 32 of a-z 0-9 _ -")
    if len(label) > _LONGEST_LABEL or not label.isprintable():
        raise SettingsError(f"a label is one line of up to {_LONGEST_LABEL} characters")
    secret = secrets.token_urlsafe(32)
    key = ApiKey(
        key_id=secrets.token_hex(6),
        tenant=tenant,
        scopes=frozenset(scopes),
        label=label,
        digest=_digest(secret),
        created_at=datetime.now(UTC).replace(microsecond=0),
    )
    book.put_key(
        key.key_id,
        {
            "tenant": tenant,
            "scopes": " ".join(sorted(key.scopes)),
            "label": label,
            "digest": key.digest,
            "created_at": key.created_at.isoformat(),
        },
    )
    return key, f"farm_{key.key_id}_{secret}"


def list_keys(book: DoorBook) -> list[ApiKey]:
    """All keys that were ever made, the oldest first."""
    used = book.keys_used()
    found = [_read(each, book.key(each), used.get(each)) for each in book.key_ids()]
    return sorted((key for key in found if key is not None), key=lambda key: key.created_at)


def revoke_key(book: DoorBook, key_id: str) -> None:
    """Let a key in no more, from its next request on; it stays in the list.

    Raises:
        KeyNotFound: there is none of that id.
    """
    if not book.key(key_id):
        raise KeyNotFound(key_id)
    book.put_key(key_id, {"revoked_at": datetime.now(UTC).isoformat(timespec="seconds")})


def caller_of(book: DoorBook, text: str) -> Caller | None:
    """Who comes with a key; None: it is no key of this farm, or no longer one."""
    return callers_of(book, [text])[0]


def callers_of(book: DoorBook, texts: Sequence[str]) -> list[Caller | None]:
    """As `caller_of`, of each."""
    found = [_TEXT.fullmatch(text) for text in texts]
    kept = iter(book.keys_of([each[1] for each in found if each is not None]))
    return [None if each is None else _caller(each[1], each[2], next(kept)) for each in found]


def _caller(key_id: str, secret: str, fields: Mapping[str, str]) -> Caller | None:
    key = _read(key_id, fields)
    is_right = hmac.compare_digest(key.digest if key else _NOBODY, _digest(secret))
    if key is None or not is_right or key.revoked_at is not None:
        return None
    return Caller(key_id=key_id, tenant=key.tenant, scopes=key.scopes)


def _read(key_id: str, fields: Mapping[str, str], used_ms: str | None = None) -> ApiKey | None:
    if not fields.get("digest"):
        return None
    known = {scope.value for scope in Scope}
    revoked = fields.get("revoked_at")
    return ApiKey(
        key_id=key_id,
        tenant=fields["tenant"],
        # A scope that only a newer farm knows gives nothing here.
        scopes=frozenset(Scope(each) for each in fields["scopes"].split() if each in known),
        label=fields.get("label", ""),
        digest=fields["digest"],
        created_at=datetime.fromisoformat(fields["created_at"]),
        revoked_at=datetime.fromisoformat(revoked) if revoked else None,
        last_used_at=utc_from_ms(int(used_ms)) if used_ms else None,
    )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
