"""Settings of the gateway."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from farm.settings.environment import FromEnvironment, called


class GatewaySettings(FromEnvironment):
    """What the doors of `farm gateway` let in, and how much of it."""

    model_config = ConfigDict(alias_generator=called("FARM_GATEWAY_"))

    content: Literal["redirect", "bytes"] = Field(
        "redirect",
        description="How a file is given out: by a `redirect` to a presigned link, or its `bytes` through "
        "the gateway, where clients do not reach S3.",
    )
    origins: str = Field(
        "",
        description="Origins of web pages that may call the gateway from a browser, with commas between "
        "(`https://studio.example`); empty: its own page alone.",
    )
    upload_mib: int = Field(
        256,
        ge=1,
        description="Largest upload, in MiB.",
    )
    idle_s: float = Field(
        30.0,
        gt=0,
        description="Seconds without a byte after which a client that sends or reads no more is cut off.",
    )
    requests_per_s: float = Field(
        50.0,
        gt=0,
        description="Requests a second that one key may make, over all gateways; four seconds' worth may "
        "come at once.",
    )
    open_jobs: int = Field(
        1000,
        ge=1,
        description="Jobs of one tenant that may wait or run at a time; more are refused until some end.",
    )
    waiting_jobs: int = Field(
        100_000,
        ge=1,
        description="Jobs that may wait in the whole farm before the gateway takes no more.",
    )
    streams: int = Field(
        1200,
        ge=1,
        description="Event streams that one gateway holds open.",
    )
    tenant_streams: int = Field(
        1000,
        ge=1,
        description="Those of them that one tenant may have.",
    )
    asset_days: float = Field(
        7.0,
        gt=0,
        le=28,
        description="Days for which an uploaded asset is kept, unless its upload says otherwise.",
    )
