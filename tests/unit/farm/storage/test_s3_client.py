"""The S3 client is made of our settings alone, and speaks of a proxy that stands before the store."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.errors import StorageUnavailable
from farm.process.child import free_port
from farm.settings.s3 import S3Settings
from farm.storage import S3Patience, S3Storage

KEYS = {"FARM_S3_ACCESS_KEY_ID": "ours", "FARM_S3_SECRET_ACCESS_KEY": "our-secret", "FARM_S3_BUCKET": "farm"}
QUICK = S3Patience(connect_s=5.0, silence_s=5.0, attempts=1)


def a_storage(endpoint_url: str, **more: str) -> S3Storage:
    return S3Storage(S3Settings.read(FARM_S3_ENDPOINT_URL=endpoint_url, **KEYS, **more), patience=QUICK)


@pytest.fixture(autouse=True)
def strange_aws(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The variables and files of a user of AWS whose profile is not here."""
    config = tmp_path / "config"
    config.write_text("[default]\nregion = eu-north-1\nendpoint_url = http://elsewhere\n")
    for name, value in {
        "AWS_PROFILE": "of-another-machine",
        "AWS_CONFIG_FILE": str(config),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "AWS_ACCESS_KEY_ID": "theirs",
        "AWS_SECRET_ACCESS_KEY": "their-secret",
        "AWS_SESSION_TOKEN": "their-token",
        "AWS_ENDPOINT_URL": "http://elsewhere",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "AWS_USE_DUALSTACK_ENDPOINT": "true",
        "AWS_DEFAULTS_MODE": "nonsense",
        "AWS_MAX_ATTEMPTS": "many",
    }.items():
        monkeypatch.setenv(name, value)


def test_no_profile_and_no_variable_of_aws_decides_anything() -> None:
    storage = a_storage("http://127.0.0.1:9000")

    url = storage.url("jobs/a.mp4")

    assert url.startswith("http://127.0.0.1:9000/farm/jobs/a.mp4?")
    assert "X-Amz-Credential=ours%2F" in url
    assert "us-east-1" in url
    assert "Token" not in url
    storage.close()


def test_loopback_is_asked_without_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    storage = a_storage(f"http://127.0.0.1:{free_port()}")

    with pytest.raises(StorageUnavailable, match="nothing listens there") as told:
        storage.exists("jobs/a.mp4")

    assert "proxy" not in str(told.value)
    storage.close()


def test_a_proxy_that_fails_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("HTTP_PROXY", f"http://me:secret@{proxy}")
    storage = a_storage("http://s3.example.com")

    with pytest.raises(StorageUnavailable, match=f"through the proxy http://{proxy}") as told:
        storage.exists("jobs/a.mp4")

    assert "secret" not in str(told.value)
    storage.close()
