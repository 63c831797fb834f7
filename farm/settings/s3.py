"""Where S3 is, and what is removed from it."""

from __future__ import annotations

from typing import Self

from pydantic import ConfigDict, Field, SecretStr, model_validator

from farm.s3_address import S3Address
from farm.settings.environment import FromEnvironment, called, variable


class S3Settings(FromEnvironment):
    """Where videos go."""

    model_config = ConfigDict(alias_generator=called("FARM_S3_"))

    endpoint_url: str | None = Field(
        None,
        validation_alias=variable("FARM_S3_ENDPOINT_URL", "BUCKET_ENDPOINT_URL"),
        description="S3 endpoint; empty for AWS. A bucket as its first path part is read too.",
    )
    bucket: str = Field(
        "farm",
        validation_alias=variable("FARM_S3_BUCKET", "BUCKET_NAME"),
        description="Bucket for results and inputs; it must exist.",
    )
    access_key_id: SecretStr | None = Field(
        None,
        validation_alias=variable("FARM_S3_ACCESS_KEY_ID", "BUCKET_ACCESS_KEY_ID"),
        description="Access key; empty: boto3's own search (environment, profile, instance role).",
    )
    secret_access_key: SecretStr | None = Field(
        None,
        validation_alias=variable("FARM_S3_SECRET_ACCESS_KEY", "BUCKET_SECRET_ACCESS_KEY"),
        description="Secret of the access key.",
    )
    region: str = Field(
        "us-east-1",
        validation_alias=variable("FARM_S3_REGION", "AWS_REGION", "AWS_DEFAULT_REGION"),
        description="Region; `auto` for R2.",
    )
    prefix: str = Field(
        "",
        pattern=r"^([a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*)?$",
        description="Folder within the bucket for all keys of the farm.",
    )
    url_expires_s: int = Field(
        3600,
        ge=1,
        le=7 * 86400,
        description="Seconds for which a presigned link is good, unless the caller says otherwise; whoever "
        "has the link has the clip.",
    )
    public_endpoint_url: str | None = Field(
        None,
        description="Address of the same S3 for presigned links, where browsers do not reach the endpoint. A "
        "proxy there must pass the Host header and the path on as they come, for both are signed.",
    )

    @property
    def address(self) -> S3Address | None:
        """Where the server is, read; None: AWS."""
        return _s3_address(self.endpoint_url, "FARM_S3_ENDPOINT_URL")

    @property
    def public_address(self) -> S3Address | None:
        """What links begin with, read; None: they begin as the server's own address."""
        return _s3_address(self.public_endpoint_url, "FARM_S3_PUBLIC_ENDPOINT_URL")

    @model_validator(mode="after")
    def _has_addresses(self) -> Self:
        _ = self.address, self.public_address
        return self


def _s3_address(url: str | None, variable: str) -> S3Address | None:
    try:
        return S3Address.parse(url) if url else None
    except ValueError as exc:
        raise ValueError(f"{variable}: {exc}") from None


class CleanSettings(FromEnvironment):
    """What is removed from S3, and when."""

    every_s: float = Field(
        3600.0,
        ge=0,
        validation_alias=variable("FARM_CLEAN_EVERY_S"),
        description="Seconds between two clean-ups of S3 by the workers; 0: only `farm clean` does it.",
    )
    orphan_hours: float = Field(
        24.0,
        ge=1,
        description="Hours after which files in S3 are removed that no job names: of attempts that failed, "
        "lost, or never ended their upload.",
    )
    input_days: float = Field(
        30.0,
        ge=0,
        description="Days without a new upload after which an input that no job in Redis names is removed "
        "from S3; 0: never. At least 2.",
    )
    result_days: float = Field(
        0.0,
        ge=0,
        description="Days after which the files of succeeded jobs are removed from S3; 0: never.",
    )
