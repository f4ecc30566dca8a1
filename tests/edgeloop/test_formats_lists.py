"""YOLO sets whose data.yaml names lists of images: every way to write a path, and none that leads out of the set."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeloop.dataset import load_labels
from edgeloop.errors import BadInput
from edgeloop.formats import detect, image_list, read
from tests.labelled_sets import picture, yolo_set

BOX = "0 0.5 0.5 0.5 0.5\n"


def listed_set(folder: Path, **lists: list[str]) -> Path:
    """Images a to d in images/lot7 with labels; a list a side, in lists/, named by data.yaml."""
    yolo_set(folder, {"a": BOX, "b": BOX, "c": "", "d": BOX}, side="lot7")
    (folder / "lists").mkdir()
    for side, lines in lists.items():
        (folder / "lists" / f"{side}.txt").write_text("".join(f"{line}\n" for line in lines))
    named = "".join(f"{side}: lists/{side}.txt\n" for side in lists)
    (folder / "data.yaml").write_text(f"{named}names: [scratch, dent]\n")
    return folder


def sides(folder: Path) -> dict[str, str | None]:
    return {frame.frame.image.stem: frame.split for frame in read(folder).frames}


@pytest.mark.parametrize(
    "line",
    [
        "images/lot7/{}.jpg",
        "./../images/lot7/{}.jpg",
        "../images/lot7/{}.jpg",
        "{folder}/images/lot7/{}.jpg",
        "images\\lot7\\{}.jpg",
        "\ufeff  images/lot7/{}.jpg  ",
    ],
)
def test_every_way_to_write_a_path(tmp_path: Path, line: str) -> None:
    """From the set, from the list, absolute inside the set, as Windows writes it, with blanks and a byte-order mark."""
    a, b, c = (line.replace("{folder}", str(tmp_path)).format(name) for name in "abc")
    folder = listed_set(tmp_path, train=[a, "", c.lstrip("\ufeff")], val=[b])
    assert detect(folder) == "yolo"
    assert sides(folder) == {"a": "train", "b": "val", "c": "train"}
    assert [len(frame.labels) for frame in sorted(load_labels(folder), key=lambda one: one.frame.image)] == [1, 1, 0]


def test_paths_start_at_the_path_of_data_yaml(tmp_path: Path) -> None:
    """As in Ultralytics: `path:` comes first, `./` in a list is the list's own folder."""
    folder = listed_set(tmp_path, train=["lot7/a.jpg"], val=["./b.jpg"])
    (folder / "lists/val.txt").rename(folder / "images/lot7/val.txt")
    (folder / "data.yaml").write_text("path: images\ntrain: ../lists/train.txt\nval: lot7/val.txt\nnames: [x, y]\n")
    assert sides(folder) == {"a": "train", "b": "val"}


def test_labels_lie_beside_images_without_a_folder_of_that_name(tmp_path: Path) -> None:
    """Darknet's way: obj_train_data/a.jpg and obj_train_data/a.txt."""
    picture(tmp_path / "obj_train_data/a.jpg")
    (tmp_path / "obj_train_data/a.txt").write_text(BOX)
    (tmp_path / "train.txt").write_text("obj_train_data/a.jpg\n")
    (tmp_path / "data.yaml").write_text("train: train.txt\nnames: [scratch]\n")
    assert [len(frame.labels) for frame in read(tmp_path).frames] == [1]


def test_an_image_in_two_lists_is_on_the_stricter_side(tmp_path: Path) -> None:
    """One list for two sides has not been split; a list beside a folder counts too; what no list names is told."""
    a, b, c = (f"images/lot7/{name}.jpg" for name in "abc")
    folder = listed_set(tmp_path / "own", train=[a, b, a], val=[b, c])
    report = read(folder)
    assert sides(folder) == {"a": "train", "b": "val", "c": "val"}
    (finding,) = report.rejected
    assert (finding.kind, finding.path.name) == ("unlisted-images", "d.jpg")
    assert "1 beside listed images, in no list" in finding.reason
    (folder / "data.yaml").write_text("train: lists/val.txt\nval: lists/val.txt\nnames: [scratch, dent]\n")
    assert sides(folder) == {"b": None, "c": None}
    (folder / "data.yaml").write_text("train: lists/train.txt\nval: images/lot7\nnames: [scratch, dent]\n")
    assert sides(folder)["d"] == "val"


@pytest.mark.parametrize("line", ["../private/images/s.jpg", "{private}/images/s.jpg", "./../../private/images/s.jpg"])
def test_a_list_cannot_reach_out(tmp_path: Path, line: str) -> None:
    """An image that is not in the set refuses it, mended or not; so does a list that is not in it."""
    picture(tmp_path / "private/images/s.jpg", seed=5)
    (tmp_path / "private/labels").mkdir()
    (tmp_path / "private/labels/s.txt").write_text(BOX)
    path = line.replace("{private}", str(tmp_path / "private"))
    folder = listed_set(tmp_path / "set", train=["images/lot7/a.jpg", path])
    for fix in (False, True):
        with pytest.raises(BadInput, match=r"leaves the folder: lists/train\.txt \(line 2: .* is not in the set"):
            read(folder, fix=fix)
    (tmp_path / "private/all.txt").write_text(f"{folder}/images/lot7/a.jpg\n")
    (folder / "data.yaml").write_text("train: ../private/all.txt\nnames: [scratch, dent]\n")
    with pytest.raises(BadInput, match=r"leaves the folder: data\.yaml \(it names .*private/all\.txt"):
        read(folder)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image, a label, a list; a list of the test side may be absent. A list beyond the limit is not read."""
    for nothing in ("x" * 5000, "a\0b.jpg"):
        folder = listed_set(tmp_path / nothing[:1], train=["images/lot7/b.jpg", nothing])
        with pytest.raises(BadInput, match=r"without its image: lists/train\.txt \(line 2: .{3,80} is not there\)"):
            read(folder)
        (folder / "data.yaml").write_text(f"train: '{'y' * 5000}.txt'\nnames: [scratch, dent]\n")
        with pytest.raises(BadInput, match=r"expected `train: y{80}` to be a list"):
            read(folder)
    folder = listed_set(tmp_path / "set", train=["images/lot7/a.jpg", "images/lot7/gone.jpg"])
    with pytest.raises(BadInput, match=r"without its image: lists/train\.txt \(line 2: .*gone\.jpg is not there\)"):
        read(folder)
    (folder / "lists/train.txt").write_text("images/lot7/a.jpg\nimages/lot7/b.jpg\n")
    (folder / "labels/lot7/b.txt").unlink()
    with pytest.raises(BadInput, match=r"image without a label file .*: images/lot7/b\.jpg"):
        read(folder)
    (folder / "lists/train.txt").write_text("images/lot7/a.jpg\n")
    names = "names: [scratch, dent]\n"
    (folder / "data.yaml").write_text(f"train: lists/train.txt\ntest: lists/test.txt\n{names}")
    assert list(sides(folder)) == ["a"]
    (folder / "data.yaml").write_text(f"train: lists/train.txt\nval: lists/val.txt\n{names}")
    with pytest.raises(BadInput, match=r"expected `val: lists/val\.txt` to be a list of image paths, came nothing"):
        read(folder)
    (folder / "data.yaml").write_text(f"train: lists/train.txt\n{names}")
    monkeypatch.setattr(image_list, "MAXIMUM_BYTES", 5)
    with pytest.raises(BadInput, match=r"train\.txt has 0 MB; expected at most 0"):
        read(folder)
