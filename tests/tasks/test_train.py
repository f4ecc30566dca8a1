"""Stages train, export and quantize: where their files go, what those follow from, and what stays out of them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.artifact import load_artifact
from edgeloop.card import Card, PruneCard, QatCard, QuantizeCard
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, describe
from edgeloop.errors import BadInput
from edgeloop.qdq import check_qdq, load_graph
from edgeloop.quantization import QuantizeReport
from models.checkpoint import Checkpoint
from models.precision_search import report_path
from tasks.export import export
from tasks.halve import halve
from tasks.quantize import quantize
from tasks.train import train
from tests.training_sets import SIDE, toy_card, write_set

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def version(tmp_path_factory: pytest.TempPathFactory) -> DatasetVersion:
    root = tmp_path_factory.mktemp("version")
    write_set(root, train=10, val=4)
    return describe(root, "a" * 32)


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    toy = toy_card(tmp_path_factory.mktemp("card"))
    return toy.model_copy(update={"epochs": 2, "challenger_epochs": 1, "quantize": QuantizeCard(frames=8)})


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    return Config(root=tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def champion(version: DatasetVersion, card: Card, config: Config) -> Checkpoint:
    return train.fn(version, card, config)


def test_checkpoint_lies_in_the_workspace(champion: Checkpoint, config: Config, version: DatasetVersion) -> None:
    """The checkpoint is below `artifacts`, knows its version, and was trained for the card's epochs."""
    assert champion.path.is_relative_to(config.workspace.artifacts / "checkpoints")
    assert (champion.dataset_md5, champion.epochs) == (version.md5, 2)


def test_challenger_continues_in_a_folder_of_its_own(
    champion: Checkpoint, version: DatasetVersion, card: Card, config: Config
) -> None:
    """With a start the card's challenger epochs count, and the champion's folder is not touched."""
    challenger = train.fn(version, card, config, champion.path)
    assert (challenger.epochs, challenger.start_sha256) == (1, champion.sha256)
    assert challenger.path != champion.path
    assert champion.path.is_file()
    assert train.fn(version, card, config, champion.path, 2).epochs == 2


def test_export_and_quantize_name_what_they_follow_from(
    champion: Checkpoint, version: DatasetVersion, card: Card, config: Config
) -> None:
    """Both artifacts carry checkpoint, card and version, and another calibration gets another file."""
    fp32 = export.fn(champion, card, config)
    int8 = quantize.fn(fp32, champion, version, card, config)
    for artifact in (fp32, int8):
        assert load_artifact(artifact.path) == artifact
        assert artifact.path.parent == config.workspace.artifacts
        assert artifact.checkpoint_sha256 == champion.sha256
        assert (artifact.card, artifact.dataset_md5) == ("toy", version.md5)
    assert check_qdq(int8.path) == ()
    other = card.model_copy(update={"quantize": QuantizeCard(frames=8, calibration="minmax")})
    assert quantize.fn(fp32, champion, version, other, config).path != int8.path


def test_a_card_may_ask_for_the_search(
    champion: Checkpoint, version: DatasetVersion, card: Card, config: Config
) -> None:
    """The recipe is then chosen on the validation side, and the report of the search lies beside the file."""
    searching = QuantizeCard(search=True, calibration="auto", frames=8, limit=1.0, class_limit=1.0)
    fp32 = export.fn(champion, card, config)
    int8 = quantize.fn(fp32, champion, version, card.model_copy(update={"quantize": searching}), config)
    report = QuantizeReport.load(report_path(int8.path))
    assert (report.artifact_id, report.reference_id) == (int8.id, fp32.id)
    assert report.frames == version.frames["val"]
    assert report.reached
    assert check_qdq(int8.path) == ()


def test_a_card_may_ask_for_training_with_int8(
    champion: Checkpoint, version: DatasetVersion, card: Card, config: Config
) -> None:
    """It goes on from the search's own file: the same graph with other weights, and its row in the report.

    The file of the search is left where it was.
    """
    qat = QatCard(when="always", epochs=1)
    searching = QuantizeCard(search=True, calibration="minmax", frames=8, limit=1.0, class_limit=1.0)
    fp32 = export.fn(champion, card, config)
    plain = quantize.fn(fp32, champion, version, card.model_copy(update={"quantize": searching}), config)
    asked = card.model_copy(update={"quantize": searching.model_copy(update={"qat": qat})})
    int8 = quantize.fn(fp32, champion, version, asked, config)
    report = QuantizeReport.load(report_path(int8.path))
    assert int8.path.name.endswith("-qat-int8.onnx")
    assert check_qdq(int8.path) == ()
    assert report.artifact_id == int8.id
    assert [row.recipe for row in report.rows] == ["min-max", "qat, 1 epochs"]
    nodes = [[(n.op_type, *n.input[:2], *n.output) for n in load_graph(file.path).nodes] for file in (plain, int8)]
    assert nodes[0] == nodes[1]
    assert int8.checkpoint_sha256 not in ("", champion.sha256)
    assert plain.path.is_file()


def test_a_card_may_prune(champion: Checkpoint, version: DatasetVersion, card: Card, config: Config) -> None:
    """The checkpoint has fewer channels and says so; a challenger that continues from it is not pruned again."""
    pruning = card.model_copy(update={"prune": PruneCard(ratio=0.5, round_to=4, epochs=1)})
    pruned = train.fn(version, pruning, config)
    assert (pruned.pruned, pruned.epochs) == (0.5, 1)
    assert pruned.start_sha256 != ""
    challenger = train.fn(version, pruning, config, pruned.path)
    assert (challenger.pruned, challenger.start_sha256) == (0.5, pruned.sha256)


def test_fp16_lies_beside_fp32(champion: Checkpoint, version: DatasetVersion, card: Card, config: Config) -> None:
    """It is named as the file that it was made from, and knows where it comes from."""
    fp32 = export.fn(champion, card, config)
    fp16 = halve.fn(fp32, version, card, config)
    assert fp16.path.name == fp32.path.name.replace("-fp32", "-fp16")
    assert load_artifact(fp16.path) == fp16
    assert (fp16.precision, fp16.checkpoint_sha256) == ("fp16", champion.sha256)


def test_only_training_frames_are_calibrated_on(
    champion: Checkpoint, card: Card, config: Config, tmp_path: Path
) -> None:
    """With other pictures on the validation side the result is the same; with others on the training side it is not."""
    write_set(tmp_path, train=10, val=4)
    whole = describe(tmp_path, "b" * 32)
    fp32 = export.fn(champion, card, config)
    wanted = quantize.fn(fp32, champion, whole, card, config).path.read_bytes()
    random = np.random.default_rng(0)
    for side, changes in (("val", False), ("train", True)):
        for image in (tmp_path / "images" / side).iterdir():
            cv2.imwrite(str(image), random.integers(200, 255, (SIDE, SIDE, 3), dtype=np.uint8))
        assert (quantize.fn(fp32, champion, whole, card, config).path.read_bytes() != wanted) == changes


def test_missing_start_is_bad_input(version: DatasetVersion, card: Card, config: Config, tmp_path: Path) -> None:
    """A start that does not exist is refused by its name."""
    with pytest.raises(BadInput, match=r"none\.pt"):
        train.fn(version, card, config, tmp_path / "none.pt")


def test_an_audit_frame_is_never_learned_from(
    version: DatasetVersion, card: Card, champion: Checkpoint, config: Config, tmp_path: Path
) -> None:
    """A training side that shares a frame with a configured audit set is neither trained on nor calibrated on."""
    audit = tmp_path / "audit/images"
    audit.mkdir(parents=True)
    (audit / "a.jpg").write_bytes(next((version.root / "images/train").iterdir()).read_bytes())
    judged = config.model_copy(update={"audits": (tmp_path / "audit",)})
    other = card.model_copy(update={"seed": 7})
    with pytest.raises(BadInput, match=r"held-out frame .* trained on"):
        train.fn(version, other, judged)
    fp32 = export.fn(champion, card, config)
    with pytest.raises(BadInput, match=r"held-out frame .* calibrated on"):
        quantize.fn(fp32, champion, version, card, judged)
