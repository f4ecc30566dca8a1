"""Small real candidates for tests of the registry: ONNX files that open, a checkpoint with its record, reports."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeloop.artifact import Artifact
from edgeloop.card import Card, DeviceProfile
from edgeloop.dataset import DatasetVersion
from edgeloop.files import sha256
from edgeloop.measures import BenchmarkReport, Candidate, ClassScore, EvaluationReport, GateDecision, GateRow, Latency
from edgeloop.sweep import Sweep
from edgeloop.sweep_trials import Measured, Standing, SweepResult
from edgeloop.training_curve import Epoch
from models.checkpoint import RECORD, Checkpoint

CARD = Card(name="sample", architecture="yolov8n.yaml")
NAMES = ("scratch", "dent")


def make_artifact(folder: Path, word: str, precision: Any) -> Artifact:
    """A real ONNX file that adds nothing to its input; `word` makes its bytes unique."""
    import onnx
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(port, TensorProto.FLOAT, [1, 3, 32, 32]) for port in ("images", "out")]
    graph = helper.make_graph([helper.make_node("Identity", ["images"], ["out"])], word, ports[:1], ports[1:])
    path = folder / f"{word}-{precision}.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    made = Artifact(
        path=path, sha256=sha256(path), precision=precision, imgsz=32, names=NAMES, thresholds=(0.3, 0.4), card="sample"
    )
    made.save_sidecar()
    return made


def make_report(artifact: Artifact, audit: str, value: float) -> EvaluationReport:
    score = ClassScore(
        name="scratch", truths=9, ap50=value, ap50_95=value / 2, threshold=0.3, precision=0.9, recall=0.8
    )
    return EvaluationReport(
        artifact_id=artifact.id, precision=artifact.precision, audit=audit, runtime="onnxruntime", frames=20,
        map50=value, map50_95=value / 2, classes=(score,), false_positives_per_1000_frames=1.0,
        missed_per_1000_frames=2.0, predictions=artifact.path.with_suffix(".parquet"),
    )  # fmt: skip


def make_benchmark(artifact: Artifact, p99: float) -> BenchmarkReport:
    spent = Latency(p50=p99 / 2, p90=p99 * 0.9, p99=p99, maximum=p99 * 2)
    return BenchmarkReport(
        artifact_id=artifact.id, precision=artifact.precision, device="cpu", machine="test", instructions=(),
        runtime="onnxruntime", threads=1, batch=1, timed_frames=700, total=spent, preprocess=spent, inference=spent,
        postprocess=spent, frames_per_second=50.0, memory_mb=100.0, size_mb=1.5, throttled=None,
    )  # fmt: skip


def make_candidate(folder: Path, word: str, quality: float = 0.8) -> Candidate:
    folder.mkdir(parents=True, exist_ok=True)
    shipped, reference = make_artifact(folder, word, "int8"), make_artifact(folder, word + "-whole", "fp32")
    checkpoint = folder / "checkpoint.pt"
    checkpoint.write_bytes(word.encode())
    Checkpoint(path=checkpoint, sha256=sha256(checkpoint), names=NAMES, epochs=1, curve=()).save(folder / RECORD)
    return Candidate(
        shipped=shipped,
        reference=reference,
        checkpoint=checkpoint,
        evaluations=tuple(
            make_report(one, audit, value)
            for one, value in ((shipped, quality), (reference, quality / 0.9))
            for audit in ("clean", "drifted")
        ),
        benchmarks=(make_benchmark(shipped, 8.0), make_benchmark(reference, 16.0)),
    )


def with_half(candidate: Candidate, folder: Path, loss: float = 0.01) -> Candidate:
    """The candidate with an FP16 file as well, which loses `loss` against FP32."""
    half = make_artifact(folder, candidate.shipped.path.stem + "-half", "fp16")
    value = candidate.evaluations[-1].map50 * (1 - loss)
    return candidate.model_copy(
        update={
            "others": (half,),
            "evaluations": (*candidate.evaluations, *(make_report(half, name, value) for name in ("clean", "drifted"))),
            "benchmarks": (*candidate.benchmarks, make_benchmark(half, 15.0)),
        }
    )


def make_decision(candidate: Candidate, over: Candidate | None = None, passed: bool = True) -> GateDecision:
    row = GateRow(check="map50 on clean", value="0.80", limit="0.50", passed=passed, reason="measured on 20 frames.")
    return GateDecision(
        artifact_id=candidate.shipped.id, champion_id=over.shipped.id if over else None, passed=passed, rows=(row,)
    )


def make_version(root: Path) -> DatasetVersion:
    return DatasetVersion(root=root, md5="0" * 32, names=NAMES, frames={"train": 9, "val": 3, "audit": 0}, boxes={})


def make_sweep(folder: Path) -> SweepResult:
    """A sweep of three that is over: one finished, one eliminated after its first rung, one failed."""
    candidate = make_candidate(folder, "best")
    sweep = Sweep(name="samples", base=Path("base.yaml"), architectures=(Path("a.yaml"),), imgsz=(32,), rungs=2)
    cards = [CARD.model_copy(update={"name": name, "epochs": 2}) for name in ("best", "behind", "broken")]
    begun = SweepResult.begin(sweep, cards, make_version(folder).md5, DeviceProfile(name="cpu"))
    standings = [make_standing(1, 0.2), make_standing(2, 0.4)]
    measured = Measured(candidate=candidate, seconds=3.0)
    best, behind, broken = begun.trials
    return begun.replacing([
        best.model_copy(update={"standings": tuple(standings), "measured": measured, "state": "finished"}),
        behind.model_copy(update={"standings": tuple(standings[:1])}).ended("eliminated", "rung 1 of 2"),
        broken.ended("failed", "training diverged"),
    ])  # fmt: skip


def make_standing(epochs: int, value: float) -> Standing:
    curve = tuple(
        Epoch(
            epoch=number, losses={"box": 1.0 / number}, learning_rate=0.1 / number, seconds=1.0,
            map50_95=value * number / epochs,
        )
        for number in range(1, epochs + 1)
    )  # fmt: skip
    return Standing(epochs=epochs, map50_95=value, seconds=1.5, curve=curve, checkpoint=Path("c.pt"))
