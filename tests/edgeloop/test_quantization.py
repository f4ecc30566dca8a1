"""The search for layers ends at the fewest that keep the limits, and losses are those of COCO's average precision."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from edgeloop.coco import coco_average_precision
from edgeloop.matching import match
from edgeloop.measures import Interval
from edgeloop.quantization import (
    ClassLoss,
    Limits,
    Loss,
    QuantizeReport,
    QuantizeRow,
    choose_row,
    layers_to_try,
    quantize_table,
)
from edgeloop.yardstick import Yardstick
from tests import scenes

LIMITS = Limits(loss=0.02, class_loss=0.05, minimum_truths=20)
NAMES = ("scratch", "pit", "stain", "crack")


def loss(relative: float, *classes: tuple[int, float | None], high: float | None = None) -> Loss:
    found = tuple(ClassLoss(name=NAMES[i], truths=n, loss=value) for i, (n, value) in enumerate(classes))
    interval = Interval(value=relative, low=relative - 0.01, high=high or relative + 0.01, confidence=0.95)
    return Loss(map50_95=0.5, relative=interval, points=relative * 50, classes=found)


def row(name: str, floated: int, moved: float, lost: float) -> QuantizeRow:
    layers = tuple(f"layer{index}" for index in range(floated))
    measured = loss(lost, (50, lost))
    return QuantizeRow(
        recipe=name,
        artifact_id=name,
        floated=layers,
        float_convolutions=7 + floated,
        convolutions=76,
        moved=moved,
        loss=measured,
        excess=LIMITS.excess(measured),
    )


@given(st.integers(0, 200), st.integers(0, 250))
def test_the_fewest_layers_are_found(most: int, needed: int) -> None:
    """Where more float layers never hurt, the search ends at exactly as many as it needs, after few tries."""
    tried: dict[int, bool] = {}
    while (count := layers_to_try(tried, most)) is not None:
        assert count not in tried
        assert 0 <= count <= most
        tried[count] = count >= needed
    kept = [count for count, good in tried.items() if good]
    assert min(kept, default=None) == (needed if needed <= most else None)
    assert len(tried) <= 2 * most.bit_length() + 2


def test_a_class_counts_where_it_has_boxes_to_judge_by() -> None:
    """The worse of the whole and of the worst class decides; a class with few boxes is left out."""
    assert LIMITS.excess(loss(0.01, (50, 0.01))) == pytest.approx(0.5)
    assert LIMITS.excess(loss(0.01, (50, 0.10))) == pytest.approx(2)
    assert LIMITS.excess(loss(0.01, (50, 0.01), (5, 0.9), (0, None))) == pytest.approx(0.5)


def test_the_bound_asks_for_the_whole_interval() -> None:
    """Judged by the bound, a loss whose interval leaves the limit does not keep it."""
    sure = LIMITS.model_copy(update={"judge_loss_by": "bound"})
    measured = loss(0.01, high=0.03)
    assert LIMITS.excess(measured) < 1 < sure.excess(measured)


def test_a_limit_of_nothing_is_kept_by_no_loss_alone() -> None:
    """With a limit of 0 a gain keeps it and any loss is infinitely beyond it."""
    none = LIMITS.model_copy(update={"loss": 0.0})
    assert none.excess(loss(-0.01)) == 0
    assert none.excess(loss(0.001)) == float("inf")


def test_few_float_layers_come_before_little_movement() -> None:
    """Of what keeps the limits the fewest layers win, then the least movement; of what does not, the nearest."""
    rows = [row("a", 2, 0.01, 0.0), row("b", 0, 0.09, 0.01), row("c", 0, 0.05, 0.019), row("d", 0, 0.01, 0.03)]
    assert choose_row(rows).recipe == "c"
    assert choose_row([row("e", 0, 0.01, 0.05), row("f", 4, 0.3, 0.03)]).recipe == "f"


def test_losses_are_differences_of_cocos_average_precision() -> None:
    """mAP, each class and the share agree with faster-coco-eval on both files."""
    truths = scenes.frames_of_truths(60)
    both = [scenes.detect(truths, seed=1, found=found) for found in (0.9, 0.6)]
    before, after = (coco_average_precision(found, truths, 4).mean(axis=1) for found in both)
    matches = [match(found, truths, 4) for found in both]
    yardstick = Yardstick.of(matches[0], NAMES)
    found = yardstick.loss(matches[1])
    assert yardstick.map50_95 == pytest.approx(np.nanmean(before), abs=1e-6)
    assert found.map50_95 == pytest.approx(np.nanmean(after), abs=1e-6)
    assert found.relative.value == pytest.approx(1 - np.nanmean(after) / np.nanmean(before), abs=1e-6)
    assert found.relative.low < found.relative.value < found.relative.high
    assert [one.loss for one in found.classes] == pytest.approx(list(before - after), abs=1e-6)


def test_a_file_loses_nothing_against_itself() -> None:
    """The paired interval of equal detections is 0 to 0."""
    matches = scenes.matches(30)
    relative = Yardstick.of(matches, NAMES).loss(matches).relative
    assert (relative.low, relative.value, relative.high) == (0, 0, 0)


def test_the_table_marks_the_file_and_says_why() -> None:
    """Every recipe has its row, the chosen one its star, and the caption tells what it loses elsewhere."""
    rows = (row("percentile 99.9", 0, 0.3, 0.05), row("min-max", 0, 0.1, 0.01))
    report = QuantizeReport(
        artifact_id="min-max", reference_id="fp32", reached=True, reason="min-max loses 1.00 %.", limits=LIMITS,
        choosing="val", choosing_digest="", frames=100, calibration_frames=200, runtime="openvino",
        reference_map50_95=0.5, rows=rows, scored=loss(0.013), scored_frames=90,
        reference_p50_ms={"openvino": 12.345},
    )  # fmt: skip
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(quantize_table(report))
    text = console.export_text()
    assert "min-max *" in text
    assert "12.35" in text or "12.34" in text
    assert "On 90 frames that had no part in the choice it loses 1.30 %" in " ".join(text.split())
    assert QuantizeReport.model_validate_json(report.model_dump_json()) == report
    assert report.chosen.recipe == "min-max"
