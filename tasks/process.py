"""Servers, workers and trainings as child processes: in a session of their own, waited for, stopped for certain.

Linux only: the kernel ends a private child with its parent (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import errno
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.services import LOOPBACK
from models.apart import BAD_INPUT, FULL_DISK, INTERRUPTED, TrainingJob

# Runs in the child before the program: SIGINT is what stops a Prefect worker, and a shell that starts us in the
# background leaves it ignored. PR_SET_PDEATHSIG is 1. Python's preexec_fn could do it, but not safely beside threads.
_BOOT = """
import ctypes, os, signal, sys
parent, private, *command = sys.argv[1:]
signal.signal(signal.SIGINT, signal.SIG_DFL)
if private == "private":
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    if os.getppid() != int(parent):
        sys.exit("the parent is gone")
os.execvp(command[0], command)
"""


def spawn(command: Sequence[str], log: Path, environment: Mapping[str, str], private: bool = False) -> psutil.Popen:
    """Start a program in its own session, so that Ctrl-C in the terminal reaches us alone; output goes to `log`.

    Args:
        command: the program and its arguments.
        log: appended to.
        environment: the whole of it; nothing of ours is added.
        private: the child is killed when the thread that calls this ends, however it ends (kill -9 included).
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        return psutil.Popen(
            boot(command, private),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
            start_new_session=True,
        )


def boot(command: Sequence[str], private: bool = True) -> list[str]:
    """The command line of a child; a private one is killed when the thread that starts it ends, however it ends."""
    own = "private" if private else "shared"
    return [sys.executable, "-S", "-E", "-c", _BOOT, str(os.getpid()), own, *command]


def train_apart(job: TrainingJob) -> None:
    """Run the job in a child, which ends with us; its progress is on our stderr.

    Raises:
        BadInput: as the child says it.
        OSError: the disk is full.
        KeyboardInterrupt: the child was interrupted.
        EdgeloopError: it failed otherwise; its traceback is on stderr.
    """
    command = boot([sys.executable, "-m", "models.apart"])
    child = subprocess.run(command, input=job.model_dump_json(), stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode == BAD_INPUT:
        raise BadInput(child.stdout)
    if child.returncode == FULL_DISK:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.out))
    if child.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode:
        raise EdgeloopError(f"Training ended with exit code {child.returncode}; the reason is on stderr above.")


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def is_port_free(port: int) -> bool:
    """Whether nothing listens on this port of the loopback interface now."""
    with socket.socket() as probe:
        return probe.connect_ex((LOOPBACK, port)) != 0


def listening(process: psutil.Process) -> dict[int, str]:
    """The TCP ports that a process and its descendants listen on, with the address of each."""
    family = [process, *_children(process)]
    connections = [one for member in family if is_alive(member) for one in member.net_connections("tcp")]
    return {one.laddr.port: one.laddr.ip for one in connections if one.status == psutil.CONN_LISTEN}


def is_healthy(url: str, seconds: float = 2.0) -> bool:
    """Whether a GET of `url` answers 200 within `seconds`."""
    import httpx

    try:
        return httpx.get(url, timeout=seconds, trust_env=False).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False


def wait_until_healthy(url: str, process: psutil.Process, log: Path, seconds: float = 120.0) -> None:
    """Return when `url` answers 200.

    Raises:
        EdgeloopError: the process ended, or `seconds` passed; the last line of its log is in the message.
        OSError: its log says that the disk is full.
    """
    deadline = time.monotonic() + seconds
    while not is_healthy(url):
        ended = not is_alive(process)
        if ended or time.monotonic() > deadline:
            why = "ended" if ended else f"did not answer within {seconds:.0f} s"
            raise EdgeloopError(f"The server for {url} {why}; expected 200. {_last_words(log)}")
        time.sleep(0.05)


def _last_words(log: Path) -> str:
    """The last line of a log, for a message."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")[-200:]
    if re.search(r"disk is full|No space left on device", "\n".join(lines)):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(log.parent))
    last = next((line.strip() for line in reversed(lines) if line.strip()), "nothing")
    return f"Its log {log} ends with: {last[:300]}"


def is_alive(process: psutil.Process) -> bool:
    """Whether it runs; a zombie, which has ended and only waits to be collected, does not."""
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def end(process: psutil.Process, seconds: float = 10.0) -> None:
    """End a process that `spawn` started, with all its descendants.

    Args:
        process: it is told first and alone, for a worker stops its own runs in order.
        seconds: how long it may take, and then how long what is left may take, before that is killed.
    """
    family = {process, *_children(process)}
    _tell(process, signal.SIGTERM)
    _wait([process], seconds)
    for wish in (signal.SIGTERM, signal.SIGKILL):
        family |= {child for member in family for child in _children(member)}
        for member in family:
            _tell(member, wish)
        _wait(family, seconds)
    if isinstance(process, psutil.Popen):
        process.wait()  # our own child: collect it


def _wait(family: Iterable[psutil.Process], seconds: float) -> None:
    """Return when none of `family` runs any more, at the latest after `seconds`.

    A process that nobody collects stays a zombie, and psutil's own wait counts that as running.
    """
    deadline = time.monotonic() + seconds
    while any(map(is_alive, family)) and time.monotonic() < deadline:
        time.sleep(0.05)


def find(pid: int, created: float) -> psutil.Process | None:
    """The running process with this id and time of creation: ids are given out again, so an id alone says nothing."""
    try:
        process = psutil.Process(pid)
        same = abs(process.create_time() - created) < 1.0
    except psutil.NoSuchProcess:
        return None
    return process if same and is_alive(process) else None


def marked(name: str, value: str) -> list[psutil.Process]:
    """Every process of ours whose environment says `name=value`: children inherit it wherever they go."""
    own = os.getpid()
    return [process for process in psutil.process_iter() if process.pid != own and _environ(process).get(name) == value]


def _environ(process: psutil.Process) -> dict[str, str]:
    try:
        found: dict[str, str] = process.environ()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return {}
    return found


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        found: list[psutil.Process] = process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    return found


def _tell(process: psutil.Process, wish: signal.Signals) -> None:
    try:
        process.send_signal(wish)
    except psutil.NoSuchProcess:
        return  # it has ended, which is what the signal asks for
