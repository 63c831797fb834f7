"""Variables of other programs do not reach the farm's children."""

from __future__ import annotations

import urllib.request

import pytest

from farm.broker import make_app
from farm.process.environment import (
    around_proxies,
    for_python,
    for_server,
    for_worker,
    is_service_link,
    without_login,
)
from farm.settings.groups import known_variables, misspelt_variables
from farm.settings.redis import RedisSettings
from worker.comfyui.launch import ComfyKind, Target, child_environment

OF_OTHERS = {
    "RCLONE_CONFIG": "/home/me/rclone.conf",
    "RCLONE_READ_ONLY": "true",
    "FLOWER_PORT": "tcp://10.0.0.7:5555",
    "FLOWER_BASIC_AUTH": "somebody:else",
    "FARM_PORT": "tcp://10.0.0.7:80",
    "FARM_PORT_80_TCP_ADDR": "10.0.0.7",
    "FARM_SERVICE_HOST": "10.0.0.7",
    "FARM_REDIS_SERVICE_PORT_CLIENT": "6379",
    "CELERY_BROKER_URL": "amqp://elsewhere",
    "BROKER_URL": "amqp://elsewhere",
    "LOADER": "djcelery",
    "PYTHONWARNINGS": "error",
    "PYTHONIOENCODING": "ascii",
    "PYTHONINSPECT": "1",
    "LC_ALL": "de_DE.ISO-8859-1",
    "LANG": "de_DE.ISO-8859-1",
}
NEEDED = {"PATH": "/bin", "HOME": "/home/me"}
OURS = {"FARM_REDIS_URL": "redis://here", "FARM_S3_REGION": "auto", "COMFYUI_DIR": "/comfy"}
OF_NODES = {"HF_TOKEN": "hf", "CUDA_VISIBLE_DEVICES": "1", "LD_PRELOAD": "libtcmalloc.so"}
FULL = {**OF_OTHERS, **NEEDED, **OURS, **OF_NODES}
UTF8 = {"LC_ALL": "C.UTF-8", "PYTHONUTF8": "1"}


def test_a_server_gets_only_what_every_program_needs() -> None:
    assert for_server(FULL) == {**NEEDED, "LC_ALL": "C.UTF-8"}


def test_flower_gets_our_variables_and_nothing_of_the_nodes() -> None:
    assert for_python(FULL, known_variables()) == {**NEEDED, **OURS, **UTF8}


def test_a_worker_gets_all_but_what_is_meant_for_others() -> None:
    assert for_worker(FULL) == {**NEEDED, **OURS, **OF_NODES, **UTF8}


def test_comfyui_gets_nothing_of_ours_and_nothing_of_others() -> None:
    target = Target(kind=ComfyKind.INSTALLED, command=("python", "main.py"))

    found = child_environment(target, {}, FULL)

    computing = {name: value for name, value in OF_NODES.items() if name != "HF_TOKEN"}
    ours = {"PYTHONUNBUFFERED": "1", "VHS_STRICT_PATHS": "1"}
    assert found == {**NEEDED, **computing, **UTF8, **ours}


SECRETS = {
    "HF_TOKEN": "s",
    "REDIS_URL": "redis://:s@host",
    "DATABASE_URL": "postgres://u:s@host",
    "OPENAI_API_KEY": "s",
    "AWS_SECRET_ACCESS_KEY": "s",
    "BUCKET_SECRET_ACCESS_KEY": "s",
    "FARM_REDIS_URL": "redis://:s@host",
    "FARM_S3_SECRET_ACCESS_KEY": "s",
    "COMFYUI_TOKEN": "s",
    "CIVITAI_API_TOKEN": "s",
    "GITHUB_TOKEN": "s",
    "HTTPS_PROXY": "http://u:s@proxy",
    "http_proxy": "http://u:s@proxy",
    "SSH_AUTH_SOCK": "/tmp/agent",
    "KUBECONFIG": "/root/.kube/config",
    "VAULT_TOKEN": "s",
    "SLACK_WEBHOOK": "s",
    "PGPASSWORD": "s",
}


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_no_secret_of_the_environment_reaches_custom_nodes(name: str) -> None:
    target = Target(kind=ComfyKind.INSTALLED, command=("python", "main.py"))

    assert name not in child_environment(target, {}, {**FULL, **SECRETS})


def test_comfyui_gets_what_the_operator_names() -> None:
    target = Target(kind=ComfyKind.INSTALLED, command=("python", "main.py"))

    found = child_environment(
        target, {}, {**FULL, **SECRETS, "FARM_COMFY_VARIABLES": "HF_TOKEN, CIVITAI_API_TOKEN"}
    )

    assert (found["HF_TOKEN"], found["CIVITAI_API_TOKEN"]) == ("s", "s")
    assert "FARM_REDIS_URL" not in found


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FARM_PORT", "tcp://10.0.0.7:80"),
        ("FARM_PORT_80_TCP", "tcp://10.0.0.7:80"),
        ("FARM_PORT_80_TCP_PROTO", "tcp"),
        ("FARM_SERVICE_HOST", "fd00::7"),
        ("FARM_REDIS_SERVICE_PORT", "6379"),
    ],
)
def test_what_kubernetes_tells_of_a_service_is_no_misspelt_setting(name: str, value: str) -> None:
    assert is_service_link(name, value)
    assert misspelt_variables({name: value}) == []


@pytest.mark.parametrize(
    ("name", "value"), [("FARM_REDIS_URL", "redis://h"), ("FARM_PORT", "main"), ("FARM_HOST", "10.0.0.7")]
)
def test_a_setting_is_no_link_to_a_service(name: str, value: str) -> None:
    assert not is_service_link(name, value)


@pytest.mark.parametrize("name", ["HTTP_PROXY", "https_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("host", ["127.0.0.1:8188", "localhost", "localhost:9000"])
def test_no_child_asks_a_proxy_for_loopback(name: str, host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environ = around_proxies({name: "http://proxy:3128", "NO_PROXY": "intern.example"})

    for variable, value in environ.items():
        monkeypatch.setenv(variable, value)
    assert urllib.request.proxy_bypass(host)
    assert urllib.request.proxy_bypass("a.intern.example")
    assert not urllib.request.proxy_bypass("example.com")


def test_where_no_proxy_is_named_nothing_is_said_of_one() -> None:
    assert around_proxies({"HTTP_PROXY": "", "PATH": "/bin"}) == {"HTTP_PROXY": "", "PATH": "/bin"}


def test_a_proxys_password_is_not_shown() -> None:
    assert without_login("http://me:secret@proxy:3128") == "http://proxy:3128"
    assert without_login("me:secret@proxy:3128") == "proxy:3128"


@pytest.mark.parametrize(
    "name",
    ["CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL", "CELERY_RESULT_BACKEND"],
)
def test_celery_speaks_to_our_redis_whatever_another_project_says(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "amqp://elsewhere:5672//")
    app = make_app(RedisSettings.read(FARM_REDIS_URL="redis://ours:6379/3"))

    connections = [app.connection(), app.connection_for_read(), app.connection_for_write()]

    assert [each.hostname for each in connections] == ["ours"] * 3
    assert type(app.backend).__name__ == "DisabledBackend"
