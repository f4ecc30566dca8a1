"""The MLflow door on a real SQLite store: idempotent registration, promotion, rollback, retrieval."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeloop.artifact import load_artifact
from edgeloop.config import Config, TrackingSection
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import BadInput, Refused
from edgeloop.files import sha256
from edgeloop.measures import Candidate, GateDecision
from models.checkpoint import RECORD, Checkpoint
from tasks.register import (
    candidate_of,
    champion,
    champion_candidate,
    decision_about,
    judge_again,
    list_versions,
    promote,
    register,
    rollback,
    track_sweep,
)
from tests.registry_samples import CARD, make_candidate, make_decision, make_sweep, make_version, with_half

pytestmark = pytest.mark.integration


@pytest.fixture
def version(tmp_path: Path) -> DatasetVersion:
    return make_version(tmp_path / "snapshot")


@pytest.fixture(scope="session")
def empty_registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with its tables made: making them takes seconds, copying them does not."""
    config = Config(root=tmp_path_factory.mktemp("empty"))
    assert list_versions(config) == ()
    return config.workspace.var / "mlflow" / "mlflow.db"


@pytest.fixture
def config(tmp_path: Path, empty_registry: Path) -> Config:
    config = Config(root=tmp_path)
    folder = config.workspace.var / "mlflow"
    folder.mkdir(parents=True)
    (folder / "mlflow.db").write_bytes(empty_registry.read_bytes())
    return config


@pytest.fixture
def add(config: Config, version: DatasetVersion, tmp_path: Path) -> Callable[..., tuple[Candidate, GateDecision, Any]]:
    """Register a candidate; returns it with its decision and version."""

    def one(word: str, over: Candidate | None = None, passed: bool = True) -> tuple[Candidate, GateDecision, Any]:
        candidate = make_candidate(tmp_path / word, word)
        decision = make_decision(candidate, over, passed)
        return candidate, decision, register.fn(candidate, decision, version, CARD, config)

    return one


def client_of(config: Config) -> Any:
    import mlflow

    mlflow.set_tracking_uri(config.workspace.tracking_uri)
    return mlflow.MlflowClient()


class TestRegister:
    def test_version_says_what_was_measured(self, add: Any) -> None:
        """The version carries the shipped file's accuracy, latency, size and loss, and what the gate said."""
        candidate, _, made = add("one")
        assert (made.version, made.gate, made.aliases) == (1, "passed", ("challenger",))
        assert (made.artifact_id, made.precision) == (candidate.shipped.id, "int8")
        assert made.metrics == pytest.approx({
            "map50": 0.8, "map50_95": 0.4, "loss_vs_fp32": 0.1, "false_per_1000": 1.0, "missed_per_1000": 2.0,
            "p50_ms": 4.0, "p99_ms": 8.0, "memory_mb": 100.0, "size_mb": 1.5,
            "audit.clean/map50": 0.8, "audit.clean/map50_95": 0.4, "audit.clean/ap50.scratch": 0.8,
            "audit.clean/loss_vs_fp32": 0.1, "audit.clean/false_per_1000": 1.0, "audit.clean/missed_per_1000": 2.0,
            "audit.drifted/map50": 0.8, "audit.drifted/map50_95": 0.4, "audit.drifted/ap50.scratch": 0.8,
            "audit.drifted/loss_vs_fp32": 0.1, "audit.drifted/false_per_1000": 1.0,
            "audit.drifted/missed_per_1000": 2.0,
            "device.cpu.onnxruntime/p50_ms": 4.0, "device.cpu.onnxruntime/p99_ms": 8.0,
            "device.cpu.onnxruntime/memory_mb": 100.0,
        })  # fmt: skip

    def test_twins_are_compared_side_by_side(self, add: Any, config: Config) -> None:
        """INT8 and FP32 are two logged models of one run with equal metric names; the run's are the shipped one's."""
        _, _, made = add("one")
        client = client_of(config)
        run = client.get_run(made.run_id)
        twins = client.search_logged_models([run.info.experiment_id])
        found = {twin.params["precision"]: {m.key: m.value for m in twin.metrics}["map50"] for twin in twins}
        assert found == pytest.approx({"int8": 0.8, "fp32": 0.8 / 0.9})
        assert run.data.metrics["map50"] == pytest.approx(0.8)
        assert run.info.status == "FINISHED"

    def test_run_holds_everything_needed_to_go_on(self, add: Any, config: Config, version: DatasetVersion) -> None:
        """Records, checkpoint and the pointer to the data are artifacts of the run, and the version knows its data."""
        _, _, made = add("one")
        client = client_of(config)
        listed = {file.path for folder in ("", "checkpoint") for file in client.list_artifacts(made.run_id, folder)}
        assert listed >= {"candidate.json", "decision.json", "card.json", "data.dvc", "checkpoint/checkpoint.pt"}
        (data,) = client.get_run(made.run_id).inputs.dataset_inputs
        assert version.md5 in data.dataset.source
        assert made.dataset_md5 == version.md5
        pointer = Path(client.download_artifacts(made.run_id, "data.dvc")).read_text(encoding="utf-8")
        assert f"md5: {version.md5}.dir" in pointer

    def test_twice_is_once(self, add: Any, config: Config) -> None:
        """The same candidate and decision are the same version; another decision about it is another."""
        candidate, _, first = add("one")
        assert add("one")[2] == first
        assert add("one", over=candidate)[2].version == 2

    def test_refused_candidate_is_kept_without_an_alias(self, add: Any) -> None:
        """What the gate refused is on record, and nothing points at it."""
        _, _, made = add("bad", passed=False)
        assert (made.gate, made.aliases) == ("refused", ())

    def test_changed_file_is_refused(self, config: Config, version: DatasetVersion, tmp_path: Path) -> None:
        """A file that is not the one that was measured is not registered."""
        candidate = make_candidate(tmp_path / "one", "one")
        candidate.shipped.path.write_bytes(b"other")
        with pytest.raises(BadInput, match="has content"):
            register.fn(candidate, make_decision(candidate), version, CARD, config)

    def test_logged_file_is_the_file_and_opens_in_mlflow(self, add: Any, config: Config) -> None:
        """The registry holds the very bytes that were measured, and MLflow's own loader opens them by alias."""
        import mlflow.onnx

        candidate, decision, made = add("one")
        promote.fn(made, decision, config)
        client_of(config)
        model = mlflow.onnx.load_model(f"models:/{config.tracking.model}@champion")
        assert model.graph.name == "one"
        fetched = champion.fn(config)
        assert fetched is not None
        assert fetched.path.read_bytes() == candidate.shipped.path.read_bytes()

    def test_every_precision_is_a_model_that_compares(
        self, config: Config, version: DatasetVersion, tmp_path: Path
    ) -> None:
        """Two candidates of three precisions: six logged models with equal names of metrics."""
        for word in ("one", "two"):
            candidate = with_half(make_candidate(tmp_path / word, word), tmp_path / word)
            register.fn(candidate, make_decision(candidate), version, CARD, config)
        client = client_of(config)
        models = client.search_logged_models(["1"], order_by=[{"field_name": "name", "ascending": True}])
        assert [model.params["precision"] for model in models] == ["fp16", "fp16", "fp32", "fp32", "int8", "int8"]
        assert len({frozenset(metric.key for metric in model.metrics) for model in models}) == 1
        assert len({frozenset(model.params) for model in models}) == 1
        assert {(model.params["imgsz"], model.params["architecture"]) for model in models} == {("32", "yolov8n.yaml")}
        better = client.search_logged_models(["1"], "metrics.`loss_vs_fp32` < 0.05 AND params.`precision` != 'fp32'")
        assert {model.params["precision"] for model in better} == {"fp16"}
        runs = client.search_runs(["1"])
        assert len({frozenset(run.data.metrics) for run in runs}) == 1
        assert {run.info.run_name for run in runs} <= {model.name for model in models}

    def test_fp32_alone_is_one_model_and_comes_back(
        self, config: Config, version: DatasetVersion, tmp_path: Path
    ) -> None:
        """Where FP32 ships, the file is logged once, INT8 beside it, and the candidate opens again on an empty disk."""
        made = make_candidate(tmp_path / "one", "one")
        candidate = made.model_copy(update={"shipped": made.reference, "others": (made.shipped,)})
        known = register.fn(candidate, make_decision(candidate), version, CARD, config)
        assert len(client_of(config).search_logged_models(["1"])) == 2
        back = candidate_of.fn(known, config)
        assert (back.shipped.id, back.reference.id, back.others) == (made.reference.id, made.reference.id, ())


class TestDecisions:
    def test_the_newest_counts(self, add: Any, config: Config) -> None:
        """A version that was refused and judged again may be promoted, and the other way round."""
        candidate, refused, made = add("one", passed=False)
        assert decision_about(made, config) == refused
        again = judge_again.fn(made, make_decision(candidate), config)
        assert (again.gate, again.aliases) == ("passed", ("challenger",))
        assert judge_again.fn(made, make_decision(candidate), config) == again
        assert promote.fn(again, decision_about(again, config), config).aliases == ("champion",)

    def test_a_challenger_that_fails_is_none_any_more(self, add: Any, config: Config) -> None:
        """Today's audit sets count, not those of last month."""
        candidate, _, made = add("one")
        assert made.aliases == ("challenger",)
        assert judge_again.fn(made, make_decision(candidate, passed=False), config).aliases == ()
        with pytest.raises(Refused):
            promote.fn(made, decision_about(made, config), config)


class Killed(BaseException):
    """Stands for kill -9: nothing in the door catches it."""


class Fragile:
    """A client that dies before its n-th call."""

    def __init__(self, client: Any, calls: list[int]) -> None:
        self._client, self._calls = client, calls

    def __getattr__(self, name: str) -> Any:
        if self._calls[0] == 0:
            raise Killed
        self._calls[0] -= 1
        return getattr(self._client, name)


def test_killed_between_any_two_calls_one_version_comes_out(
    config: Config, version: DatasetVersion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Registering and promoting, killed before every single call to MLflow in turn, end in one version each."""
    import mlflow

    real, attempt, kills = mlflow.MlflowClient, 0, 0
    while True:
        attempt += 1
        candidate = make_candidate(tmp_path / f"c{attempt}", f"c{attempt}")
        over = champion.fn(config)
        decision = make_decision(candidate).model_copy(update={"champion_id": over.id if over else None})

        def both(candidate: Candidate = candidate, decision: GateDecision = decision) -> Any:
            return promote.fn(register.fn(candidate, decision, version, CARD, config), decision, config)

        left = [attempt - 1]
        monkeypatch.setattr(mlflow, "MlflowClient", lambda: Fragile(real(), left))  # noqa: B023
        try:
            both()
        except Killed:
            kills += 1
        monkeypatch.setattr(mlflow, "MlflowClient", real)
        made = both()
        assert made.version == attempt
        assert made.aliases == ("champion",)
        if left[0] > 0:
            break
    assert kills > 20
    assert len(list_versions(config)) == attempt
    assert len(client_of(config).search_logged_models(["1"])) == 2 * attempt


class TestPromote:
    def test_champion_and_previous(self, add: Any, config: Config) -> None:
        """Promotion moves `champion`, keeps the one before as `previous`, and the challenger is none any more."""
        one, said_one, first = add("one")
        assert promote.fn(first, said_one, config).aliases == ("champion",)
        _, said_two, second = add("two", over=one)
        assert promote.fn(second, said_two, config).aliases == ("champion",)
        assert [(v.version, v.aliases) for v in list_versions(config)] == [(2, ("champion",)), (1, ("previous",))]

    def test_twice_changes_nothing(self, add: Any, config: Config) -> None:
        """Promoting the champion again is no error and keeps `previous`."""
        one, said_one, first = add("one")
        promote.fn(first, said_one, config)
        _, said_two, second = add("two", over=one)
        assert promote.fn(second, said_two, config) == promote.fn(second, said_two, config)
        assert [v.aliases for v in list_versions(config)] == [("champion",), ("previous",)]

    def test_refused_by_the_gate(self, add: Any, config: Config) -> None:
        """What the gate refused is not promoted; the reason is the gate's."""
        _, decision, made = add("bad", passed=False)
        with pytest.raises(Refused, match=r"map50 on clean is 0\.80"):
            promote.fn(made, decision, config)
        assert champion.fn(config) is None

    def test_decision_about_another_artifact(self, add: Any, config: Config) -> None:
        """A decision promotes the artifact it is about and no other."""
        _, _, one = add("one")
        _, about_two, _ = add("two")
        with pytest.raises(Refused, match="decision is about artifact"):
            promote.fn(one, about_two, config)

    def test_decision_against_a_former_champion(self, add: Any, config: Config) -> None:
        """A comparison with yesterday's champion does not unseat today's."""
        one, said_one, first = add("one")
        _, said_two, second = add("two")
        promote.fn(first, said_one, config)
        with pytest.raises(Refused, match=f"champion now is {one.shipped.id}"):
            promote.fn(second, said_two, config)


class TestRollback:
    def test_one_step_back_and_another(self, add: Any, config: Config) -> None:
        """Each rollback goes to the champion before; before the first there is nothing."""
        over = None
        for word in ("one", "two", "three"):
            candidate, decision, made = add(word, over=over)
            promote.fn(made, decision, config)
            over = candidate
        assert [rollback(config).version for _ in range(2)] == [2, 1]
        with pytest.raises(Refused, match="no previous champion"):
            rollback(config)
        assert [v.aliases for v in list_versions(config)] == [(), (), ("champion",)]


class TestChampion:
    def test_none_before_the_first_promotion(self, add: Any, config: Config) -> None:
        """An empty registry and one with a challenger alone have no champion."""
        assert champion.fn(config) is None
        add("one")
        assert champion.fn(config) is None

    def test_candidate_comes_back_whole_on_an_empty_disk(self, add: Any, config: Config) -> None:
        """With the local files gone, both files, their thresholds and the trusted checkpoint come back."""
        candidate, decision, made = add("one")
        promote.fn(made, decision, config)
        for file in candidate.shipped.path.parent.iterdir():
            file.unlink()
        back = champion_candidate.fn(config)
        assert back is not None
        assert load_artifact(back.shipped.path).thresholds == (0.3, 0.4)
        assert back.reference.verify().precision == "fp32"
        assert back.checkpoint.read_bytes() == b"one"
        assert Checkpoint.load(back.checkpoint.with_name(RECORD)).sha256 == sha256(back.checkpoint)
        assert back.shipped.path.is_relative_to(config.workspace.artifacts)

    def test_damaged_download_is_noticed(self, add: Any, config: Config) -> None:
        """A downloaded file that changed on disk is refused, not deployed."""
        _, decision, made = add("one")
        promote.fn(made, decision, config)
        fetched = champion.fn(config)
        assert fetched is not None
        fetched.path.write_bytes(b"other")
        with pytest.raises(BadInput, match="has content"):
            champion.fn(config)


def test_unreachable_server_is_one_sentence(tmp_path: Path) -> None:
    """A tracking server that does not answer is the user's to start."""
    config = Config(root=tmp_path, tracking=TrackingSection(uri="http://127.0.0.1:9"))
    with pytest.raises(BadInput, match="does not answer"):
        list_versions(config)


def test_telemetry_is_off(config: Config) -> None:
    """MLflow reports usage to nobody."""
    list_versions(config)
    from mlflow.telemetry.utils import is_telemetry_disabled

    assert is_telemetry_disabled()


class TestSweep:
    def test_a_run_with_one_nested_run_a_candidate(self, config: Config, version: DatasetVersion, root: Path) -> None:
        """Card, data, commit, curve by epoch and how it ended; logged again, nothing is there twice."""
        done = make_sweep(config.root / "sweep")
        here = config.model_copy(update={"root": root, "var": config.workspace.var})
        first = done.replacing([one.model_copy(update={"state": "waiting", "measured": None}) for one in done.trials])
        parent = track_sweep.fn(first, version, here)
        for _ in range(2):
            assert track_sweep.fn(done, version, here) == parent
        client = client_of(here)
        runs = client.search_runs([client.get_run(parent).info.experiment_id])
        nested = {run.info.run_name: run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent}
        assert (len(runs), set(nested)) == (4, {"best", "behind", "broken"})
        assert {run.data.tags["edgeloop.state"]: run.info.status for run in nested.values()} == {
            "finished": "FINISHED", "eliminated": "FINISHED", "failed": "FAILED",
        }  # fmt: skip
        assert nested["behind"].data.tags["edgeloop.reason"] == "rung 1 of 2"
        best = nested["best"]
        assert best.data.params["dataset_md5"] == version.md5
        assert best.data.tags["mlflow.source.git.commit"].rstrip("+") == head_of(root)
        assert best.inputs.dataset_inputs[0].dataset.digest == version.md5[:8]
        points = client.get_metric_history(best.info.run_id, "train/box")
        assert [(point.step, point.value) for point in points] == [(1, 1.0), (2, 0.5)]
        assert best.data.metrics["audit.clean/map50_95"] == pytest.approx(0.4)
        assert {file.path for file in client.list_artifacts(best.info.run_id)} == {"card.json", "data.dvc"}
        assert {file.path for file in client.list_artifacts(parent)} == {"sweep.json", "result.json"}
        assert client.get_run(parent).info.status == "FINISHED"
        assert list_versions(here) == ()  # nothing is registered


def head_of(root: Path) -> str:
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout.strip()
