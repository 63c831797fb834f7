"""The compose file holds together where its schema does not look: variables, references, open doors."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from farm.local.parts import FLOWER_OPTIONS
from farm.settings.groups import known_variables
from farm.settings.worker import WorkerSettings

ROOT = Path(__file__).parents[3]
COMPOSE = ROOT / "docker-compose.gpu.yml"
VARIABLE = re.compile(r"(?<!\$)\$\{(?P<name>\w+)(?P<kind>:?[-?])?(?P<rest>[^}]*)\}")
SECRET = re.compile(r"PASSWORD|SECRET|ACCESS_KEY")


def interpolated(tree: Any, values: dict[str, str] | None = None) -> Any:
    """What compose makes of a loaded file: ``${NAME:-default}`` from `values`, ``$$`` a dollar sign."""

    def value(found: re.Match[str]) -> str:
        default = found["rest"] if (found["kind"] or "").endswith("-") else ""
        return (values or {}).get(found["name"]) or default

    if isinstance(tree, dict):
        return {key: interpolated(branch, values) for key, branch in tree.items()}
    if isinstance(tree, list):
        return [interpolated(branch, values) for branch in tree]
    return VARIABLE.sub(value, tree).replace("$$", "$") if isinstance(tree, str) else tree


@pytest.fixture(scope="module")
def text() -> str:
    return "\n".join(line for line in COMPOSE.read_text().splitlines() if not line.lstrip().startswith("#"))


@pytest.fixture(scope="module")
def compose(text: str) -> dict[str, Any]:
    """The file as compose reads it with an environment of nothing but defaults."""
    loaded = interpolated(yaml.safe_load(text))
    assert isinstance(loaded, dict)
    return loaded


@pytest.fixture(scope="module")
def example() -> dict[str, str]:
    """The variables of env.example with their values."""
    lines = (ROOT / "deploy" / "env.example").read_text().splitlines()
    pairs = [line.split("=", 1) for line in lines if line and not line.startswith("#")]
    return dict(pairs)


def services(compose: dict[str, Any]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose["services"]
    return found


def test_each_variable_is_in_the_example_and_each_of_the_example_is_used(
    text: str, example: dict[str, str]
) -> None:
    used = {found["name"] for found in VARIABLE.finditer(text)}

    assert used == example.keys() - {"COMPOSE_PROFILES"}  # which compose itself reads


def test_the_defaults_of_the_example_are_those_of_the_file(text: str, example: dict[str, str]) -> None:
    defaults = {
        found["name"]: found["rest"]
        for found in VARIABLE.finditer(text)
        if (found["kind"] or "").endswith("-")
    }

    assert defaults == {name: example[name] for name in defaults}


def test_what_has_no_default_must_be_set_and_says_so(text: str, example: dict[str, str]) -> None:
    for found in VARIABLE.finditer(text):
        assert found["kind"] in (":-", ":?"), f"{found[0]} may be forgotten without a word"
        if found["kind"] == ":?":
            assert found["rest"], f"{found[0]} does not say what to do"
            assert example[found["name"]] == "", f"{found['name']} has a value that somebody might keep"


def test_no_secret_has_a_default(text: str) -> None:
    secrets = [found for found in VARIABLE.finditer(text) if SECRET.search(found["name"])]

    assert secrets
    assert all(found["kind"] == ":?" for found in secrets)


def test_each_farm_variable_is_one_that_the_farm_reads(text: str) -> None:
    named = set(re.findall(r"\b(?:FARM|COMFYUI|BUCKET)_[A-Z0-9_]+\b", text))

    assert named - known_variables() == {"COMFYUI_VERSION"}  # an argument of the image


def test_what_a_service_depends_on_is_there(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        for other, how in service.get("depends_on", {}).items():
            assert other in services(compose), f"{name} waits for {other}"
            assert how["condition"] == "service_healthy"
            # A service of a profile that is off must not stop the others.
            assert how.get("required", True) is not bool(services(compose)[other].get("profiles"))


def test_each_volume_is_declared_and_each_declared_one_is_used(compose: dict[str, Any]) -> None:
    sources = {
        mount.split(":")[0] for service in services(compose).values() for mount in service.get("volumes", [])
    }
    files = {source for source in sources if source.startswith((".", "/"))}

    assert sources - files == compose["volumes"].keys()
    assert all((ROOT / file).is_file() for file in files)


def test_networks_that_are_named_are_declared(compose: dict[str, Any]) -> None:
    named = {network for service in services(compose).values() for network in service.get("networks", [])}

    assert named <= set(compose.get("networks") or {})


def test_each_service_is_watched_restarted_and_keeps_its_log_short(compose: dict[str, Any]) -> None:
    for name, service in services(compose).items():
        assert service["healthcheck"]["test"], name
        assert service["restart"] == "unless-stopped", name
        assert service["logging"]["options"]["max-size"], name
        assert "no-new-privileges:true" in service["security_opt"], name


def test_nothing_can_be_reached_from_outside_unless_somebody_says_so(compose: dict[str, Any]) -> None:
    ports = [port for service in services(compose).values() for port in service.get("ports", [])]

    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports), ports
    assert not any(service.get("network_mode") == "host" for service in services(compose).values())


def test_a_worker_has_time_to_give_its_job_back(compose: dict[str, Any]) -> None:
    settings = WorkerSettings.read()
    needed_s = settings.drain_grace_s + settings.cancel_grace_s + 15.0  # and ComfyUI's own end

    for worker in workers(compose):
        assert float(worker["stop_grace_period"].removesuffix("s")) >= needed_s


def test_each_worker_has_one_card_a_folder_and_a_name_of_its_own(compose: dict[str, Any]) -> None:
    cards, folders, names = [], [], []
    for worker in workers(compose):
        (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
        (card,) = device["device_ids"]
        cards.append(card)
        folders += [mount.split(":")[0] for mount in worker["volumes"] if mount.endswith(":/var/lib/farm")]
        names.append(worker["hostname"])

    assert len(cards) == 4
    assert len(set(cards)) == len(set(folders)) == len(set(names)) == len(cards)


def workers(compose: dict[str, Any]) -> list[dict[str, Any]]:
    return [service for name, service in services(compose).items() if name.startswith("worker-")]


def test_valkey_keeps_what_it_accepted() -> None:
    settings = (ROOT / "deploy" / "valkey.conf").read_text().splitlines()

    assert {"appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(settings)


def test_each_image_is_pinned(compose: dict[str, Any]) -> None:
    others = [service["image"] for service in services(compose).values() if "build" not in service]
    dockerfiles = [(ROOT / "deploy" / name).read_text() for name in ("Dockerfile.worker", "Dockerfile.farm")]
    bases = [base for text in dockerfiles for base in re.findall(r"^ARG \w+_IMAGE=(\S+)", text, re.MULTILINE)]

    assert len(bases) == len(dockerfiles)
    assert all(re.search(r":\d+\.\d+", image) for image in (*others, *bases))


def test_each_dockerfile_that_is_named_is_there_and_gets_what_it_copies(compose: dict[str, Any]) -> None:
    builds = {service["build"]["dockerfile"] for service in services(compose).values() if "build" in service}

    for name in builds:
        dockerfile = (ROOT / name).read_text()
        copied = re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE)
        sources = [source for line in copied for source in line.split()[:-1]]
        assert sources
        assert all((ROOT / source).exists() for source in sources), sources
        assert (ROOT / f"{name}.dockerignore").is_file()


def test_the_comfyui_of_the_image_is_new_enough_and_the_same_everywhere(
    text: str, example: dict[str, str]
) -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile.worker").read_text()
    (version,) = re.findall(r"^ARG COMFYUI_VERSION=(\S+)$", dockerfile, re.MULTILINE)

    assert tuple(map(int, version.split("."))) >= (0, 28, 0)
    assert version == example["COMFYUI_VERSION"]
    assert f"${{COMFYUI_VERSION:-{version}}}" in text


def test_an_empty_endpoint_and_a_given_one_both_reach_the_containers(text: str) -> None:
    loaded = yaml.safe_load(text)
    endpoints = [
        interpolated(loaded, values)["services"]["worker-0"]["environment"]["FARM_S3_ENDPOINT_URL"]
        for values in ({"FARM_S3_ENDPOINT_URL": "http://s3:8333"}, {})
    ]

    assert endpoints == ["http://s3:8333", ""]


def test_flower_does_not_start_without_a_password() -> None:
    script = ROOT / "deploy" / "farm-entrypoint.sh"
    tried = subprocess.run(
        ["sh", script, "flower"],
        capture_output=True,
        text=True,
        env={"PATH": os.environ["PATH"]},
        check=False,
    )

    assert tried.returncode != 0
    assert "FLOWER_BASIC_AUTH: set it" in tried.stderr


def test_flower_shows_the_same_in_a_container_as_in_the_local_stack() -> None:
    script = (ROOT / "deploy" / "farm-entrypoint.sh").read_text(encoding="utf-8")

    assert dict(re.findall(r"--(read_only|task\w+)=(\S+)", script)) == FLOWER_OPTIONS


def test_each_worker_can_start_comfyui_as_another_user_and_do_nothing_else_as_root(
    compose: dict[str, Any],
) -> None:
    dockerfile = (ROOT / "deploy" / "Dockerfile.worker").read_text()
    (user,) = re.findall(r"FARM_COMFY_USER=(\w+)", dockerfile)

    assert re.search(rf"useradd .* {user} ", dockerfile)
    assert dockerfile.rstrip().rpartition("\nUSER ")[2].startswith("0\n")
    for worker in workers(compose):
        assert worker["cap_drop"] == ["ALL"]
        assert set(worker["cap_add"]) == {"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"}
        assert "no-new-privileges:true" in worker["security_opt"]
