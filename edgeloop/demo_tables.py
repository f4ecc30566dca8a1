"""The end of the demo: what the loop changed, in numbers, and where to look further."""

from __future__ import annotations

from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from edgeloop.config import Config
from edgeloop.demo import STRATA, DemoResult
from edgeloop.measures import BenchmarkReport, Candidate
from edgeloop.tables import drift_table, gate_table, table


def demo_tables(result: DemoResult, config: Config, page: Path) -> list[RenderableType]:
    """Champion 1 against 2, FP32 against INT8, gate, drift, labels, and paths."""
    rounds = [one for one in (result.first, result.second) if one is not None]
    return [
        *(gate_table(one.decision) for one in rounds if one.decision),
        *(drift_table(report) for report in (result.calm, result.alarm)),
        label_table(result),
        champion_table(result),
        *(precision_table(candidate) for candidate in result.champions()[-1:]),
        paths(result, config, page),
    ]


def champion_table(result: DemoResult) -> Table:
    """Accuracy of both champions, as shipped, on every audit set, measured in the same run."""
    candidates = result.champions()
    audits = list(dict.fromkeys(report.audit for one in candidates for report in one.evaluations))
    made = table(
        "Champions on the frozen audit sets", "audit set", *(_title(n, c) for n, c in enumerate(candidates, 1))
    )
    made.add_column("gain", justify="right")
    for audit in audits:
        reports = [one.report_on(one.shipped.id, audit) for one in candidates]
        for label, name, scale in MEASURES:
            values = [getattr(report, name) * scale if report else None for report in reports]
            known = [value for value in values if value is not None]
            gain = f"{known[-1] - known[0]:+.1f}" if len(known) > 1 and len(known) == len(values) else "-"
            made.add_row(f"{audit} {label}", *("-" if v is None else f"{v:.1f}" for v in values), gain)
    return made


MEASURES = (
    ("mAP50 %", "map50", 100),
    ("mAP50-95 %", "map50_95", 100),
    ("false positives / 1000 frames", "false_positives_per_1000_frames", 1),
    ("missed / 1000 frames", "missed_per_1000_frames", 1),
)


def _title(number: int, candidate: Candidate) -> str:
    return f"champion {number} ({candidate.shipped.precision}, {candidate.shipped.id})"


def precision_table(candidate: Candidate) -> Table:
    """FP32 against INT8 of one candidate: accuracy on each audit set, latency in each runtime, size."""
    files = {report.artifact_id: report.precision for report in candidate.benchmarks}
    ordered = sorted(files, key=lambda artifact_id: files[artifact_id])  # fp32 before int8
    made = table("FP32 against INT8, the same checkpoint", "", *(files[one].upper() for one in ordered), "INT8 / FP32")
    for audit in dict.fromkeys(report.audit for report in candidate.evaluations):
        reports = [candidate.report_on(one, audit) for one in ordered]
        values = [report.map50_95 for report in reports if report]
        if len(values) == len(ordered) and len(values) > 1:
            loss = f"{100 * (1 - values[1] / values[0]):+.2f} % lost" if values[0] else "-"
            made.add_row(f"{audit} mAP50-95 %", *(f"{100 * value:.2f}" for value in values), loss)
    for runtime in dict.fromkeys(report.runtime for report in candidate.benchmarks):
        timed = [_benchmark(candidate, one, runtime) for one in ordered]
        _latency_rows(made, runtime, [report for report in timed if report])
    sizes = [report.size_mb for report in (_any(candidate, one) for one in ordered) if report]
    if len(sizes) > 1:
        made.add_row("size MB", *(f"{size:.2f}" for size in sizes), f"{sizes[0] / sizes[1]:.2f}x smaller")
    return made


def _latency_rows(made: Table, runtime: str, reports: list[BenchmarkReport]) -> None:
    if len(reports) < 2:  # nothing to compare
        return
    for name in ("p50", "p99"):
        values = [getattr(report.total, name) for report in reports]
        ratio = values[0] / values[1]
        said = f"{ratio:.2f}x faster" if ratio >= 1 else f"{1 / ratio:.2f}x slower"
        made.add_row(f"{runtime} {name} ms", *(f"{v:.2f}" for v in values), said)


def _any(candidate: Candidate, artifact_id: str) -> BenchmarkReport | None:
    return next((one for one in candidate.benchmarks if one.artifact_id == artifact_id), None)


def _benchmark(candidate: Candidate, artifact_id: str, runtime: str) -> BenchmarkReport | None:
    mine = [r for r in candidate.benchmarks if (r.artifact_id, r.runtime, r.batch) == (artifact_id, runtime, 1)]
    return mine[-1] if mine else None


def label_table(result: DemoResult) -> Table:
    """Where the label budget went."""
    made = table("Label budget", "", *STRATA, "all")
    spent = result.budget_spent
    made.add_row("frames asked", *(str(spent.get(name, 0)) for name in STRATA), str(sum(spent.values())))
    frames = [sum(version.frames.values()) for version in result.versions]
    if len(frames) > 1:
        made.add_row("frames labelled", *("" for _ in STRATA), str(frames[-1] - frames[0]))
    return made


def paths(result: DemoResult, config: Config, page: Path) -> Text:
    """Where the reports are, and how to look at the registry."""
    reports = [
        ("the demo", page),
        ("drift, clean stream", result.calm.html), ("drift, drifted stream", result.alarm.html),
        *((f"gate, round {number}", one.report) for number, one in enumerate((result.first, result.second), 1) if one),
    ]  # fmt: skip
    lines = ["Reports"] + [f"  {name}: {path}" for name, path in reports if path]
    tracking = config.workspace.tracking_uri
    lines += [
        "MLflow: compare both candidates side by side",
        f"  uv run mlflow server --host 127.0.0.1 --port 5000 --workers 1 --backend-store-uri {tracking}",
        "  then open http://127.0.0.1:5000",
    ]
    return Text("\n".join(lines))
