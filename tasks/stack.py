"""The local stack: Prefect's server and workers, MLflow and Label Studio as child processes of nobody.

`up` starts what is not running and registers the deployments, `down` stops all of it, `status` says how it is. Each
program has a record with its process id and a log under `var/stack`. A record says nothing by itself: the process must
have been created when the record says, for ids are given out again.
"""

from __future__ import annotations

import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]
from rich.console import Console

from edgeloop import services
from edgeloop.config import Config
from edgeloop.errors import EdgeloopError
from edgeloop.lock import exclusive
from edgeloop.record import Record
from edgeloop.services import MARK, POOLS, PORTS, Service, ServiceStatus, folder, is_local
from tasks.deploy import api, deploy
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
from tasks.stage import results

KEY_VARIABLE = "LABEL_STUDIO_API_KEY"
LOCK_PATIENCE_SECONDS = 300.0  # for another `up` or `down` of this workspace
START_SECONDS = {"label-studio": 600.0}  # the first start installs it and makes its tables
ONLINE_SECONDS = 60.0


_children: list[psutil.Popen] = []  # they outlive us; Python warns of a child that is dropped while it runs


class Running(Record):
    """What `var/stack/<name>.json` records of a program."""

    pid: int
    created: float  # seconds since 1970, as the kernel says
    url: str
    health: str


def up(config: Config) -> tuple[ServiceStatus, ...]:
    """Start what is not running, register pools and deployments, start the workers; returns `status`.

    Twice changes nothing but the deployments whose code or schedule has changed.

    Raises:
        EdgeloopError: a program did not start, or a deployment was refused; the end of its log is in the message.
        BadInput: Label Studio is configured and cannot be started.
    """
    with _alone(config):
        key = _key(config)
        planned = _servers(config, key)
        for service in planned:
            _ensure(config, service)
        for service in planned:
            _await(config, service)
        prefect = planned[0].url
        deploy(prefect, folder(config.workspace) / "prefect")
        environment = {KEY_VARIABLE: key} if key else {}
        for pool in POOLS:
            _ensure(config, services.worker(config, pool, prefect, results(config)), environment)
        _await_workers(config, prefect)
    return status(config)


def down(config: Config) -> tuple[ServiceStatus, ...]:
    """Stop everything that `up` started and everything that those started; workers first. Twice changes nothing."""
    with _alone(config):
        names = [path.stem for path in _records(config)]
        for name in sorted(names, key=lambda name: not name.startswith("worker-")):
            process = _process(config, name)
            if process is not None:
                _say(f"stopping {name}")
                end(process)
            _path(config, name).unlink()
        for process in marked(MARK, str(config.workspace.var)):  # started by an `up` that was killed before it said so
            end(process)
    return status(config)


def status(config: Config) -> tuple[ServiceStatus, ...]:
    """How each program of this workspace is, in the order in which they start."""
    names = ["prefect", "mlflow", *_label_studio_name(config), *(f"worker-{pool}" for pool in POOLS)]
    elsewhere = {"mlflow": config.tracking.uri, "label-studio": "" if is_local(config.queue.url) else config.queue.url}
    return tuple(_elsewhere(name, elsewhere[name]) if elsewhere.get(name) else _here(config, name) for name in names)


def _label_studio_name(config: Config) -> list[str]:
    return ["label-studio"] if config.queue.kind == "label-studio" else []


def _elsewhere(name: str, url: str) -> ServiceStatus:
    if not url.startswith("http"):
        return ServiceStatus(name=name, state="elsewhere", url=url, note="a store without a server")
    healthy = is_healthy(f"{url.rstrip('/')}/health", 5.0)
    return ServiceStatus(name=name, state="elsewhere" if healthy else "not answering elsewhere", url=url)


def _here(config: Config, name: str) -> ServiceStatus:
    process, log = _process(config, name), _log(config, name)
    if process is None:
        return ServiceStatus(name=name, state="stopped", log=log if log.is_file() else None)
    record = Running.load(_path(config, name))
    healthy = not record.health or is_healthy(record.health)
    note = (
        f"user {services.LABEL_STUDIO_USER}, password and key in {_key_path(config)}" if name == "label-studio" else ""
    )
    return ServiceStatus(
        name=name,
        state="running" if healthy else "not answering",
        url=record.url,
        pid=process.pid,
        log=log,
        note=note,
    )


def _servers(config: Config, key: str) -> list[Service]:
    """The servers that are ours to run, Prefect's first."""
    planned = [services.prefect_server(config, _port(config, "prefect"))]
    if not config.tracking.uri:
        planned.append(services.mlflow_server(config, _port(config, "mlflow")))
    if key:
        planned.append(services.label_studio(config, key))
    return planned


def _port(config: Config, name: str) -> int:
    """The port it runs on, else its usual one when that is free, else any free one."""
    if _process(config, name) is not None:
        return int(Running.load(_path(config, name)).url.rpartition(":")[2])
    return PORTS[name] if is_port_free(PORTS[name]) else free_port()


def _ensure(config: Config, service: Service, more: dict[str, str] | None = None) -> None:
    """Start a program unless it runs, and record it."""
    if _process(config, service.name) is not None:
        return
    _say(f"starting {service.name}")
    environment = {**(os.environ if service.inherits else {}), **service.environment, **(more or {})}
    process = spawn(service.command, _log(config, service.name), environment)
    _children.append(process)
    record = Running(pid=process.pid, created=process.create_time(), url=service.url, health=service.health)
    record.save(_path(config, service.name))


def _await(config: Config, service: Service) -> None:
    """Return when it answers; one that does not is named with the end of its log."""
    record, log = Running.load(_path(config, service.name)), _log(config, service.name)
    process = psutil.Process(record.pid)
    wait_until_healthy(record.health, process, log, START_SECONDS.get(service.name, 120.0))
    if urlsplit(record.url).port not in listening(process):
        end(process)
        raise EdgeloopError(
            f"Another program answers at {record.url}, so {service.name} could not. Stop it, run again."
        )


def _await_workers(config: Config, url: str) -> None:
    """Return when a worker of every pool has reported to the server."""
    deadline = time.monotonic() + ONLINE_SECONDS
    with api(url) as client:
        for pool in POOLS:
            while not client.read_workers_for_work_pool(pool):
                process = _process(config, f"worker-{pool}")
                if process is None or not is_alive(process) or time.monotonic() > deadline:
                    raise EdgeloopError(
                        f"The worker of pool {pool} did not report; see {_log(config, f'worker-{pool}')}."
                    )
                time.sleep(0.2)


def _key(config: Config) -> str:
    """The key of the Label Studio that is ours to run: the user's or one made here and kept; "" when there is none."""
    if config.queue.kind != "label-studio" or not is_local(config.queue.url):
        return ""
    path = _key_path(config)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        given = os.environ.get(KEY_VARIABLE, "")
        usable = re.fullmatch("[0-9a-f]{40}", given)  # the form of a key that a new server can be given
        path.write_text(given if usable else secrets.token_hex(20), encoding="ascii")
    return path.read_text(encoding="ascii")


def _key_path(config: Config) -> Path:
    return folder(config.workspace) / "label-studio.key"


def _process(config: Config, name: str) -> psutil.Process | None:
    """The running process that the record of this name means."""
    path = _path(config, name)
    if not path.is_file():
        return None
    record = Running.load(path)
    return find(record.pid, record.created)


def _records(config: Config) -> list[Path]:
    return sorted(folder(config.workspace).glob("*.json"))


def _path(config: Config, name: str) -> Path:
    return folder(config.workspace) / f"{name}.json"


def _log(config: Config, name: str) -> Path:
    return folder(config.workspace) / f"{name}.log"


@contextmanager
def _alone(config: Config) -> Iterator[None]:
    with exclusive(folder(config.workspace) / "lock", "the local stack", LOCK_PATIENCE_SECONDS):
        yield


def _say(what: str) -> None:
    Console(stderr=True, highlight=False, soft_wrap=True).print(f"{what} …", markup=False)
