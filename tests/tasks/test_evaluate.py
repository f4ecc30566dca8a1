"""Thresholds, evaluate and gate as stages: from an ONNX file and two folders to a decision, through files alone."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest

from edgeloop.artifact import Artifact, load_artifact
from edgeloop.audit import AuditSet, freeze, load
from edgeloop.card import (
    DeviceProfile,
    EvaluationCard,
    GateCard,
    ProductionCard,
    RobustnessSettings,
    ThresholdCard,
)
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.frame_intake import register
from edgeloop.measures import (
    BenchmarkReport,
    Candidate,
    EvaluationReport,
    GateDecision,
    Latency,
    RobustnessReport,
    ThresholdReport,
)
from edgeloop.production_frames import ProductionFrames, draw_production
from edgeloop.robustness import subset
from models.half import halve
from tasks.evaluate import evaluate
from tasks.gate import Terms, choose, gate
from tasks.robustness import robustness
from tasks.thresholds import thresholds
from tests.audits import colour_artifact, write_audit, write_weights

PROFILE = DeviceProfile(name="cpu", runtimes=("onnxruntime",))


@pytest.fixture
def audits(tmp_path: Path) -> tuple[AuditSet, ...]:
    clean, drifted = write_audit(tmp_path / "clean", 60), write_audit(tmp_path / "drifted", 40, seed=1, dim=0.5)
    return freeze("clean", clean), freeze("drifted", drifted)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return colour_artifact(tmp_path / "model", thresholds=(0.25, 0.25, 0.25))


def dull(artifact: Artifact, folder: Path) -> Artifact:
    """The same detector with green and blue scores taken away: it sees red alone."""
    model = onnx.load(artifact.path)
    model.graph.node[-1].input[1] = "red_only"
    mask = np.array([1, 0, 0], np.float32).reshape(1, 3, 1)
    model.graph.initializer.append(onnx.numpy_helper.from_array(mask, "mask"))
    model.graph.node.insert(len(model.graph.node) - 1, onnx.helper.make_node("Mul", ["scores", "mask"], ["red_only"]))
    folder.mkdir()
    onnx.save(model, folder / "dull.onnx")
    return artifact.model_copy(update={"path": folder / "dull.onnx", "sha256": sha256(folder / "dull.onnx")})


def benchmark(of: Artifact) -> BenchmarkReport:
    part = Latency(p50=1, p90=1, p99=1, maximum=1)
    return BenchmarkReport(
        artifact_id=of.id, precision=of.precision, device="cpu", machine="a processor", instructions=(),
        runtime="onnxruntime", threads=1, batch=1, timed_frames=662, total=part, preprocess=part, inference=part,
        postprocess=part, frames_per_second=1000, memory_mb=100, size_mb=1, throttled=None,
    )  # fmt: skip


def candidate(artifact: Artifact, audits: tuple[AuditSet, ...], out: Path) -> Candidate:
    report = thresholds.fn(artifact, audits, ThresholdCard(), PROFILE, out)
    return Candidate(
        shipped=report.tuned,
        reference=report.tuned,
        checkpoint=out / "c.pt",
        evaluations=evaluate.fn(report.tuned, audits, PROFILE, out),
        benchmarks=(benchmark(artifact),),
        thresholds=report,
    )


def test_tuned_thresholds_reach_the_sidecar(artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path) -> None:
    """The device reads the tuned values beside the file; the report lies on disk and says what they rest on."""
    report = thresholds.fn(artifact, audits, ThresholdCard(), PROFILE, tmp_path / "out")
    assert report.tuned.thresholds != artifact.thresholds
    assert load_artifact(artifact.path).thresholds == report.tuned.thresholds
    assert ThresholdReport.load(tmp_path / "out" / f"{artifact.id}-thresholds.json") == report
    assert report.comparison[0].f_beta >= report.comparison[1].f_beta


def test_thresholds_are_never_tuned_on_scored_frames(
    artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path
) -> None:
    """The two halves have no frame in common, and no digest."""
    report = thresholds.fn(artifact, audits, ThresholdCard(), PROFILE, tmp_path / "out")
    scored = evaluate.fn(report.tuned, audits, PROFILE, tmp_path / "out")
    assert report.frames + sum(one.frames for one in scored) == sum(audit.frames for audit in audits)
    assert not set(report.audit_digests) & {one.audit_digest for one in scored}


class TestProduction:
    def drawn(self, tmp_path: Path, frames: int) -> ProductionFrames:
        """A draw from a store of frames as the audit sets have them, but every second one is empty."""
        place = write_audit(tmp_path / "production", frames, seed=5)
        for number, path in enumerate(sorted((place / "images").iterdir())[::2]):
            cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 25, (64, 64, 3)).astype(np.uint8))
        register(place / "images", str(tmp_path / "store"))
        return draw_production(str(tmp_path / "store"), ProductionCard(frames=100), 0)

    def test_thresholds_know_what_became_rarer(
        self, artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path
    ) -> None:
        """Where half of the frames are empty, red is half as frequent, and the report says what that rests on."""
        card = ThresholdCard(objective="cost", cost_miss=1)
        plain = thresholds.fn(artifact, audits, card, PROFILE, tmp_path / "out")
        report = thresholds.fn(artifact, audits, card, PROFILE, tmp_path / "out", self.drawn(tmp_path, 160))
        assert (plain.priors, plain.shifted) == ((), {})
        assert report.shifted["red"] == pytest.approx(0.5, abs=0.2)
        assert report.remarks[0].startswith("Prevalence of production: from 100 frames")
        assert report.priors[0].candidates > 20
        assert report.warning is None

    def test_too_few_frames_change_nothing_and_are_said(
        self, artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The same thresholds as without, a warning on stderr and in the report, and the gate does not mind."""
        few = self.drawn(tmp_path, 40)
        plain = thresholds.fn(artifact, audits, ThresholdCard(), PROFILE, tmp_path / "out")
        report = thresholds.fn(artifact, audits, ThresholdCard(), PROFILE, tmp_path / "out", few)
        assert report.tuned == plain.tuned
        assert report.warning is None
        assert report.remarks[0].startswith("warning: no prevalence of production")
        assert "at least 100 are needed" in " ".join(capsys.readouterr().err.split())


def test_reports_are_saved(artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path) -> None:
    """One report a set, as JSON beside the detections; running the stage again gives the same."""
    first = evaluate.fn(artifact, audits, PROFILE, tmp_path / "out")
    assert [report.audit for report in first] == ["clean", "drifted"]
    assert [EvaluationReport.load(report.predictions.with_suffix(".json")) for report in first] == list(first)
    assert evaluate.fn(artifact, audits, PROFILE, tmp_path / "out") == first


def test_a_better_challenger_replaces_the_champion(
    artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path
) -> None:
    """From files alone: the detector of three colours beats the one that sees red; the other way round is refused."""
    champion = candidate(dull(artifact, tmp_path / "dull"), audits, tmp_path / "out")
    challenger = candidate(artifact, audits, tmp_path / "out")
    terms = Terms(audits=audits, profile=PROFILE, card=GateCard())
    decision = gate.fn(challenger, champion, terms, tmp_path / "out")
    assert decision.passed, [row for row in decision.rows if not row.passed]
    assert not gate.fn(champion, challenger, terms, tmp_path / "out").passed
    saved = tmp_path / "out" / f"{artifact.id}-gate-cpu.json"
    assert GateDecision.load(saved).rows == decision.rows


def test_weights_reach_thresholds_evaluation_and_gate(artifact: Artifact, tmp_path: Path) -> None:
    """What is stated is weighted, and what was measured at other weights is not compared."""
    folder, out = write_audit(tmp_path / "clean", 60), tmp_path / "out"
    for path in sorted((folder / "labels").iterdir())[::3]:  # what weighs most is what is missed
        path.write_text(path.read_text() + "0 0.5 0.5 0.9 0.9\n")
    plain = (freeze("clean", folder),)
    weighted = (freeze("clean", folder, None, write_weights(tmp_path / "drawn.csv", folder, 20)),)
    terms = Terms(audits=weighted, profile=PROFILE, card=GateCard())
    ours = candidate(artifact, weighted, out)
    scored = load(weighted[0]).half("score")
    assert ours.thresholds is not None
    assert 1 < (ours.thresholds.effective_frames or 0) < 30
    assert 1 < (ours.evaluations[0].effective_frames or 0) < len(scored.frames)
    rows = {row.check: row for row in gate.fn(ours, None, terms, out).rows}
    assert rows["same frozen audit sets"].passed
    assert "weighted" in rows["same frozen audit sets"].value
    stated = rows["mAP50 on all audit frames"].value
    assert stated.startswith(f"{ours.evaluations[0].map50:.3f} ")
    theirs = candidate(artifact, plain, out)
    assert ours.evaluations[0].map50 < theirs.evaluations[0].map50 - 0.05
    other = gate.fn(ours, theirs, terms, out).rows[0]
    assert not other.passed
    assert "which is another content" in other.reason
    assert not gate.fn(ours, None, Terms(audits=plain, profile=PROFILE, card=GateCard()), out).rows[0].passed


class TestRobustness:
    card = EvaluationCard(
        resamples=10, robustness=RobustnessSettings(corruptions=("darker",), severities=(2, 5), frames=20)
    )

    def test_the_suite_runs_on_scored_frames(
        self, artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path
    ) -> None:
        """The card's corruptions, severities and frames; the report is saved; other pictures are refused."""
        report = robustness.fn(artifact, audits[0], PROFILE, tmp_path / "out", self.card)
        assert report is not None
        assert (report.frames, len(report.conditions), report.audit) == (20, 2, "clean")
        half = subset(load(audits[0]).half("score"), 20)
        assert report.audit_digest == half.digest
        (saved,) = (tmp_path / "out").glob("*-robustness.json")
        assert RobustnessReport.load(saved) == report
        for frame in half.frames:
            cv2.imwrite(str(frame.frame.image), np.zeros((64, 64, 3), np.uint8))
        with pytest.raises(BadInput, match="has changed"):
            robustness.fn(artifact, audits[0], PROFILE, tmp_path / "out", self.card)

    def test_nothing_to_judge_by_is_said(
        self, artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """A round does not end for it."""
        folder = write_audit(tmp_path / "empty", 10)
        for path in (folder / "labels").iterdir():
            path.write_text("")
        assert robustness.fn(artifact, freeze("empty", folder), PROFILE, tmp_path / "out", self.card) is None
        assert "warning: no robustness" in capsys.readouterr().err


def test_an_empty_audit_set_warns_and_is_refused(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody has labelled audit frames yet: default thresholds with a warning, no score, and the gate says no."""
    folder = write_audit(tmp_path / "empty", 10)
    for path in (folder / "labels").iterdir():
        path.write_text("")
    audits = (freeze("empty", folder),)
    bare = candidate(artifact, audits, tmp_path / "out")
    assert bare.thresholds is not None
    assert bare.thresholds.warning is not None
    assert bare.evaluations == ()
    assert capsys.readouterr().err.count("warning:") == 2
    decision = gate.fn(bare, None, Terms(audits=audits, profile=PROFILE, card=GateCard()), tmp_path / "out")
    refused = {row.check for row in decision.rows if not row.passed}
    assert {"same frozen audit sets", "thresholds tuned on audit labels", "mAP50 on all audit frames"} <= refused


def test_no_audit_set_at_all_is_refused_too(artifact: Artifact, tmp_path: Path) -> None:
    """The same without any set."""
    bare = candidate(artifact, (), tmp_path / "out")
    decision = gate.fn(bare, None, Terms(audits=(), profile=PROFILE, card=GateCard()), tmp_path / "out")
    assert not decision.passed


def test_a_set_that_changed_is_refused(artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path) -> None:
    """A label edited between two measurements stops the run with one sentence."""
    label = next(path for path in sorted((audits[0].folder / "labels").iterdir()) if path.read_text())
    label.write_text("")
    with pytest.raises(BadInput, match=r"the audit set clean .* has changed"):
        evaluate.fn(artifact, audits, PROFILE, tmp_path / "out")


def test_a_changed_file_is_refused(artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path) -> None:
    """What is measured is the artifact that was recorded."""
    artifact.path.write_bytes(artifact.path.read_bytes() + b"\0")
    with pytest.raises(BadInput, match="Export it again"):
        evaluate.fn(artifact, audits, PROFILE, tmp_path / "out")


def test_a_third_precision_is_chosen_where_it_is_fastest(
    artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path
) -> None:
    """FP16 that sees the same and was measured faster is what ships; not measured on the sets it does not."""
    out, terms = tmp_path / "out", Terms(audits=audits, profile=PROFILE, card=GateCard())
    frames = sorted((audits[0].folder / "images").iterdir())
    fp16 = halve(artifact, frames, tmp_path / "model" / "half.onnx")
    before = candidate(artifact, audits, out)
    faster = benchmark(fp16).model_copy(update={"total": Latency(p50=0.5, p90=1, p99=1, maximum=1)})
    timed = before.model_copy(update={"benchmarks": (*before.benchmarks, faster)})
    assert choose.fn(timed, terms, (fp16,)).artifact.id == artifact.id
    seen = evaluate.fn(fp16, audits, PROFILE, out)
    measured = timed.model_copy(update={"evaluations": (*timed.evaluations, *seen)})
    assert choose.fn(measured, terms, (fp16,)).artifact.id == fp16.id


def test_the_precision_is_chosen_by_measurement(
    artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path
) -> None:
    """With one file measured within the limits, that file; without a benchmark, it fits nothing."""
    measured = candidate(artifact, audits, tmp_path / "out")
    terms = Terms(audits=audits, profile=PROFILE, card=GateCard())
    assert choose.fn(measured, terms).fits
    unmeasured = measured.model_copy(update={"benchmarks": ()})
    assert not choose.fn(unmeasured, terms).fits


def test_an_unknown_critical_class_is_said_before_anything_is_detected(
    artifact: Artifact, audits: tuple[AuditSet, ...], tmp_path: Path
) -> None:
    """A typo in the card costs no pass over the frames, and leaves no detections behind."""
    with pytest.raises(BadInput, match="came violet, which neither the artifact nor clean knows"):
        evaluate.fn(artifact, audits, PROFILE, tmp_path / "out", EvaluationCard(critical=("violet",)))
    assert not (tmp_path / "out").exists()
