"""A sweep, and a single candidate, as tables for the terminal."""

from __future__ import annotations

from rich.table import Table
from rich.text import Text

from edgeloop.artifact import Precision
from edgeloop.measures import Candidate
from edgeloop.record import Record
from edgeloop.sweep_trials import State, SweepResult
from edgeloop.tables import table


class SweepRow(Record):
    """A line of the final table. Milliseconds; None where it was not measured."""

    rank: int
    card: str
    imgsz: int
    precision: Precision | None
    batch: int | None
    map50_95: float | None
    p50_ms: float | None
    p99_ms: float | None
    epochs: int
    seconds: float
    state: State
    shipped: bool
    reason: str


def rows(result: SweepResult) -> tuple[SweepRow, ...]:
    """The final table: of a finished candidate a line for each precision and batch, of any other one line."""
    found: list[SweepRow] = []
    for rank, trial in enumerate(result.ranking, 1):
        base = SweepRow(
            rank=rank, card=trial.card.name, imgsz=trial.card.imgsz, precision=None, batch=None,
            map50_95=trial.score if trial.standings else None, p99_ms=None,
            p50_ms=trial.standings[0].p50_ms if trial.standings else None, epochs=trial.epochs,
            seconds=trial.seconds, state=trial.state, shipped=False, reason=trial.reason,
        )  # fmt: skip
        found += _measured_rows(base, trial.measured.candidate) if trial.measured else [base]
    return tuple(found)


def _measured_rows(base: SweepRow, candidate: Candidate) -> list[SweepRow]:
    made = []
    for report in candidate.evaluations:
        mine = [one for one in candidate.benchmarks if one.artifact_id == report.artifact_id]
        for batch in sorted({one.batch for one in mine}):
            run = min((one for one in mine if one.batch == batch), key=lambda one: one.total.p50)
            changes = {
                "precision": report.precision, "batch": batch, "map50_95": report.map50_95,
                "p50_ms": run.total.p50, "p99_ms": run.total.p99,
                "shipped": report.artifact_id == candidate.shipped.id,
            }  # fmt: skip
            made.append(base.model_copy(update=changes))
    return made


def sweep_table(result: SweepResult) -> Table:
    """The best first; `ships` marks the file that the candidate ships."""
    columns = ("rank", "side", "precision", "batch", "mAP50-95", "p50 ms", "p99 ms", "epochs", "seconds", "reason")
    made = table(f"Sweep {result.sweep.name}", "candidate", *columns)
    for row in rows(result):
        figures = (
            row.rank, row.imgsz, row.precision or "", "" if row.batch is None else row.batch,
            "" if row.map50_95 is None else f"{row.map50_95:.1%}", _ms(row.p50_ms), _ms(row.p99_ms),
            row.epochs, f"{row.seconds:.0f}",
        )  # fmt: skip
        ending = "ships" if row.shipped else "" if row.state == "finished" else f"{row.state}: {row.reason}"
        made.add_row(Text(row.card), *(str(one) for one in figures), Text(ending))
    return made


def candidate_table(candidate: Candidate) -> Table:
    """Accuracy of each file on each audit set, and its latency on this machine in its fastest runtime."""
    columns = ("audit set", "mAP50", "mAP50-95", "runtime", "p50 ms", "p99 ms", "size MB", "")
    made = table(f"Candidate {candidate.shipped.card}", "artifact", *columns)
    for report in candidate.evaluations:
        mine = [one for one in candidate.benchmarks if one.artifact_id == report.artifact_id and one.batch == 1]
        run = min(mine, key=lambda one: one.total.p50, default=None)
        measured = (run.runtime, _ms(run.total.p50), _ms(run.total.p99), f"{run.size_mb:.2f}") if run else ("",) * 4
        made.add_row(
            f"{report.precision} {report.artifact_id}", report.audit, f"{report.map50:.1%}", f"{report.map50_95:.1%}",
            *measured, "ships" if report.artifact_id == candidate.shipped.id else "",
        )  # fmt: skip
    return made


def _ms(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
