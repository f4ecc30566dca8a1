"""The data set grows whole or not at all; the same input twice changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeloop.dataset import DatasetVersion, describe, load_labels, load_names, merge, state_of, writing
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.formats import read, yolo
from edgeloop.frames import Label, LabelledFrame
from edgeloop.lock import exclusive
from edgeloop.manifest import MANIFEST_NAME, MANIFEST_SCHEMAS, read_manifest
from edgeloop.splits import GroupRule

NAMES = ("scratch", "dent")
LABEL = Label(0, (8.0, 8.0, 24.0, 24.0))


def frames(folder: Path, count: int, labels: Sequence[Label] = (LABEL,), first: int = 0) -> list[LabelledFrame]:
    """Frames of distinct content that a YOLO set in `folder` holds."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "data.yaml").write_text(yolo.yaml_text(NAMES, []))
    for number in range(first, first + count):
        stem = f"cam{number % 2}_20260301T08{number // 60:02d}{number % 60:02d}.000Z"
        pixels = np.random.default_rng(number).integers(0, 255, (32, 32, 3), np.uint8)
        cv2.imwrite(str(folder / "images" / f"{stem}.jpg"), pixels)
        (folder / "labels" / f"{stem}.txt").write_text(yolo.label_text(labels, 32, 32))
    return list(read(folder).frames)


def contents(folder: Path) -> dict[str, str]:
    """Hash of every file by its path."""
    return {str(path.relative_to(folder)): sha256(path) for path in folder.rglob("*") if path.is_file()}


def test_merge_writes_the_documented_layout(tmp_path: Path) -> None:
    """Images and labels by side and frame id, data.yaml and the manifest, nothing else; camera and time are kept."""
    came = frames(tmp_path / "source", 6)
    report = merge(tmp_path / "data", came, NAMES)
    assert (report.added, report.updated, report.unchanged) == (6, 0, 0)
    rows = read_manifest(tmp_path / "data")
    assert {row.frame_id for row in rows} == {frame.frame.frame_id for frame in came}
    expected = {"data.yaml", MANIFEST_NAME} | {row.file for row in rows} | {row.label_file for row in rows}
    assert set(contents(tmp_path / "data")) == expected
    assert {row.camera for row in rows} == {"cam0", "cam1"}
    assert sorted(row.time for row in rows) == sorted(frame.frame.time for frame in came)
    assert all(row.file == f"images/{row.split}/{row.frame_id}.jpg" and row.boxes == 1 for row in rows)
    assert all(row.sha256 == sha256(tmp_path / "data" / row.file) for row in rows)


def test_merge_twice_changes_nothing(tmp_path: Path) -> None:
    """The same frames again, in another order and with their boxes in another order, leave every byte as it was."""
    labels = [LABEL, Label(1, (0.0, 0.0, 9.0, 9.0))]
    came = frames(tmp_path / "source", 5, labels)
    merge(tmp_path / "data", came, NAMES)
    before = contents(tmp_path / "data")
    again = [replace(frame, labels=frame.labels[::-1]) for frame in reversed(came)]
    report = merge(tmp_path / "data", again, NAMES)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 5)
    assert contents(tmp_path / "data") == before


def test_merging_in_steps_gives_the_same_bytes(tmp_path: Path) -> None:
    """How the frames arrived does not show in the data set, so that its hash says what it holds."""
    came = frames(tmp_path / "source", 8)
    merge(tmp_path / "once", came, NAMES)
    sides = {row.frame_id: row.split for row in read_manifest(tmp_path / "once")}
    came = [replace(frame, split=sides[frame.frame.frame_id]) for frame in came]
    for start in (4, 0):
        merge(tmp_path / "steps", came[start : start + 4], NAMES)
    assert contents(tmp_path / "steps") == contents(tmp_path / "once")


def test_labels_are_read_back(tmp_path: Path) -> None:
    """What was merged is what training and evaluation read, by side, from a snapshot and from a plain folder."""
    came = frames(tmp_path / "source", 8)
    merge(tmp_path / "data", came, NAMES)
    back = load_labels(tmp_path / "data")
    assert {(f.frame.frame_id, f.labels, f.frame.width, f.frame.height) for f in back} == {
        (f.frame.frame_id, f.labels, 32, 32) for f in came
    }
    train, val = load_labels(tmp_path / "data", "train"), load_labels(tmp_path / "data", "val")
    assert len(train) + len(val) == 8
    assert {f.split for f in train} == {"train"}
    assert all(f.frame.image.is_file() for f in back)
    plain = [replace(f, source="", frame=replace(f.frame, perceptual_hash=None)) for f in came]
    assert [replace(f, source="") for f in load_labels(tmp_path / "source")] == plain
    assert load_names(tmp_path / "source") == load_names(tmp_path / "data") == NAMES


def test_describe_counts(tmp_path: Path) -> None:
    """A version says how many frames and boxes of each class each side has, zeros included."""
    came = [replace(f, split="train") for f in frames(tmp_path / "source", 3)]
    merge(tmp_path / "data", came, NAMES)
    version = describe(tmp_path / "data", "0" * 32)
    assert version.frames == {"train": 3, "val": 0, "test": 0, "audit": 0}
    assert version.boxes["train"] == {"scratch": 3, "dent": 0}
    assert version.boxes["audit"] == {"scratch": 0, "dent": 0}
    assert version.data_yaml.is_file()
    assert version.state == state_of(tmp_path / "data")


def test_a_version_of_before_has_an_empty_test_side(tmp_path: Path) -> None:
    """A record that was written when there was no test side is read as one without test frames."""
    merge(tmp_path / "data", frames(tmp_path / "source", 3), NAMES)
    document = json.loads(describe(tmp_path / "data", "0" * 32).to_json())
    del document["frames"]["test"], document["boxes"]["test"]
    old = DatasetVersion.from_document(document, "version.json")
    assert (old.frames["test"], old.boxes["test"]) == (0, {"scratch": 0, "dent": 0})
    assert old == describe(tmp_path / "data", "0" * 32)


def test_labels_update_and_corrections_outlast_imports(tmp_path: Path) -> None:
    """New labels replace old ones; an import never undoes what a person answered for."""
    came = frames(tmp_path / "source", 2)
    merge(tmp_path / "data", came, NAMES)
    corrected = replace(came[0], labels=(Label(1, (1.0, 1.0, 30.0, 30.0)),), labeler="ann", source="queue:x")
    assert merge(tmp_path / "data", [corrected], NAMES).updated == 1
    again = merge(tmp_path / "data", came, NAMES)
    assert (again.kept, again.unchanged, again.updated) == (1, 1, 0)
    (row,) = [row for row in read_manifest(tmp_path / "data") if row.frame_id == came[0].frame.frame_id]
    assert (row.labeler, row.source) == ("ann", "queue:x")
    (frame,) = [f for f in load_labels(tmp_path / "data") if f.frame.frame_id == row.frame_id]
    assert frame.labels == corrected.labels


def test_frames_never_change_sides(tmp_path: Path) -> None:
    """A frame that comes again for another side stays where it is and is reported; audit never becomes training."""
    came = frames(tmp_path / "source", 2)
    merge(tmp_path / "data", [replace(came[0], split="audit"), replace(came[1], split="train")], NAMES)
    report = merge(tmp_path / "data", [replace(came[0], split="train"), replace(came[1], split="audit")], NAMES)
    assert set(report.stayed) == {frame.frame.frame_id for frame in came}
    assert {f.frame.frame_id: f.split for f in load_labels(tmp_path / "data")} == {
        came[0].frame.frame_id: "audit",
        came[1].frame.frame_id: "train",
    }


def test_copies_in_one_merge_are_one_frame(tmp_path: Path) -> None:
    """Equal content for two sides ends on the stricter one, once."""
    (frame,) = frames(tmp_path / "source", 1)
    report = merge(tmp_path / "data", [replace(frame, split="train"), replace(frame, split="audit")], NAMES)
    assert (report.added, report.duplicates) == (1, 1)
    assert [f.split for f in load_labels(tmp_path / "data")] == ["audit"]


def test_near_duplicates_are_not_on_two_sides(tmp_path: Path) -> None:
    """A brighter copy of a frame of the data set follows it to its side, whatever it asks for; a queue's frame too."""
    (one,) = frames(tmp_path / "source", 1)
    merge(tmp_path / "data", [replace(one, split="val")], NAMES)
    brighter = cv2.convertScaleAbs(cv2.imread(str(one.frame.image)), alpha=1.0, beta=6)
    (stranger,) = frames(tmp_path / "copy", 1, first=7)
    cv2.imwrite(str(stranger.frame.image), brighter)
    (other,) = read(tmp_path / "copy").frames
    unseen = replace(other, split="train", frame=replace(other.frame, perceptual_hash=None))
    report = merge(tmp_path / "data", [unseen], NAMES)
    assert report.stayed == (other.frame.frame_id,)
    rows = read_manifest(tmp_path / "data")
    assert [(row.split, row.group) for row in rows] == [("val", one.frame.frame_id)] * 2
    assert None not in {row.perceptual_hash for row in rows}


def test_a_frame_that_would_leak_is_left_out(tmp_path: Path) -> None:
    """A frame that looks like an audit frame is named with the reason and not taken in, however often it comes."""
    (one,) = frames(tmp_path / "source", 1)
    merge(tmp_path / "data", [replace(one, split="audit")], NAMES)
    before = contents(tmp_path / "data")
    twin = replace(one, frame=replace(one.frame, frame_id="f" * 16, named="device"))
    for _ in range(2):
        report = merge(tmp_path / "data", [twin], NAMES)
        assert (report.added, [finding.kind for finding in report.left_out]) == (0, ["leak"])
        assert one.frame.frame_id in report.left_out[0].reason
    assert contents(tmp_path / "data") == before


def test_the_rule_is_remembered(tmp_path: Path) -> None:
    """What a data set is split by holds for later frames too, without being named again; a torn rule is refused."""
    came = frames(tmp_path / "source", 8)
    report = merge(tmp_path / "data", came[:4], NAMES, GroupRule.parse("camera"))
    assert report.split_by == "camera"
    assert merge(tmp_path / "data", came[4:], NAMES).split_by == "camera"
    sides = {(row.camera, row.group, row.split) for row in read_manifest(tmp_path / "data")}
    assert {(camera, group) for camera, group, _ in sides} == {("cam0", "camera cam0"), ("cam1", "camera cam1")}
    assert len(sides) == 2
    merge(tmp_path / "torn", [replace(came[0], split="train"), replace(came[2], split="val")], NAMES)
    before = contents(tmp_path / "torn")
    with pytest.raises(BadInput, match="'camera cam0' on the train and the val side already"):
        merge(tmp_path / "torn", came, NAMES, GroupRule.parse("camera"))
    assert contents(tmp_path / "torn") == before


def test_earlier_answers_are_kept(tmp_path: Path) -> None:
    """Every answer that was replaced is in the manifest, oldest first, and equal answers give equal bytes."""
    (one,) = frames(tmp_path / "source", 1)
    answers = [("import", ()), ("ann", (LABEL,)), ("bob", (LABEL, Label(1, (1.0, 1.0, 9.0, 9.0))))]
    for data in ("data", "again"):
        for labeler, labels in answers:
            merge(tmp_path / data, [replace(one, labels=labels, labeler=labeler, source=f"by {labeler}")], NAMES)
    (row,) = read_manifest(tmp_path / "data")
    assert [(past.labeler, past.source, past.boxes) for past in row.history] == [
        ("import", "by import", 0),
        ("ann", "by ann", 1),
    ]
    assert (row.labeler, row.class_ids) == ("bob", (0, 1))
    assert len({past.label_sha256 for past in row.history} | {row.label_sha256}) == 3
    assert state_of(tmp_path / "data") == state_of(tmp_path / "again")


def as_version_1(data: Path) -> None:
    """Rewrite the manifest as the first edgeloop wrote it."""
    rows = read_manifest(data)
    schema = MANIFEST_SCHEMAS[1].with_metadata({"edgeloop.schema_version": "1"})
    columns = {name: [getattr(row, name) for row in rows] for name in schema.names}
    pq.write_table(pa.Table.from_pydict(columns, schema=schema), data / MANIFEST_NAME, compression="zstd")


def test_a_set_of_version_1_is_upgraded(tmp_path: Path) -> None:
    """It is read as it is, and the next merge gives it what it lacks: no frame moves, no file else changes."""
    came = frames(tmp_path / "source", 6)
    merge(tmp_path / "data", came, NAMES)
    described, rows, before = describe(tmp_path / "data", "0" * 32), read_manifest(tmp_path / "data"), None
    as_version_1(tmp_path / "data")
    before = contents(tmp_path / "data")
    old = describe(tmp_path / "data", "0" * 32)
    assert (old.frames, old.boxes) == (described.frames, described.boxes)
    assert len(load_labels(tmp_path / "data")) == 6
    assert {row.perceptual_hash for row in read_manifest(tmp_path / "data")} == {None}
    assert merge(tmp_path / "data", came[:1], NAMES, dry_run=True).unchanged == 1
    assert contents(tmp_path / "data") == before
    report = merge(tmp_path / "data", came[:1], NAMES)
    assert (report.added, report.updated, report.unchanged) == (0, 0, 1)
    assert read_manifest(tmp_path / "data") == rows
    after = contents(tmp_path / "data")
    assert {path for path in after if after[path] != before[path]} == {MANIFEST_NAME}


def test_classes_are_matched_by_name(tmp_path: Path) -> None:
    """A source that numbers the same classes otherwise is renumbered; a class the data set lacks is refused."""
    came = frames(tmp_path / "source", 2)
    merge(tmp_path / "data", came[:1], NAMES)
    merge(tmp_path / "data", came[1:], ("dent", "scratch"))
    found = {f.frame.frame_id: f.labels[0].class_id for f in load_labels(tmp_path / "data")}
    assert found == {came[0].frame.frame_id: 0, came[1].frame.frame_id: 1}
    before = contents(tmp_path / "data")
    with pytest.raises(BadInput, match="'crack' contradict the data set's"):
        merge(tmp_path / "data", came, ("scratch", "crack"))
    assert contents(tmp_path / "data") == before


def test_dry_run_changes_nothing(tmp_path: Path) -> None:
    """A dry run counts what would change and makes no file, not even a lock."""
    came = frames(tmp_path / "source", 2)
    assert merge(tmp_path / "place" / "data", came, NAMES, dry_run=True).added == 2
    assert not (tmp_path / "place").exists()


def test_unknown_files_are_not_lost(tmp_path: Path) -> None:
    """A file somebody put into data/ stops the merge; a cache that Ultralytics left does not."""
    came = frames(tmp_path / "source", 2)
    merge(tmp_path / "data", came[:1], NAMES)
    (tmp_path / "data/labels/train.cache").write_text("")
    merge(tmp_path / "data", came, NAMES)
    (tmp_path / "data/notes.txt").write_text("mine")
    with pytest.raises(BadInput, match=r"did not put there \(notes.txt"):
        merge(tmp_path / "data", came, NAMES)
    assert (tmp_path / "data/notes.txt").read_text() == "mine"


def test_image_that_changes_meanwhile(tmp_path: Path) -> None:
    """An image overwritten between reading and merging stops the merge, and the data set stays as it was."""
    came = frames(tmp_path / "source", 2)
    merge(tmp_path / "data", came[:1], NAMES)
    before = contents(tmp_path / "data")
    came[1].frame.image.write_bytes(b"something else")
    with pytest.raises(BadInput, match="changed while it was taken in"):
        merge(tmp_path / "data", came, NAMES)
    assert contents(tmp_path / "data") == before
    assert [path.name for path in tmp_path.glob(".data*")] == [".data.lock"]


@pytest.mark.parametrize("damage", ["image", "label", "manifest"])
def test_damage_is_said(tmp_path: Path, damage: str) -> None:
    """A file that is gone or broken is named, with what to do."""
    came = frames(tmp_path / "source", 3)
    data = tmp_path / "data"
    merge(data, came[:2], NAMES)
    row = read_manifest(data)[0]
    if damage == "manifest":
        (data / MANIFEST_NAME).write_bytes(b"PAR1 not")
    else:
        (data / (row.file if damage == "image" else row.label_file)).unlink()
    with pytest.raises(BadInput, match="restore the last version"):
        merge(data, came, NAMES) if damage != "label" else load_labels(data)


def test_folder_that_is_no_set(tmp_path: Path) -> None:
    """Reading labels from something else is refused."""
    with pytest.raises(BadInput, match="is not a YOLO set"):
        load_labels(tmp_path)


HOLD = """
import sys, time
from pathlib import Path
from edgeloop.dataset import writing
with writing(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    """A second writer is told who holds the data set; the lock is free when its holder is killed."""
    command = [sys.executable, "-c", HOLD, str(tmp_path / "data")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(BadInput, match=f"by process {holder.pid}"), exclusive(tmp_path / ".data.lock", "it", 0.1):
            pytest.fail("two writers")
        holder.kill()
    with writing(tmp_path / "data"):
        pass


KILLED_AT_EVERY_STEP = """
import os, signal, sys
from dataclasses import replace
from pathlib import Path
from edgeloop.dataset import load_labels, merge
from edgeloop.frames import Label

source, data = Path(sys.argv[1]), Path(sys.argv[2])
frames = [replace(frame, split="train") for frame in load_labels(source)]
merge(data, frames, ("scratch", "dent"))
WRITES = {"open", "os.rename", "os.link", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "ctypes.dlsym"}

def die_at(step):
    left = [step]
    def count(event, arguments):
        reads = event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if event in WRITES and not reads:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(count)

step, killed = 1, True
while killed:
    labels = (Label(step % 2, (1.0, 1.0, 9.0 + step % 20, 9.0)),)
    child = os.fork()
    if child == 0:
        die_at(step)
        merge(data, [replace(frame, labels=labels) for frame in frames], ("scratch", "dent"))
        os._exit(0)
    killed = os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = load_labels(data)
    states = {frame.labels for frame in left}
    assert len(left) == len(frames) and len(states) == 1, (step, len(left), states)
    step += 2
assert states == {labels}
print(step)
"""


@pytest.mark.integration
def test_killed_writer_leaves_a_whole_state(tmp_path: Path) -> None:
    """Killed before any of its writes, data/ is whole and of one merge; the next merge works and leaves no litter."""
    frames(tmp_path / "source", 2)
    command = [sys.executable, "-c", KILLED_AT_EVERY_STEP, str(tmp_path / "source"), str(tmp_path / "data")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 15  # writes of one merge that were each the last
    assert [path.name for path in tmp_path.glob(".data*")] == [".data.lock"]


def test_neu_det_pair_is_on_one_side(shared: Path, tmp_path: Path) -> None:
    """The byte-identical pair of the steel set is one frame on the side that is not trained on."""
    report = read(shared / "data/neu-det")
    merge(tmp_path / "data", report.frames, report.names)
    version = describe(tmp_path / "data", "0" * 32)
    assert version.frames == {"train": 1439, "val": 360, "test": 0, "audit": 0}
