"""The registry behind a real MLflow server: the one of `edgeloop up`, and one that keeps the artifacts itself."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from edgeloop.config import Config, TrackingSection
from edgeloop.measures import Candidate
from edgeloop.services import LOOPBACK, Service, mlflow_server
from tasks.process import end, free_port, listening, spawn, wait_until_healthy
from tasks.register import champion_candidate, list_versions, promote, register, track_sweep
from tests.registry_samples import CARD, make_candidate, make_decision, make_sweep, make_version

pytestmark = pytest.mark.integration


@contextmanager
def running(service: Service, log: Path) -> Iterator[None]:
    """Run a service; it may listen on loopback alone."""
    process = spawn(service.command, log, {**os.environ, **service.environment})
    try:
        wait_until_healthy(service.health, process, log)
        assert set(listening(process).values()) == {LOOPBACK}
        yield
    finally:
        end(process)


@pytest.fixture(scope="module")
def candidate(tmp_path_factory: pytest.TempPathFactory) -> Candidate:
    return make_candidate(tmp_path_factory.mktemp("candidate"), "one")


class TestStack:
    """SQLite under var/, looked at through the server that `edgeloop up` starts."""

    @pytest.fixture
    def config(self, tmp_path: Path) -> Config:
        return Config(root=tmp_path)

    def test_server_shows_what_flows_wrote_without_it(
        self, config: Config, candidate: Candidate, tmp_path: Path
    ) -> None:
        """Version, numbers and files registered before it ran are there; under another host name nothing is."""
        decision = make_decision(candidate)
        made = promote.fn(register.fn(candidate, decision, make_version(tmp_path), CARD, config), decision, config)
        service = mlflow_server(config, free_port())
        with running(service, tmp_path / "log"):
            asked = f"{service.url}/api/2.0/mlflow/registered-models/alias?name={config.tracking.model}&alias=champion"
            shown = httpx.get(asked).json()["model_version"]
            assert (shown["version"], shown["run_id"]) == ("1", made.run_id)
            file = httpx.get(f"{service.url}/get-artifact", params={"path": "decision.json", "run_uuid": made.run_id})
            assert file.json()["artifact_id"] == candidate.shipped.id
            assert list_versions(config) == (made,)
            assert httpx.get(asked, headers={"Host": "elsewhere.example"}).status_code == httpx.codes.FORBIDDEN


class TestServerOfItsOwn:
    """`tracking.uri` names a server, started as mlflow/compose.yaml does: files pass through it."""

    def test_registry_works_through_the_server_alone(
        self, candidate: Candidate, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """Register and promote on one machine; another with an empty disk gets the champion, byte for byte."""
        base, store = mlflow_server(Config(root=tmp_path), free_port()), tmp_path / "server"
        store.mkdir()
        stores = (
            "--backend-store-uri",
            f"sqlite:///{store}/mlflow.db",
            "--artifacts-destination",
            str(store / "files"),
        )
        port = base.url.rpartition(":")[2]
        command = (
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            LOOPBACK,
            "--port",
            port,
            "--workers",
            "1",
            *stores,
        )
        with running(replace(base, command=command), tmp_path / "log"):
            here, there = (
                Config(root=tmp_path / name, tracking=TrackingSection(uri=base.url)) for name in ("here", "there")
            )
            decision = make_decision(candidate)
            made = register.fn(candidate, decision, make_version(tmp_path), CARD, here)
            assert register.fn(candidate, decision, make_version(tmp_path), CARD, here) == made
            promote.fn(made, decision, here)
            fetched = champion_candidate.fn(there)
            assert fetched is not None
            assert fetched.shipped.path.is_relative_to(there.workspace.artifacts)
            assert fetched.shipped.path.read_bytes() == candidate.shipped.path.read_bytes()
            assert fetched.checkpoint.read_bytes() == candidate.checkpoint.read_bytes()
            check_sweep(base.url, track_sweep.fn(make_sweep(tmp_path / "sweep"), make_version(tmp_path), here))
        printed = capfd.readouterr()
        assert printed.out == ""  # MLflow would print links there, where results belong
        assert "Downloading" not in printed.err


def check_sweep(server: str, parent: str) -> None:
    """Asked over HTTP, the server shows the nested runs of a sweep, and the curve of one of them by epoch."""
    run = httpx.get(f"{server}/api/2.0/mlflow/runs/get", params={"run_id": parent}).json()["run"]
    asked = {
        "experiment_ids": [run["info"]["experiment_id"]],
        "filter": f"tags.`mlflow.parentRunId` = '{parent}'",
    }
    found = httpx.post(f"{server}/api/2.0/mlflow/runs/search", json=asked).json()["runs"]
    nested = {one["info"]["run_name"]: one["info"]["run_id"] for one in found}
    assert set(nested) == {"best", "behind", "broken"}
    curve = {"run_id": nested["best"], "metric_key": "val/map50_95"}
    points = httpx.get(f"{server}/api/2.0/mlflow/metrics/get-history", params=curve).json()["metrics"]
    assert [(int(one["step"]), one["value"]) for one in points] == [(1, 0.2), (2, 0.4)]
    card = httpx.get(f"{server}/get-artifact", params={"path": "card.json", "run_uuid": nested["best"]}).json()
    assert card["name"] == "best"
