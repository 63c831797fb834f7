"""`AssetBook`: the files that tenants of the gateway have uploaded, by id, content and path.

Each key has an end: an asset's record, what a tenant knows of a content, a tenant's name for a file, the jobs
that read an asset. The file itself lies in S3 as an input, once for each content, and is the janitor's.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final

from farm.settings.redis import RedisSettings
from farm.store.redis.address import client_of
from farm.store.redis.link import RedisCommands

_IDS: Final = uuid.UUID("6f1c2f0e-52f5-4a9e-9c3e-3c1a6d1c8a55")  # what ids of assets are made of


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBlob:
    """A content that a tenant has brought."""

    blake3: str  # hex
    key: str  # in S3
    size_bytes: int
    media_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Asset:
    """A tenant's file. The same content under the same path is the same asset."""

    asset_id: str
    tenant: str
    blob: StoredBlob
    path: str
    created_at: datetime
    expires_at: datetime


class AssetBook(RedisCommands):
    """Thread-safe. Every method may raise `StoreUnavailable`."""

    def __init__(self, settings: RedisSettings) -> None:
        """The first call opens a connection."""
        super().__init__(client_of(settings), namespace=settings.namespace)

    def keep(self, tenant: str, blob: StoredBlob, path: str, *, ttl_s: float, blob_ttl_s: float) -> Asset:
        """Keep an asset for that long at least, and what is known of its content."""
        now = datetime.now(UTC)
        asset_id = str(uuid.uuid5(_IDS, f"{tenant}\n{blob.blake3}\n{path}"))
        before = self.get(asset_id)
        # To name it again makes it stay longer, never shorter.
        left_s = (before.expires_at - now).total_seconds() if before else 0.0
        ttl_ms = round(max(ttl_s, left_s) * 1000)
        asset = Asset(
            asset_id=asset_id,
            tenant=tenant,
            blob=blob,
            path=path,
            created_at=before.created_at if before else now,
            expires_at=datetime.fromtimestamp(now.timestamp() + ttl_ms / 1000, tz=UTC),
        )
        blob_json = json.dumps(asdict(blob))
        record = {
            "tenant": tenant,
            "path": path,
            "blob": blob_json,
            "created_at": asset.created_at.isoformat(),
            "expires_at": asset.expires_at.isoformat(),
        }
        self._commands(
            [
                ["SET", self.keys.asset(asset_id), json.dumps(record), "PX", ttl_ms],
                ["SET", self._path(tenant, path), asset_id, "PX", ttl_ms],
                ["SET", self._blob(tenant, blob.blake3), blob_json, "PX", round(blob_ttl_s * 1000)],
            ]
        )
        return asset

    def get(self, asset_id: str) -> Asset | None:
        """An asset by its id, whosever it is."""
        return self.get_many([asset_id])[0]

    def get_many(self, asset_ids: Sequence[str]) -> list[Asset | None]:
        """The same for several, in one round trip."""
        found = self._commands([["GET", self.keys.asset(each)] for each in asset_ids])
        return [_read(each, text) for each, text in zip(asset_ids, found, strict=True)]

    def blob(self, tenant: str, blake3: str) -> StoredBlob | None:
        """A content, if that tenant has brought it."""
        text = self._command("GET", self._blob(tenant, blake3))
        return None if text is None else StoredBlob(**json.loads(text))

    def named(self, tenant: str, paths: Sequence[str]) -> list[Asset | None]:
        """What a tenant uploaded last under each of the paths."""
        ids = self._commands([["GET", self._path(tenant, path)] for path in paths])
        found = self.get_many([each.decode() if each else "-" for each in ids]) if ids else []
        return [asset if asset and asset.tenant == tenant else None for asset in found]

    def use(self, assets: Sequence[Asset], job_id: str) -> None:
        """Note that a job reads them."""
        now = datetime.now(UTC)
        commands: list[list[Any]] = []
        for asset in assets:
            name = self.keys.asset_jobs(asset.asset_id)
            left_ms = max(round((asset.expires_at - now).total_seconds() * 1000), 1)
            commands += [["SADD", name, job_id], ["PEXPIRE", name, left_ms]]
        self._commands(commands)

    def jobs_of(self, asset: Asset) -> list[str]:
        """The jobs that read an asset, or did."""
        return [each.decode() for each in self._command("SMEMBERS", self.keys.asset_jobs(asset.asset_id))]

    def drop(self, asset: Asset) -> bool:
        """Forget an asset; False: somebody else was quicker. Its content stays known."""
        names = [self.keys.asset(asset.asset_id), self.keys.asset_jobs(asset.asset_id)]
        removed, _ = self._commands([["DEL", name] for name in names])
        return bool(removed)

    def _blob(self, tenant: str, blake3: str) -> str:
        return self.keys.asset_blob(tenant, blake3)

    def _path(self, tenant: str, path: str) -> str:
        return self.keys.asset_path(tenant, hashlib.sha256(path.encode()).hexdigest()[:32])


def _read(asset_id: str, text: bytes | None) -> Asset | None:
    if text is None:
        return None
    record = json.loads(text)
    return Asset(
        asset_id=asset_id,
        tenant=record["tenant"],
        blob=StoredBlob(**json.loads(record["blob"])),
        path=record["path"],
        created_at=datetime.fromisoformat(record["created_at"]),
        expires_at=datetime.fromisoformat(record["expires_at"]),
    )
