"""Registered versions side by side: which ones are meant, and which of them is best at what."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from edgeloop.errors import BadInput
from edgeloop.record import Record
from edgeloop.registry import ModelVersion, is_part
from edgeloop.tables import table


class MetricRow(Record):
    """One metric of several versions, in their order; None where a version does not have it.

    `best` is the smallest value of latencies, sizes, losses and mistakes, else the largest; None where all are alike.
    """

    metric: str
    values: tuple[float | None, ...]
    best: float | None = None


class Comparison(Record):
    """Versions side by side."""

    versions: tuple[ModelVersion, ...]
    rows: tuple[MetricRow, ...]


def compare(versions: Sequence[ModelVersion], *, parts: bool = False) -> Comparison:
    """The metrics of versions side by side, the summary first, then by name; `parts` adds classes, cameras, sizes."""
    names = {name for version in versions for name in version.metrics if parts or not is_part(name)}
    rows = tuple(
        _row(name, tuple(version.metrics.get(name) for version in versions))
        for name in sorted(names, key=lambda name: ("/" in name, name))
    )
    return Comparison(versions=tuple(versions), rows=rows)


def _row(metric: str, values: tuple[float | None, ...]) -> MetricRow:
    known = [value for value in values if value is not None]
    less = re.search(r"_ms$|_mb$|loss|false_per|missed_per|miss_rate|d_ece", metric)
    best = (min if less else max)(known) if len(set(known)) > 1 else None
    return MetricRow(metric=metric, values=values, best=best)


def pick(versions: Sequence[ModelVersion], named: str) -> ModelVersion:
    """The version of a number or an alias.

    Raises:
        BadInput: there is none.
    """
    found = next((one for one in versions if named in (str(one.version), f"v{one.version}", *one.aliases)), None)
    if found is None:
        there = ", ".join(str(one.version) for one in versions) or "none"
        raise BadInput(f"there is no version {named!r}; expected champion, challenger, previous or one of: {there}.")
    return found


def to_compare(versions: Sequence[ModelVersion], named: Sequence[str]) -> tuple[ModelVersion, ...]:
    """The named versions in their order; else champion, challenger and previous, the newest three where no two are.

    Args:
        versions: all, newest first.
        named: numbers or aliases.

    Raises:
        BadInput: one of them does not exist, or there is none at all.
    """
    if named:
        return tuple(pick(versions, one) for one in dict.fromkeys(named))
    if not versions:
        raise BadInput("nothing is registered yet; run `edgeloop retrain` first.")
    known = [one for one in versions if one.aliases]
    return tuple(reversed(known if len(known) > 1 else versions[:3]))


def to_judge(versions: Sequence[ModelVersion], named: str | None) -> ModelVersion:
    """The version that a gate judges against the champion: the named one, else the challenger, else the newest other.

    Args:
        versions: all, newest first.
        named: a number or an alias.

    Raises:
        BadInput: there is no such version, or it is the champion itself.
    """
    others = [one for one in versions if "champion" not in one.aliases]
    chosen = pick(versions, named) if named else next((one for one in others if "challenger" in one.aliases), None)
    found = chosen or next(iter(others), None)
    if found is None:
        raise BadInput("there is no version beside the champion to judge; run `edgeloop retrain` first.")
    if "champion" in found.aliases:
        raise BadInput(f"version {found.version} is the champion; name another version to judge against it.")
    return found


def comparison_table(found: Comparison) -> Table:
    """A column for each version, a row for each metric, the best in bold."""
    heads = [f"{one.version} {', '.join(one.aliases) or one.gate}" for one in found.versions]
    made = table("Versions side by side", "", *heads)
    made.add_row("artifact", *(f"{one.precision} {one.artifact_id}" for one in found.versions), end_section=True)
    for row in found.rows:
        made.add_row(Text(row.metric), *(_cell(value, row.best) for value in row.values))
    return made


def _cell(value: float | None, best: float | None) -> Text:
    return Text("-" if value is None else f"{value:.4g}", "bold green" if value is not None and value == best else "")
