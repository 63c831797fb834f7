"""From the S3 settings that people have to endpoint, bucket and region."""

from __future__ import annotations

from typing import Any

import pytest

from farm.errors import SettingsError
from farm.settings.s3 import S3Settings
from farm.storage import S3Storage
from farm.storage.endpoint import read_endpoint


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BUCKET_ENDPOINT_URL", "BUCKET_NAME", "AWS_REGION", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(f"FARM_S3_{name}", raising=False)
    for name in ("FARM_S3_ENDPOINT_URL", "FARM_S3_BUCKET", "FARM_S3_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("url", "endpoint", "bucket", "region"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000", "farm", "us-east-1"),
        ("http://127.0.0.1:9000/", "http://127.0.0.1:9000", "farm", "us-east-1"),
        ("https://minio.example.com/videos", "https://minio.example.com", "videos", "us-east-1"),
        (
            "https://videos.s3.eu-west-1.amazonaws.com",
            "https://s3.eu-west-1.amazonaws.com",
            "videos",
            "eu-west-1",
        ),
        (
            "https://my.videos.s3.us-east-1.amazonaws.com/",
            "https://s3.us-east-1.amazonaws.com",
            "my.videos",
            "us-east-1",
        ),
        ("https://videos.s3.amazonaws.com", "https://s3.amazonaws.com", "videos", "us-east-1"),
        ("https://s3.eu-west-1.amazonaws.com", "https://s3.eu-west-1.amazonaws.com", "farm", "eu-west-1"),
        (
            "https://s3.eu-west-1.amazonaws.com/videos",
            "https://s3.eu-west-1.amazonaws.com",
            "videos",
            "eu-west-1",
        ),
        (
            "https://videos.nyc3.digitaloceanspaces.com",
            "https://nyc3.digitaloceanspaces.com",
            "videos",
            "nyc3",
        ),
        (
            f"https://{'0a' * 16}.r2.cloudflarestorage.com/videos",
            f"https://{'0a' * 16}.r2.cloudflarestorage.com",
            "videos",
            "us-east-1",
        ),
        (
            f"https://videos.{'0a' * 16}.eu.r2.cloudflarestorage.com",
            f"https://{'0a' * 16}.eu.r2.cloudflarestorage.com",
            "videos",
            "us-east-1",
        ),
        (
            "https://videos.s3.us-west-004.backblazeb2.com",
            "https://s3.us-west-004.backblazeb2.com",
            "videos",
            "us-west-004",
        ),
    ],
)
def test_the_bucket_is_found_where_people_put_it(url: str, endpoint: str, bucket: str, region: str) -> None:
    found = read_endpoint(S3Settings.read(endpoint_url=url))

    assert (found.endpoint_url, found.bucket, found.region) == (endpoint, bucket, region)


def test_worker_comfyuis_variables_are_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_ENDPOINT_URL", "https://videos.s3.eu-central-1.amazonaws.com")

    endpoint = read_endpoint(S3Settings.read())

    assert (endpoint.bucket, endpoint.region) == ("videos", "eu-central-1")
    assert endpoint.name == "s3.eu-central-1.amazonaws.com"


def test_without_an_endpoint_it_is_aws() -> None:
    endpoint = read_endpoint(S3Settings.read(bucket="videos", region="eu-west-1"))

    assert endpoint.endpoint_url is None
    assert endpoint.addressing == "auto"
    assert endpoint.name == "AWS (eu-west-1)"


def test_a_server_of_ones_own_is_addressed_by_path() -> None:
    assert read_endpoint(S3Settings.read(endpoint_url="http://minio:9000")).addressing == "path"


def test_a_region_that_was_set_wins_over_the_host_name() -> None:
    endpoint = read_endpoint(
        S3Settings.read(
            endpoint_url="https://s3.eu-west-1.amazonaws.com", bucket="videos", region="eu-west-3"
        )
    )

    assert endpoint.region == "eu-west-3"


def test_a_gateway_below_a_path_keeps_its_path() -> None:
    endpoint = read_endpoint(
        S3Settings.read(endpoint_url="https://x.example.com/storage/v1/s3", bucket="videos")
    )

    assert (endpoint.endpoint_url, endpoint.bucket) == ("https://x.example.com/storage/v1/s3", "videos")


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"endpoint_url": "minio:9000"}, "FARM_S3_ENDPOINT_URL"),
        ({"endpoint_url": "ftp://host"}, "FARM_S3_ENDPOINT_URL"),
        ({"endpoint_url": "https://"}, "FARM_S3_ENDPOINT_URL"),
        ({"endpoint_url": "https://key:secret@host"}, "FARM_S3_SECRET_ACCESS_KEY"),
        ({"endpoint_url": "https://host/videos", "bucket": "other"}, "FARM_S3_BUCKET"),
        ({"endpoint_url": "https://host", "bucket": "No Such Name"}, "FARM_S3_BUCKET"),
    ],
)
def test_settings_that_cannot_work_name_their_variable(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(SettingsError, match=named) as caught:
        read_endpoint(S3Settings.read(**fields))

    assert "key:secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("public", "link"),
    [
        ("https://clips.example.com", "https://clips.example.com/farm/jobs/a.mp4?"),
        ("https://clips.example.com/farm/", "https://clips.example.com/farm/jobs/a.mp4?"),
        ("http://10.0.0.7:9000/s3", "http://10.0.0.7:9000/s3/farm/jobs/a.mp4?"),
    ],
)
def test_a_link_leads_to_the_public_address(public: str, link: str) -> None:
    storage = S3Storage(
        S3Settings.read(
            FARM_S3_ENDPOINT_URL="http://minio:9000",
            FARM_S3_ACCESS_KEY_ID="key",
            FARM_S3_SECRET_ACCESS_KEY="secret",
            FARM_S3_PUBLIC_ENDPOINT_URL=public,
        )
    )

    url = storage.url("jobs/a.mp4")

    assert url.startswith(link)
    assert "X-Amz-Expires=3600" in url
    assert storage.endpoint.endpoint_url == "http://minio:9000"
    storage.close()


def test_a_public_address_that_is_none_is_refused_by_its_name() -> None:
    with pytest.raises(SettingsError, match="FARM_S3_PUBLIC_ENDPOINT_URL"):
        S3Storage(S3Settings.read(FARM_S3_PUBLIC_ENDPOINT_URL="clips.example.com"))
