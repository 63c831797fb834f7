"""Settings: what the environment says, under every accepted name, and what the documentation says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.errors import SettingsError
from farm.settings import (
    GROUPS,
    RedisSettings,
    S3Settings,
    StoreSettings,
    WorkerSettings,
    environment_of,
    misspelt_variables,
)
from farm.settings_page import page

CONFIGURATION = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_documentation_is_what_the_settings_say() -> None:
    assert CONFIGURATION.read_text(encoding="utf-8") == page(), "run `make docs`"


def test_every_setting_has_a_meaning() -> None:
    silent = [name for group in GROUPS for name, info in group.model_fields.items() if not info.description]

    assert silent == []


def test_the_variables_of_worker_comfyui_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUCKET_ENDPOINT_URL", "https://s3.example.com")
    monkeypatch.setenv("BUCKET_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("BUCKET_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("WEBSOCKET_RECONNECT_ATTEMPTS", "9")
    monkeypatch.setenv("WEBSOCKET_RECONNECT_DELAY_S", "1.5")
    monkeypatch.setenv("COMFY_LOG_LEVEL", "DEBUG")

    s3, worker = S3Settings.read(), WorkerSettings.read()

    assert s3.endpoint_url == "https://s3.example.com"
    assert s3.access_key_id is not None
    assert s3.access_key_id.get_secret_value() == "key"
    assert s3.secret_access_key is not None
    assert s3.secret_access_key.get_secret_value() == "secret"
    assert (worker.ws_reconnect_attempts, worker.ws_reconnect_delay_s) == (9, 1.5)
    assert worker.comfy_log_level == "DEBUG"


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_LEASE_S", "soon")

    with pytest.raises(SettingsError, match="FARM_LEASE_S"):
        StoreSettings.read()


def test_an_empty_variable_counts_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMFYUI_DIR", "")

    assert WorkerSettings.read().comfyui_dir is None


def test_a_secret_is_not_shown() -> None:
    settings = RedisSettings.read(url="redis://:hush@localhost:6379/0")

    assert "hush" not in repr(settings)


def test_a_child_reads_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    given = RedisSettings.read(url="redis://:hush@localhost:6379/0", namespace="night")
    for name, value in environment_of(given).items():
        monkeypatch.setenv(name, value)

    assert RedisSettings.read() == given


def test_a_misspelt_variable_is_found() -> None:
    assert misspelt_variables({"FARM_REDIS_ULR": "x", "FARM_REDIS_URL": "y", "PATH": "z"}) == [
        "FARM_REDIS_ULR"
    ]


def test_a_steward_waits_after_an_outage_until_every_lease_could_be_renewed() -> None:
    assert StoreSettings.read(renew_s=20.0).grace_s > 20.0
    assert StoreSettings.read(renew_s=0.4).grace_s < 2.0
