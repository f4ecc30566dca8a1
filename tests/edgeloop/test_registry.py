"""What a registration is known by, what is kept of it, and what may be promoted. The store is tested with its door."""

from __future__ import annotations

import subprocess
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import RobustnessSettings
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import Refused
from edgeloop.measures import (
    Candidate,
    ClassScore,
    EvaluationReport,
    GateDecision,
    Interval,
    Part,
    RobustnessReport,
)
from edgeloop.registry import (
    ModelVersion,
    check_promotion,
    commit_of,
    key_of,
    metrics_of,
    params_of,
    tags_of,
    title_of,
)
from tests.registry_samples import CARD, make_benchmark


def make_artifact(digit: str, precision: Any) -> Artifact:
    return Artifact(
        path=Path("/models/m.onnx"), sha256=digit * 64, precision=precision, imgsz=32, names=("a",), thresholds=(0.3,)
    )


INT8, FP32 = make_artifact("1", "int8"), make_artifact("2", "fp32")


def make_report(artifact: Artifact, audit: str, value: float) -> EvaluationReport:
    score = ClassScore(name="dent/deep", truths=0, ap50=None, ap50_95=None, threshold=0.3, precision=None, recall=None)
    other = score.model_copy(update={"name": "scratch % long", "ap50": value})
    return EvaluationReport(
        artifact_id=artifact.id, precision=artifact.precision, audit=audit, runtime="onnxruntime", frames=1,
        map50=value, map50_95=value, classes=(score, other), false_positives_per_1000_frames=0.0,
        missed_per_1000_frames=0.0, predictions=Path("/p.parquet"),
    )  # fmt: skip


def make_candidate(*reports: EvaluationReport) -> Candidate:
    return Candidate(
        shipped=INT8, reference=FP32, checkpoint=Path("/c.pt"), evaluations=reports, benchmarks=()
    )  # fmt: skip


def make_decision(artifact_id: str = INT8.id, champion_id: str | None = None, passed: bool = True) -> GateDecision:
    return GateDecision(artifact_id=artifact_id, champion_id=champion_id, passed=passed, rows=())


def make_version(number: int, artifact_id: str = INT8.id, **metrics: float) -> ModelVersion:
    return ModelVersion(
        name="detector", version=number, model_id="m-1", run_id="r", artifact_id=artifact_id, precision="int8",
        dataset_md5="0" * 32, gate="passed", aliases=(), created=datetime.now(timezone.utc), metrics=metrics,
    )  # fmt: skip


class TestKey:
    def test_report_file_is_no_part_of_it(self) -> None:
        """The same answer written to another file is the same decision."""
        said = make_decision()
        moved = said.model_copy(update={"report": Path("/elsewhere.html"), "candidates": Path("/beside.html")})
        assert key_of(make_candidate(), said, "d") == key_of(make_candidate(), moved, "d")

    def test_file_data_and_decision_are(self) -> None:
        """Another file, other data and another answer are other registrations."""
        base = key_of(make_candidate(), make_decision(), "d")
        other = make_candidate().model_copy(update={"shipped": FP32})
        assert base != key_of(other, make_decision(), "d")
        assert base != key_of(make_candidate(), make_decision(), "e")
        assert base != key_of(make_candidate(), make_decision(passed=False), "d")


class TestMetrics:
    def test_loss_is_relative_to_the_twin_on_the_same_set(self) -> None:
        """A precision's loss is measured set by set against the FP32 file, and averaged; FP32 loses nothing."""
        reports = [make_report(INT8, "a", 0.4), make_report(FP32, "a", 0.5), make_report(INT8, "b", 0.9)]
        found = metrics_of(make_candidate(*reports, make_report(FP32, "b", 0.9)), INT8)
        assert found["audit.a/loss_vs_fp32"] == pytest.approx(0.2)
        assert found["loss_vs_fp32"] == pytest.approx(0.1)
        assert metrics_of(make_candidate(*reports), FP32)["loss_vs_fp32"] == 0.0

    def test_parts_of_a_set_sort_beside_it(self) -> None:
        """Cameras and sizes are named after what they are of; absent is what was not measured; tags list no parts."""
        value = Interval(value=0.3, low=0.2, high=0.4, confidence=0.95)
        part = Part(
            kind="camera", name="line/1", frames=1, truths=1, map50=value, map50_95=value, recall=value,
            false_positives_per_1000_frames=value,
        )  # fmt: skip
        empty = part.model_copy(update={"kind": "share", "name": "small", "map50": None})
        report = make_report(INT8, "a", 0.4).model_copy(
            update={"cameras": (part,), "sizes": (empty,), "critical_miss_rate": 0.1}
        )
        candidate = make_candidate(report)
        found = metrics_of(candidate, INT8)
        assert (found["audit.a/map50.camera.line_1"], found["audit.a/miss_rate_critical"]) == (0.3, 0.1)
        assert not {"audit.a/map50.share.small", "audit.a/d_ece"} & set(found)
        data = DatasetVersion(root=Path("/d"), md5="0" * 32, names=("a",), frames={}, boxes={})
        tags = tags_of(candidate, make_decision(), data)
        assert tags["audit.a/miss_rate_critical"] == "0.1"
        assert not [name for name in tags if "camera" in name]

    def test_robustness_is_of_the_shipped_file(self) -> None:
        """mPC and rPC stand beside the accuracy on their set, of the file that was measured alone; tags list them."""
        value = Interval(value=0.3, low=0.2, high=0.4, confidence=0.95)
        suite = RobustnessReport(
            artifact_id=INT8.id, audit="a", audit_digest="0" * 16, runtime="onnxruntime", frames=1,
            settings=RobustnessSettings(), clean=value, mpc=value, rpc=None, corruptions=(), conditions=(),
        )  # fmt: skip
        candidate = make_candidate(make_report(INT8, "a", 0.4)).model_copy(update={"robustness": suite})
        assert metrics_of(candidate, INT8)["audit.a/mpc"] == 0.3
        assert "audit.a/rpc" not in metrics_of(candidate, INT8)
        assert not any("mpc" in name for name in metrics_of(candidate, FP32))
        data = DatasetVersion(root=Path("/d"), md5="0" * 32, names=("a",), frames={}, boxes={})
        assert tags_of(candidate, make_decision(), data)["audit.a/mpc"] == "0.3"

    def test_set_without_a_whole_score_has_no_loss(self) -> None:
        """A twin at 0 says nothing about a relative loss, and nothing is divided by it."""
        found = metrics_of(make_candidate(make_report(INT8, "a", 0.0), make_report(FP32, "a", 0.0)), INT8)
        assert not any("loss" in name for name in found)

    def test_what_was_not_measured_is_absent(self) -> None:
        """No evaluation, no number; a class without a labelled box has no AP."""
        assert metrics_of(make_candidate(), INT8) == {}
        assert "audit.a/ap50.dent_deep" not in metrics_of(make_candidate(make_report(INT8, "a", 0.4)), INT8)

    def test_names_of_people_are_made_fit(self) -> None:
        """A class or set may be called anything; MLflow takes letters, digits and few signs."""
        found = metrics_of(make_candidate(make_report(INT8, "line 1/räume", 0.4)), INT8)
        assert found["audit.line 1_räume/ap50.scratch _ long"] == 0.4

    def test_every_precision_has_the_same_names(self) -> None:
        """What a parallel-coordinates plot needs: FP32 and INT8 differ in values and in no name."""
        candidate = make_candidate(make_report(INT8, "a", 0.4), make_report(FP32, "a", 0.5)).model_copy(
            update={"benchmarks": tuple(make_benchmark(one, 4.0) for one in (INT8, FP32))}
        )
        whole, small = metrics_of(candidate, FP32), metrics_of(candidate, INT8)
        assert set(whole) == set(small)
        assert {"map50", "map50_95", "loss_vs_fp32", "p50_ms", "p99_ms", "memory_mb", "size_mb"} <= set(whole)
        data = DatasetVersion(root=Path("/d"), md5="0" * 32, names=("a",), frames={}, boxes={})
        assert set(params_of(INT8, data, CARD)) == set(params_of(FP32, data, CARD))

    def test_summary_is_of_the_fastest_runtime(self) -> None:
        """A device with `auto` runs that one; the others are under their own names."""
        slow = make_benchmark(INT8, 9.0).model_copy(update={"runtime": "openvino"})
        found = metrics_of(make_candidate().model_copy(update={"benchmarks": (slow, make_benchmark(INT8, 4.0))}), INT8)
        assert (found["p50_ms"], found["p99_ms"]) == (2.0, 4.0)
        assert found["device.cpu.openvino/p99_ms"] == 9.0


def test_titles_sort_by_card_then_size_then_precision() -> None:
    """Without a sign that MLflow refuses in a name."""
    small, large = (INT8.model_copy(update={"imgsz": side}) for side in (96, 320))
    card = CARD.model_copy(update={"name": "line.1"})
    titles = [title_of(one, card) for one in (large, small, FP32)]
    assert sorted(titles) == [titles[2], titles[1], titles[0]]
    assert not set("".join(titles)) & set("/:.%\"'")


class TestPromotion:
    def test_passed_against_today_s_champion(self) -> None:
        """A passed decision about this artifact, against today's champion, is enough."""
        check_promotion(make_version(1), make_decision(), None)
        check_promotion(make_version(2), make_decision(champion_id=FP32.id), make_version(1, FP32.id))

    @pytest.mark.parametrize(
        ("decision", "word"),
        [
            (make_decision(passed=False), "gate refused"),
            (make_decision(artifact_id=FP32.id), "is about artifact"),
            (make_decision(champion_id=FP32.id), "champion now is none"),
        ],
    )
    def test_anything_else_is_refused(self, decision: GateDecision, word: str) -> None:
        """A refusal, another artifact and another champion each stop the promotion, with exit code 3."""
        with pytest.raises(Refused, match=word) as refusal:
            check_promotion(make_version(1), decision, None)
        assert refusal.value.exit_code == 3


def test_commit_of_a_checkout(tmp_path: Path) -> None:
    """The commit is named in full, a changed tree is marked, and outside Git there is none."""
    assert commit_of(tmp_path) is None
    (tmp_path / "file").write_text("one")
    who = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "file"], [*who, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=tmp_path, check=True)
    commit = commit_of(tmp_path)
    assert commit is not None
    assert len(commit) == 40
    (tmp_path / "file").write_text("two")
    assert commit_of(tmp_path) == commit + "+"
