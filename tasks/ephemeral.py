"""A private Prefect server for flows that run in this process: `edgeloop demo` and friends need no `edgeloop up`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from edgeloop.config import Config
from edgeloop.services import LOOPBACK
from tasks.process import free_port, spawn, wait_until_healthy
from tasks.stage import results


@contextmanager
def ephemeral(config: Config, meanwhile: Callable[[], object] | None = None) -> Iterator[None]:
    """Run flows in this process with no server of the user's: a private one lives and dies with this process.

    Prefect's own ephemeral mode leaves its server running after a kill -9, waits for it 20 s only, shares Ctrl-C with
    it and keeps its state in the home folder. Here all state is under `var/`, only loopback is listened on, nothing is
    sent anywhere, and results are where the workers of `edgeloop up` find them. Call it in the main thread: the
    kernel ends the server with the thread that started it.

    Args:
        config: of the workspace whose `var/` is used.
        meanwhile: called while the server starts, which takes 8 s on two cores and 12 s the first time; imports.

    Raises:
        EdgeloopError: the private server did not start; the end of its log is in the message.
    """
    from prefect.settings import temporary_settings

    home = config.workspace.var / "prefect"
    with _private_server(home, meanwhile) as url, temporary_settings(_settings(url, config)), _quiet():
        try:
            yield
        finally:
            _drain()


@contextmanager
def _private_server(home: Path, meanwhile: Callable[[], object] | None) -> Iterator[str]:
    """Start the server; yields the URL of its API."""
    log, port = home / "server.log", free_port()
    url = f"http://{LOOPBACK}:{port}/api"
    program = ["uvicorn", "--factory", "prefect.server.api.server:create_app", "--lifespan", "on"]
    where = ["--host", LOOPBACK, "--port", str(port), "--log-level", "error"]
    environment = {**os.environ, **QUIET_SERVER, "PREFECT_HOME": str(home)}
    process = spawn([sys.executable, "-m", *program, *where], log, environment, private=True)
    try:
        if meanwhile is not None:
            meanwhile()
        wait_until_healthy(f"{url}/health", process, log)
        yield url
    finally:
        process.kill()  # its only client is done, and its database is one that a kill cannot break
        process.wait()


QUIET_SERVER = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT__SERVER_EPHEMERAL": "1",  # without scheduler and late-run services
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_API_BLOCKS_REGISTER_ON_START": "false",
    "PREFECT_SERVER_SERVICES_TRIGGERS_ENABLED": "false",  # the flow itself says what follows a drift event
}


def _settings(url: str, config: Config) -> dict[Any, Any]:
    from prefect import settings

    return {
        settings.PREFECT_HOME: config.workspace.var / "prefect",
        settings.PREFECT_API_URL: url,
        settings.PREFECT_API_KEY: None,
        settings.PREFECT_API_AUTH_STRING: None,
        settings.PREFECT_DEFAULT_RESULT_STORAGE_BLOCK: None,
        settings.PREFECT_LOCAL_STORAGE_PATH: results(config),
        settings.PREFECT_LOGGING_TO_API_ENABLED: False,
        settings.PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,  # nobody watches, and its thread costs a second a flow
    }


RAISED_ANYWAY = ("Task run failed", "Finished in state", "Encountered exception", "Crash detected")
DRAINING = "Still processing items"  # said while the private server's last events are handed over
QUIETED = ("prefect.flow_runs", "prefect.task_runs", "EventsWorker")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Prefect's warnings, without its progress and without the errors that reach the caller as exceptions."""
    top, runs = logging.getLogger("prefect"), [logging.getLogger(name) for name in QUIETED]
    level = top.level
    top.setLevel(logging.WARNING)
    for logger in runs:
        logger.addFilter(_is_news)
    try:
        yield
    finally:
        top.setLevel(level)
        for logger in runs:
            logger.removeFilter(_is_news)


def _is_news(record: logging.LogRecord) -> bool:
    return not record.getMessage().startswith((*RAISED_ANYWAY, DRAINING))


def _drain() -> None:
    """Hand over what is still queued for the server, so that nothing complains about its end."""
    from prefect.events.worker import EventsWorker

    EventsWorker.drain_all(timeout=5)
