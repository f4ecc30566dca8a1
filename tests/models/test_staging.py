"""What the trainer is given: every image with its labels, without touching the data set, whatever its folders are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.errors import BadInput
from edgeloop.formats.data_yaml import label_of
from edgeloop.held_out import HeldOut
from models.staging import Repetition, stage_set
from tests.training_sets import write_set


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_counts_and_names(tmp_path: Path) -> None:
    """The copy has each side's images, the names by class id, and one label file a labelled image."""
    staged = stage_set(write_set(tmp_path / "set", train=5, val=3), tmp_path / "copy")
    assert (staged.train, staged.val, staged.boxes) == (5, 3, 5)
    assert staged.names == ("dark", "light")
    assert len(list((tmp_path / "copy/images/train").iterdir())) == 5
    assert len(list((tmp_path / "copy/labels/val").iterdir())) == 3


def test_linked_images_keep_their_labels(tmp_path: Path) -> None:
    """Where images/ is a link to a folder elsewhere, the labels beside the link are found: the trap of Ultralytics."""
    data_yaml = write_set(tmp_path / "set", train=4, val=2)
    elsewhere = tmp_path / "elsewhere"
    (tmp_path / "set/images").rename(elsewhere)
    (tmp_path / "set/images").symlink_to(elsewhere)
    assert stage_set(data_yaml, tmp_path / "copy").boxes == 4


def test_same_stem_twice_keeps_both(tmp_path: Path) -> None:
    """a.jpg and a.png, or two folders with the same file name, are two images in the copy with their own labels."""
    data_yaml = write_set(tmp_path / "set", train=1, val=1)
    image = next((tmp_path / "set/images/train").iterdir())
    cv2.imwrite(str(image.with_suffix(".png")), np.zeros((8, 8, 3), np.uint8))
    staged = stage_set(data_yaml, tmp_path / "copy")
    assert staged.train == 2
    assert len({path.stem for path in (tmp_path / "copy/images/train").iterdir()}) == 2


def test_data_set_is_not_written_to(tmp_path: Path) -> None:
    """A JPEG without its end marker is copied, not linked, because Ultralytics repairs such files in place."""
    data_yaml = write_set(tmp_path / "set", train=2, val=1)
    image = sorted((tmp_path / "set/images/train").iterdir())[0]
    image.write_bytes(image.read_bytes() + b"trailing bytes")
    before = snapshot(tmp_path / "set")
    stage_set(data_yaml, tmp_path / "copy")
    links = [path.is_symlink() for path in sorted((tmp_path / "copy/images/train").iterdir())]
    assert links == [False, True]
    assert snapshot(tmp_path / "set") == before


def test_data_yaml_of_the_copy_runs_no_code(tmp_path: Path) -> None:
    """`download:` of a data.yaml, which Ultralytics would execute, does not reach the copy."""
    data_yaml = write_set(tmp_path / "set", train=1, val=1)
    data_yaml.write_text(data_yaml.read_text() + "download: raise SystemExit\n")
    assert "download" not in stage_set(data_yaml, tmp_path / "copy").yaml.read_text()


def test_no_labels_is_bad_input(tmp_path: Path) -> None:
    """Images with nothing but empty label files are refused instead of being trained on to an mAP of 0."""
    data_yaml = write_set(tmp_path / "set", train=3, val=1)
    for label in (tmp_path / "set/labels/train").iterdir():
        label.write_text("\n")
    with pytest.raises(BadInput, match="no labels found for the 3 images"):
        stage_set(data_yaml, tmp_path / "copy")


def test_rare_classes_have_more_links(tmp_path: Path) -> None:
    """A frame of a rare class is staged as often as its repeat factor says, each time with its labels; val is not."""
    data_yaml = write_set(tmp_path / "set", train=16, val=4)
    labels = sorted((tmp_path / "set/labels/train").iterdir())
    for label in labels[1:]:
        label.write_text("1" + label.read_text()[1:])
    labels[0].write_text("0" + labels[0].read_text()[1:])
    staged = stage_set(data_yaml, tmp_path / "copy", repetition=Repetition(threshold=1.0, seed=0))
    linked = [path.resolve().stem for path in (tmp_path / "copy/images/train").iterdir()]
    assert linked.count(labels[0].stem) == 4  # sqrt(1 / (1 / 16))
    assert (staged.train, staged.val, staged.boxes) == (len(linked), 4, 16)
    texts = [path.read_text() for path in (tmp_path / "copy/labels/train").iterdir()]
    assert texts.count(labels[0].read_text()) == 4
    assert len(texts) == staged.train


def test_audit_frames_are_not_staged(tmp_path: Path) -> None:
    """A training side with a frame that judges is refused, and nothing of it is linked."""
    data_yaml = write_set(tmp_path / "set", train=3, val=1)
    audit = tmp_path / "audit/images"
    audit.mkdir(parents=True)
    (audit / "x.jpg").write_bytes((tmp_path / "set/images/train/train1.jpg").read_bytes())
    with pytest.raises(BadInput, match=r"train1\.jpg is the held-out frame .* trained on"):
        stage_set(data_yaml, tmp_path / "copy", HeldOut.of(None, [tmp_path / "audit"]))
    assert not (tmp_path / "copy").exists()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: images/train\nval: images/none\nnames: [a]\n", "not a folder"),
        ("train: images/train\nnames: [a]\n", "not a folder"),
        ("train: images/train\nval: images/val\nnames: {1: a}\n", "names"),
        ("train: images/train\nval: images/val\n", "names"),
        ("- a\n", "holds list; expected"),
        ("a: [\n", "not YAML"),
    ],
)
def test_other_data_yaml_is_bad_input(tmp_path: Path, text: str, message: str) -> None:
    """A data.yaml that does not describe two sides with names is refused with what is missing."""
    data_yaml = write_set(tmp_path / "set", train=1, val=1)
    data_yaml.write_text(text)
    with pytest.raises(BadInput, match=message):
        stage_set(data_yaml, tmp_path / "copy")


def test_missing_data_yaml_is_bad_input(tmp_path: Path) -> None:
    """A missing file is refused with its name."""
    with pytest.raises(BadInput, match=r"none\.yaml"):
        stage_set(tmp_path / "none.yaml", tmp_path / "copy")


def test_only_the_last_images_folder_counts() -> None:
    """A data set below a folder that happens to be called images keeps its place."""
    folder = Path("/images/set")
    assert label_of(folder, folder / "images/train/a.b.jpg") == folder / "labels/train/a.b.txt"
    assert label_of(folder, folder / "train/a.jpg") == folder / "train/a.txt"
