"""What the registry keeps of a candidate, under which names, and when a version may become the champion."""

from __future__ import annotations

import hashlib
import re
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Literal

from edgeloop.artifact import Artifact, Precision, load_artifact
from edgeloop.card import Card
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import Refused
from edgeloop.measures import BenchmarkReport, Candidate, EvaluationReport, GateDecision, RobustnessReport
from edgeloop.record import Record
from edgeloop.sweep_trials import SweepResult
from edgeloop.training_curve import Epoch

Gate = Literal["passed", "refused"]


class ModelVersion(Record):
    """One version in the registry.

    Attributes:
        name: of the registered model.
        version: counts up from 1.
        model_id, run_id: MLflow's, of the shipped file and of the run that registered it.
        artifact_id: of the shipped file.
        precision: of the shipped file.
        dataset_md5: the data set version it was trained on.
        gate: what the gate said.
        aliases: champion is deployed, challenger passed the gate last, previous is what a rollback returns to.
        created: UTC.
        metrics: as named by `metrics_of`.
    """

    name: str
    version: int
    model_id: str
    run_id: str
    artifact_id: str
    precision: Precision
    dataset_md5: str
    gate: Gate
    aliases: tuple[str, ...]
    created: datetime
    metrics: dict[str, float]


def key_of(candidate: Candidate, decision: GateDecision, dataset_md5: str) -> str:
    """What makes a registration the same one: the file, the data and the decision. 32 hexadecimal digits."""
    said = decision.model_copy(update={"report": None, "candidates": None}).to_json()
    return hashlib.sha256(f"{candidate.shipped.sha256}\n{dataset_md5}\n{said}".encode()).hexdigest()[:32]


def params_of(artifact: Artifact, version: DatasetVersion, card: Card) -> dict[str, str]:
    """What a file was made of and from: the same names for every file of every candidate.

    Its hash is no parameter: it always differs, and MLflow's plots would begin with it.
    """
    return {**card_params(card, version), "imgsz": str(artifact.imgsz), "precision": artifact.precision}


def card_params(card: Card, version: DatasetVersion) -> dict[str, str]:
    """What a card is trained with and on."""
    return {
        "architecture": Path(card.architecture).name,
        "card": card.name,
        "dataset_md5": version.md5,
        "train_frames": str(version.frames.get("train", 0)),
        "start": card.start.name if card.start else "scratch",
        "imgsz": str(card.imgsz),
        "epochs": str(card.epochs),
        "seed": str(card.seed),
    }


def sweep_key(result: SweepResult, commit: str | None) -> str:
    """What makes a sweep the same one, whatever its budget: what is asked, the data and the code."""
    asked = result.sweep.model_copy(update={"budget_seconds": None}).to_json()
    return hashlib.sha256(f"{asked}\n{result.dataset_md5}\n{commit}".encode()).hexdigest()[:32]


def sweep_params(result: SweepResult) -> dict[str, str]:
    """What a sweep asks."""
    sweep = result.sweep
    return {
        "dataset_md5": result.dataset_md5,
        "base": sweep.base.name,
        "architectures": ", ".join(path.stem for path in sweep.architectures),
        "imgsz": ", ".join(map(str, sweep.imgsz)),
        "precisions": ", ".join(sweep.precisions),
        "batches": ", ".join(map(str, sweep.batches)),
        "rungs": ", ".join(map(str, result.rungs)),
        "eta": str(sweep.eta),
        "devices": ", ".join(sweep.devices),
    }


def curve_metrics(curve: Sequence[Epoch]) -> list[tuple[str, float, int]]:
    """A training curve as name, value and step: `train/LOSS`, `learning_rate`, `val/map50_95` where it was measured."""
    found: list[tuple[str, float, int]] = []
    for point in curve:
        values = {f"train/{name}": value for name, value in point.losses.items()}
        values |= {"learning_rate": point.learning_rate, "seconds": point.seconds}
        accuracy = {"val/map50": point.map50, "val/map50_95": point.map50_95}
        values |= {name: value for name, value in accuracy.items() if value is not None}
        found += [(name, value, point.epoch) for name, value in values.items()]
    return found


def title_of(artifact: Artifact, card: Card) -> str:
    """What a run or a logged model is called: card, input side, precision and artifact, so that names sort."""
    plain = card.name.replace(".", "_")  # a dot is one of the signs that MLflow refuses
    return f"{plain}-{artifact.imgsz:04}-{artifact.precision}-{artifact.id}"


def commit_of(root: Path) -> str | None:
    """The commit that is checked out, with `+` when tracked files differ from it; None outside Git."""
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (FileNotFoundError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def metrics_of(candidate: Candidate, artifact: Artifact) -> dict[str, float]:
    """What was measured of one file of a candidate, under names that sort: summary, audit sets, devices.

    The summary has the same names for every precision of every candidate: accuracy is the mean over the audit sets,
    `loss_vs_fp32` the mean relative loss of mAP50-95 (0 for FP32 itself), latency and memory are of the fastest runtime
    on the device that was measured first. `audit.NAME/map50.camera.X`, `.pixels.small` and `.share.small` are parts of
    a set, `/ap50.X` its classes; `/mpc` and `/rpc` are the shipped file's robustness, where a card asks for it. AP and
    shares in 0..1, latency in milliseconds, memory and size in MB.
    """
    mine = [one for one in candidate.evaluations if one.artifact_id == artifact.id]
    runs = [one for one in candidate.benchmarks if one.artifact_id == artifact.id and one.batch == 1]
    losses = _losses(candidate, artifact)
    found = {**_summary(mine, runs), "loss_vs_fp32": _mean(list(losses.values()))}
    for report in mine:
        found.update(_accuracy(report))
    for audit, loss in losses.items():
        found[f"{_section('audit', audit)}/loss_vs_fp32"] = loss
    if candidate.robustness and candidate.robustness.artifact_id == artifact.id:
        found.update(_robustness(candidate.robustness))
    for run in runs:
        found.update(_device(run))
    return {name: value for name, value in found.items() if value is not None}


def _summary(reports: Sequence[EvaluationReport], runs: Sequence[BenchmarkReport]) -> dict[str, float | None]:
    on_first = [one for one in runs if one.device == runs[0].device]
    fastest = min(on_first, key=lambda one: one.total.p50, default=None)
    device = {} if fastest is None else {
        "p50_ms": fastest.total.p50, "p99_ms": fastest.total.p99, "memory_mb": fastest.memory_mb,
        "size_mb": fastest.size_mb,
    }  # fmt: skip
    return {
        "map50": _mean([one.map50 for one in reports]),
        "map50_95": _mean([one.map50_95 for one in reports]),
        "false_per_1000": _mean([one.false_positives_per_1000_frames for one in reports]),
        "missed_per_1000": _mean([one.missed_per_1000_frames for one in reports]),
        **device,
    }


def _accuracy(report: EvaluationReport) -> dict[str, float | None]:
    section = _section("audit", report.audit)
    classes = {f"{section}/ap50.{_plain(one.name)}": one.ap50 for one in report.classes}
    parts = {
        f"{section}/map50.{one.kind}.{_plain(one.name)}": one.map50.value if one.map50 else None
        for one in (*report.cameras, *report.sizes)
    }
    return {
        f"{section}/map50": report.map50,
        f"{section}/map50_95": report.map50_95,
        f"{section}/false_per_1000": report.false_positives_per_1000_frames,
        f"{section}/missed_per_1000": report.missed_per_1000_frames,
        f"{section}/miss_rate_critical": report.critical_miss_rate,
        f"{section}/d_ece": report.calibration.error.value if report.calibration else None,
        **classes,
        **parts,
    }


def _robustness(report: RobustnessReport) -> dict[str, float | None]:
    section = _section("audit", report.audit)
    both = {"mpc": report.mpc, "rpc": report.rpc}
    return {f"{section}/{name}": one.value if one else None for name, one in both.items()}


def _device(run: BenchmarkReport) -> dict[str, float]:
    section = f"{_section('device', run.device)}.{_plain(run.runtime)}"
    return {
        f"{section}/p50_ms": run.total.p50,
        f"{section}/p99_ms": run.total.p99,
        f"{section}/memory_mb": run.memory_mb,
    }


def _losses(candidate: Candidate, artifact: Artifact) -> dict[str, float]:
    """Relative loss of mAP50-95 of a file against FP32, by audit set; sets at 0 say nothing."""
    whole = {one.audit: one.map50_95 for one in candidate.evaluations if one.artifact_id == candidate.reference.id}
    return {
        one.audit: 1 - one.map50_95 / whole[one.audit]
        for one in candidate.evaluations
        if one.artifact_id == artifact.id and whole.get(one.audit, 0) > 0
    }


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _section(kind: str, name: str) -> str:
    return f"{kind}.{_plain(name)}"


def _plain(name: str) -> str:
    """A name with what MLflow refuses in metric names replaced; `/` would open a section of its own."""
    return re.sub(r"[^\w.\- ]", "_", name)


def is_part(metric: str) -> bool:
    """Whether a metric is of one class, camera or size alone."""
    return re.search(r"/m?ap50\.", metric) is not None


def check_promotion(version: ModelVersion, decision: GateDecision, champion: ModelVersion | None) -> None:
    """Return when `version` may become the champion.

    Raises:
        Refused: the gate did not pass it, judged another artifact, or compared it with another champion than today's.
    """
    if decision.artifact_id != version.artifact_id:
        raise Refused(
            f"The gate's decision is about artifact {decision.artifact_id}, version {version.version} is "
            f"{version.artifact_id}. Run the gate on version {version.version}."
        )
    if not decision.passed:
        why = next((f": {row.check} is {row.value}, {row.reason}" for row in decision.rows if not row.passed), "")
        raise Refused(f"The gate refused version {version.version} ({version.artifact_id}){why}")
    today = champion.artifact_id if champion else None
    if decision.champion_id != today:
        raise Refused(
            f"The gate compared version {version.version} with champion {decision.champion_id or 'none'}, the "
            f"champion now is {today or 'none'}. Run the gate again."
        )


def tags_of(candidate: Candidate, decision: GateDecision, version: DatasetVersion) -> dict[str, str]:
    """What the list of versions shows of one without opening it."""
    shipped = candidate.shipped
    found = metrics_of(candidate, shipped).items()
    numbers = {name: f"{value:.4g}" for name, value in found if not is_part(name)}
    return {
        **numbers, "gate": "passed" if decision.passed else "refused", "artifact_id": shipped.id,
        "precision": shipped.precision, "dataset_md5": version.md5,
    }  # fmt: skip


def open_candidate(folder: Path) -> Candidate:
    """The candidate of a downloaded run: `candidate.json`, `shipped/`, `reference/`, `checkpoint/`, wherever they lie.

    Its evaluations and the precisions that it does not ship name files of the machine that measured them, so they are
    left out. Where FP32 ships there is no `reference/`.

    Raises:
        BadInput: a file is missing or is not the one that was registered.
    """
    recorded = Candidate.load(folder / "candidate.json")
    shipped = load_artifact(folder / "shipped" / recorded.shipped.path.name)
    alone = recorded.reference.id == recorded.shipped.id
    reference = shipped if alone else load_artifact(folder / "reference" / recorded.reference.path.name)
    tuned = recorded.thresholds and recorded.thresholds.model_copy(update={"tuned": shipped})
    checkpoint = folder / "checkpoint" / recorded.checkpoint.name
    return recorded.model_copy(
        update={
            "shipped": shipped, "reference": reference, "checkpoint": checkpoint, "evaluations": (), "others": (),
            "thresholds": tuned,
        }
    )  # fmt: skip
