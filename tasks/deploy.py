"""What a Prefect server is told once: the work pools, the deployments of prefect.yaml, and a watch for dead runs."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from edgeloop.errors import EdgeloopError
from edgeloop.files import write_text
from edgeloop.services import CHECKOUT, HEARTBEAT_SECONDS, POOLS, QUIET

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

DEPLOY_SECONDS = 300.0
SILENCE_SECONDS = 3 * HEARTBEAT_SECONDS  # a run that was not heard of for so long has died with its worker


def deploy(url: str, home: Path) -> None:
    """Make the pools and register what prefect.yaml deploys, unless the same is registered already.

    Args:
        url: of the server, without /api.
        home: Prefect's folder beside the server's database; it remembers what was registered.

    Raises:
        EdgeloopError: Prefect refused; the end of what it said is in the message.
    """
    with api(url) as client:
        _make_pools(client)
        _watch_for_the_dead(client)
    stamp, digest = home / "deployed", _digest()
    if not stamp.is_file() or stamp.read_text(encoding="utf-8") != digest:
        Console(stderr=True, highlight=False).print("registering the deployments …")
        _deploy_all(url, home)
        write_text(stamp, digest)


def _deploy_all(url: str, home: Path) -> None:
    environment = {
        **os.environ,
        **QUIET,
        "PREFECT_HOME": str(home),
        "PREFECT_API_URL": f"{url}/api",
        "PREFECT_DEPLOYMENTS_CLEAR_SCHEDULES_ON_EMPTY": "true",  # else a schedule that was removed goes on
    }
    said = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"],
        cwd=CHECKOUT, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=DEPLOY_SECONDS, check=False,
    )  # fmt: skip
    if said.returncode:
        lines = [line.strip() for line in (said.stdout + said.stderr).splitlines() if line.strip()]
        raise EdgeloopError(f"Prefect refused the deployments of {CHECKOUT / 'prefect.yaml'}: {' '.join(lines[-3:])}")


def _digest() -> str:
    """Of prefect.yaml and the flows, whose signatures are registered with it."""
    digest = hashlib.sha256()
    for path in (CHECKOUT / "prefect.yaml", *sorted((CHECKOUT / "flows").glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


@contextmanager
def api(url: str) -> Iterator[SyncPrefectClient]:
    """A client of a server."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings({PREFECT_API_URL: f"{url}/api"}), get_client(sync_client=True) as client:
        yield client


def _make_pools(client: SyncPrefectClient) -> None:
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.workers.process import ProcessWorker

    there = {pool.name for pool in client.read_work_pools()}
    template = ProcessWorker.get_default_base_job_template()
    for name in sorted(set(POOLS) - there):
        client.create_work_pool(WorkPoolCreate(name=name, type="process", base_job_template=template))


def _watch_for_the_dead(client: SyncPrefectClient) -> None:
    """A run whose process and worker died together stays Running for ever and holds its deployment's one slot."""
    from prefect.events.schemas.automations import AutomationCore

    if not client.read_automations_by_name(DEAD_RUNS["name"]):
        client.create_automation(AutomationCore.model_validate(DEAD_RUNS))


DEAD_RUNS: dict[str, Any] = {
    "name": "crash-runs-without-heartbeat",
    "trigger": {
        "type": "event",
        "posture": "Proactive",
        "threshold": 1,
        "within": SILENCE_SECONDS,
        "match": {"prefect.resource.id": "prefect.flow-run.*"},
        "for_each": ["prefect.resource.id"],
        "after": ["prefect.flow-run.heartbeat"],
        "expect": [
            "prefect.flow-run.heartbeat",
            *(
                f"prefect.flow-run.{state}"
                for state in (
                    "Completed", "Failed", "Crashed", "Cancelled", "Suspended", "Paused", "AwaitingRetry", "Cached",
                )
            ),
        ],
    },
    "actions": [{"type": "change-flow-run-state", "state": "CRASHED", "message": "no heartbeat"}],
}  # fmt: skip
