"""Settings: what the environment says, under every accepted name, and what the documentation says of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from farm.errors import SettingsError
from farm.settings.environment import FromEnvironment
from farm.settings.groups import GROUPS, misspelt_variables
from farm.settings.redis import RedisSettings, StoreSettings
from farm.settings.s3 import S3Settings
from farm.settings.worker import WorkerSettings
from tests.support.environment import environment_of


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


@pytest.mark.parametrize(
    "url", ["http://me:s3cret@[::1", "me:s3cret@host", "ftp://me:s3cret@host", "http://h:x"]
)
def test_an_address_of_comfyui_that_is_none_is_refused_without_its_secret(url: str) -> None:
    with pytest.raises(SettingsError, match="COMFYUI_URL") as refused:
        WorkerSettings.read(comfyui_url=url)

    assert "s3cret" not in str(refused.value)


def test_the_token_for_comfyui_may_stand_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("t0k\n")
    monkeypatch.setenv("COMFYUI_TOKEN_FILE", str(tmp_path / "token"))

    settings = WorkerSettings.read(comfyui_url="http://host")

    assert settings.comfyui_address is not None
    assert settings.comfyui_address.headers == {"Authorization": "Bearer t0k"}


def test_what_opens_the_door_of_comfyui_is_not_printed() -> None:
    settings = WorkerSettings.read(comfyui_url="http://me:s3cret@host")
    settings_too = WorkerSettings.read(comfyui_url="http://host", comfyui_token="s3cret")

    assert "s3cret" not in f"{settings!r} {settings} {settings_too!r} {settings_too.comfyui_address!r}"


def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FARM_LEASE_S", "soon")

    with pytest.raises(SettingsError, match="FARM_LEASE_S"):
        StoreSettings.read()


@pytest.mark.parametrize(
    ("group", "variables", "said"),
    [
        (WorkerSettings, {"COMFYUI_URL": "ftp://host"}, "COMFYUI_URL: it is no address"),
        (
            WorkerSettings,
            {"COMFYUI_URL": "http://host", "COMFYUI_TOKEN_FILE": "/none"},
            "COMFYUI_TOKEN_FILE cannot be read",
        ),
        (
            WorkerSettings,
            {"COMFYUI_URL": "http://host", "COMFYUI_TOKEN_FILE": "/dev/zero"},
            "COMFYUI_TOKEN_FILE names no secret",
        ),
        (WorkerSettings, {"FARM_LARGEST_CLIP": "big"}, "FARM_LARGEST_CLIP: String should match"),
        (S3Settings, {"FARM_S3_PREFIX": "../x"}, "FARM_S3_PREFIX: String should match"),
        (StoreSettings, {"FARM_LEASE_S": "-1"}, "FARM_LEASE_S: Input should be greater than 0"),
        *(
            (StoreSettings, {"FARM_LEASE_S": each}, "FARM_LEASE_S: Input should be a finite number")
            for each in ("inf", "1e400", "nan")
        ),
    ],
)
def test_a_wrong_setting_is_told_by_its_variable_in_clean_words(
    monkeypatch: pytest.MonkeyPatch, group: type[FromEnvironment], variables: dict[str, str], said: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(SettingsError) as refused:
        group.read()

    assert str(refused.value).startswith(said)
    assert "Value error" not in str(refused.value)


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
