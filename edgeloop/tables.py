"""Records as tables for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from edgeloop.dataset import DatasetVersion
from edgeloop.drift import DriftReport
from edgeloop.frames import SPLITS
from edgeloop.labelling import QueueStatus
from edgeloop.measures import GateDecision
from edgeloop.registry import ModelVersion
from edgeloop.selection import Selection
from edgeloop.services import ServiceStatus


def table(title: str, *columns: str) -> Table:
    """An empty table: the first column is text, the others are figures."""
    made = Table(title=title, title_justify="left", title_style="bold", header_style="dim", expand=False)
    for index, column in enumerate(columns):
        made.add_column(column, justify="left" if index == 0 else "right", overflow="fold")
    return made


def passed(answer: bool, judged: bool = True) -> Text:
    """The word for a gate's row."""
    if not judged:
        return Text("info", "dim")
    return Text("pass", "green") if answer else Text("FAIL", "bold red")


def version_table(version: DatasetVersion) -> Table:
    """Frames and boxes on each side."""
    made = table(f"Data set version {version.md5}", "", *SPLITS)
    made.add_row("frames", *(str(version.frames[side]) for side in SPLITS))
    for name in version.names:
        made.add_row(Text(f"boxes of {name}"), *(str(version.boxes[side][name]) for side in SPLITS))
    return made


def gate_table(decision: GateDecision) -> Table:
    """One row a question, with what was measured, the limit and the reason."""
    verdict = "passed" if decision.passed else "refused"
    made = Table(title=f"Gate: {verdict} {decision.artifact_id}", title_justify="left", header_style="dim")
    for column in ("check", "measured", "limit", "", "reason"):
        made.add_column(column, overflow="fold")
    for row in decision.rows:
        made.add_row(
            Text(row.check), Text(row.value), Text(row.limit), passed(row.passed, row.judged), Text(row.reason)
        )
    return made


def drift_table(report: DriftReport) -> Table:
    """The columns of the window that decided."""
    made = table(f"Drift: {report.verdict}. {report.reason}", "column", "effect", "limit", "")
    for column in report.columns:
        value, limit = (f"{number:.3f}" if number is not None else "-" for number in (column.value, column.limit))
        made.add_row(column.column, value, limit, Text("drifted", "yellow") if column.drifted else column.reason)
    return made


def selection_table(selection: Selection) -> Table:
    """Chosen frames a stratum."""
    made = table(f"{len(selection.frames)} of {selection.candidates} frames chosen to label", "stratum", "frames")
    for stratum in dict.fromkeys(frame.stratum for frame in selection.frames):
        made.add_row(stratum, str(selection.count(stratum)))
    return made


def queue_table(status: QueueStatus) -> Table:
    """How far a queue is."""
    made = table(f"Queue {status.queue}", "total", "waiting", "labelled", "skipped")
    made.add_row(*(str(count) for count in (status.total, status.waiting, status.labelled, status.skipped)))
    return made


def registry_table(versions: Sequence[ModelVersion]) -> Table:
    """Registered versions with their aliases."""
    made = table("Registry", "version", "artifact", "precision", "gate", "data set", "aliases", "created")
    for one in versions:
        made.add_row(
            str(one.version), one.artifact_id, one.precision, passed(one.gate == "passed"), one.dataset_md5[:8],
            ", ".join(one.aliases), f"{one.created:%Y-%m-%d %H:%M}",
        )  # fmt: skip
    return made


def stack_table(services: Sequence[ServiceStatus]) -> Table:
    """The local stack: what runs, where, and how it is."""
    made = table("Local stack", "service", "state", "address", "pid", "note")
    for one in services:
        pid = "" if one.pid is None else str(one.pid)
        made.add_row(one.name, one.state, Text(one.url), pid, Text(one.note))
    return made
