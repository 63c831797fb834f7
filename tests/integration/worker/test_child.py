"""A child ends with its owner, with all that it started, and its output arrives."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from farm.process.child import Child, ChildNotStarted, free_port
from farm.process.logpump import LogLine
from tests.support.valkey import eventually

PYTHON = [sys.executable, "-I", "-S", "-c"]

# Prints its own id and that of a process it started in a session of its own, then stays.
WITH_GRANDCHILD = """
import os, subprocess, sys, time
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(os.getpid(), other.pid, flush=True)
time.sleep(600)
"""
IGNORES_TERM = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("ready", flush=True)
time.sleep(600)
"""
ASKS_FOR_REAL_TIME = """
import os
try:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
except PermissionError:
    pass
print(os.sched_getscheduler(0) == os.SCHED_OTHER, flush=True)
"""


class Lines:
    """Collects lines, and waits for one."""

    def __init__(self) -> None:
        self.seen: list[LogLine] = []
        self._changed = threading.Condition()

    def __call__(self, line: LogLine) -> None:
        with self._changed:
            self.seen.append(line)
            self._changed.notify_all()

    def wait_for(self, count: int) -> list[str]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, 30), self.texts
        return self.texts

    @property
    def texts(self) -> list[str]:
        return [line.text for line in self.seen]


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture
def lines() -> Lines:
    return Lines()


@pytest.fixture
def start(lines: Lines) -> Iterator[Callable[..., Child]]:
    children: list[Child] = []

    def run(code: str, **options: object) -> Child:
        child = Child.start([*PYTHON, textwrap.dedent(code)], name="test child", on_line=lines, **options)  # type: ignore[arg-type]
        children.append(child)
        return child

    yield run
    for child in children:
        child.kill()


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("import os; os.abort()", -signal.SIGABRT),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", -signal.SIGSEGV),
    ],
)
def test_the_exit_code_is_the_childs_own(start: Callable[..., Child], code: str, expected: int) -> None:
    child = start(code)

    assert child.wait(30) == expected
    assert child.poll() == expected


def test_its_end_is_told_after_its_last_line(start: Callable[..., Child], lines: Lines) -> None:
    told: list[tuple[int, list[str]]] = []
    happened = threading.Event()

    def on_exit(code: int) -> None:
        told.append((code, lines.texts))
        happened.set()

    start("print('last words'); raise SystemExit(3)", on_exit=on_exit)

    assert happened.wait(30)
    assert told == [(3, ["last words"])]


def test_stdout_and_stderr_arrive_as_stamped_lines_and_in_the_file(
    start: Callable[..., Child], lines: Lines, tmp_path: Path
) -> None:
    before = time.monotonic()

    child = start(
        """
        import sys
        print("out", flush=True)
        print("err", file=sys.stderr, flush=True)
        sys.stdout.buffer.write(b"\\xff no end")
        """,
        log_file=tmp_path / "logs" / "child.log",
    )
    child.wait(30)

    assert lines.texts == ["out", "err", "\ufffd no end"]
    assert all(before <= line.monotonic_s <= time.monotonic() for line in lines.seen)
    assert [line.text for line in child.output.lines_since(before)] == lines.texts
    assert [line.text for line in child.output.tail(1)] == ["\ufffd no end"]
    rows = (tmp_path / "logs" / "child.log").read_text().splitlines()
    assert [row.split(" ", 1)[1] for row in rows] == lines.texts


def test_a_progress_bar_arrives_state_by_state_before_its_line_ends(
    start: Callable[..., Child], lines: Lines
) -> None:
    start(
        """
        import sys, time
        for step in range(3):
            sys.stderr.write(f"\\r{step}/2")
            sys.stderr.flush()
        time.sleep(600)
        """
    )

    assert lines.wait_for(3) == ["0/2", "1/2", "2/2"]
    assert all(line.bar for line in lines.seen)


def test_much_output_neither_blocks_the_child_nor_is_lost(start: Callable[..., Child], lines: Lines) -> None:
    child = start("for n in range(50_000): print(n, 'x' * 50)")

    assert child.wait(60) == 0
    assert len(lines.seen) == 50_000
    assert lines.texts[-1].startswith("49999 ")


def test_stop_asks_first_and_gives_the_childs_own_answer(start: Callable[..., Child], lines: Lines) -> None:
    child = start(
        """
        import signal, sys, time
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
        print("ready", flush=True)
        time.sleep(600)
        """
    )
    lines.wait_for(1)

    assert child.stop(grace_s=30) == 5


def test_a_child_that_ignores_the_request_is_killed(start: Callable[..., Child], lines: Lines) -> None:
    child = start(IGNORES_TERM)
    lines.wait_for(1)

    assert child.stop(grace_s=0.2) == -signal.SIGKILL


def test_a_frozen_child_is_stopped(start: Callable[..., Child], lines: Lines) -> None:
    child = start("import time; print('ready', flush=True); time.sleep(600)")
    lines.wait_for(1)
    os.kill(child.pid, signal.SIGSTOP)
    eventually(lambda: psutil.Process(child.pid).status() == psutil.STATUS_STOPPED)

    assert child.stop(grace_s=0.2) == -signal.SIGKILL


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("how", ["stop", "kill", "quiet exit", "sigkill"])
def test_a_grandchild_in_its_own_session_never_stays_behind(
    start: Callable[..., Child], lines: Lines, how: str
) -> None:
    code = WITH_GRANDCHILD if how != "quiet exit" else WITH_GRANDCHILD.replace("time.sleep(600)\n", "")
    child = start(code)
    grandchild = int(lines.wait_for(1)[0].split()[1])

    if how == "stop":
        child.stop(grace_s=5)
    elif how == "kill":
        child.kill()
    elif how == "sigkill":
        os.kill(child.pid, signal.SIGKILL)

    child.wait(30)
    assert gone(grandchild)


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("depth", [1, 2])
def test_nothing_outlives_an_owner_that_was_killed(depth: int) -> None:
    # The innermost process starts a grandchild of its own; each level starts the next through a Child,
    # as the local stack starts a worker and the worker starts ComfyUI.
    code = WITH_GRANDCHILD
    for _ in range(depth):
        code = textwrap.dedent(
            f"""
            import sys, time
            from farm.process.child import Child
            child = Child.start([sys.executable, "-c", {code!r}], name="level",
                                on_line=lambda line: print(line.text, flush=True))
            print(child.pid, child._guard.pid, flush=True)
            time.sleep(600)
            """
        )
    owner = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner, owner.stdout as said:
        rows = [said.readline().split() for _ in range(depth + 1)]
        pids = [int(pid) for row in rows for pid in row]
        assert not any(gone(pid) for pid in pids)

        owner.kill()

    eventually(lambda: all(gone(pid) for pid in pids))


def test_a_child_started_by_a_thread_that_ended_goes_on(lines: Lines) -> None:
    # The signal that the kernel can send on a parent's death counts the *thread* as the parent.
    started: list[Child] = []
    thread = threading.Thread(
        target=lambda: started.append(
            Child.start(
                [*PYTHON, "import time\nfor n in range(6000): print(n, flush=True); time.sleep(0.1)"],
                name="from a thread",
                on_line=lines,
            )
        )
    )
    thread.start()
    thread.join(30)
    heard = len(lines.seen)

    assert len(lines.wait_for(heard + 5)) >= heard + 5
    assert started[0].poll() is None
    started[0].kill()


def test_a_fork_that_keeps_the_lifeline_open_does_not_save_the_child() -> None:
    code = textwrap.dedent(
        """
        import os, sys, time
        from farm.process.child import Child
        child = Child.start([sys.executable, "-c", "import time; time.sleep(600)"], name="x")
        fork = os.fork()
        if fork:
            print(child.pid, fork, flush=True)
        time.sleep(600)
        """
    )
    owner = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdout=subprocess.PIPE)
    assert owner.stdout is not None
    with owner, owner.stdout as said:
        child, fork = (int(pid) for pid in said.readline().split())

        owner.kill()

        eventually(lambda: gone(child))
        os.kill(fork, signal.SIGKILL)


def test_the_environment_and_the_folder_are_those_given(
    start: Callable[..., Child], lines: Lines, tmp_path: Path
) -> None:
    start(
        """
        import os
        print(os.getcwd())
        print(sorted(set(os.environ) - {"LC_CTYPE"}))
        print(os.getsid(0) == os.getpid())
        """,
        env={"ONLY": "this"},
        cwd=tmp_path,
    ).wait(30)

    assert lines.texts == [str(tmp_path), "['ONLY']", "True"]


def test_an_interrupt_that_the_owner_ignores_still_reaches_the_child(lines: Lines) -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        child = Child.start(
            [*PYTHON, "import time; print('ready', flush=True); time.sleep(600)"], name="x", on_line=lines
        )
    finally:
        signal.signal(signal.SIGINT, before)
    lines.wait_for(1)

    os.kill(child.pid, signal.SIGINT)

    assert child.wait(30) == -signal.SIGINT


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda folder: folder / "missing", "no such program"),
        (lambda folder: _file(folder / "plain", 0o600, "#!/bin/sh\n"), "not executable"),
        (lambda folder: _file(folder / "junk", 0o700, "\x00junk"), "no program for this machine"),
    ],
)
def test_a_command_that_cannot_run_is_refused_with_the_reason(
    tmp_path: Path, make: Callable[[Path], Path], reason: str
) -> None:
    with pytest.raises(ChildNotStarted, match=reason) as caught:
        Child.start([str(make(tmp_path))], name="broken", log_file=tmp_path / "x.log")

    assert caught.value.errno != 0


@pytest.fixture
def can_have_real_time() -> None:
    asked = subprocess.run([*PYTHON, ASKS_FOR_REAL_TIME], check=True, capture_output=True)
    if b"True" in asked.stdout:
        pytest.skip("this user may give nobody real-time priority")


@pytest.mark.usefixtures("can_have_real_time")
@pytest.mark.parametrize(
    "code",
    [
        ASKS_FOR_REAL_TIME,
        f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASKS_FOR_REAL_TIME!r}])",
    ],
    ids=["the child", "what it starts"],
)
def test_no_child_takes_a_processor_from_its_owner_by_real_time_priority(
    code: str, start: Callable[..., Child], lines: Lines
) -> None:
    start(code)

    assert lines.wait_for(1) == ["True"]


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ChildNotStarted, match="nowhere"):
        Child.start(["true"], name="broken", cwd=tmp_path / "nowhere", log_file=tmp_path / "x.log")


def test_a_wait_that_is_too_short_leaves_the_child_running(start: Callable[..., Child]) -> None:
    child = start("import time; time.sleep(600)")

    with pytest.raises(TimeoutError, match="still runs"):
        child.wait(0.01)

    assert child.poll() is None


def test_many_threads_start_children_at_once(lines: Lines) -> None:
    children: list[Child] = []
    threads = [
        threading.Thread(
            target=lambda: children.append(Child.start([*PYTHON, "print('x')"], name="x", on_line=lines))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert [child.wait(60) for child in children] == [0] * 8
    assert lines.texts == ["x"] * 8


def test_a_free_port_is_for_the_server_that_names_it_and_for_nobody_else() -> None:
    port = free_port()

    with socket.socket() as another, pytest.raises(OSError, match="in use"):
        another.bind(("127.0.0.1", port))  # as the system tries a port before it gives it away
    with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
        pass


def _file(path: Path, mode: int, content: str) -> Path:
    path.write_text(content)
    path.chmod(mode)
    return path
