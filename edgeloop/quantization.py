"""What a search for an INT8 recipe asks, how it goes on, and what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pydantic import Field
from rich.table import Table
from rich.text import Text

from edgeloop.measures import Interval
from edgeloop.record import Record


class LayerSensitivity(Record):
    """What quantizing one convolution alone does to the detections: see `edgeloop.agreement.moved_share`."""

    layer: str
    moved: float


class ClassLoss(Record):
    """AP50-95 that a class loses against FP32, absolute, 0..1; None where it has no labelled box to judge by."""

    name: str
    truths: int
    loss: float | None


class Loss(Record):
    """What a file loses against its FP32 on the same frames.

    Attributes:
        map50_95: of the file.
        relative: mAP50-95 lost, as a share of FP32's, with the interval of a paired bootstrap over frames.
        points: the same in mAP points, 0..100.
        classes: each class.
    """

    map50_95: float
    relative: Interval
    points: float
    classes: tuple[ClassLoss, ...]

    def worst_class(self, minimum_truths: int = 1) -> ClassLoss | None:
        """The class that loses most, of those with at least so many labelled boxes."""
        judged = [one for one in self.classes if one.loss is not None and one.truths >= minimum_truths]
        return max(judged, key=lambda one: one.loss or 0.0, default=None)


class Limits(Record):
    """What INT8 may lose on the frames that recipes are chosen on."""

    loss: float  # relative mAP50-95
    class_loss: float  # AP50-95 of a class, absolute, 0..1
    minimum_truths: int  # a class with fewer labelled boxes is told, not judged
    judge_loss_by: Literal["estimate", "bound"] = "estimate"  # "bound": the bad end of the loss's interval

    def excess(self, loss: Loss) -> float:
        """How far beyond the limits a loss is: at most 1 keeps them, 2 is twice a limit."""
        worst = loss.worst_class(self.minimum_truths)
        lost = loss.relative.high if self.judge_loss_by == "bound" else loss.relative.value
        shares = [_share(lost, self.loss)]
        if worst is not None and worst.loss is not None:
            shares.append(_share(worst.loss, self.class_loss))
        return max(shares)


def _share(value: float, limit: float) -> float:
    if limit > 0:
        return value / limit
    return 0.0 if value <= 0 else float("inf")


class QuantizeRow(Record):
    """One recipe that was tried.

    Attributes:
        recipe: calibration in words, and how many further layers are float.
        artifact_id: of the file it gives.
        floated: convolutions left in float beyond the head's, by name.
        float_convolutions, convolutions: how many are float, the head's among them, and how many there are.
        moved: share of the detections' confidence that FP32 does not confirm, on calibration frames.
        loss: against FP32.
        excess: `Limits.excess` of it.
        p50_ms: model alone, one image, by runtime; only of files that were timed.
    """

    recipe: str
    artifact_id: str
    floated: tuple[str, ...]
    float_convolutions: int
    convolutions: int
    moved: float
    loss: Loss
    excess: float
    p50_ms: dict[str, float] = Field(default_factory=dict)

    @property
    def kept(self) -> bool:
        """Whether the limits are kept."""
        return self.excess <= 1


class QuantizeReport(Record):
    """How an INT8 file came about; saved beside it.

    Attributes:
        artifact_id, reference_id: the file and its FP32.
        reached: whether it keeps the limits.
        reason: one sentence: which recipe, why this one, what limit is missed.
        limits: what was asked.
        choosing: name and digest of the frames that recipes were chosen on.
        frames: how many they are.
        calibration_frames: how many frames ranges were measured on.
        runtime: what computed the detections.
        reference_map50_95: FP32's.
        rows: every recipe tried, in the order of trial.
        sensitivity: each quantized convolution, the most sensitive first; empty when no layer had to be floated.
        scored: the file's loss on frames that had no part in the choice; None where there are none.
        scored_frames: how many those are.
        reference_p50_ms: FP32's model alone, one image, by runtime.
    """

    artifact_id: str
    reference_id: str
    reached: bool
    reason: str
    limits: Limits
    choosing: str
    choosing_digest: str
    frames: int
    calibration_frames: int
    runtime: str
    reference_map50_95: float
    rows: tuple[QuantizeRow, ...]
    sensitivity: tuple[LayerSensitivity, ...] = ()
    scored: Loss | None = None
    scored_frames: int = 0
    reference_p50_ms: dict[str, float] = Field(default_factory=dict)

    @property
    def chosen(self) -> QuantizeRow:
        """The row of the file."""
        return next(row for row in self.rows if row.artifact_id == self.artifact_id)


def layers_to_try(tried: Mapping[int, bool], most: int) -> int | None:
    """How many of the most sensitive layers to float next; None when the fewest that keep the limits are known.

    0, 1, 2, 4, … up to `most` until the limits are kept, then the middle of what failed and what kept them.

    Args:
        tried: numbers of layers that were tried, and whether the limits were kept.
        most: at most so many.
    """
    kept = min((count for count, good in tried.items() if good), default=None)
    if kept is None:
        steps = [0, *(2**power for power in range(most.bit_length())), most]
        return next((step for step in steps if step <= most and step not in tried), None)
    failed = max((count for count, good in tried.items() if not good and count < kept), default=-1)
    return None if kept - failed <= 1 else (kept + failed) // 2


def choose_row(rows: Sequence[QuantizeRow]) -> QuantizeRow:
    """Of the rows that keep the limits the one with the fewest floated layers, else the one nearest to the limits.

    Of several with as few floated layers the one that moves the detections least: which of them loses least on a few
    hundred frames is chance.
    """
    kept = [row for row in rows if row.kept]
    if kept:
        return min(kept, key=lambda row: (len(row.floated), row.moved))
    return min(rows, key=lambda row: (row.excess, row.moved))


def quantize_table(report: QuantizeReport) -> Table:
    """One row a recipe, FP32 first; * is the file that was written. Runtimes: p50 ms of the model alone."""
    runtimes = tuple(report.reference_p50_ms)
    made = Table(title=_title(report), title_justify="left", title_style="bold", header_style="dim")
    columns = ("Conv in float", "mAP50-95", "loss %", "95 %", "points", "worst class", *runtimes)
    made.add_column("recipe", overflow="fold")
    for column in columns:
        made.add_column(column, justify="right", overflow="fold")
    made.add_row(
        "FP32", "", f"{report.reference_map50_95:.4f}", "", "", "", "", *_times(report.reference_p50_ms, runtimes)
    )
    for row in report.rows:
        made.add_row(*_cells(row, report), *_times(row.p50_ms, runtimes))
    made.caption, made.caption_justify = Text(f"* {report.reason}{_scored(report)}"), "left"
    return made


def _scored(report: QuantizeReport) -> str:
    if report.scored is None:
        return ""
    relative = report.scored.relative
    return (
        f" On {report.scored_frames} frames that had no part in the choice it loses {100 * relative.value:.2f} % "
        f"({100 * relative.low:.1f} to {100 * relative.high:.1f} %, {report.scored.points:.2f} points)."
    )


def _title(report: QuantizeReport) -> str:
    sure = ", with its interval" if report.limits.judge_loss_by == "bound" else ""
    asked = (
        f"loss at most {100 * report.limits.loss:g} %{sure}, a class at most {100 * report.limits.class_loss:g} points"
    )
    return f"INT8 on {report.frames} frames of {report.choosing} in {report.runtime}; {asked}"


def _cells(row: QuantizeRow, report: QuantizeReport) -> list[Text]:
    relative, worst = row.loss.relative, row.loss.worst_class(report.limits.minimum_truths)
    texts = (
        f"{row.recipe}{' *' if row.artifact_id == report.artifact_id else ''}",
        f"{row.float_convolutions} of {row.convolutions}",
        f"{row.loss.map50_95:.4f}",
        f"{100 * relative.value:.2f}",
        f"{100 * relative.low:.1f} to {100 * relative.high:.1f}",
        f"{row.loss.points:.2f}",
        f"{worst.name} {100 * (worst.loss or 0.0):.1f}" if worst else "-",
    )
    return [Text(text) for text in texts]


def _times(taken: Mapping[str, float], runtimes: Sequence[str]) -> list[str]:
    return [f"{taken[runtime]:.2f}" if runtime in taken else "" for runtime in runtimes]
