"""The embedded stack comes up, is found, survives deaths, and leaves nothing behind."""

from __future__ import annotations

import base64
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import boto3
import pytest
import redis
from botocore.config import Config
from redis.backoff import NoBackoff
from redis.retry import Retry

from farm.broker import CeleryNotifier, make_app
from farm.check.health import examine
from farm.check.services import check_redis, check_s3
from farm.errors import StackError
from farm.local.addresses import BUCKET, PartName
from farm.local.probes import redis_refuses
from farm.local.running import attach, down, local_environment
from farm.local.stack import LocalStack
from farm.local.state import StackState, write_state
from farm.local.supervisor import News, PartNews
from farm.local.wheels import valkey_binary
from farm.process.child import free_port
from farm.settings.redis import RedisSettings
from farm.settings.s3 import S3Settings
from farm.status.not_fetching import NotFetching
from farm.status.worker import WorkerStatus
from farm.storage import S3Storage
from farm.store.base import StoreLimits
from farm.store.redis.store import connect
from tests.support.environment import environment_of_others
from tests.support.valkey import eventually

SERVERS = (PartName.VALKEY, PartName.S3)
SERVE = """
import sys
from pathlib import Path
from farm.local.addresses import BUCKET, PartName
from farm.local.probes import redis_refuses
from farm.local.stack import LocalStack

stack = LocalStack(Path(sys.argv[1]), parts=[PartName.VALKEY, PartName.S3])
stack.serve(lambda state: print("ready", flush=True))
"""


def redis_of(environment: dict[str, str]) -> redis.Redis:
    return redis.Redis.from_url(environment["FARM_REDIS_URL"])


def s3_of(environment: dict[str, str]) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=environment["FARM_S3_ENDPOINT_URL"],
        aws_access_key_id=environment["FARM_S3_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["FARM_S3_SECRET_ACCESS_KEY"],
        region_name=environment["FARM_S3_REGION"],
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    )


def put_both(environment: dict[str, str]) -> None:
    with redis_of(environment) as client:
        client.set("kept", "yes")
    s3 = s3_of(environment)
    s3.put_object(Bucket=environment["FARM_S3_BUCKET"], Key="jobs/a.txt", Body=b"kept")
    s3.close()


def assert_both_kept(environment: dict[str, str]) -> None:
    with redis_of(environment) as client:
        assert client.get("kept") == b"yes"
    s3 = s3_of(environment)
    body = s3.get_object(Bucket=environment["FARM_S3_BUCKET"], Key="jobs/a.txt")["Body"]
    assert body.read() == b"kept"
    body.close()
    s3.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / ".farm"


@pytest.fixture
def serving(folder: Path) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts a process that runs a stack of both servers in `folder`, as `farm up` does."""
    started: list[subprocess.Popen[str]] = []

    def serve() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", SERVE, str(folder)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment_of_others(),
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        return process

    yield serve
    for process in started:
        process.kill()
        process.communicate()
    state = attach(folder)
    assert state is None


def a_stack(folder: Path, *parts: PartName, on_news: Callable[[PartNews], None] | None = None) -> LocalStack:
    return LocalStack(
        folder,
        parts=parts or SERVERS,
        environ=environment_of_others(),
        on_news=on_news or (lambda _news: None),
    )


def gone(state: StackState) -> bool:
    return not any(child.alive() for child in state.children.values())


def test_both_servers_answer_a_client_that_knows_only_the_folder(folder: Path) -> None:
    with a_stack(folder):
        environment = local_environment(folder, environment_of_others())
        put_both(environment)

        assert_both_kept(environment)
        assert (folder / "s3" / "farm" / "jobs" / "a.txt").read_bytes() == b"kept"


def test_a_link_to_the_public_address_is_taken_by_the_server_behind_it(folder: Path) -> None:
    with a_stack(folder, PartName.S3) as stack:
        public = f"http://localhost:{stack.state.ports[PartName.S3]}"
        settings = S3Settings.read(**stack.environment(), FARM_S3_PUBLIC_ENDPOINT_URL=public)
        storage = S3Storage(settings)
        storage.put_bytes(b"clip", "jobs/a.mp4", media_type="video/mp4")

        url = storage.url("jobs/a.mp4")

        assert url.startswith(f"{public}/farm/jobs/a.mp4?")
        with urllib.request.urlopen(url, timeout=30) as answer:
            assert answer.read() == b"clip"
        storage.close()


def test_valkey_loses_nothing_it_accepted_and_asks_for_a_password(folder: Path) -> None:
    with a_stack(folder, PartName.VALKEY) as stack, redis_of(stack.environment()) as client:
        settings = client.config_get("append*", "maxmemory-policy", "bind")
        port = stack.state.ports[PartName.VALKEY]
        stranger = redis.Redis(port=port, retry=Retry(NoBackoff(), 0))

        assert settings["appendonly"] == "yes"
        assert settings["appendfsync"] == "always"
        assert settings["maxmemory-policy"] == "noeviction"
        assert settings["bind"] == "127.0.0.1"
        with stranger, pytest.raises(redis.AuthenticationError):
            stranger.ping()


def test_only_the_owner_can_read_what_holds_passwords(folder: Path) -> None:
    with a_stack(folder, PartName.VALKEY):
        secret_files = [folder / "stack.json", folder / "run" / "valkey.conf"]

        assert [stat.S_IMODE(file.stat().st_mode) for file in secret_files] == [0o600, 0o600]
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_no_password_stands_in_a_command_line_that_everybody_can_read(folder: Path) -> None:
    with a_stack(folder) as stack:
        passwords = stack.state.passwords
        lines = [
            Path(f"/proc/{child.pid}/cmdline").read_text(errors="replace")
            for child in stack.state.children.values()
        ]

        assert len(lines) == 2
        assert not any(word in line for line in lines for word in (passwords.valkey, passwords.s3_secret))


def test_flower_wants_its_password_and_lets_nobody_act(folder: Path) -> None:
    with a_stack(folder, PartName.VALKEY, PartName.FLOWER) as stack:
        state = stack.state
        assert state.flower_url is not None
        key = base64.b64encode(f"{state.flower_user}:{state.passwords.flower}".encode()).decode()
        known = {"Authorization": f"Basic {key}"}

        assert status_of(state.flower_url) == 401
        assert status_of(state.flower_url, known) == 200
        assert status_of(f"{state.flower_url}/api/task/send-task/farm.render", known, data=b"{}") == 403


def status_of(url: str, headers: dict[str, str] | None = None, data: bytes | None = None) -> int:
    request = urllib.request.Request(url, headers=headers or {}, data=data)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return refusal.code


def test_a_second_stack_in_the_folder_is_refused_and_harms_nothing(folder: Path) -> None:
    with a_stack(folder) as stack:
        with pytest.raises(StackError, match=rf"already runs in .*process {os.getpid()}.*farm down"):
            a_stack(folder).start()

        put_both(stack.environment())
        assert attach(folder) == stack.state


def test_nothing_is_left_after_a_stop_and_the_data_is_there_at_the_next_start(folder: Path) -> None:
    with a_stack(folder) as stack:
        put_both(stack.environment())
        first = stack.state
    assert gone(first)
    assert local_environment(folder) == {}

    with a_stack(folder) as stack:
        assert_both_kept(stack.environment())
        assert stack.environment() == first.environment  # same ports and passwords: old links stay good


def test_all_dies_with_a_killed_parent_and_a_new_start_keeps_the_data(
    folder: Path, serving: Callable[[], subprocess.Popen[str]]
) -> None:
    process = serving()
    state = attach(folder)
    assert state is not None
    put_both(state.environment)

    process.kill()
    process.wait()
    unfinished = folder / "s3" / "farm" / ".rclone_temp_put_x"
    unfinished.write_bytes(b"half")

    # At once: it must itself wait until the old servers have let go of the files.
    with a_stack(folder) as stack:
        assert gone(state)
        assert not unfinished.exists()
        assert_both_kept(stack.environment())


def test_down_stops_a_stack_of_another_process(
    folder: Path, serving: Callable[[], subprocess.Popen[str]]
) -> None:
    process = serving()
    state = attach(folder)
    assert state is not None

    assert down(folder)

    assert gone(state)
    assert process.wait(30) == 0
    assert not down(folder)


def test_a_server_that_dies_is_started_again_over_its_data(folder: Path) -> None:
    told: list[PartNews] = []
    with a_stack(folder, on_news=told.append) as stack:
        put_both(stack.environment())
        killed = stack.state.children[PartName.VALKEY]

        os.kill(killed.pid, signal.SIGKILL)

        eventually(
            lambda: [news.news for news in told if news.part == PartName.VALKEY].count(News.READY) == 2
        )
        assert_both_kept(stack.environment())
    deaths = [news for news in told if news.news is News.DIED]
    assert [news.part for news in deaths] == [PartName.VALKEY]
    assert "signal 9" in deaths[0].detail


def test_what_the_environment_names_is_not_started(folder: Path) -> None:
    environ = {**environment_of_others(), "FARM_REDIS_URL": "redis://elsewhere:6379/0"}
    with LocalStack(folder, parts=SERVERS, environ=environ) as stack:
        assert stack.parts == {PartName.S3}
        assert set(stack.state.children) == {PartName.S3}
        assert "FARM_REDIS_URL" not in stack.environment()


def test_a_client_with_its_own_s3_gets_only_the_redis_of_the_stack(folder: Path) -> None:
    with a_stack(folder):
        found = local_environment(folder, {"BUCKET_ENDPOINT_URL": "https://s3.example.com"})

    assert set(found) == {"FARM_REDIS_URL", "FARM_WORKER_DIR"}


def test_a_port_that_was_taken_meanwhile_is_replaced(folder: Path) -> None:
    with a_stack(folder, PartName.VALKEY) as stack:
        port = stack.state.ports[PartName.VALKEY]

    with (
        socket.create_server(("127.0.0.1", port)),
        a_stack(folder, PartName.VALKEY) as stack,
        redis_of(stack.environment()) as client,
    ):
        assert client.ping()
        assert stack.state.ports[PartName.VALKEY] != port


def test_a_server_that_cannot_start_is_told_with_its_last_words_and_nothing_is_left(folder: Path) -> None:
    (folder / "valkey").mkdir(parents=True)
    (folder / "valkey" / "appendonlydir").write_text("in the way")
    stack = a_stack(folder)

    with pytest.raises(StackError, match=r"(?s)valkey ended with code 1.*appendonlydir"):
        stack.start()

    assert gone(stack.state)
    assert not any(thread.name.startswith("keeper") for thread in threading.enumerate())
    (folder / "valkey" / "appendonlydir").unlink()
    with a_stack(folder):
        pass


@pytest.mark.parametrize(
    "name",
    ["[clips]", "a*b", "what?", "a b", "q'\"q", "$HOME `id`", "öäü 视频", "back\\slash", "[a\\]*?",
     "new\nline", "-n", "a:b", "#1", "%s", "{a,b}", "~", "tab\there", "x" * 200, "trailing "],
)  # fmt: skip
def test_both_servers_of_any_folder_are_its_own_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    stack = a_stack(tmp_path / name / ".farm", *SERVERS)
    with stack:
        put_both(stack.environment())
        with redis_of(stack.environment()) as client:
            assert client.config_get("bind") == {"bind": "127.0.0.1"}
            assert client.config_get("appendonly") == {"appendonly": "yes"}
            assert client.config_get("dir") == {"dir": str(tmp_path / name / ".farm" / "valkey")}
        assert (tmp_path / name / ".farm" / "s3" / BUCKET / "jobs" / "a.txt").read_text() == "kept"


@pytest.mark.parametrize("password", ["", "another"])
def test_a_redis_that_is_not_ours_is_refused_at_once(tmp_path: Path, password: str) -> None:
    port = free_port()
    options = ["--requirepass", password] if password else []
    other = subprocess.Popen(
        [str(valkey_binary()), "--bind", "127.0.0.1", "--port", str(port), "--dir", str(tmp_path), *options],
        stdout=subprocess.DEVNULL,
    )
    try:
        eventually(lambda: answers(port))

        with pytest.raises(StackError, match=f"not of this stack answers on port {port}"):
            redis_refuses(port, "ours")
    finally:
        other.kill()
        other.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_a_state_file_that_cannot_be_read_does_not_stand_in_the_way(folder: Path) -> None:
    with a_stack(folder) as stack:
        put_both(stack.environment())
    (folder / "stack.json").write_text('{"owner": ')

    with a_stack(folder) as stack:
        assert_both_kept(stack.environment())


def test_farm_check_finds_the_stack_of_the_folder_in_good_order(folder: Path, no_farm_named: None) -> None:
    with a_stack(folder):
        findings = [*check_redis(folder), *check_s3(folder)]

    assert [finding.name for finding in findings] == ["Redis", "Redis keeps jobs", "Redis access", "S3"]
    assert all(finding.ok for finding in findings), findings


def test_farm_check_sends_nobody_to_start_a_second_stack_where_one_runs_and_does_not_answer(
    folder: Path, no_farm_named: None
) -> None:
    with a_stack(folder, PartName.VALKEY) as stack:
        nowhere = f"redis://127.0.0.1:{free_port()}/0"
        write_state(folder, replace(stack.state, environment={"FARM_REDIS_URL": nowhere}))

        (finding,) = check_redis(folder)

    assert finding.remedy == f"a stack runs here: see its disk, and its last words in {folder / 'logs'}"


@pytest.mark.parametrize(
    ("setting", "remedy"),
    [
        ("FARM_S3_SECRET_ACCESS_KEY", "take out or correct FARM_S3_ACCESS_KEY_ID, FARM_S3_SECRET_ACCESS_KEY"),
        ("FARM_S3_BUCKET", "take out or correct FARM_S3_BUCKET"),
        ("FARM_S3_ENDPOINT_URL", "see its disk, and its last words in "),
    ],
)
def test_farm_check_says_which_setting_keeps_it_from_the_s3_of_the_stack_that_runs(
    folder: Path, no_farm_named: None, setting: str, remedy: str
) -> None:
    wrong = f"http://127.0.0.1:{free_port()}" if setting.endswith("_URL") else "not-ours"
    with a_stack(folder, PartName.S3) as stack:
        write_state(folder, replace(stack.state, environment={**stack.environment(), setting: wrong}))

        (finding,) = check_s3(folder)

    assert finding.blocks
    assert "farm up" not in finding.remedy
    assert remedy in finding.remedy


def test_a_worker_is_well_while_it_says_so(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with a_stack(folder, PartName.VALKEY) as stack:
        monkeypatch.setenv("FARM_REDIS_URL", stack.environment()["FARM_REDIS_URL"])
        settings = RedisSettings.read()
        store = connect(settings, StoreLimits(), CeleryNotifier(make_app(settings), settings.namespace))
        assert examine(["redis"]) is None
        assert "says nothing" in str(examine(["worker", "w@h"]))

        store.put_worker(WorkerStatus(name="w@h", not_fetching=(NotFetching.STARTING,)), ttl_s=60)
        assert "is not ready" in str(examine(["worker", "w@h"]))
        store.put_worker(WorkerStatus(name="w@h"), ttl_s=60)

        assert examine(["worker", "w@h"]) is None


def test_the_whole_farm_comes_up_with_the_emulator_and_its_worker_is_replaced_when_it_dies(
    folder: Path,
) -> None:
    told: list[PartNews] = []
    with a_stack(folder, *PartName, on_news=told.append) as stack:
        worker = stack.state.children[PartName.WORKER]

        os.kill(worker.pid, signal.SIGKILL)

        # Ready means the new one's status: the dead one's lies in Redis for a while longer.
        eventually(
            lambda: (
                [news.news for news in told if news.part == PartName.WORKER]
                == [News.STARTED, News.READY, News.DIED, News.STARTED, News.READY]
            )
        )
        assert stack.state.children[PartName.WORKER] != worker
    assert gone(stack.state)
    assert not (folder / "run" / "worker").exists()
    assert (folder / "worker").is_dir()
