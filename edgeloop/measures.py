"""What was measured: evaluation, benchmark, gate and drift records. Each names the artifact it was measured on."""

from __future__ import annotations

from pathlib import Path

from edgeloop.artifact import Artifact, Precision
from edgeloop.record import Record


class ClassScore(Record):
    """One class on one audit set. Rates at the artifact's own threshold; None where there is no truth to judge by."""

    name: str
    truths: int
    ap50: float | None
    ap50_95: float | None
    threshold: float
    precision: float | None
    recall: float | None


class EvaluationReport(Record):
    """Accuracy of one artifact file on one frozen set, through the runtime that ships it. AP as in COCO, 0..1."""

    artifact_id: str
    precision: Precision
    audit: str
    runtime: str
    frames: int
    map50: float
    map50_95: float
    classes: tuple[ClassScore, ...]
    false_positives_per_1000_frames: float
    missed_per_1000_frames: float
    predictions: Path  # Parquet: one row a detection down to the evaluation floor


class Latency(Record):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float
    maximum: float


class BenchmarkReport(Record):
    """Latency of one artifact on one machine, decoded image to final boxes, batch 1 unless said otherwise."""

    artifact_id: str
    precision: Precision
    device: str  # the profile's name
    machine: str  # processor as the machine reports it
    instructions: tuple[str, ...]  # of avx2, avx512f, avx512_vnni, avx_vnni, amx_int8, those the machine has
    runtime: str
    threads: int
    batch: int
    timed_frames: int
    total: Latency
    preprocess: Latency
    inference: Latency
    postprocess: Latency
    frames_per_second: float
    memory_mb: float
    size_mb: float
    throttled: bool | None  # None where the machine cannot tell


class GateRow(Record):
    """One question of the gate."""

    check: str
    value: str
    limit: str
    passed: bool
    reason: str


class GateDecision(Record):
    """Whether an artifact may be promoted, and why; every row is a measurement, never a stored number."""

    artifact_id: str
    champion_id: str | None
    passed: bool
    rows: tuple[GateRow, ...]


class Candidate(Record):
    """A trained candidate on its way to the gate: the shipped artifact and its FP32 twin, with what was measured."""

    shipped: Artifact
    reference: Artifact  # FP32
    checkpoint: Path
    evaluations: tuple[EvaluationReport, ...]
    benchmarks: tuple[BenchmarkReport, ...]
