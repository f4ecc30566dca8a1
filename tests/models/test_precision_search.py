"""The search keeps its limits where it can, says so where it cannot, and goes on where it was stopped."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.artifact import Artifact, load_artifact
from edgeloop.audit import AuditFrames
from edgeloop.card import QuantizeCard
from edgeloop.dataset import load_labels
from edgeloop.errors import BadInput
from edgeloop.qdq import check_qdq
from edgeloop.quantization import QuantizeReport
from models import judge as judging
from models.judge import Judge
from models.precision_search import report_path, search
from tests.detectors import save_artifact
from tests.own_labels import write_own_labels

CARD = QuantizeCard(calibration="auto", search=True, frames=12, limit=1.0, class_limit=1.0, maximum_float=1.0)
UNREACHABLE = CARD.model_copy(update={"limit": 0.0, "class_limit": 0.0, "calibration": "percentile", "percentile": 60})


@pytest.fixture(scope="module")
def fp32(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return save_artifact(tmp_path_factory.mktemp("fp32"))


@pytest.fixture(scope="module")
def sides(fp32: Artifact, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Path], AuditFrames]:
    """Calibration frames, and other frames labelled with what the float model sees."""
    calibration, choosing = (
        write_own_labels(tmp_path_factory.mktemp(name) / "set", fp32, 14, seed)
        for name, seed in (("calibration", 1), ("choosing", 2))
    )
    frames = AuditFrames("val", fp32.names, tuple(load_labels(choosing)))
    return sorted((calibration / "images").iterdir()), frames


def judge(fp32: Artifact, sides: tuple[list[Path], AuditFrames], kept: Path) -> Judge:
    return Judge(fp32, sides[1], tuple(sides[0][:4]), "onnxruntime", kept)


def find(
    fp32: Artifact, sides: tuple[list[Path], AuditFrames], card: QuantizeCard, folder: Path
) -> tuple[Artifact, QuantizeReport]:
    return search(judge(fp32, sides, folder / "kept"), sides[0], card, folder / "int8.onnx")


@pytest.mark.integration
def test_every_calibration_is_compared(fp32: Artifact, sides: tuple[list[Path], AuditFrames], tmp_path: Path) -> None:
    """With a limit that all keep, no layer is floated and the one that moves the detections least is the file."""
    artifact, report = find(fp32, sides, CARD, tmp_path)
    assert report.reached
    assert {row.recipe.split()[0] for row in report.rows} == {"percentile", "min-max", "entropy", "NNCF"}
    assert report.chosen.moved == min(row.moved for row in report.rows)
    assert (artifact.precision, artifact.id, report.reference_id) == ("int8", report.artifact_id, fp32.id)
    assert load_artifact(artifact.path) == artifact
    assert QuantizeReport.load(report_path(artifact.path)) == report
    assert check_qdq(artifact.path) == ()


def test_the_most_sensitive_layer_is_floated_first(
    fp32: Artifact, sides: tuple[list[Path], AuditFrames], tmp_path: Path
) -> None:
    """With a ruinous calibration and no loss allowed, layers are given back by what they move, all but the last."""
    _, report = find(fp32, sides, UNREACHABLE, tmp_path)
    assert [len(row.floated) for row in report.rows] == [0, 1]
    assert {one.layer for one in report.sensitivity} == {"stem", "body"}
    assert report.sensitivity[0].moved >= report.sensitivity[1].moved > 0
    assert report.rows[1].floated == (report.sensitivity[0].layer,)
    assert report.rows[1].moved < report.rows[0].moved


def test_a_limit_that_cannot_be_kept_is_told(
    fp32: Artifact, sides: tuple[list[Path], AuditFrames], tmp_path: Path
) -> None:
    """With no layer left to float, the nearest is written and the report names it and what stopped the search."""
    artifact, report = find(fp32, sides, UNREACHABLE.model_copy(update={"maximum_float": 0.6}), tmp_path)
    assert not report.reached
    assert "The limits were not kept (60 % of the layers may be float); the nearest: percentile 60" in report.reason
    assert artifact.path.is_file()


def test_a_stopped_search_goes_on(
    fp32: Artifact, sides: tuple[list[Path], AuditFrames], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after some files were judged, the next run judges the others alone and ends with the same bytes."""
    find(fp32, sides, UNREACHABLE, tmp_path / "whole")
    judged: list[str] = []

    def count_and_stop(artifact: Artifact, audit: AuditFrames, runtime: object) -> object:
        if len(judged) == 2:  # FP32 and the first recipe
            raise KeyboardInterrupt
        judged.append(artifact.id)
        return predict(artifact, audit, runtime)

    predict = judging.predict
    monkeypatch.setattr(judging, "predict", count_and_stop)
    with pytest.raises(KeyboardInterrupt):
        find(fp32, sides, UNREACHABLE, tmp_path / "stopped")
    assert not (tmp_path / "stopped/int8.onnx").exists()
    again: list[str] = []
    monkeypatch.setattr(judging, "predict", lambda *given: again.append(given[0].id) or predict(*given))
    find(fp32, sides, UNREACHABLE, tmp_path / "stopped")
    assert set(again).isdisjoint(judged)
    for name in ("int8.onnx", "int8.onnx.quantize.json"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_used_up_budget_ends_with_the_best_found(
    fp32: Artifact, sides: tuple[list[Path], AuditFrames], tmp_path: Path
) -> None:
    """With no time at all one recipe is tried, written, and the report says why there is no other."""
    _, report = find(fp32, sides, UNREACHABLE.model_copy(update={"budget_seconds": 1e-9}), tmp_path)
    assert len(report.rows) == 1
    assert "the time was used up" in report.reason


def test_frames_without_a_box_cannot_choose(
    fp32: Artifact, sides: tuple[list[Path], AuditFrames], tmp_path: Path
) -> None:
    """A choosing side without a label is refused with what to do."""
    empty = AuditFrames("val", fp32.names, ())
    with pytest.raises(BadInput, match="no labelled box"):
        find(fp32, (sides[0], empty), CARD, tmp_path)
