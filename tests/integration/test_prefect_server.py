"""The local stack for real: servers, workers, deployments, and an alarm that becomes a retraining."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import yaml

from edgeloop.config import Config, load_config
from edgeloop.drift import RetrainDecision
from edgeloop.services import LOOPBACK, MARK
from tasks import stack
from tasks.deploy import api
from tasks.drift import emit_drift_event
from tasks.process import is_alive, listening, marked

if TYPE_CHECKING:
    from prefect.client.schemas.objects import FlowRun

pytestmark = [pytest.mark.integration, pytest.mark.timeout(1200)]

PATIENCE_SECONDS = 300.0  # for a run to start on a machine that does other things too


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Iterator[Config]:
    """A workspace of its own with a running stack; the checkout lends its code, cards and deployments alone."""
    home = tmp_path_factory.mktemp("workspace")
    names = {"card": str(root / "models/cards/sample.yaml"), "device": str(root / "models/devices/cpu.yaml")}
    (home / "config.yaml").write_text(yaml.safe_dump(names), encoding="utf-8")
    config = load_config(home / "config.yaml")
    try:
        stack.up(config)
        yield config
    finally:
        stack.down(config)


@pytest.fixture(scope="module")
def url(config: Config) -> str:
    return next(one.url for one in stack.status(config) if one.name == "prefect")


def wait_for(answer: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (found := answer()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return found


def find_run(url: str, reason: str) -> FlowRun | None:
    with api(url) as client:
        return next((run for run in client.read_flow_runs() if run.parameters.get("reason") == reason), None)


def states(url: str, run: FlowRun) -> list[str]:
    with api(url) as client:
        return [state.type.value for state in client.read_flow_run_states(run.id)]


def test_everything_runs(config: Config) -> None:
    """`up` ends with both servers answering and both workers running."""
    assert {one.name: one.state for one in stack.status(config)} == dict.fromkeys(
        ("prefect", "mlflow", "worker-default", "worker-device"), "running"
    )


def test_nothing_listens_beyond_loopback(config: Config) -> None:
    """No port of the stack is reachable from another machine."""
    family = marked(MARK, str(config.workspace.var))
    assert {address for process in family for address in listening(process).values()} == {LOOPBACK}


def test_all_of_prefect_yaml_is_deployed(url: str, root: Path) -> None:
    """Every deployment of the file is there, in its pool, on its schedule."""
    document = yaml.safe_load((root / "prefect.yaml").read_text(encoding="utf-8"))
    wanted = {
        one["name"]: (one["work_pool"]["name"], [s["cron"] for s in one.get("schedules", [])])
        for one in document["deployments"]
    }
    with api(url) as client:
        found = {
            one.name: (one.work_pool_name, [s.schedule.cron for s in one.schedules if s.active])
            for one in client.read_deployments()
        }
    assert found == wanted


def test_drift_event_starts_the_retraining_with_its_parameters(
    config: Config, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the drift stage emits becomes a run of the retrain flow, on the worker, with the decision's parameters."""
    decision = RetrainDecision(
        retrain=True, reason="darker, less sharp", artifact_id="abcdef012345", columns=("brightness", "sharpness"),
        score=2.5,
    )  # fmt: skip
    monkeypatch.setenv("PREFECT_API_URL", f"{url}/api")
    with api(url):
        emit_drift_event.fn(decision, config.tracking.model)
    run = wait_for(lambda: find_run(url, decision.reason))
    assert run.parameters == decision.parameters()
    wait_for(lambda: "RUNNING" in states(url, run))
    with api(url) as client:
        assert client.read_deployment(run.deployment_id).name == "retrain"
        # The workspace holds no data set: the run gets as far as asking for one, in this workspace.
        ended = wait_for(lambda: (r := client.read_flow_run(run.id)).state.is_final() and r)
    assert ended.work_pool_name == "default"
    assert "no data set" in ended.state.message or "no version" in ended.state.message, ended.state.message


def test_benchmark_runs_on_the_device_pool(url: str) -> None:
    """A benchmark started by hand is run by the device's worker."""
    with api(url) as client:
        deployment = client.read_deployment_by_name("benchmark/benchmark")
        asked = {"artifact_path": "missing.onnx", "images": "missing"}
        run = client.create_flow_run_from_deployment(deployment.id, parameters=asked)
        wait_for(lambda: "RUNNING" in states(url, run))
        assert client.read_flow_run(run.id).work_pool_name == "device"


def test_up_again_keeps_what_runs_and_restarts_what_died(config: Config, url: str, root: Path) -> None:
    """After a worker was killed, `up` starts that worker and leaves everything else as it is."""
    before = {one.name: one.pid for one in stack.status(config)}
    worker = psutil.Process(before["worker-default"])
    worker.send_signal(signal.SIGKILL)
    wait_for(lambda: {one.name: one.state for one in stack.status(config)}["worker-default"] == "stopped")
    after = {one.name: one.pid for one in stack.up(config)}
    assert after.pop("worker-default") not in {None, before.pop("worker-default")}
    assert after == before
    with api(url) as client:
        assert len(client.read_deployments()) == (root / "prefect.yaml").read_text(encoding="utf-8").count("- name: ")
        assert len(client.read_automations_by_name("crash-runs-without-heartbeat")) == 1
        assert len(client.read_automations_by_name("retrain-on-drift")) == 1


def test_record_of_an_id_given_out_again_is_stale(tmp_path: Path) -> None:
    """A record whose process id now means another process is neither reported as running nor stopped."""
    config = Config(root=tmp_path)
    record = stack.Running(pid=os.getpid(), created=1.0, url="", health="")
    record.save(tmp_path / "var" / "stack" / "worker-default.json")
    assert {one.state for one in stack.status(config)} == {"stopped"}
    assert {one.state for one in stack.down(config)} == {"stopped"}


SLEEPY = """
import os, pathlib, subprocess, time
from prefect import flow

@flow
def sleepy(marker: str) -> None:
    child = subprocess.Popen(["sleep", "600"], start_new_session=True)
    pathlib.Path(marker).write_text(f"{os.getpid()} {child.pid}")
    time.sleep(600)
"""


def start_sleepy(url: str, folder: Path) -> list[psutil.Process]:
    """Start a flow that does not end by itself, with a child in a session of its own; both processes."""
    (folder / "sleepy.py").write_text(SLEEPY, encoding="utf-8")
    step = {"prefect.deployments.steps.set_working_directory": {"directory": str(folder)}}
    with api(url) as client:
        deployment = client.create_deployment(
            client.create_flow_from_name("sleepy"), "sleepy",
            entrypoint="sleepy.py:sleepy", work_pool_name="default", pull_steps=[step],
        )  # fmt: skip
        client.create_flow_run_from_deployment(deployment, parameters={"marker": str(folder / "marker")})
    written = wait_for(lambda: (folder / "marker").is_file() and (folder / "marker").read_text())
    return [psutil.Process(int(pid)) for pid in written.split()]


def test_down_stops_all_of_it(config: Config, url: str, tmp_path: Path) -> None:
    """After `down` no server, worker, run or child of a run is left, and a second `down` is no error."""
    runs = start_sleepy(url, tmp_path)
    for _ in range(2):
        assert {one.state for one in stack.down(config)} == {"stopped"}
    assert marked(MARK, str(config.workspace.var)) == []
    assert not any(is_alive(process) for process in runs)
    with pytest.raises(httpx.ConnectError):
        httpx.get(url)
