"""Every kind of finding, made on purpose: how bad it is, what --fix does, and that the documentation says so."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.errors import BadInput
from edgeloop.formats import Finding, read
from edgeloop.formats.check import turn
from edgeloop.formats.findings import ReadReport, printable
from edgeloop.formats.headers import read_header
from edgeloop.formats.rules import RULES, Kind
from edgeloop.frames import Label
from tests.labelled_sets import (
    coco_set,
    encoded,
    picture,
    voc_object,
    voc_set,
    with_orientation,
    yolo_set,
)

GOOD = "0 0.5 0.5 0.5 0.5\n"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def mended(folder: Path) -> ReadReport:
    """The set after --fix; without, it is refused, and nobody writes into it."""
    before = contents(folder)
    with pytest.raises(BadInput, match="--fix would mend all of them"):
        read(folder)
    report = read(folder, fix=True)
    assert contents(folder) == before
    return report


# what --fix does


@pytest.mark.parametrize("layout", ["yolo", "voc", "coco"])
def test_boxes_partly_outside_are_cut(tmp_path: Path, layout: str) -> None:
    """A box whose centre is inside is cut at the border, in every format, and the reason gives both boxes."""
    if layout == "yolo":
        yolo_set(tmp_path, {"a": "0 0.78125 0.5 0.625 0.5\n"})
    elif layout == "voc":
        voc_set(tmp_path, voc_object("scratch", 30, 12, 70, 36))
    else:
        coco_set(tmp_path, {"bbox": [30, 12, 40, 24]})
    report = mended(tmp_path)
    assert report.frames[0].labels == (Label(0, (30.0, 12.0, 64.0, 36.0)),)
    (finding,) = report.mended
    assert (finding.severity, finding.kind, finding.fixed) == ("warning", "box-outside", True)
    assert "(30, 12, 70, 36) leaves the 64 × 48 image" in finding.reason
    assert finding.fix == "cut to (30, 12, 64, 36)"


def test_a_box_of_another_picture_is_not_cut(tmp_path: Path) -> None:
    """A box whose centre lies outside is no rounding error of this image: --fix does not take it in either."""
    yolo_set(tmp_path, {"a": "0 0.9 0.5 0.5 0.5\n", "b": "0 1.2 0.5 0.5 0.5\n"})
    with pytest.raises(BadInput, match=r"2 errors.*--fix would mend 1 of the 2"):
        read(tmp_path)
    with pytest.raises(BadInput, match=r"1 error: 1 × box outside the image: labels/train/b\.txt"):
        read(tmp_path, fix=True)


@pytest.mark.parametrize(("drawn", "scale"), [((640, 480), 0.1), ((32, 24), 2.0), ((427, 320), 0.15)])
def test_boxes_of_a_resized_image_are_scaled(tmp_path: Path, drawn: tuple[int, int], scale: float) -> None:
    """An annotation for the same picture in another size is scaled; sides may differ by the rounding of resizing."""
    corners = (4 / scale, 6 / scale, 24 / scale, 18 / scale)
    report = mended(voc_set(tmp_path, voc_object("dent", *corners), size=drawn))
    assert np.allclose(report.frames[0].labels[0].box, (4, 6, 24, 18), atol=0.1)
    assert report.mended[0].kind == "size-mismatch"


@pytest.mark.parametrize("drawn", [(640, 470), (480, 640), (64, 49)])
def test_boxes_of_another_shape_are_not_scaled(tmp_path: Path, drawn: tuple[int, int]) -> None:
    """A crop, or a turn that no EXIF explains, cannot be told from another picture: a person must look."""
    voc_set(tmp_path, voc_object("dent", 1, 2, 30, 40), size=drawn)
    for fix in (False, True):
        with pytest.raises(BadInput, match="annotation for another image size"):
            read(tmp_path, fix=fix)


def test_swapped_corners_are_ordered(tmp_path: Path) -> None:
    """Corners in the wrong order still say where the object is."""
    report = mended(voc_set(tmp_path, voc_object("dent", 30, 40, 10, 20)))
    assert report.frames[0].labels == (Label(0, (10.0, 20.0, 30.0, 40.0)),)
    assert [finding.kind for finding in report.mended] == ["swapped-corners"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_boxes_turn_with_their_image(orientation: int) -> None:
    """A box on the stored picture, turned, is where the bright patch is in the picture that OpenCV decodes."""
    stored = np.zeros((48, 80), np.uint8)
    stored[8:24, 16:48] = 255
    content = with_orientation(encoded(".jpg", stored), orientation)
    shown = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_GRAYSCALE)
    rows, columns = np.nonzero(shown > 128)
    seen = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
    assert turn((16.0, 8.0, 48.0, 24.0), orientation, (80, 48)) == seen


@pytest.mark.parametrize("layout", ["voc", "coco"])
def test_annotations_drawn_before_the_rotation_are_turned(tmp_path: Path, layout: str) -> None:
    """Where an annotation states the stored size of an image that EXIF turns, its boxes are turned as the image is."""
    if layout == "voc":
        image = voc_set(tmp_path, voc_object("scratch", 4, 6, 24, 18)) / "JPEGImages/a.jpg"
    else:
        image = coco_set(tmp_path, {"bbox": [4, 6, 20, 12]}) / "images/a.jpg"
    image.write_bytes(with_orientation(image.read_bytes(), 6))
    report = mended(tmp_path)
    (frame,) = report.frames
    assert (frame.frame.width, frame.frame.height) == (48, 64)
    assert frame.labels == (Label(0, (30.0, 4.0, 42.0, 24.0)),)
    assert report.mended[0].kind == "turned-annotation"
    assert "EXIF orientation (6)" in report.mended[0].reason
    assert [finding.kind for finding in report.notices if finding.kind == "exif-rotation"] == ["exif-rotation"]


def test_what_has_no_partner_is_left_out(tmp_path: Path) -> None:
    """Images without labels and labels without images are left out; an unlabelled image is no background."""
    yolo_set(tmp_path, {"a": GOOD, "b": GOOD, "c": GOOD, "d": GOOD})
    (tmp_path / "labels/train/b.txt").unlink()
    (tmp_path / "images/train/c.jpg").unlink()
    (tmp_path / "images/train/d.jpg").write_bytes(b"")
    report = mended(tmp_path)
    assert [frame.frame.image.name for frame in report.frames] == ["a.jpg"]
    assert {(finding.kind, finding.path.name, finding.fix) for finding in report.mended} == {
        ("image-without-label", "b.jpg", "image left out"),
        ("label-without-image", "c.txt", "label left out"),
        ("unreadable-image", "d.jpg", "image left out"),
    }


@pytest.mark.parametrize("layout", ["yolo", "voc", "coco"])
def test_spellings_become_one_class(tmp_path: Path, layout: str) -> None:
    """Names that differ in case, in spaces or in how a letter is composed are one class; its commonest or first name
    stays.
    """
    if layout == "yolo":
        yolo_set(tmp_path, {"a": "0 0.3 0.3 0.2 0.2\n2 0.7 0.7 0.2 0.2\n"})
        (tmp_path / "data.yaml").write_text("names: ['Red cell', dent, 'red  CELL']\n")
    elif layout == "voc":
        boxes = [("Red cell", 1), ("red  CELL", 20), ("dent", 30), ("Red cell", 40)]
        voc_set(tmp_path, "".join(voc_object(name, x, 2, x + 9, 12) for name, x in boxes))
    else:
        coco_set(tmp_path, {"bbox": [1, 2, 9, 9]}, {"bbox": [20, 2, 9, 9], "id": 2, "category_id": 5})
        document = json.loads((tmp_path / "annotations.json").read_text())
        document["categories"] = [
            {"id": 3, "name": "Red cell"},
            {"id": 4, "name": "dent"},
            {"id": 5, "name": "red  CELL"},
        ]
        (tmp_path / "annotations.json").write_text(json.dumps(document))
    report = mended(tmp_path)
    assert report.names == ("Red cell", "dent")
    assert sum(label.class_id == 0 for label in report.frames[0].labels) == (3 if layout == "voc" else 2)
    assert [finding.fix for finding in report.mended] == ["'red  CELL' becomes 'Red cell'"]


def test_wanted_names_win(tmp_path: Path) -> None:
    """Given names are matched by name, never by number: the order of a set's own list does not change their meaning."""
    yolo_set(tmp_path, {"a": "0 0.3 0.3 0.2 0.2\n1 0.7 0.7 0.2 0.2\n"})
    (tmp_path / "data.yaml").write_text("names: [dent, Scratch]\n")
    with pytest.raises(BadInput, match=r"differ only in case or spaces: data\.yaml \('Scratch' and 'scratch'\)"):
        read(tmp_path, names=("scratch", "dent"))
    report = read(tmp_path, names=("scratch", "dent"), fix=True)
    assert report.names == ("scratch", "dent")
    assert [label.class_id for label in report.frames[0].labels] == [1, 0]
    with pytest.raises(BadInput, match=r"unknown class: .*line 1: class 'dent', expected one of scratch, crack"):
        read(tmp_path, names=("scratch", "crack"), fix=True)


# links, names, modes


def test_links_out_of_the_set_are_followed_and_told(tmp_path: Path) -> None:
    """Images and label folders that are links into an archive work; one notice says how many files that were."""
    archive = yolo_set(tmp_path / "archive", {"a": GOOD, "b": GOOD, "c": GOOD}, side="")
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    for name in ("a", "b"):
        (folder / f"images/{name}.jpg").symlink_to(archive / f"images/{name}.jpg")
    shutil.copy(archive / "images/c.jpg", folder / "images/c.jpg")
    (folder / "labels").symlink_to(archive / "labels")
    shutil.copy(archive / "data.yaml", folder)
    report = read(folder)
    assert len(report.frames) == 3
    (finding,) = [finding for finding in report.notices if finding.kind == "linked-outside"]
    assert finding.reason.startswith("5 files are reached by a link")
    (tmp_path / "alias").symlink_to(archive)
    assert [f for f in read(tmp_path / "alias").notices if f.kind == "linked-outside"] == []


@pytest.mark.parametrize("value", ["../private/images", "{private}", "images/../../private/images"])
def test_data_yaml_cannot_reach_out(tmp_path: Path, value: str) -> None:
    """Folders that a data.yaml names and that are not in the set are refused, not read."""
    picture(tmp_path / "private/images/secret.jpg", seed=5)
    yolo_set(tmp_path / "set", {"a": GOOD}, side="")
    place = value.replace("{private}", str(tmp_path / "private/images"))
    (tmp_path / "set/data.yaml").write_text(f"train: images\nval: {place}\nnames: [scratch, dent]\n")
    for fix in (False, True):
        with pytest.raises(BadInput, match=r"leaves the folder: data\.yaml \(it names .*private/images"):
            read(tmp_path / "set", fix=fix)


def test_roboflow_paths_are_meant_inside(tmp_path: Path) -> None:
    """Roboflow writes `../train/images` beside train/; another set that happens to be there is not meant."""
    folder = tmp_path / "set"
    yolo_set(tmp_path / "plain", {"a": GOOD}, side="")
    for kind in ("images", "labels"):
        shutil.copytree(tmp_path / "plain" / kind, folder / "train" / kind)
    picture(tmp_path / "train/images/other.jpg", seed=7)
    (folder / "data.yaml").write_text("train: ../train/images\nnames: [scratch, dent]\n")
    assert [frame.frame.image.name for frame in read(folder).frames] == ["a.jpg"]


@pytest.mark.parametrize("name", [b"\xff\xfe frame", b"two words", "größe".encode(), b"line\nbreak", b"tab\tquote\"'"])
@pytest.mark.parametrize("layout", ["yolo", "voc", "coco"])
def test_odd_file_names(tmp_path: Path, name: bytes, layout: str) -> None:
    """Any name that a file system allows is read; a finding about it is one line, and its JSON is UTF-8."""
    stem = os.fsdecode(name)
    if layout == "yolo":
        picture_of = yolo_set(tmp_path, {"a": GOOD}) / "images/train/a.jpg"
        (tmp_path / "labels/train/a.txt").rename(tmp_path / f"labels/train/{stem}.txt")
    elif layout == "voc":
        picture_of = voc_set(tmp_path, voc_object("dent", 1, 2, 30, 40)) / "JPEGImages/a.jpg"
        (tmp_path / "Annotations/a.xml").rename(tmp_path / f"Annotations/{stem}.xml")
    else:
        picture_of = coco_set(tmp_path, {"bbox": [4, 6, 20, 12]}, file_name=f"{stem}.jpg") / "images/a.jpg"
    image = picture_of.with_name(f"{stem}.jpg")
    picture_of.rename(image)
    if layout == "coco" and name.startswith(b"\xff"):  # a JSON document cannot say this name
        with pytest.raises(BadInput, match="unreadable label"):
            read(tmp_path)
        return
    assert len(read(tmp_path).frames) == 1
    image.write_bytes(b"broken")
    with pytest.raises(BadInput, match="unreadable image") as caught:
        read(tmp_path)
    assert printable(str(caught.value)) == str(caught.value)
    finding = Finding(severity="error", kind="unreadable-image", path=image, reason="")
    assert Finding.load(finding.save(tmp_path / "finding.json")) == finding


MODES = {
    "grey.png": (encoded(".png", np.zeros((8, 8), np.uint8)), ("grey",)),
    "colour.png": (encoded(".png", np.zeros((8, 8, 3), np.uint8)), ()),
    "alpha.png": (encoded(".png", np.zeros((8, 8, 4), np.uint8)), ("alpha",)),
    "deep.png": (encoded(".png", np.zeros((8, 8), np.uint16)), ("grey", "more than 8 bits")),
    "colour.jpg": (encoded(".jpg", np.zeros((8, 8, 3), np.uint8)), ()),
    "grey.jpg": (encoded(".jpg", np.zeros((8, 8), np.uint8)), ("grey",)),
    "alpha.webp": (encoded(".webp", np.full((8, 8, 4), 9, np.uint8)), ("alpha",)),
    "colour.webp": (encoded(".webp", np.zeros((8, 8, 3), np.uint8)), ()),
    "deep.tif": (encoded(".tif", np.zeros((8, 8, 3), np.uint16)), ("more than 8 bits",)),
    "grey.tif": (encoded(".tif", np.zeros((8, 8), np.uint8)), ("grey",)),
    "colour.tif": (encoded(".tif", np.zeros((8, 8, 3), np.uint8)), ()),
    "grey.bmp": (encoded(".bmp", np.zeros((8, 8), np.uint8)), ("palette",)),
    "colour.bmp": (encoded(".bmp", np.zeros((8, 8, 3), np.uint8)), ()),
}


@pytest.mark.parametrize("name", MODES)
def test_colour_modes_are_read_from_headers(tmp_path: Path, name: str) -> None:
    """Whatever OpenCV writes is recognised; a file that ends anywhere in its header is an ordinary one, not a crash."""
    content, modes = MODES[name]
    path = tmp_path / name
    path.write_bytes(content)
    assert read_header(path).modes == modes
    for length in range(min(len(content), 80)):
        path.write_bytes(content[:length])
        read_header(path)


@pytest.mark.parametrize(("mode", "suffix", "modes"), [
    ("P", "png", ("palette",)), ("LA", "png", ("grey", "alpha")), ("CMYK", "jpg", ("CMYK",)),
    ("CMYK", "tif", ("CMYK",)),
    ("P", "tif", ("palette",)), ("RGBA", "tif", ("alpha",)), ("I;16", "tif", ("grey", "more than 8 bits")),
])  # fmt: skip
def test_colour_modes_of_another_writer(tmp_path: Path, mode: str, suffix: str, modes: tuple[str, ...]) -> None:
    """Modes that OpenCV does not write, as Pillow writes them."""
    image = pytest.importorskip("PIL.Image")
    image.new(mode, (8, 8)).save(tmp_path / f"a.{suffix}")
    assert read_header(tmp_path / f"a.{suffix}").modes == modes


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_orientation_is_read_from_headers(tmp_path: Path, suffix: str, orientation: int) -> None:
    """EXIF is found where each format keeps it."""
    image = pytest.importorskip("PIL.Image")
    exif = image.Exif()
    exif[0x112] = orientation
    image.new("RGB", (16, 8), (9, 9, 9)).save(tmp_path / f"a.{suffix}", exif=exif)
    assert read_header(tmp_path / f"a.{suffix}").orientation == orientation


def test_a_mode_is_told_once(tmp_path: Path) -> None:
    """Many grey images are one notice with their number, and nothing is left out."""
    yolo_set(tmp_path, {f"{number}": GOOD for number in range(4)})
    for number in range(3):
        pixels = np.full((48, 64), number, np.uint8)
        cv2.imwrite(str(tmp_path / f"images/train/{number}.jpg"), pixels)
    report = read(tmp_path)
    assert len(report.frames) == 4
    (finding,) = [finding for finding in report.notices if finding.kind == "colour-mode"]
    assert finding.reason.startswith("3 files are grey")


# suspicious boxes


def test_suspicious_boxes_are_named_and_kept(tmp_path: Path) -> None:
    """Odd boxes are notices with numbers in their reasons; every one of them is still there."""
    usual = {f"u{number:02}": "0 0.5 0.5 0.4 0.4\n" for number in range(30)}
    odd = {
        "long": "1 0.5 0.5 0.99 0.06\n",
        "tiny": "1 0.5 0.5 0.02 0.1\n",
        "whole": "1 0.5 0.5 0.99 0.99\n",
        "twice": "1 0.5 0.5 0.4 0.4\n1 0.505 0.5 0.4 0.4\n0 0.505 0.505 0.4 0.4\n",
        "small": "0 0.5 0.5 0.06 0.06\n",
    }
    report = read(yolo_set(tmp_path, usual | odd))
    assert sum(len(frame.labels) for frame in report.frames) == 37
    assert {(finding.kind, finding.path.stem) for finding in report.notices} == {
        ("odd-shape", "long"), ("tiny-box", "tiny"), ("whole-image-box", "whole"),
        ("near-duplicate-box", "twice"), ("odd-size", "small"),
    }  # fmt: skip
    (size,) = [finding for finding in report.notices if finding.kind == "odd-size"]
    assert re.search(r"scratch, 44\.\d times smaller than usual \(robust z -\d+", size.reason)


def test_notices_do_not_grow_without_end(tmp_path: Path) -> None:
    """Of each kind the hundred worst are named, and the rest is counted."""
    lines = "".join(f"{n % 2} {0.02 + n % 24 * 0.04:.3f} {0.02 + n // 24 * 0.04:.3f} 0.01 0.012\n" for n in range(240))
    report = read(yolo_set(tmp_path, {"a": lines}))
    tiny = [finding for finding in report.notices if finding.kind == "tiny-box"]
    assert len(tiny) == 101
    assert tiny[-1].reason == "and 140 more: tiny box"


# hostile files


@pytest.mark.parametrize("name", ["labels/train/a.txt", "data.yaml"])
def test_a_sparse_label_file_is_refused_unread(tmp_path: Path, name: str) -> None:
    """Two gigabytes of nothing are refused by their size."""
    yolo_set(tmp_path, {"a": GOOD})
    with (tmp_path / name).open("wb") as handle:
        handle.truncate(2 * 1000**3)
    with pytest.raises(BadInput, match="2000 MB"):
        read(tmp_path)


def test_an_enormous_number_of_boxes_is_refused(tmp_path: Path) -> None:
    """A label file with more boxes than any picture shows is refused before they are compared with each other."""
    yolo_set(tmp_path, {"a": GOOD * 10_001})
    with pytest.raises(BadInput, match="10001 lines, at most 10000"):
        read(tmp_path)


HOSTILE_YAML = {
    "alias": "a: &a [x, x]\nnames: [*a, *a]\n",
    "deep": "names: " + "[" * 1500,
    "line break": 'names: ["a\\nb", c]\n',
    "half a character": 'names: ["a\\uD800"]\n',
    "long": f"names: [{'a' * 300}]\n",
}


@pytest.mark.parametrize("case", HOSTILE_YAML)
def test_hostile_data_yaml(tmp_path: Path, case: str) -> None:
    """Aliases (the billion laughs), depth, and names that break lines are one clear sentence."""
    yolo_set(tmp_path, {"a": GOOD})
    (tmp_path / "data.yaml").write_text(HOSTILE_YAML[case])
    with pytest.raises(BadInput, match=r"data\.yaml") as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("body", ["<a>" * 2000, "<a/>" * 2000], ids=["deep", "wide"])
def test_xml_trees_have_a_sane_size(tmp_path: Path, body: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Elements without end are refused while they are read."""
    monkeypatch.setattr("edgeloop.formats.voc_xml.MAXIMUM_ELEMENTS", 1000)
    with pytest.raises(BadInput, match="more than 1000 elements, or"):
        read(voc_set(tmp_path, body))


# the table


def broken(kind: Kind, folder: Path) -> Path:  # noqa: C901  # one line for each kind
    """A set with one finding of a kind."""
    many = {f"u{number:02}": "0 0.5 0.5 0.4 0.4\n" for number in range(30)}
    lines = {
        "unreadable-label": "x\n", "unknown-class": "7 0.5 0.5 0.1 0.1\n", "box-outside": "0 0.9 0.5 0.5 0.5\n",
        "swapped-corners": "0 0.5 0.5 -0.5 0.5\n", "zero-area": "0 0.5 0.5 0 0.5\n", "duplicate-box": GOOD * 2,
        "odd-shape": "0 0.5 0.5 0.99 0.02\n", "tiny-box": "0 0.5 0.5 0.02 0.1\n", "whole-image-box": "0 0.5 0.5 1 1\n",
        "near-duplicate-box": GOOD + "0 0.501 0.5 0.5 0.5\n",
    }  # fmt: skip
    if kind in lines:
        return yolo_set(folder, {"a": lines[kind]})
    if kind == "odd-size":
        return yolo_set(folder, many | {"z": "0 0.5 0.5 0.06 0.06\n"})
    if kind in ("size-mismatch", "path-traversal"):
        changed = {"size": (640, 480)} if kind == "size-mismatch" else {"filename": "../a.jpg"}
        return voc_set(folder, voc_object("dent", 1, 2, 30, 40), **changed)
    if kind in ("crowd-box", "unlisted-images", "turned-annotation"):
        coco_set(folder, {"bbox": [1, 2, 9, 9], "iscrowd": int(kind == "crowd-box")})
        if kind == "unlisted-images":
            picture(folder / "test/b.jpg", seed=3)
        elif kind == "turned-annotation":
            (folder / "images/a.jpg").write_bytes(with_orientation((folder / "images/a.jpg").read_bytes(), 8))
        return folder
    yolo_set(folder, {"a": GOOD, "b": GOOD})
    image, label = folder / "images/train/a.jpg", folder / "labels/train/a.txt"
    if kind in ("image-without-label", "label-without-image"):
        (label if kind == "image-without-label" else image).unlink()
    elif kind == "unreadable-image":
        image.write_bytes(b"")
    elif kind == "oversized-image":
        os.truncate(image, 300 * 1000**2)
    elif kind == "class-spelling":
        (folder / "data.yaml").write_text("names: [scratch, Scratch]\n")
    elif kind == "duplicate-frame":
        shutil.copy(image, folder / "images/train/b.jpg")
    elif kind == "linked-outside":
        image.rename(folder.parent / "elsewhere.jpg")
        image.symlink_to(folder.parent / "elsewhere.jpg")
    elif kind == "exif-rotation":
        image.write_bytes(with_orientation(image.read_bytes(), 3))
    elif kind == "colour-mode":
        cv2.imwrite(str(image), np.zeros((48, 64), np.uint8))
    return folder


JOINING = ("leak", "near-duplicate", "unused-class")  # found where a set joins the data set


def outcome(folder: Path, fix: bool) -> ReadReport | str:
    try:
        return read(folder, fix=fix)
    except BadInput as refused:
        return str(refused)


@pytest.mark.parametrize("kind", [kind for kind in RULES if kind not in JOINING])
def test_every_kind_is_as_bad_as_its_rule_says(tmp_path: Path, kind: Kind) -> None:
    """Errors refuse the set and are named; --fix takes it in where the rule says so; nothing else refuses."""
    folder, rule = broken(kind, tmp_path / "set"), RULES[kind]
    found, fixed = outcome(folder, fix=False), outcome(folder, fix=True)
    if rule.severity == "error":
        assert isinstance(found, str)
        assert rule.phrase in found
        assert isinstance(fixed, ReadReport) == bool(rule.fix)
        if isinstance(fixed, ReadReport):
            assert kind in {finding.kind for finding in fixed.mended}
        return
    assert isinstance(found, ReadReport)
    told = found.rejected if rule.severity == "warning" else found.notices
    assert (kind, rule.severity) in {(finding.kind, finding.severity) for finding in told}


def test_the_documented_table_is_the_rules(root: Path) -> None:
    """docs/formats.md lists every kind with its severity and what --fix does, as the code has them."""
    rows = re.findall(
        r"^\| `([a-z-]+)` \| (\w+) \| .* \| (.*) \|$", (root / "docs/formats.md").read_text(), re.MULTILINE
    )
    assert {kind: (severity, fix) for kind, severity, fix in rows} == {
        kind: (rule.severity, rule.fix or "–") for kind, rule in RULES.items()
    }
