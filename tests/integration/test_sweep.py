"""A sweep as a process on a data set of its own: killed and run again, with a candidate that diverges."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgeloop.cli import run
from edgeloop.config import load_config
from edgeloop.measures import Candidate
from edgeloop.sweep_trials import SweepResult
from tests.demo_runs import stages
from tests.training_sets import toy_card, write_set

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif("EDGELOOP_SLOW_TESTS" not in os.environ, reason="takes three minutes: set EDGELOOP_SLOW_TESTS"),
]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A workspace with a data set, a toy, and a card whose start is not a number."""
    import torch

    from models.ultralytics_door import train

    data_yaml = write_set(tmp_path / "set", train=40, val=8)
    toy = toy_card(tmp_path)
    trained = train(data_yaml, toy, tmp_path / "start", start=None, epochs=1)
    broken = torch.load(trained.path, weights_only=False)
    torch.nn.init.constant_(next(broken["model"].parameters()), float("nan"))
    torch.save(broken, tmp_path / "broken.pt")
    rest = "batch: 8\nlearning_rate: 0.01\nepochs: 2\nquantize: {frames: 8}\n"
    for name, begin in (("toy", ""), ("broken", "start: broken.pt\n")):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\narchitecture: toyn.yaml\n{begin}{rest}")
    (tmp_path / "sweep.yaml").write_text(
        "name: toys\nbase: toy.yaml\narchitectures: [broken.yaml, toy.yaml]\nimgsz: [64]\nbatches: [1, 2]\nrungs: 2\n"
    )
    (tmp_path / "device.yaml").write_text("name: test\nruntimes: [openvino]\ntimed_frames: 100\nmaximum_p99_ms: 1000\n")
    (tmp_path / "config.yaml").write_text("card: toy.yaml\nsweep: sweep.yaml\ndevice: device.yaml\n")
    assert run(["ingest", str(tmp_path / "set"), "--config", str(tmp_path / "config.yaml")]) == 0
    return tmp_path / "config.yaml"


def start(word: str, config: Path, trace: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "edgeloop", word, "--json", "--config", str(config)]
    environment = {**os.environ, "EDGELOOP_STAGE_LOG": str(trace)}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, start_new_session=True)


def test_killed_and_run_again(config: Path, tmp_path: Path) -> None:
    """What was finished is not trained again, the candidate that diverges is a row, and the rest is measured."""
    trace = tmp_path / "first.jsonl"
    first = start("sweep", config, trace)
    while len(stages(trace, "start")) == 0 or stages(trace, "start").count("train") < 3:
        assert first.poll() is None, "the sweep ended before it could be killed"
        time.sleep(0.05)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait()
    assert stages(trace, "end").count("trial") == 1
    trace = tmp_path / "second.jsonl"
    second = start("sweep", config, trace)
    printed = second.communicate()[0]
    assert second.returncode == 0
    assert stages(trace, "reused").count("trial") == 1
    assert stages(trace, "end").count("trial") == 1  # the rung that was killed
    result = SweepResult.from_document(json.loads(printed), "stdout")
    toy, broken = result.ranking
    assert (toy.state, toy.epochs, [one.epochs for one in toy.standings]) == ("finished", 2, [1, 2])
    assert (broken.state, broken.epochs) == ("failed", 0)
    assert "training diverged: the loss is nan" in broken.reason
    candidate = result.candidates[0]
    assert {one.batch for one in candidate.benchmarks} == {1, 2}
    assert {one.precision for one in candidate.evaluations} == {"fp32", "int8"}
    assert {one.audit for one in candidate.evaluations} == {"val"}
    assert result.page is not None
    assert "toy" in result.page.read_text(encoding="utf-8")
    place = load_config(config).workspace
    assert not list((place.artifacts / "checkpoints").glob(".*"))
    assert SweepResult.load(next((place.var / "journal").glob("sweep-toys-*.json"))) == result
    assert nested_states(config) == {"toy-64": "finished", "broken-64": "failed"}
    trained = start("train", config, tmp_path / "train.jsonl").communicate()[0]
    alone = Candidate.from_document(json.loads(trained), "stdout")
    assert alone.shipped.card == "toy"
    assert {one.audit for one in alone.evaluations} == {"val"}  # this data set has no audit frames yet
    assert nested_states(config) == {"toy-64": "finished", "broken-64": "failed"}  # nothing is registered


def nested_states(config: Path) -> dict[str, Any]:
    import mlflow

    mlflow.set_tracking_uri(load_config(config).workspace.tracking_uri)
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("edgeloop")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len(runs) == 3
    return {run.info.run_name: run.data.tags["edgeloop.state"] for run in runs if "mlflow.parentRunId" in run.data.tags}
