"""Child processes: they end with us when they are private, and for certain when they are told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from edgeloop.errors import EdgeloopError
from tasks.process import (
    end,
    find,
    free_port,
    is_alive,
    is_healthy,
    is_port_free,
    listening,
    marked,
    spawn,
    wait_until_healthy,
)

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('on', flush=True); time.sleep(60)"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "log"


@pytest.fixture
def start(log: Path) -> Iterator[Callable[..., psutil.Popen]]:
    """Start a Python program; whatever is left of it afterwards is killed."""
    begun: list[psutil.Popen] = []

    def one(code: str, **more: str) -> psutil.Popen:
        begun.append(spawn([sys.executable, "-c", code], log, {**os.environ, **more}))
        return begun[-1]

    yield one
    for process in begun:
        if is_alive(process):
            process.kill()
        process.wait()


def wait_for(answer: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not answer():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_output_goes_to_the_log_and_ctrl_c_does_not_reach_it(start: Callable[..., psutil.Popen], log: Path) -> None:
    """A child has a session of its own and a default SIGINT, whatever it was started from."""
    process = start("import os, signal; print(os.getsid(0) == os.getpid(), signal.getsignal(signal.SIGINT))")
    process.wait()
    assert log.read_text().startswith("True <built-in function default_int_handler>")


def test_private_child_is_killed_with_its_parent(tmp_path: Path, root: Path) -> None:
    """kill -9 of the parent takes a private child along, at once."""
    program = (
        "import os, sys, time; from pathlib import Path; from tasks.process import spawn;"
        "child = spawn(['sleep', '60'], Path(sys.argv[1], 'log'), os.environ, private=True);"
        "Path(sys.argv[1], 'pid').write_text(str(child.pid)); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], cwd=root)
    wait_for(lambda: (tmp_path / "pid").is_file() and (tmp_path / "pid").read_text() != "")
    child = psutil.Process(int((tmp_path / "pid").read_text()))
    wait_for(lambda: child.name() == "sleep")
    parent.kill()
    parent.wait()
    wait_for(lambda: not is_alive(child))


def test_end_takes_descendants_along(start: Callable[..., psutil.Popen], log: Path) -> None:
    """Children that left the session end too."""
    process = start(
        "import subprocess, time; p = subprocess.Popen(['sleep', '60'], start_new_session=True);"
        "print('on', flush=True); time.sleep(60)"
    )
    wait_for(lambda: "on" in log.read_text())
    (child,) = process.children()
    end(process, seconds=5)
    assert not is_alive(process)
    assert not is_alive(child)


def test_end_kills_what_does_not_listen(start: Callable[..., psutil.Popen], log: Path) -> None:
    """A process that ignores SIGTERM is killed after the patience it was given."""
    process = start(STUBBORN)
    wait_for(lambda: "on" in log.read_text())
    end(process, seconds=0.1)
    wait_for(lambda: not is_alive(process))
    assert process.wait() == -signal.SIGKILL


def test_find_wants_the_time_of_creation(start: Callable[..., psutil.Popen]) -> None:
    """The same id with another time of creation is another process; one that ended is none."""
    process = start("import time; time.sleep(60)")
    created = process.create_time()
    assert find(process.pid, created) == psutil.Process(process.pid)
    assert find(process.pid, created - 100) is None
    process.kill()
    wait_for(lambda: not is_alive(process))  # a zombie, for nobody has collected it yet
    assert find(process.pid, created) is None


def test_marked_finds_grandchildren(start: Callable[..., psutil.Popen], log: Path) -> None:
    """The mark is inherited, and only its own value counts."""
    start(
        "import subprocess, time; p = subprocess.Popen(['sleep', '60']); print('on', flush=True); time.sleep(60)",
        EDGELOOP_TEST_MARK=str(log),
    )
    wait_for(lambda: "on" in log.read_text())
    assert {process.name() for process in marked("EDGELOOP_TEST_MARK", str(log))} >= {"sleep"}
    for process in marked("EDGELOOP_TEST_MARK", str(log)):
        process.kill()
    assert marked("EDGELOOP_TEST_MARK", "another") == []


class TestHealth:
    def test_server_that_answers(self, start: Callable[..., psutil.Popen], log: Path, tmp_path: Path) -> None:
        """Waiting ends when the server answers; its port is then known as its own, on loopback."""
        port = free_port()
        assert is_port_free(port)
        process = start(
            f"import os; from http.server import HTTPServer, SimpleHTTPRequestHandler; os.chdir({str(tmp_path)!r});"
            f"HTTPServer(('127.0.0.1', {port}), SimpleHTTPRequestHandler).serve_forever()"
        )
        wait_until_healthy(f"http://127.0.0.1:{port}/", process, log)
        assert listening(process) == {port: "127.0.0.1"}
        assert not is_port_free(port)
        assert not is_healthy(f"http://127.0.0.1:{port}/missing")

    def test_server_that_ends(self, start: Callable[..., psutil.Popen], log: Path) -> None:
        """A server that ended is reported with the last line it wrote."""
        process = start("raise SystemExit('no such table: flow')")
        with pytest.raises(EdgeloopError, match=r"ended; expected 200.*no such table: flow"):
            wait_until_healthy(f"http://127.0.0.1:{free_port()}/", process, log)

    def test_server_that_never_answers(self, start: Callable[..., psutil.Popen], log: Path) -> None:
        """Patience has an end."""
        with pytest.raises(EdgeloopError, match="did not answer within"):
            wait_until_healthy(f"http://127.0.0.1:{free_port()}/", start("import time; time.sleep(60)"), log, 0.2)

    def test_full_disk(self, start: Callable[..., psutil.Popen], log: Path) -> None:
        """A server that could not write is the full disk it is."""
        process = start("raise SystemExit('sqlite3.OperationalError: database or disk is full')")
        with pytest.raises(OSError, match="No space left"):
            wait_until_healthy(f"http://127.0.0.1:{free_port()}/", process, log)
