"""Cards: how long a training is, and what a card that cannot be used says."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.card import Card, load_card
from edgeloop.errors import BadInput


@pytest.mark.parametrize(
    ("frames", "challenger", "expected"),
    [(340, False, 8), (137, False, 20), (2, False, 1350), (5000, False, 8), (5000, True, 4), (137, True, 20)],
)
def test_small_sets_are_trained_for_more_epochs(frames: int, challenger: bool, expected: int) -> None:
    """The card's epochs, unless they would show fewer images than its minimum."""
    card = Card(name="x", architecture="yolov8n.yaml", epochs=8, challenger_epochs=4, minimum_images=2700)
    assert card.epochs_for(frames, challenger=challenger) == expected


def test_paths_beside_the_card_become_absolute(tmp_path: Path) -> None:
    """A card works from any working directory; a name that is no file beside it is Ultralytics' own."""
    (tmp_path / "mine.yaml").write_text("nc: 1")
    (tmp_path / "start.pt").write_bytes(b"")
    (tmp_path / "card.yaml").write_text("{name: x, architecture: mine.yaml, start: start.pt}")
    (tmp_path / "named.yaml").write_text("{name: x, architecture: yolov8n.yaml}")
    card = load_card(tmp_path / "card.yaml")
    assert (card.architecture, card.start) == (str(tmp_path / "mine.yaml"), tmp_path / "start.pt")
    assert load_card(tmp_path / "named.yaml").architecture == "yolov8n.yaml"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{name: x, architecture: y, start: gone.pt}", "gone.pt, does not exist"),
        ("{name: x, architecture: y, epoch: 3}", "epoch"),
        ("{name: x, architecture: y, imgsz: 100}", "imgsz"),
        ("[", "is not YAML"),
    ],
)
def test_card_that_does_not_fit_says_why(tmp_path: Path, content: str, message: str) -> None:
    """One sentence that names the key or the file."""
    (tmp_path / "card.yaml").write_text(content)
    with pytest.raises(BadInput, match=message):
        load_card(tmp_path / "card.yaml")


def test_a_card_may_have_the_name_of_its_architecture(tmp_path: Path) -> None:
    """A card is no architecture: the name stays one of Ultralytics'; a model YAML beside the card is one."""
    card = tmp_path / "yolo26n.yaml"
    card.write_text("name: mine\narchitecture: yolo26n.yaml\n")
    assert load_card(card).architecture == "yolo26n.yaml"
    (tmp_path / "own.yaml").write_text("nc: 2\nbackbone:\n  - [-1, 1, Conv, [64, 3, 2]]\n")
    card.write_text("name: mine\narchitecture: own.yaml\n")
    assert load_card(card).architecture == str((tmp_path / "own.yaml").resolve())
