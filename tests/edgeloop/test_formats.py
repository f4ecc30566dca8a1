"""Reading labelled sets: what is found, what is left out, what is refused."""

from __future__ import annotations

import os
import shutil
import struct
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.errors import BadInput
from edgeloop.formats import detect, images, names, read, voc_xml
from edgeloop.formats.findings import Finding, refuse_errors, warning
from edgeloop.frames import Label
from tests.labelled_sets import NAMES, encoded, picture, voc_object, voc_set, with_orientation, yolo_set


def test_yolo_reads_sides_names_and_background(tmp_path: Path) -> None:
    """Sides come from the folders, names from data.yaml, an empty label file is a background."""
    yolo_set(tmp_path, {"b": "0 0.5 0.5 0.25 0.5\n", "a": ""})
    picture(tmp_path / "images/val/c.jpg", seed=9)
    (tmp_path / "labels/val").mkdir()
    (tmp_path / "labels/val/c.txt").write_text("1 0.5 0.5 1 1\n")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [scratch, dent]\n")
    report = read(tmp_path)
    assert [(frame.frame.image.stem, frame.split, len(frame.labels)) for frame in report.frames] == [
        ("a", "train", 0),
        ("b", "train", 1),
        ("c", "val", 1),
    ]
    assert report.frames[1].labels == (Label(0, (24.0, 12.0, 40.0, 36.0)),)
    assert report.findings == ()


def test_train_without_val_is_not_a_split(tmp_path: Path) -> None:
    """A set that names only a train side leaves the split to the data set, or nothing would be left to validate on."""
    report = read(yolo_set(tmp_path, {"a": "", "b": ""}))
    assert {frame.split for frame in report.frames} == {None}


@pytest.mark.parametrize("layout", ["flat", "roboflow", "symlinked", "named folders", "coco128"])
def test_yolo_layouts(tmp_path: Path, layout: str) -> None:
    """Every common arrangement of the same set gives the same frames."""
    plain = yolo_set(tmp_path / "plain", {"a": "0 0.5 0.5 0.5 0.5\n", "b": ""}, side="")
    folder = tmp_path / layout
    folder.mkdir()
    if layout == "flat":
        shutil.copytree(plain, folder, dirs_exist_ok=True)
    elif layout == "roboflow":
        shutil.copytree(plain / "images", folder / "train/images")
        shutil.copytree(plain / "labels", folder / "train/labels")
        (folder / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnames: [scratch, dent]\n")
    elif layout == "symlinked":
        (folder / "images").symlink_to(plain / "images")
        (folder / "labels").mkdir()
        for text in (plain / "labels").iterdir():
            (folder / "labels" / text.name).symlink_to(text)
        (folder / "classes.txt").write_text("scratch\ndent\n")
    else:
        shutil.copytree(plain / "images", folder / "images/lot7")
        shutil.copytree(plain / "labels", folder / "labels/lot7")
        both = "val: images/lot7\n" if layout == "coco128" else ""
        (folder / "data.yaml").write_text(f"train: images/lot7\n{both}names: {{0: scratch, 1: dent}}\n")
    report, expected = read(folder), read(plain)
    assert report.names == NAMES
    assert [(f.frame.frame_id, f.labels, f.split) for f in report.frames] == [
        (f.frame.frame_id, f.labels, f.split) for f in expected.frames
    ]


def test_names_may_be_given(tmp_path: Path) -> None:
    """A set without data.yaml is readable when the names are given, and says so when they are not."""
    yolo_set(tmp_path, {"a": "1 0.5 0.5 0.5 0.5\n"})
    (tmp_path / "data.yaml").unlink()
    assert read(tmp_path, names=NAMES).frames[0].labels[0].class_id == 1
    with pytest.raises(BadInput, match=r"expected data\.yaml with `names:` or classes\.txt"):
        read(tmp_path)


@pytest.mark.parametrize(
    "document",
    [
        "names: {0: a, 2: b}",
        "names: []",
        "nc: 3",
        "names: [a, a]",
        "names: [a, '']",
        "[",
        "- a",
        "names: 3",
        "names: {a: 0}",
    ],
)
def test_bad_data_yaml(tmp_path: Path, document: str) -> None:
    """A data.yaml that does not give distinct names with ids from 0 is refused by its name."""
    yolo_set(tmp_path, {"a": ""})
    (tmp_path / "data.yaml").write_text(document)
    with pytest.raises(BadInput, match=r"data\.yaml"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("line", "phrase"),
    [
        ("2 0.5 0.5 0.1 0.1", "unknown class: .*class 2, the names give 0 to 1"),
        ("-1 0.5 0.5 0.1 0.1", "unknown class"),
        ("0.5 0.5 0.5 0.1 0.1", "unknown class"),
        ("0 0.5 0.5 0.1", "unreadable label: .*expected `class centre-x"),
        ("0 0.5 0.5 0.1 0.1 0.9", "unreadable label"),
        ("scratch 0.5 0.5 0.1 0.1", "unreadable label"),
        ("0 nan 0.5 0.1 0.1", "unreadable label"),
        ("0 0.5 0.5 inf 0.1", "unreadable label"),
        ("0 0.9 0.5 0.4 0.1", r"box outside the image: .*leaves the 64 × 48 image"),
        ("0 32 24 16 16", "box outside the image"),
    ],
)
def test_bad_label_line(tmp_path: Path, line: str, phrase: str) -> None:
    """A line that cannot be a box of this image refuses the set, with file, line number and reason."""
    yolo_set(tmp_path, {"a": "0 0.5 0.5 0.5 0.5\n" + line + "\n"})
    with pytest.raises(BadInput, match=phrase) as caught:
        read(tmp_path)
    assert "labels/train/a.txt" in str(caught.value)
    assert "line 2" in str(caught.value)


def test_label_file_that_is_not_text(tmp_path: Path) -> None:
    """Binary label files are a finding, not a crash."""
    yolo_set(tmp_path, {"a": ""})
    (tmp_path / "labels/train/a.txt").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(BadInput, match="not UTF-8 text"):
        read(tmp_path)


def test_overhang_by_rounding_is_cut(tmp_path: Path) -> None:
    """A box that leaves the image by up to a pixel is cut at the border without a word."""
    report = read(yolo_set(tmp_path, {"a": "0 0.5 0.5 1.02 1.03\n"}))
    assert report.frames[0].labels == (Label(0, (0.0, 0.0, 64.0, 48.0)),)
    assert report.findings == ()


def test_zero_area_and_repeated_boxes_are_left_out(tmp_path: Path) -> None:
    """Boxes without area and exact repetitions are warnings: left out, listed with file and line."""
    text = "0 0.5 0.5 0 0.5\n1 0.5 0.5 0.5 0.5\n1 0.5 0.5 0.5 0.5\n0 0.5 0.5 0.5 0.001\n"
    report = read(yolo_set(tmp_path, {"a": text}))
    assert len(report.frames[0].labels) == 1
    assert [finding.kind for finding in report.findings] == ["zero-area", "zero-area", "duplicate-box"]
    assert report.findings[0].path.name == "a.txt"
    assert "line 1" in report.findings[0].reason


def test_missing_partners(tmp_path: Path) -> None:
    """Images without labels and labels without images are counted, named, and the way to say background is told."""
    yolo_set(tmp_path, {f"a{n}": "" for n in range(6)})
    for n in range(5):
        (tmp_path / f"labels/train/a{n}.txt").unlink()
    (tmp_path / "labels/train/ghost.txt").write_text("")
    with pytest.raises(BadInput) as caught:
        read(tmp_path)
    message = str(caught.value)
    assert "6 errors" in message
    assert "5 × image without a label file (a background needs an empty one): images/train/a0.jpg" in message
    assert "and 2 more" in message
    assert "1 × label without its image: labels/train/ghost.txt" in message
    assert "\n" not in message


def test_all_errors_are_collected(tmp_path: Path) -> None:
    """One sentence counts every kind of error; none hides another."""
    yolo_set(tmp_path, {"a": "7 0.5 0.5 0.1 0.1\n", "b": "what\n", "c": "0 2 2 0.1 0.1\n", "d": ""})
    (tmp_path / "images/train/d.jpg").write_bytes(b"")
    with pytest.raises(BadInput, match="4 errors") as caught:
        read(tmp_path)
    for phrase in ("unknown class", "unreadable label", "box outside the image", "unreadable image"):
        assert phrase in str(caught.value)


@pytest.mark.parametrize("make", ["missing", "file", "empty", "something else", "only labels", "no images"])
def test_no_labelled_set(tmp_path: Path, make: str) -> None:
    """What is no labelled set is refused in one sentence that says what was looked for."""
    folder = tmp_path / "set"
    if make == "file":
        folder.write_text("")
    elif make != "missing":
        folder.mkdir()
    if make == "something else":
        (folder / "readme.md").write_text("")
    if make == "only labels":
        (folder / "labels").mkdir()
        (folder / "labels/a.txt").write_text("")
    if make == "no images":
        (folder / "images").mkdir()
        (folder / "data.yaml").write_text("names: [a]")
    with pytest.raises(BadInput, match="expected") as caught:
        read(folder)
    assert "\n" not in str(caught.value)


def test_detect(tmp_path: Path) -> None:
    """The two layouts are told apart, VOC by its annotations."""
    assert detect(yolo_set(tmp_path / "y", {"a": ""})) == "yolo"
    assert detect(voc_set(tmp_path / "v", "")) == "voc"


def test_voc_reads_sides_and_names(tmp_path: Path) -> None:
    """Names are those that occur, sorted; corners are taken as they stand; the test list is the test side."""
    voc_set(tmp_path, voc_object("dent", 1, 2, 30, 40) + voc_object("crack", 5, 5, 10, 10))
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/test.txt").write_text("a\n")
    (tmp_path / "ImageSets/Main/trainval.txt").write_text("a\n")
    report = read(tmp_path)
    assert report.names == ("crack", "dent")
    assert report.frames[0].split == "test"
    assert report.frames[0].labels == (Label(1, (1.0, 2.0, 30.0, 40.0)), Label(0, (5.0, 5.0, 10.0, 10.0)))


@pytest.mark.parametrize(
    ("body", "phrase"),
    [
        (voc_object("dent", 1, 2, 300, 40), "box outside the image"),
        (voc_object("dent", "x", 2, 30, 40), "<xmin> is 'x', expected a number"),
        (voc_object("dent", "nan", 2, 30, 40), "expected a number"),
        (voc_object("", 1, 2, 30, 40), "<object> without <name>"),
        ("<object><name>dent</name></object>", "<object> without <bndbox>"),
        ("<object>", "not XML"),
    ],
)
def test_bad_annotation(tmp_path: Path, body: str, phrase: str) -> None:
    """An annotation that cannot be used refuses the set by file and reason."""
    with pytest.raises(BadInput, match=phrase) as caught:
        read(voc_set(tmp_path, body))
    assert "Annotations/a.xml" in str(caught.value)


def test_voc_unknown_class(tmp_path: Path) -> None:
    """With given names, another name is an error."""
    with pytest.raises(BadInput, match=r"unknown class: .*'crack', expected one of scratch, dent"):
        read(voc_set(tmp_path, voc_object("crack", 1, 2, 30, 40)), names=NAMES)


def test_voc_size_mismatch(tmp_path: Path) -> None:
    """Boxes drawn on another size than the image has are not taken in."""
    with pytest.raises(BadInput, match="drawn on 640 × 480, the image is 64 × 48"):
        read(voc_set(tmp_path, voc_object("dent", 1, 2, 30, 40), size=(640, 480)))


@pytest.mark.parametrize("filename", ["../../etc/passwd.jpg", "/etc/passwd.jpg", "..\\secret.jpg", "C:\\secret.jpg"])
def test_voc_path_traversal(tmp_path: Path, filename: str) -> None:
    """A file name that leaves the folder is refused even where the image is found by the annotation's own name."""
    with pytest.raises(BadInput, match="file name that leaves the folder"):
        read(voc_set(tmp_path, "", filename=filename))


def test_voc_filename_finds_the_image(tmp_path: Path) -> None:
    """When the stems differ, the image named in the annotation is taken; one that is not there is an error."""
    voc_set(tmp_path, voc_object("dent", 1, 2, 30, 40), filename="a.jpg")
    (tmp_path / "Annotations/a.xml").rename(tmp_path / "Annotations/export-17.xml")
    assert read(tmp_path).frames[0].frame.image.name == "a.jpg"
    (tmp_path / "JPEGImages/a.jpg").rename(tmp_path / "JPEGImages/b.jpg")
    with pytest.raises(BadInput, match="label without its image") as caught:
        read(tmp_path)
    assert "image without a label file" in str(caught.value)


def test_voc_in_subfolders_and_twice(tmp_path: Path) -> None:
    """Annotations are paired by their path, a stem that two images share is an error that nobody can mend for you."""
    voc_set(tmp_path, voc_object("dent", 1, 2, 30, 40))
    for kind, suffix in (("JPEGImages", "jpg"), ("Annotations", "xml")):
        (tmp_path / kind / "lot").mkdir()
        shutil.copy(tmp_path / kind / f"a.{suffix}", tmp_path / kind / "lot" / f"a.{suffix}")
    picture(tmp_path / "JPEGImages/lot/a.jpg", seed=4)
    assert [frame.frame.image.parent.name for frame in read(tmp_path).frames] == ["JPEGImages", "lot"]
    picture(tmp_path / "JPEGImages/lot/a.png", seed=5)
    for fix in (False, True):
        with pytest.raises(BadInput, match=r"lot/a\.png \(a\.jpg has the same name before the dot\)"):
            read(tmp_path, fix=fix)


def test_yolo_suffixes_in_capitals(tmp_path: Path) -> None:
    """A.JPG and A.TXT belong together as a.jpg and a.txt do."""
    yolo_set(tmp_path, {"a": "0 0.5 0.5 0.5 0.5\n"})
    (tmp_path / "images/train/a.jpg").rename(tmp_path / "images/train/a.JPG")
    (tmp_path / "labels/train/a.txt").rename(tmp_path / "labels/train/a.TXT")
    assert len(read(tmp_path).frames[0].labels) == 1


@pytest.mark.parametrize(
    "declaration",
    [
        '<!DOCTYPE a [<!ENTITY x "lol"><!ENTITY y "&x;&x;&x;&x;&x;&x;&x;&x;">]>',
        '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE a SYSTEM "http://127.0.0.1:9/evil.dtd">',
    ],
)
def test_voc_refuses_document_types(tmp_path: Path, declaration: str) -> None:
    """Entity bombs and external entities need a document type; none is read."""
    voc_set(tmp_path, voc_object("dent", 1, 2, 30, 40))
    path = tmp_path / "Annotations/a.xml"
    path.write_text(declaration + path.read_text())
    with pytest.raises(BadInput, match="declares a document type"):
        read(tmp_path)


@given(st.binary(max_size=300))
def test_annotation_parser_never_crashes(content: bytes) -> None:
    """Any bytes are an annotation or a reason."""
    for candidate in (content, b"<annotation>" + content + b"</annotation>"):
        with suppress(voc_xml.BadAnnotation):
            assert isinstance(voc_xml.parse_annotation(candidate), voc_xml.Annotation)


def copies(tmp_path: Path, train: str, val: str) -> Path:
    """One picture on two sides, labelled by two people."""
    yolo_set(tmp_path, {"a": train})
    for kind in ("images", "labels"):
        (tmp_path / kind / "val").mkdir()
    shutil.copy(tmp_path / "images/train/a.jpg", tmp_path / "images/val/b.jpg")
    (tmp_path / "labels/val/b.txt").write_text(val)
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [scratch, dent]\n")
    return tmp_path


@pytest.mark.parametrize(
    ("train", "val", "joined", "said"),
    [
        ("0 0.5 0.5 0.5 0.5\n", "0 0.5 0.5 0.4 0.45\n", ["0 0.5 0.5 0.4 0.45"], "1 drawn differently, 0 with another"),
        ("1 0.5 0.5 0.4 0.4\n", "0 0.5 0.5 0.4 0.4\n", ["0 0.5 0.5 0.4 0.4"], "0 drawn differently, 1 with another"),
        ("0 0.2 0.2 0.2 0.2\n", "0 0.7 0.7 0.2 0.2\n", ["0 0.7 0.7 0.2 0.2", "0 0.2 0.2 0.2 0.2"], "1 and 1 boxes"),
        ("0 0.5 0.5 0.5 0.5\n", "", ["0 0.5 0.5 0.5 0.5"], "0 and 1 boxes were joined to 1"),
        ("0 0.5 0.5 0.5 0.5\n0 0.52 0.5 0.4 0.5\n", "0 0.5 0.5 0.5 0.5\n",
         ["0 0.5 0.5 0.5 0.5", "0 0.52 0.5 0.4 0.5"], "1 and 2 boxes were joined to 2"),
    ],
    ids=["one object drawn twice", "two classes", "two objects", "one copy is empty", "crowded"],
)  # fmt: skip
def test_copies_that_contradict(tmp_path: Path, train: str, val: str, joined: list[str], said: str) -> None:
    """The copy on the stricter side is right where both show an object; what only the other has is added."""
    report = read(copies(tmp_path, train, val))
    (frame,) = report.frames
    assert frame.split == "val"
    rows = [[float(word) for word in line.split()] for line in joined]
    found = [[label.class_id, (label.box[2] - label.box[0]) / 64] for label in frame.labels]
    assert np.allclose(found, [[row[0], row[3]] for row in rows])
    (finding,) = report.findings
    assert said in finding.reason


def test_copies_are_joined_on_the_strictest_side(tmp_path: Path) -> None:
    """Equal bytes are one frame, on the side that is not trained on, with the union of the boxes, and a reason."""
    train, val = "0 0.5 0.5 0.5 0.5\n1 0.2 0.2 0.2 0.2\n", "0 0.5 0.5 0.49 0.5\n0 0.8 0.8 0.2 0.2\n"
    report = read(copies(tmp_path, train, val))
    (frame,) = report.frames
    (finding,) = report.findings
    assert (frame.split, len(frame.labels), report.files) == ("val", 3, 2)
    assert (finding.kind, finding.path.name) == ("duplicate-frame", "a.jpg")
    assert "b.jpg" in finding.reason
    assert "2 and 2 boxes were joined to 3" in finding.reason


def test_hostile_file_names(tmp_path: Path) -> None:
    """Spaces, Unicode and line breaks in names work, and an error about them is still one line."""
    stems = ["two words", "größe", "line\nbreak", "a'b\"c"]
    yolo_set(tmp_path, dict.fromkeys(stems, "0 0.5 0.5 0.5 0.5\n"))
    assert len(read(tmp_path).frames) == 4
    (tmp_path / "labels/train/line\nbreak.txt").write_text("bad")
    with pytest.raises(BadInput) as caught:
        read(tmp_path)
    assert "\n" not in str(caught.value)


def test_link_loops_end(tmp_path: Path) -> None:
    """A symbolic link that leads back up is not followed for ever."""
    yolo_set(tmp_path, {"a": ""})
    (tmp_path / "images/train/loop").symlink_to(tmp_path / "images")
    assert len(read(tmp_path).frames) == 1


def test_warnings_refuse_nothing() -> None:
    """Only errors refuse a set."""
    refuse_errors(Path("set"), [warning("zero-area", Path("set/a.txt"), "line 1")])


# images


NOISE = np.random.default_rng(0).integers(0, 255, (37, 53, 3), np.uint8)


MODES = {
    "colour": NOISE,
    "grey": NOISE[..., 0],
    "alpha": np.dstack([NOISE, NOISE[..., 0]]),
    "16 bit": NOISE.astype(np.uint16) * 200,
}
WRITABLE = [
    *((suffix, mode) for suffix in (".jpg", ".png", ".bmp", ".webp", ".tif") for mode in ("colour", "grey")),
    *((suffix, "alpha") for suffix in (".png", ".webp", ".tif")),
    *((suffix, "16 bit") for suffix in (".png", ".tif")),
]


@pytest.mark.parametrize(("suffix", "mode"), WRITABLE)
def test_header_size_is_the_decoded_size(suffix: str, mode: str) -> None:
    """For every format and colour mode that OpenCV writes, the header says what the decode gives."""
    pixels = MODES[mode]
    content = encoded(suffix, pixels)
    fact = images.inspect_content(Path(f"a{suffix}"), content)
    assert isinstance(fact, images.ImageFacts)
    assert images.header_size(content) == (fact.width, fact.height) == (53, 37)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("order", ["<", ">"])
def test_exif_orientation_counts(orientation: int, order: str) -> None:
    """The size of a JPEG is the one OpenCV decodes it to, whichever way the camera was held."""
    content = with_orientation(encoded(".jpg", NOISE), orientation, order)
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)
    assert images.header_size(content) == (decoded.shape[1], decoded.shape[0])


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".webp", ".tif"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.97])
def test_truncated_images_are_found(suffix: str, share: float) -> None:
    """A file that ends early is unreadable in every format."""
    content = encoded(suffix, NOISE)
    finding = images.inspect_content(Path(f"a{suffix}"), content[: int(len(content) * share)])
    assert isinstance(finding, Finding)
    assert finding.kind == "unreadable-image"


def test_truncated_jpeg_with_a_whole_thumbnail() -> None:
    """The end marker of an EXIF thumbnail does not pass for the end of the image."""
    thumbnail = encoded(".jpg", NOISE[:8, :8])
    segment = b"Exif\0\0" + thumbnail
    content = encoded(".jpg", NOISE)
    content = content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]
    assert isinstance(images.inspect_content(Path("a.jpg"), content), images.ImageFacts)
    assert isinstance(images.inspect_content(Path("a.jpg"), content[: len(content) * 2 // 3]), Finding)


def test_jpeg_with_trailing_bytes_is_fine() -> None:
    """Cameras append their own data behind the end marker."""
    assert isinstance(images.inspect_content(Path("a.jpg"), encoded(".jpg", NOISE) + b"maker note"), images.ImageFacts)


def test_decompression_bomb_is_refused_by_its_header(tmp_path: Path) -> None:
    """A file that claims more than 100 megapixels is refused before anything is decoded."""
    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header + bytes(4)
    finding = images.inspect_content(tmp_path / "bomb.png", content)
    assert isinstance(finding, Finding)
    assert finding.kind == "oversized-image"


def test_huge_file_is_refused_unread(tmp_path: Path) -> None:
    """A 2 GB "image" is refused by its size; this one is sparse and would be zeros."""
    path = tmp_path / "huge.jpg"
    with path.open("wb") as handle:
        handle.truncate(2 * 1000**3)
    finding = images.inspect(path)
    assert isinstance(finding, Finding)
    assert finding.reason == "2000 MB, at most 200 MB"


def test_broken_link_is_a_finding(tmp_path: Path) -> None:
    """A link to an image that is gone is unreadable, not a crash."""
    (tmp_path / "a.jpg").symlink_to(tmp_path / "gone.jpg")
    finding = images.inspect(tmp_path / "a.jpg")
    assert isinstance(finding, Finding)
    assert finding.reason == "No such file or directory"


@given(
    st.sampled_from([b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"RIFF____WEBP", b"II*\0", b"MM\0*"]), st.binary()
)
def test_inspection_never_crashes(magic: bytes, rest: bytes) -> None:
    """Any bytes are an image or a reason."""
    assert isinstance(images.inspect_content(Path("a"), magic + rest), images.ImageFacts | Finding)


# names


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=40),
    st.integers(0, 4_000_000_000_000),
)
def test_stamped_names_round_trip(camera: str, milliseconds: int) -> None:
    """Camera and time come back from the name they were put into, to the millisecond."""
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=milliseconds)
    assert names.camera_and_time(Path("folder") / names.stamped_name(camera, moment)) == (camera, moment)


@pytest.mark.parametrize(
    "name", ["plain.jpg", "cam1_20261301T081500.250Z.jpg", "_20260301T081500Z.jpg", "cam1_2026.jpg"]
)
def test_unstamped_names_fall_back(tmp_path: Path, name: str) -> None:
    """A name without a camera and a real time gives "unknown" and the time of the file."""
    path = tmp_path / name
    path.write_bytes(b"")
    os.utime(path, (1_700_000_000.5, 1_700_000_000.5))
    assert names.camera_and_time(path) == ("unknown", datetime(2023, 11, 14, 22, 13, 20, 500_000, timezone.utc))


# real sets


def test_bccd(shared: Path) -> None:
    """The blood cell set in VOC: 364 frames, 4,886 boxes, two boxes without area by file name."""
    report = read(shared / "data/bccd")
    assert report.names == ("Platelets", "RBC", "WBC")
    assert len(report.frames) == 364
    assert sum(len(frame.labels) for frame in report.frames) == 4886
    assert [finding.path.name for finding in report.findings] == ["BloodImage_00338.xml", "BloodImage_00343.xml"]
    assert {finding.kind for finding in report.findings} == {"zero-area"}


def test_neu_det(shared: Path) -> None:
    """The steel set in YOLO: 1,800 files, 1,799 distinct frames; the pair on both sides is one frame, on val."""
    report = read(shared / "data/neu-det")
    assert (report.files, len(report.frames)) == (1800, 1799)
    (pair,) = [finding for finding in report.findings if finding.kind == "duplicate-frame"]
    assert pair.path.name == "patches_105.jpg"
    assert "patches_101.jpg, which is kept once on the val side; their 3 and 3 boxes were joined to 3" in pair.reason
    assert {
        f.frame.image.parent.name for f in report.frames if f.frame.image.stem in ("patches_101", "patches_105")
    } == {"val"}
