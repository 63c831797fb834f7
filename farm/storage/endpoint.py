"""Where the S3 settings point: endpoint, bucket, region and addressing, from all the forms that people have.

worker-comfyui's ``BUCKET_ENDPOINT_URL`` holds the bucket: as first label of the host (AWS and kin) or as
first part of the path (MinIO and kin). A plain endpoint holds none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final, Literal
from urllib.parse import urlsplit

from farm.errors import SettingsError

if TYPE_CHECKING:
    from farm.settings.s3 import S3Settings

_BUCKET_NAME: Final = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")

# host = [<bucket>.]<service part>; the service part names the region where it has one.
_KNOWN_HOSTS: Final = tuple(
    re.compile(rf"(?:(?P<bucket>.+)\.)?(?P<service>{service})")
    for service in (
        r"s3-accelerate\.(?:dualstack\.)?amazonaws\.com",
        r"s3[.-](?:dualstack\.)?(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?",
        r"s3\.amazonaws\.com",
        r"s3\.(?P<region>[a-z0-9-]+)\.(?:backblazeb2\.com|wasabisys\.com|scw\.cloud)",
        r"(?P<region>[a-z]{3}\d)\.digitaloceanspaces\.com",
        r"[0-9a-f]{32}(?:\.(?:eu|fedramp))?\.r2\.cloudflarestorage\.com",
        r"storage\.googleapis\.com",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Endpoint:
    """What a client needs to know to reach the bucket."""

    endpoint_url: str | None  # None: AWS, found by region
    bucket: str
    region: str
    addressing: Literal["path", "auto"]  # auto: by host name, unless the bucket has dots

    @property
    def name(self) -> str:
        """The endpoint for a person: host and port, or AWS with its region; never a secret."""
        if self.endpoint_url is None:
            return f"AWS ({self.region})"
        return urlsplit(self.endpoint_url).netloc.rpartition("@")[2]


def read_endpoint(settings: S3Settings) -> S3Endpoint:
    """Work out where the settings point.

    Raises:
        SettingsError: the endpoint names another bucket than FARM_S3_BUCKET, or the bucket no
            server would take.
    """
    given = settings.address
    if given is None:
        return S3Endpoint(
            endpoint_url=None,
            bucket=_checked_bucket(settings.bucket),
            region=settings.region,
            addressing="auto",
        )
    known = next((match for form in _KNOWN_HOSTS if (match := form.fullmatch(given.place.lower()))), None)
    found_bucket = known["bucket"] if known else None
    endpoint = f"{given.scheme}://{known['service'] if known else given.place}"
    if len(given.path) == 1 and found_bucket is None:
        found_bucket = given.path[0]
    elif given.path:
        # Some gateways live below a path (https://host/storage/v1/s3): theirs to keep.
        endpoint += "/" + "/".join(given.path)
    region = settings.region
    if known and "region" not in settings.model_fields_set:
        region = known.groupdict().get("region") or region
    is_aws = ".amazonaws.com" in endpoint
    return S3Endpoint(
        endpoint_url=endpoint,
        bucket=_checked_bucket(_one_bucket(settings, found_bucket)),
        region=region,
        addressing="auto" if is_aws else "path",
    )


def public_endpoint(settings: S3Settings, endpoint: S3Endpoint) -> S3Endpoint:
    """The same bucket at the address that presigned links get."""
    given = settings.public_address
    if given is None:
        return endpoint
    path = given.path[:-1] if given.path[-1:] == (endpoint.bucket,) else given.path  # the link has it anyway
    url = "/".join([f"{given.scheme}://{given.place}", *path])
    return replace(endpoint, endpoint_url=url, addressing="path")


def _one_bucket(settings: S3Settings, found: str | None) -> str:
    if found is None:
        return settings.bucket
    if "bucket" in settings.model_fields_set and settings.bucket != found:
        raise SettingsError(
            f"FARM_S3_BUCKET is {settings.bucket!r}, but FARM_S3_ENDPOINT_URL names the bucket {found!r}; "
            "leave one of them out"
        )
    return found


def _checked_bucket(bucket: str) -> str:
    if not _BUCKET_NAME.fullmatch(bucket):
        raise SettingsError(f"FARM_S3_BUCKET: {bucket!r} is no bucket name (3 to 63 of a-z 0-9 . -)")
    return bucket
