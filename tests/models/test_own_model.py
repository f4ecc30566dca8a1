"""What `edgeloop quantize` asks of a user's model before it searches for a recipe."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import QuantizeCard
from edgeloop.errors import BadInput
from models.own_model import quantize_own
from tests.detectors import save_artifact
from tests.own_labels import write_own_labels

CARD = QuantizeCard(frames=8, search=True)


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return save_artifact(tmp_path / "made")


def relabel(data: Path, text: str) -> Path:
    for path in (data / "labels").iterdir():
        path.write_text(text)
    return data


def test_a_detector_that_finds_nothing_is_refused(
    artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every recipe would lose nothing of it. The class without a box is named; nothing is left behind."""
    calibration = write_own_labels(tmp_path / "calibration", artifact, 8, 1)
    evaluation = relabel(write_own_labels(tmp_path / "evaluation", artifact, 12, 2), "0 0.99 0.99 0.01 0.01\n")
    before = sorted(tmp_path.iterdir())
    with pytest.raises(BadInput, match=r"has an mAP50-95 of 0 on the \d+ frames of evaluation"):
        quantize_own(artifact.path, calibration, evaluation, CARD, tmp_path / "int8.onnx")
    assert "No labelled box on the evaluation side of scratch" in capsys.readouterr().err
    assert sorted(tmp_path.iterdir()) == before
