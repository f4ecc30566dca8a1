"""The local stack as data: which programs run, with which settings, at which addresses. All on loopback."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from edgeloop.config import Config, Workspace
from edgeloop.errors import BadInput
from edgeloop.record import Record

LOOPBACK = "127.0.0.1"
CHECKOUT = Path(__file__).resolve().parents[1]
PORTS = {"prefect": 4200, "mlflow": 5000}  # the programs' own defaults, taken when they are free
POOLS = ("default", "device")
LABEL_STUDIO = "label-studio==1.23.2"  # in an environment of its own: it cannot share one with Prefect and MLflow
LABEL_STUDIO_USER = "admin@example.com"
MARK = "EDGELOOP_STACK"  # in the environment of everything the stack starts, and of what that starts
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
}

State = Literal["running", "not answering", "stopped", "elsewhere", "not answering elsewhere"]


@dataclass(frozen=True)
class Service:
    """A program of the stack.

    Attributes:
        name: of its log and its record under `var/stack`.
        command: program and arguments.
        environment: what is set for it.
        url: where people look at it; "" for a worker.
        health: what answers 200 when it is up; "" for a worker.
        inherits: whether it also gets the environment of whoever starts the stack.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)  # may hold a key
    url: str = ""
    health: str = ""
    inherits: bool = True


class ServiceStatus(Record):
    """One line of `edgeloop status`; elsewhere means that config.yaml names a server that the stack does not run."""

    name: str
    state: State
    url: str = ""
    pid: int | None = None
    log: Path | None = None
    note: str = ""


def folder(place: Workspace) -> Path:
    """Where the stack keeps its records, logs and Prefect's database."""
    return place.var / "stack"


def mark(place: Workspace) -> dict[str, str]:
    """What marks the processes of this workspace's stack."""
    return {MARK: str(place.var)}


def prefect_server(config: Config, port: int) -> Service:
    """Prefect's API and UI."""
    url = f"http://{LOOPBACK}:{port}"
    return Service(
        name="prefect",
        command=(sys.executable, "-m", "prefect", "server", "start", "--host", LOOPBACK, "--port", str(port)),
        environment={**_prefect(config, url), "PREFECT_UI_API_URL": f"{url}/api"},
        url=url,
        health=f"{url}/api/health",
    )


def worker(config: Config, pool: str, url: str, results: Path) -> Service:
    """A worker that runs each flow of its pool in a process of its own, in the folder of config.yaml.

    A worker on a device would poll the pool `device` from there; this one stands in for it.

    Args:
        config: of the workspace.
        pool: one of POOLS.
        url: of the Prefect server.
        results: where finished stages are kept.
    """
    return Service(
        name=f"worker-{pool}",
        command=(
            sys.executable, "-m", "prefect", "worker", "start",
            "--pool", pool, "--name", f"local-{pool}", "--type", "process",
        ),
        environment={
            **_prefect(config, url),
            "PREFECT_LOCAL_STORAGE_PATH": str(results),
            "PREFECT_WORKER_QUERY_SECONDS": "2",  # 10 by default: an alarm would wait that long
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": str(HEARTBEAT_SECONDS),
            "EDGELOOP_HOME": str(config.root.resolve()),
            "PYTHONPATH": str(CHECKOUT),  # flows/ is found from any workspace
        },
    )  # fmt: skip


HEARTBEAT_SECONDS = 30  # of a flow run; 180 by default, 30 is the least


def _prefect(config: Config, url: str) -> dict[str, str]:
    home = str(folder(config.workspace) / "prefect")
    return {**mark(config.workspace), **QUIET, "PREFECT_HOME": home, "PREFECT_API_URL": f"{url}/api"}


def mlflow_server(config: Config, port: int) -> Service:
    """MLflow's UI on the store that the flows write to. One process: the defaults take fifteen and 2.2 GB."""
    place, url = config.workspace, f"http://{LOOPBACK}:{port}"
    return Service(
        name="mlflow",
        command=(
            sys.executable, "-m", "mlflow", "server", "--host", LOOPBACK, "--port", str(port), "--workers", "1",
            "--backend-store-uri", place.tracking_uri, "--default-artifact-root", place.tracking_artifacts,
            "--no-serve-artifacts", "--allowed-hosts", f"{LOOPBACK}:*,localhost:*",
        ),
        environment={**mark(place), **QUIET, "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"},
        url=url,
        health=f"{url}/health",
    )  # fmt: skip


def label_studio(config: Config, key: str) -> Service:
    """Label Studio at `queue.url`, with one user whose password and access key are `key`.

    It starts with nothing of our environment: it also reads bare names such as HOST, PORT, DEBUG and CI.

    Raises:
        BadInput: uv, which installs it, is not on PATH, or `queue.url` names no port.
    """
    uv = shutil.which(os.environ.get("UV", "uv"))  # make says where it put it
    address, data = urlsplit(config.queue.url), config.workspace.var / "label-studio"
    if uv is None:
        raise BadInput(
            "expected uv on PATH, found none; it installs Label Studio. Install uv, or set queue.kind: file."
        )
    if not address.port:
        raise BadInput(f"queue.url is {config.queue.url}; expected a port, as in http://{LOOPBACK}:8090.")
    off = ("COLLECT_ANALYTICS", "LABEL_STUDIO_COLLECT_ANALYTICS", "LABEL_STUDIO_LATEST_VERSION_CHECK")
    return Service(
        name="label-studio",
        command=(
            uv, "tool", "run", "--from", LABEL_STUDIO, "label-studio", "start", "--no-browser",
            "--internal-host", LOOPBACK, "--port", str(address.port), "--log-level", "WARNING",
        ),
        environment={
            **mark(config.workspace),
            "PATH": f"{Path(uv).parent}:/usr/local/bin:/usr/bin:/bin",
            "LANG": "C.UTF-8",
            "HOME": str(Path.home()),  # uv's cache
            **{name: value for name, value in os.environ.items() if _is_for_downloads(name)},
            "XDG_CONFIG_HOME": str(data / "config"),
            "LABEL_STUDIO_BASE_DATA_DIR": str(data),
            "LABEL_STUDIO_HOST": config.queue.url,
            "LABEL_STUDIO_USERNAME": LABEL_STUDIO_USER,
            "LABEL_STUDIO_PASSWORD": key,
            "LABEL_STUDIO_USER_TOKEN": key,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true" if config.queue.local_files else "false",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(config.path(config.queue.local_files or config.var)),
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            **dict.fromkeys(off, "false"),
        },
        url=config.queue.url,
        health=f"{config.queue.url.rstrip('/')}/health",
        inherits=False,
    )  # fmt: skip


def _is_for_downloads(name: str) -> bool:
    """Whether a variable says how uv reaches the package index: its own settings, certificates and proxies."""
    return name.startswith(("UV_", "SSL_CERT_", "XDG_CACHE_")) or name.lower().endswith("_proxy")


def is_local(url: str) -> bool:
    """Whether a URL is this machine's: a server elsewhere is not ours to start."""
    return urlsplit(url).hostname in {LOOPBACK, "localhost", "::1"}
