"""COCO sets: their layouts, their documents, and what is wrong with them."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.errors import BadInput
from edgeloop.formats import coco_records, detect, json_stream, read
from edgeloop.formats.coco_files import find_documents
from edgeloop.formats.detect import TwoLayouts
from edgeloop.frames import Label
from tests.labelled_sets import NAMES, coco_document, coco_set, picture, voc_object, voc_set, yolo_set

BOX = [4.0, 6.0, 20.0, 12.0]


def save(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_boxes_names_and_backgrounds(tmp_path: Path) -> None:
    """Names are the categories in the order of their ids, which need not be contiguous; an image without boxes is a
    background; segmentations of any kind are not looked at.
    """
    coco_set(
        tmp_path,
        {"bbox": BOX, "segmentation": {"size": [48, 64], "counts": "abc"}},
        {"bbox": BOX, "id": 2, "category_id": 9},
    )
    document = json.loads((tmp_path / "annotations.json").read_text())
    document["images"].append({"id": 8, "file_name": "b.jpg"})
    picture(tmp_path / "images/b.jpg", seed=1)
    save(tmp_path / "annotations.json", document)
    report = read(tmp_path)
    assert report.names == ("scratch", "dent")
    assert [frame.labels for frame in report.frames] == [
        (Label(0, (4.0, 6.0, 24.0, 18.0)), Label(1, (4.0, 6.0, 24.0, 18.0))),
        (),
    ]
    assert report.findings == ()


LAYOUTS = {
    "COCO's own": ("annotations/instances_train2017.json", "train2017", "a.jpg", "train"),
    "images by side": ("annotations/instances_val2017.json", "images/val2017", "a.jpg", "val"),
    "CVAT": ("annotations/instances_default.json", "images/default", "a.jpg", None),
    "one folder": ("annotations/instances_test.json", "images", "a.jpg", "test"),
    "Roboflow": ("valid/_annotations.coco.json", "valid", "a.jpg", "val"),
    "Roboflow, no sides": ("_annotations.coco.json", "", "a.jpg", None),
    "beside images": ("labels.json", "images", "a.jpg", None),
    "among images": ("export.json", "", "a.jpg", None),
    "names with folders": ("annotations/train.json", "images/lot 7", "images/lot 7/a.jpg", "train"),
    "names from Windows": ("annotations.json", "images/lot", "lot\\a.jpg", None),
    "names with a dot": ("annotations.json", "images/lot", "./lot//a.jpg", None),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path: Path, layout: str) -> None:
    """Every common arrangement is recognised and finds its image and its side."""
    where, images, name, side = LAYOUTS[layout]
    picture(tmp_path / images / "a.jpg")
    document = coco_document({"bbox": BOX}, file_name=name)
    save(tmp_path / where, document)
    if side == "train":  # without a val side there would be no split
        picture(tmp_path / "val/images/b.jpg", seed=1)
        save(tmp_path / "val/_annotations.coco.json" if where.startswith("val") else tmp_path / "annotations/val.json",
             coco_document(file_name="val/images/b.jpg"))  # fmt: skip
        if "instances" in where:
            (tmp_path / "annotations/val.json").rename(tmp_path / "annotations/instances_val.json")
    assert detect(tmp_path) == "coco"
    frame = read(tmp_path).frames[0]
    assert (frame.frame.image, frame.split, len(frame.labels)) == (tmp_path / images / "a.jpg", side, 1)


def test_captions_and_key_points_are_left_alone(tmp_path: Path) -> None:
    """Where there are instances, the other documents of COCO's annotations folder do not count."""
    for name in ("instances_val2017", "person_keypoints_val2017", "captions_val2017"):
        save(tmp_path / f"annotations/{name}.json", coco_document())
    assert [document.path.name for document in find_documents(tmp_path)] == ["instances_val2017.json"]


def test_json_that_is_no_set_is_no_set(tmp_path: Path) -> None:
    """A report or a package list beside images is not taken for labels."""
    yolo_set(tmp_path, {"a": ""})
    save(tmp_path / "report.json", {"images": [], "note": "x"})
    save(tmp_path / "package.json", ["images", "annotations"])
    assert detect(tmp_path) == "yolo"


def test_roboflow_project_is_no_class(tmp_path: Path) -> None:
    """The category 0 that Roboflow writes for the project is left out, unless it has boxes."""
    document = coco_document({"bbox": BOX})
    document["categories"] = [
        {"id": 0, "name": "parts", "supercategory": "none"},
        {"id": 3, "name": "scratch", "supercategory": "parts"},
    ]
    picture(tmp_path / "train/a.jpg")
    save(tmp_path / "train/_annotations.coco.json", document)
    assert read(tmp_path).names == ("scratch",)
    document["annotations"] = [{"id": 1, "image_id": 7, "category_id": 0, "bbox": BOX}]
    save(tmp_path / "train/_annotations.coco.json", document)
    assert read(tmp_path).names == ("parts", "scratch")


def test_documents_that_number_classes_differently(tmp_path: Path) -> None:
    """Classes are one by name, whatever id each document gives them."""
    for side, seed, ids in (("train", 0, (1, 2)), ("valid", 1, (2, 1))):
        picture(tmp_path / side / "a.jpg", seed=seed)
        document = coco_document({"bbox": BOX, "category_id": ids[0]})
        document["categories"] = [{"id": ids[0], "name": "scratch"}, {"id": ids[1], "name": "dent"}]
        save(tmp_path / side / "_annotations.coco.json", document)
    report = read(tmp_path)
    assert {report.names[label.class_id] for frame in report.frames for label in frame.labels} == {"scratch"}


@pytest.mark.parametrize(
    ("annotation", "image", "phrase"),
    [
        ({"bbox": [60, 6, 20, 12]}, {}, "box outside the image: .*annotation 1: box"),
        ({"bbox": BOX, "category_id": 5}, {}, "unknown class: .*category 5 is not listed"),
        ({"bbox": BOX, "image_id": 99}, {}, "label without its image: .*a box for the image 99"),
        ({"bbox": [1, 2, 3]}, {}, "unreadable label: .*bbox: list should have at least 4"),
        ({"bbox": [1, 2, "x", 4]}, {}, "unreadable label: .*valid number"),
        ({"segmentation": []}, {}, "unreadable label: .*bbox: field required"),
        ({"bbox": BOX}, {"width": 640, "height": 100}, "drawn on 640 × 100, the image is 64 × 48"),
        ({"bbox": BOX}, {"width": -3}, "unreadable label: .*width"),
        ({"bbox": BOX}, {"file_name": "b.jpg"}, "label without its image: .*expected .*images/b.jpg"),
        ({"bbox": BOX}, {"file_name": "../a.jpg"}, "leaves the folder: .*'../a.jpg' leaves the folder"),
        ({"bbox": BOX}, {"file_name": "/etc/a.jpg"}, "leaves the folder: .*is an absolute path"),
        ({"bbox": BOX}, {"file_name": "C:\\a.jpg"}, "leaves the folder: .*is an absolute path"),
        ({"bbox": BOX}, {"file_name": "..\\a.jpg"}, "leaves the folder"),
        ({"bbox": BOX}, {"file_name": "http://example.com/a.jpg"}, "leaves the folder: .*is a URL"),
        ({"bbox": BOX}, {"file_name": "data:image/png;base64,AAAA"}, "is a URL"),
        ({"bbox": BOX}, {"file_name": "a\0.jpg"}, "label without its image"),
        ({"bbox": BOX}, {"file_name": ""}, "label without its image"),
        ({"bbox": BOX}, {"file_name": "a" * 5000}, "unreadable label: .*at most 4096"),
        ({"bbox": BOX}, {"file_name": "\ud800.jpg"}, "unreadable label: .*file_name"),
    ],
)  # fmt: skip
def test_what_is_refused(tmp_path: Path, annotation: dict[str, object], image: dict[str, object], phrase: str) -> None:
    """A record that cannot be used refuses the set by document, record and reason, in one line."""
    with pytest.raises(BadInput, match=phrase) as caught:
        read(coco_set(tmp_path, annotation, **image))
    assert "annotations.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_crowds_are_left_out(tmp_path: Path) -> None:
    """A box around a crowd is left out with a warning that says what that means."""
    report = read(coco_set(tmp_path, {"bbox": BOX, "iscrowd": 1}, {"bbox": [1, 1, 5, 5], "id": 2}))
    assert len(report.frames[0].labels) == 1
    (finding,) = report.findings
    assert (finding.severity, finding.kind) == ("warning", "crowd-box")
    assert "left out, so they are not labelled" in finding.reason


def test_images_that_nobody_lists(tmp_path: Path) -> None:
    """An image beside listed ones is an error; a folder of which nothing is listed is one warning."""
    coco_set(tmp_path, {"bbox": BOX})
    for number in range(3):
        picture(tmp_path / f"test2017/{number}.jpg", seed=number + 1)
    report = read(tmp_path)
    (finding,) = report.findings
    assert (finding.kind, finding.path.name, finding.reason[:2]) == ("unlisted-images", "test2017", "3 ")
    picture(tmp_path / "images/b.jpg", seed=9)
    with pytest.raises(BadInput, match=r"images/b\.jpg \(no document lists it\)"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("text", "phrase"),
    [
        ('{"images": [' + "[" * 100_000, "nested too deeply|not JSON"),
        ('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [', "not JSON"),
        ('{"images": [], "annotations": [{"id": ' + "9" * 5000 + "}]}", "not JSON"),
        ('{"images": [' + ",".join(["{}"] * 2000) + '], "annotations": []}', "more than 1000 records are broken"),
        ('{"images": [], "annotations": [1e999]}', "valid dictionary"),
        ('{"images": [{"id": 1, "file_name": "a"}, {"id": 1, "file_name": "b"}], "annotations": []}', "given twice"),
    ],
    ids=["deep", "cut off", "long number", "broken records", "no record", "ids"],
)
def test_hostile_documents(tmp_path: Path, text: str, phrase: str) -> None:
    """A document that is deep, cut off or full of nonsense is one clear error, and takes little memory."""
    picture(tmp_path / "a.jpg")
    (tmp_path / "_annotations.coco.json").write_text(text)
    with pytest.raises(BadInput, match=phrase) as caught:
        read(tmp_path, names=NAMES)
    assert "\n" not in str(caught.value)


def test_a_huge_document_is_refused_unread(tmp_path: Path) -> None:
    """Five sparse gigabytes are refused by their size, two by their first byte."""
    path = tmp_path / "_annotations.coco.json"
    for size, phrase in ((5 * 1000**3, r"5\.0 GB of JSON, at most 4 GB"), (2 * 1000**3, "expected '{'")):
        with path.open("wb") as handle:
            handle.truncate(size)
        with pytest.raises(BadInput, match=phrase):
            read(tmp_path, names=NAMES)


@settings(max_examples=60)
@given(
    st.dictionaries(
        st.text(max_size=5),
        st.lists(st.recursive(st.none() | st.booleans() | st.floats(allow_nan=False) | st.integers() | st.text(),
                              lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(), x, max_size=3))),
        max_size=4,
    ),
    st.integers(0, 3), st.integers(1, 40),
)  # fmt: skip
def test_streamed_elements_are_the_document(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, list[object]], indent: int, window: int
) -> None:
    """Read element by element, with any window, a document says what it says in one piece."""
    path = tmp_path_factory.mktemp("json") / "d.json"
    path.write_text(json.dumps(document, indent=indent or None, ensure_ascii=indent % 2 == 0), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_stream, "_WINDOW", window)
        found: dict[str, list[object]] = {}
        for key, element in json_stream.elements(path):
            found.setdefault(key, []).append(element)
    assert found == {key: members for key, members in document.items() if members}


@given(st.binary(max_size=200))
def test_any_bytes_are_a_document_or_a_reason(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    """Whatever a document holds, reading it ends with content or with findings."""
    path = tmp_path_factory.mktemp("json") / "d.json"
    for candidate in (content, b'{"images": [' + content + b"]}", b'{"annotations": [{' + content):
        path.write_bytes(candidate)
        assert isinstance(coco_records.read_document(path), coco_records.Content)


def test_detection_of_several_layouts(tmp_path: Path) -> None:
    """Labels in two layouts are one clear error; images and a bare data.yaml do not compete with annotations."""
    voc_set(tmp_path / "voc", voc_object("dent", 1, 2, 30, 40))
    (tmp_path / "voc/data.yaml").write_text("train: JPEGImages\nnames: [dent]\n")
    assert detect(tmp_path / "voc") == "voc"
    coco_set(tmp_path / "coco", {"bbox": BOX})
    (tmp_path / "coco/data.yaml").write_text("train: images\nnames: [dent]\n")
    assert detect(tmp_path / "coco") == "coco"
    both = yolo_set(tmp_path / "both", {"a": ""}, side="")
    shutil.copy(tmp_path / "coco/annotations.json", both / "annotations.json")
    with pytest.raises(
        TwoLayouts, match=r"2 layouts.*coco \(annotations.json\) and yolo \(labels/a.txt\).*--format"
    ) as caught:
        read(both)
    assert "\n" not in str(caught.value)
    assert read(both, "yolo").files == 1


def test_a_pipe_among_the_files_does_not_block(tmp_path: Path) -> None:
    """A named pipe is neither an image nor a document; nobody waits for what comes out of it."""
    coco_set(tmp_path, {"bbox": BOX})
    os.mkfifo(tmp_path / "images/b.jpg")
    os.mkfifo(tmp_path / "c.json")
    assert len(read(tmp_path).frames) == 1
