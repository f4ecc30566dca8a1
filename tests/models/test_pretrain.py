"""The base checkpoint: scenes that are drawn the same again, and a file that says nothing of the machine it is from."""

from __future__ import annotations

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgeloop.card import load_card
from edgeloop.files import sha256
from edgeloop.formats import read
from edgeloop.sample.defects import NAMES
from edgeloop.sample.primitives import SHAPES, draw_scene
from models.checkpoint import Checkpoint
from models.pretrain import CARD, WEIGHTS, draw_scenes, pretrain

FOREIGN = re.compile(rb"/(?:work|home|root|tmp|Users|var|mnt|opt)/[\w.-]+")


def contents(path: Path) -> bytes:
    """Every member of a checkpoint; PyTorch writes an uncompressed zip around a pickle and the tensors."""
    with zipfile.ZipFile(path) as archive:
        return b"".join(archive.read(name) for name in archive.namelist() if not re.search(r"/data/\d+$", name))


def test_scenes_are_a_clean_set_and_the_same_again(tmp_path: Path) -> None:
    """A seed draws the same scenes; asking for more adds scenes and changes none of the earlier ones."""
    draw_scenes(tmp_path / "few", 20, 5, 96)
    draw_scenes(tmp_path / "more", 24, 5, 96)
    report = read(tmp_path / "few")
    assert report.names == SHAPES
    assert not report.findings
    few = {path.name: sha256(path) for path in (tmp_path / "few").rglob("*.jpg")}
    more = {path.name: sha256(path) for path in (tmp_path / "more").rglob("*.jpg")}
    assert few.items() <= more.items()
    assert len(set(more.values())) == 24


def test_scenes_teach_none_of_the_lines_classes_and_no_drift() -> None:
    """Shapes have names of their own, and pictures keep the light of a line in order: the drift stays news."""
    assert not set(SHAPES) & set(NAMES)
    light = [float(draw_scene(np.random.default_rng([0, index]), 96)[0].mean()) for index in range(60)]
    assert min(light) > 70
    assert 105 < np.mean(light) < 165


def test_shipped_checkpoint_is_small_and_says_nothing_of_a_machine() -> None:
    """At most 4 MB, and no absolute path in the pickle."""
    assert WEIGHTS.stat().st_size <= 4_000_000
    assert not FOREIGN.findall(contents(WEIGHTS))


def test_the_search_for_paths_would_find_one(tmp_path: Path) -> None:
    """The check above is no empty promise: a path in a checkpoint's pickle is found."""
    path = tmp_path / "leaky.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("leaky/data.pkl", b"\x80\x02X\x10\x00\x00\x00/home/ann/run/args\x94.")
    assert FOREIGN.findall(contents(path)) == [b"/home/ann"]


def test_the_samples_card_starts_from_it(root: Path) -> None:
    """The demo's card names this very file and an architecture that exists, at the size it was trained at."""
    card = load_card(root / "models/cards/sample.yaml")
    assert card.start == WEIGHTS.resolve()
    assert Path(card.architecture).is_file()
    assert card.imgsz == CARD.imgsz


@pytest.mark.integration
def test_pretrain_writes_a_checkpoint(tmp_path: Path) -> None:
    """A small run ends with a checkpoint in place that fits the architecture and holds no path."""
    out = tmp_path / "weights" / "base.pt"
    pretrain(out=out, scenes=40, epochs=1, work=tmp_path / "work", seed=1)
    record = Checkpoint.load(tmp_path / "work" / "run" / "checkpoint.json")
    assert record.names == SHAPES
    assert sha256(out) == record.sha256
    assert not FOREIGN.findall(contents(out))
