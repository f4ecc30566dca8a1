"""When the file that was trained with INT8 is taken, and what the report then says."""

from __future__ import annotations

import re

import pytest

from edgeloop.card import QatCard
from edgeloop.measures import Interval
from edgeloop.quantization import Limits, Loss, QuantizeReport, QuantizeRow
from models.qat import judge_trained


def row(identity: str, lost: float) -> QuantizeRow:
    """A file that loses so much, against a limit of 0.01."""
    loss = Loss(
        map50_95=0.5, relative=Interval(value=lost, low=lost, high=lost, confidence=0.95), points=50 * lost, classes=()
    )
    return QuantizeRow(
        recipe="entropy + 1",
        artifact_id=identity,
        floated=("/model.0/conv/Conv",),
        float_convolutions=4,
        convolutions=9,
        moved=0.1,
        loss=loss,
        excess=lost / 0.01,
    )


class Judged:
    """Trials that found what they were told to find."""

    def __init__(self, lost: float) -> None:
        self.lost = lost

    def row(self, content: bytes, recipe: str, floated: tuple[str, ...]) -> QuantizeRow:
        assert content == b"trained"
        return row("trained", self.lost).model_copy(update={"recipe": recipe, "floated": floated})


@pytest.mark.parametrize(
    ("before", "after", "taken", "reached", "says"),
    [
        (0.05, 0.005, True, True, "qat, 4 epochs with 1 more in float loses 0.50 % .* 4 of 9 convolutions are float"),
        (0.05, 0.02, True, False, "not kept, after training with INT8 neither; the nearest: qat, 4 epochs"),
        (0.05, 0.06, False, False, r"Not kept\. Training with INT8 did not help: qat, 4 epochs .* loses 6.00 %"),
        (0.001, 0.005, True, True, "qat, 4 epochs"),  # asked for anyhow: it keeps the limits, so it is what ships
        (0.001, 0.02, False, True, "did not help"),
    ],
)
def test_trained_is_taken_when_it_keeps_the_limits_or_comes_nearer(
    before: float, after: float, taken: bool, reached: bool, says: str
) -> None:
    """Otherwise the file of the search stays; the report has both rows and says which and why."""
    report = QuantizeReport(
        artifact_id="searched",
        reference_id="fp32",
        reached=before <= 0.01,
        reason="Not kept.",
        limits=Limits(loss=0.01, class_loss=0.05, minimum_truths=20),
        choosing="val",
        choosing_digest="0",
        frames=10,
        calibration_frames=8,
        runtime="openvino",
        reference_map50_95=0.5,
        rows=(row("searched", before),),
    )
    found, judged = judge_trained(Judged(after), report, b"trained", QatCard())  # type: ignore[arg-type]
    assert [one.artifact_id for one in judged.rows] == ["searched", "trained"]
    assert found.artifact_id == "trained"
    assert (judged.chosen.artifact_id == "trained", judged.reached) == (taken, reached)
    assert re.search(says, judged.reason)
