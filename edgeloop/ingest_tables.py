"""What an ingest found and changed, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from edgeloop.arrival import IngestReport
from edgeloop.formats import Finding
from edgeloop.formats.findings import printable
from edgeloop.formats.rules import RULES
from edgeloop.tables import table

NAMED = 10  # findings of a kind that are named; the saved report has all of them
COUNTS = {
    "files": "pictures found", "added": "frames added", "updated": "frames with other labels than before",
    "unchanged": "frames as before", "present": "frames that were there", "kept": "corrected labels kept",
    "stayed": "frames that kept another side than asked",
    "duplicates": "files that repeat another's bytes", "near_duplicates": "frames that nearly repeat another",
    "rows": "rows of the log added", "flags": "flags added",
}  # fmt: skip


def ingest_tables(report: IngestReport) -> list[RenderableType]:
    """Counts, boxes of each class, and every finding with its file and reason."""
    title = f"{'Would take in' if report.dry_run else 'Took in'} {report.kind}: {printable(report.source)}"
    counts = table("", "what", "how many")
    known = not report.dry_run or report.kind == "labelled"  # what is new is known when the bytes are looked at
    for name, phrase in COUNTS.items():
        value = getattr(report, name)
        if value or (name == "added" and known):
            counts.add_row(phrase, str(value if isinstance(value, int) else len(value)))
    for name, boxes in report.boxes.items():
        counts.add_row(Text(f"boxes of {name}"), str(boxes))
    parts: list[RenderableType] = [Text(title), *([counts] if counts.row_count else ())]
    for heading, findings in (
        ("Left out", report.rejected), ("Mended", report.fixed), ("Worth a look, nothing was left out", report.notices),
    ):  # fmt: skip
        if findings:
            parts.append(findings_table(f"{heading}: {len(findings)}", findings))
    return [*parts, *(Text(f"warning: {warning}") for warning in report.warnings)]


def findings_table(title: str, findings: Sequence[Finding]) -> Table:
    """The first ten of each kind."""
    made = Table(title=title, title_justify="left", header_style="dim", expand=False)
    for column in ("what", "file", "reason"):
        made.add_column(column, overflow="fold")
    for kind in dict.fromkeys(finding.kind for finding in findings):
        of_kind = [finding for finding in findings if finding.kind == kind]
        for finding in of_kind[:NAMED]:
            reason = finding.reason or RULES[kind].phrase
            done = f"{reason}: {finding.fix}" if finding.fixed else reason
            made.add_row(Text(kind), Text(printable(finding.path.as_posix())), Text(done))
        if len(of_kind) > NAMED:
            made.add_row(Text(kind), Text(f"and {len(of_kind) - NAMED} more"), Text(""))
    return made
