"""Stage freeze: which frames a round is judged by."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.audit import load
from edgeloop.card import Card, DeviceProfile, ProductionCard, ThresholdCard
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, describe, merge
from edgeloop.errors import BadInput
from edgeloop.formats import read
from edgeloop.frames import Split
from edgeloop.store import FrameStore, frame_key
from tasks.freeze import freeze_terms, freeze_validation
from tests.audits import write_audit, write_weights
from tests.logs import START, logged_frame, table_of, write_log
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


@pytest.mark.parametrize("part", [{"thresholds": {"classes": {"dnet": {}}}}, {"evaluation": {"critical": ["dnet"]}}])
def test_a_class_that_nobody_knows_is_refused_before_the_training(tmp_path: Path, part: dict[str, object]) -> None:
    version = version_of(tmp_path, "audit", "val", "train")
    card = Card.from_document({"name": "toy", "architecture": "yolov8n.yaml", **part}, "the card")
    with pytest.raises(BadInput, match="names the class 'dnet'"):
        freeze_terms.fn(version, card, PROFILE, Config(root=tmp_path))
    with pytest.raises(BadInput, match="names the class 'dnet'"):
        freeze_validation.fn(version, card, PROFILE, Config(root=tmp_path))


def test_a_test_side_judges_where_there_is_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A set that came with a test side can be judged by it, and it is said what that is worth."""
    assert judged_by(version_of(tmp_path, "test", "train", "train"), tmp_path) == [("test", 1)]
    assert "nobody drew from production" in " ".join(capsys.readouterr().err.split())


def test_production_frames_are_drawn_once_for_a_version(tmp_path: Path) -> None:
    """A card that asks for them has the same ones after a kill, whatever came since; another version has others."""
    version = version_of(tmp_path, "audit", "audit", "train")
    config, store = Config(root=tmp_path), FrameStore(str(tmp_path / "var" / "store"))
    asking = CARD.model_copy(update={"thresholds": ThresholdCard(production=ProductionCard(frames=100))})
    picture = cv2.imencode(".jpg", np.zeros((8, 8, 3), np.uint8))[1].tobytes()

    def log(first: int) -> None:
        ids = [f"{number:016x}" for number in range(first, first + 110)]
        rows = [logged_frame(one, START + timedelta(seconds=int(one, 16)), [], frame_key(one)) for one in ids]
        write_log(table_of([row | {"camera": f"cam{first}"} for row in rows]), tmp_path / "var" / "store" / "log")
        for one in ids:
            store.put(one, ".jpg", picture)

    assert freeze_terms.fn(version, CARD, PROFILE, config).production is None
    early = freeze_terms.fn(version, asking, PROFILE, config).production
    assert early is not None
    assert early.frames == ()
    log(0)
    terms = freeze_terms.fn(version, asking, PROFILE, config)
    assert terms.production is not None
    assert len(terms.production.frames) == 100
    log(200)
    assert freeze_terms.fn(version, asking, PROFILE, config) == terms
    later = version.model_copy(update={"md5": "1" * 32})
    assert freeze_terms.fn(later, asking, PROFILE, config).production != terms.production


def test_weights_belong_to_the_set_of_their_name(tmp_path: Path) -> None:
    """A set of the configuration and the data set's own audit side; a name that no set has is refused."""
    version = version_of(tmp_path, "audit", "audit", "train")
    chosen = write_audit(tmp_path / "chosen", 6)
    side = sorted((version.root / "images" / "audit").iterdir())
    write_weights(tmp_path / "chosen.csv", chosen, 5)
    (tmp_path / "audit.csv").write_text(f"frame,weight\n{side[0].name},1\n{side[1].name},3\n")
    tables = {"chosen": Path("chosen.csv"), "audit": Path("audit.csv")}
    config = Config(root=tmp_path, audits=(Path("chosen"),), audit_weights=tables)
    sets = [load(one) for one in freeze_terms.fn(version, CARD, PROFILE, config).audits]
    assert [(one.name, sum(one.weights)) for one in sets] == [("chosen", 14), ("audit", 4)]
    wrong = config.model_copy(update={"audit_weights": {"chosn": Path("chosen.csv")}})
    with pytest.raises(BadInput, match="'chosn'; expected the name of an audit set: audit, chosen, test"):
        freeze_terms.fn(version, CARD, PROFILE, wrong)


def test_nothing_to_judge_by(tmp_path: Path) -> None:
    """Training frames alone judge nothing."""
    with pytest.raises(BadInput, match="nothing to judge by"):
        judged_by(version_of(tmp_path, "train", "val"), tmp_path)
