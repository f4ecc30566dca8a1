"""Stage freeze: which frames a round is judged by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgeloop.card import Card, DeviceProfile
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, describe, merge
from edgeloop.errors import BadInput
from edgeloop.formats import read
from edgeloop.frames import Split
from tasks.freeze import freeze_terms
from tests.training_sets import write_set

CARD, PROFILE = Card(name="toy", architecture="yolov8n.yaml"), DeviceProfile(name="here")


def version_of(tmp_path: Path, *sides: Split) -> DatasetVersion:
    report = read(write_set(tmp_path / "source", train=len(sides), val=0).parent)
    merge(tmp_path / "data", [replace(f, split=s) for f, s in zip(report.frames, sides, strict=True)], report.names)
    return describe(tmp_path / "data", "0" * 32)


def judged_by(version: DatasetVersion, root: Path) -> list[tuple[str, int]]:
    terms = freeze_terms.fn(version, CARD, PROFILE, Config(root=root))
    return [(audit.name, audit.frames) for audit in terms.audits]


def test_the_audit_side_judges(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where frames were drawn from production they alone judge, and nothing is warned of."""
    version = version_of(tmp_path, "audit", "audit", "test", "train")
    assert judged_by(version, tmp_path) == [("audit", 2)]
    assert "warning" not in capsys.readouterr().err


def test_a_test_side_judges_where_there_is_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set that came with a test side can be judged by it, and it is said what that is worth."""
    assert judged_by(version_of(tmp_path, "test", "train", "train"), tmp_path) == [("test", 1)]
    assert "nobody drew from production" in " ".join(capsys.readouterr().err.split())


def test_nothing_to_judge_by(tmp_path: Path) -> None:
    """Training frames alone judge nothing."""
    with pytest.raises(BadInput, match="nothing to judge by"):
        judged_by(version_of(tmp_path, "train", "val"), tmp_path)
