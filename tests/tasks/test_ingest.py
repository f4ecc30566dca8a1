"""Ingest: a labelled set into the data set, production frames into the store."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.arrival import Arrival, IngestReport, IngestSettings
from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.formats import yolo
from edgeloop.manifest import read_manifest
from edgeloop.store import FrameStore
from tasks.arrivals import list_arrivals
from tasks.ingest import ingest as ingest_stage
from tasks.ingest import store_frames
from tests.labelled_sets import smooth

NAMES = ("scratch", "dent")
DRY = IngestSettings(dry_run=True)


def arrival(place: Path, config: Config, settings: IngestSettings | None = None) -> Arrival:
    (only,) = list_arrivals.fn([place], config, settings)
    return only


def ingest(place: Path, config: Config, settings: IngestSettings | None = None) -> IngestReport:
    return ingest_stage.fn(arrival(place, config, settings), config, settings)


def register_frames(place: Path, config: Config) -> IngestReport:
    return store_frames.fn(arrival(place, config), config)


def source(folder: Path, count: int = 6) -> Path:
    """A YOLO set with a copy and a box without area in it."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "data.yaml").write_text(yolo.yaml_text(NAMES, []))
    for number in range(count):
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        cv2.imwrite(str(folder / f"images/{number}.png"), pixels)
        (folder / f"labels/{number}.txt").write_text(f"{number % 2} 0.5 0.5 0.5 0.5\n")
    (folder / "images/copy.png").write_bytes((folder / "images/0.png").read_bytes())
    (folder / "labels/copy.txt").write_text("0 0.5 0.5 0 0.5\n")
    return folder


def test_report_counts_everything(tmp_path: Path) -> None:
    """The report accounts for every file and box: taken in, copied, left out with path and reason."""
    config = Config(root=tmp_path / "ws")
    report = ingest(source(tmp_path / "set"), config)
    assert (report.files, report.added, report.duplicates) == (7, 6, 1)
    assert report.boxes == {"scratch": 3, "dent": 3}
    assert [(finding.kind, finding.path.name) for finding in report.rejected] == [
        ("zero-area", "copy.txt"),
        ("duplicate-frame", "copy.png"),
    ]
    assert IngestReport.load(report.save(tmp_path / "report.json")) == report


def test_again_changes_nothing(tmp_path: Path) -> None:
    """A second ingest of the same source leaves the data set as it is and says so."""
    config = Config(root=tmp_path / "ws")
    first = ingest(source(tmp_path / "set"), config)
    second = ingest(tmp_path / "set", config)
    assert (second.added, second.updated, second.unchanged) == (0, 0, 6)
    assert second.state == first.state


def test_dry_run(tmp_path: Path) -> None:
    """A dry run says what would be added and leaves no trace."""
    report = ingest(source(tmp_path / "set"), Config(root=tmp_path / "ws"), DRY)
    assert (report.added, report.dry_run) == (6, True)
    assert not (tmp_path / "ws").exists()


def test_a_bad_source_changes_nothing(tmp_path: Path) -> None:
    """A source with errors is refused whole; what was there stays, byte for byte."""
    config = Config(root=tmp_path / "ws")
    ingest(source(tmp_path / "good"), config)
    data = config.workspace.data
    before = {path: sha256(path) for path in data.rglob("*") if path.is_file()}
    bad = source(tmp_path / "bad", count=9)
    (bad / "images/8.png").write_bytes((bad / "images/8.png").read_bytes()[:500])
    with pytest.raises(BadInput, match=r"1 × unreadable image: images/8.png \(truncated or corrupt"):
        ingest(bad, config)
    assert {path: sha256(path) for path in data.rglob("*") if path.is_file()} == before


def test_a_class_that_the_data_set_does_not_learn_is_named(tmp_path: Path) -> None:
    """A further name in the list of a later source, without a box: taken in, and said; with a box it is refused."""
    config = Config(root=tmp_path / "ws")
    ingest(source(tmp_path / "first"), config)
    later = source(tmp_path / "later", 3)
    (later / "data.yaml").write_text(yolo.yaml_text((*NAMES, "stain"), []))
    report = ingest(later, config)
    assert [one.reason for one in report.rejected if one.kind == "unused-class"] == [
        "'stain': the data set has no such class, and no box here is one"
    ]
    assert report.names == NAMES
    (later / "labels/0.txt").write_text("2 0.5 0.5 0.5 0.5\n")
    with pytest.raises(BadInput, match="unknown class"):
        ingest(later, config)


def near_set(folder: Path, **pictures: np.ndarray) -> Path:
    """A YOLO set of JPEGs on two sides, taken turn by turn."""
    for number, (name, pixels) in enumerate(pictures.items()):
        side = ("train", "val")[number % 2]
        image, label = folder / f"images/{side}/{name}.jpg", folder / f"labels/{side}/{name}.txt"
        for path in (image, label):
            path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(image), pixels)
        label.write_text("0 0.5 0.5 0.5 0.5\n")
    (folder / "data.yaml").write_text(yolo.yaml_text(NAMES, ["train", "val"]))
    return folder


def brighter(pixels: np.ndarray) -> np.ndarray:
    return cv2.convertScaleAbs(pixels, alpha=0.97, beta=4)


@pytest.mark.parametrize("settings", [DRY, None])
def test_near_duplicates_are_named(tmp_path: Path, settings: IngestSettings | None) -> None:
    """Each frame that nearly repeats one of the source or of the data set is counted and named with it, also when only
    asked; again it says the same, though the data set now holds the frames themselves."""
    config = Config(root=tmp_path / "ws")
    ingest(near_set(tmp_path / "before", old=smooth(1), other=smooth(2)), config)
    (old,) = [row.frame_id for row in read_manifest(config.workspace.data) if row.split == "train"]
    pictures = {"again": brighter(smooth(1)), "alone": smooth(3), "a": smooth(4), "b": brighter(smooth(4))}
    folder = near_set(tmp_path / "set", **pictures)
    for _ in range(2):
        report = ingest(folder, config, settings)
        assert report.near_duplicates == 3
        found = {one.path.as_posix(): one.reason for one in report.notices if one.kind == "near-duplicate"}
        assert found.keys() == {"images/train/again.jpg", "images/train/a.jpg", "images/val/b.jpg"}
        assert re.fullmatch(
            rf"nearly shows the frame {old} of the data set, \d bits? apart", found["images/train/again.jpg"]
        )
        assert re.fullmatch(r"nearly shows images/val/b.jpg, \d bits? apart", found["images/train/a.jpg"])
        assert re.fullmatch(r"nearly shows images/train/a.jpg, \d bits? apart", found["images/val/b.jpg"])


def test_bccd(shared: Path, tmp_path: Path) -> None:
    """The blood cell set: 364 frames, 4,886 boxes, two rejected boxes with their files."""
    report = ingest(shared / "data/bccd", Config(root=tmp_path))
    assert (report.added, sum(report.boxes.values())) == (364, 4886)
    assert [(one.kind, one.path.name) for one in report.rejected] == [
        ("zero-area", "BloodImage_00338.xml"),
        ("zero-area", "BloodImage_00343.xml"),
    ]


@pytest.mark.parametrize("store", ["var/store", "memory://test-ingest"])
def test_frames_are_stored_once(tmp_path: Path, store: str) -> None:
    """Frames land under their id on any file system, once, bytes unchanged; files that are no image are reported."""
    config = Config(root=tmp_path / "ws", store=store)
    folder = source(tmp_path / "stream")
    (folder / "images/broken.jpg").write_bytes(b"\xff\xd8\xff")
    report = register_frames(folder / "images", config)
    assert (report.added, report.present) == (6, 1)
    assert [(finding.path.name, finding.severity) for finding in report.rejected] == [("broken.jpg", "warning")]
    assert register_frames(folder / "images", config).added == 0
    frames, image = FrameStore(config.workspace.store), folder / "images/3.png"
    frame_id = sha256(image)[:16]
    assert frame_id in frames
    assert frames.get(frame_id) == image.read_bytes()
    assert frames.find(frame_id).endswith(f"/frames/{frame_id[:2]}/{frame_id}.png")
    assert "0" * 16 not in frames


def test_frames_that_are_not_there(tmp_path: Path) -> None:
    """An unknown frame, an empty folder and an unknown kind of store are refused in one sentence."""
    with pytest.raises(BadInput, match="does not hold the frame"):
        FrameStore(str(tmp_path)).get("0" * 16)
    with pytest.raises(BadInput, match="does not exist"):
        register_frames(tmp_path / "nothing", Config(root=tmp_path))
    with pytest.raises(BadInput, match="cannot be opened"):
        FrameStore("gopher://store")


@pytest.mark.parametrize(
    ("damaged", "text", "said"),
    [
        ("data.yaml", "names: [a, b", "not YAML"),
        ("data.yaml", "names: &a [*a]", "alias"),
        ("annotations/instances_train.json", "[" * 100_000, "instances_train.json"),
        ("annotations/instances_train.json", '{"images": [', "instances_train.json"),
    ],
)
def test_a_damaged_set_is_not_taken_for_images(tmp_path: Path, damaged: str, text: str, said: str) -> None:
    """What describes the set cannot be read: it is refused for that, and not taken in without its labels."""
    config, source = Config(root=tmp_path / "ws"), tmp_path / "set"
    (source / "images/train").mkdir(parents=True)
    cv2.imwrite(str(source / "images/train/a.jpg"), smooth(1))
    (source / damaged).parent.mkdir(exist_ok=True)
    (source / damaged).write_text(text)
    with pytest.raises(BadInput, match=said):
        ingest(source, config)


@pytest.mark.parametrize("label", ["a.txt", "a.xml", "a.json", "label_2/a.txt"])
def test_labels_in_no_known_layout_are_not_lost(tmp_path: Path, label: str) -> None:
    """Images with files beside them that may be their labels are not taken alone, unless somebody says so."""
    config = Config(root=tmp_path / "ws")
    (tmp_path / "set").mkdir()
    cv2.imwrite(str(tmp_path / "set/a.jpg"), smooth(1))
    (tmp_path / "set/notes.txt").write_text("what was photographed")
    assert arrival(tmp_path / "set", config).kind == "images"
    (tmp_path / "set" / label).parent.mkdir(exist_ok=True)
    (tmp_path / "set" / label).write_text("0 0.5 0.5 0.1 0.1")
    with pytest.raises(BadInput, match=rf"what may be their labels, such as .*{label}"):
        arrival(tmp_path / "set", config)
    assert arrival(tmp_path / "set", config, IngestSettings(format="images")).kind == "images"
