"""Labels: the file queue through its stages, from chosen frames to answers and back."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

import flows.label_sync as label_sync_module
from edgeloop.artifact import Artifact
from edgeloop.config import Config
from edgeloop.dataset import load_labels, state_of
from edgeloop.errors import BadInput
from edgeloop.file_queue import SIMULATED, FileQueue
from edgeloop.formats.yolo import label_text, yaml_text
from edgeloop.frames import Label, frame_id
from edgeloop.labelling import Answer, PushReport
from edgeloop.log_slice import LogSlice
from edgeloop.merge import merge
from edgeloop.selection import Selected, Selection
from tasks.labels import acknowledge_labels, labels_status, open_queue, pull_labels, push_labels, simulate_labels
from tests.logs import START, logged_frame, table_of, write_log

NAMES = ("dent", "crack")
STRATA = ("uncertain", "audit", "missed")
TRUE = Label(1, (20.0, 30.0, 60.0, 90.0))


class Bench:
    """Three stored frames, their log, a selection of them and their truth: one crack on the first, nothing else."""

    def __init__(self, root: Path) -> None:
        self.config = Config(root=root)
        self.artifact = Artifact(
            path=root / "m.onnx", sha256="a" * 64, precision="fp32", imgsz=192, names=NAMES, thresholds=(0.5, 0.5)
        )
        self.window = LogSlice(url=str(root / "var" / "log"))
        self.truth = root / "truth"
        self.ids = [self._frame(root, index) for index in range(3)]
        (self.truth / "data.yaml").write_text(yaml_text(NAMES, []))
        rows = [
            logged_frame(key, START + timedelta(seconds=10 * i), [], f"frames/{key}.png")
            for i, key in enumerate(self.ids)
        ]
        write_log(table_of(rows), root / "var" / "log")
        frames = tuple(
            Selected(frame_id=key, stratum=stratum, score=0.3 * index, reason="test")
            for index, (key, stratum) in enumerate(zip(self.ids, STRATA, strict=True))
        )
        self.selection = Selection(artifact_id="a" * 12, budget=3, candidates=3, frames=frames, path=root / "s.json")

    def _frame(self, root: Path, index: int) -> str:
        image = np.random.default_rng(index).integers(0, 255, (320, 320, 3), np.uint8)
        content = cv2.imencode(".png", image)[1].tobytes()
        key = frame_id(content)
        for path in (root / "var/store/frames" / f"{key}.png", self.truth / "images" / f"{index}.png"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        (self.truth / "labels").mkdir(exist_ok=True)
        (self.truth / "labels" / f"{index}.txt").write_text(label_text([TRUE] if index == 0 else [], 320, 320))
        return key

    def push(self) -> PushReport:
        return push_labels.fn(self.selection, self.window, self.artifact, self.config)

    @property
    def queue(self) -> FileQueue:
        queue = open_queue(self.config)
        assert isinstance(queue, FileQueue)
        return queue


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_push_twice_adds_once(bench: Bench) -> None:
    """A push that is repeated, or killed and repeated, leaves one task a frame."""
    assert bench.push().added == 3
    report = bench.push()
    assert (report.added, report.already) == (0, 3)
    assert labels_status.fn(bench.config).waiting == 3


def test_lowest_score_is_asked_first(bench: Bench) -> None:
    """People see what the detector is least sure of before anything else."""
    bench.push()
    assert [task.frame.frame_id for task in bench.queue.waiting()] == bench.ids


def test_simulated_labeler_signs_as_what_it_is(bench: Bench) -> None:
    """Labels are the truth, audit keeps its side, an empty truth is a background, and nobody takes it for a person."""
    bench.push()
    assert simulate_labels.fn(bench.truth, bench.config) == 3
    frames = {frame.frame.frame_id: frame for frame in pull_labels.fn(bench.config).frames}
    assert {frame.labeler for frame in frames.values()} == {SIMULATED}
    assert [frames[key].split for key in bench.ids] == [None, "audit", None]
    assert frames[bench.ids[0]].labels[0].class_id == TRUE.class_id
    assert frames[bench.ids[0]].labels[0].box == pytest.approx(TRUE.box, abs=1e-3)
    assert frames[bench.ids[2]].labels == ()


def test_frames_without_truth_are_skipped(bench: Bench) -> None:
    """The simulated labeler does not guess."""
    (bench.truth / "images" / "0.png").unlink()
    (bench.truth / "labels" / "0.txt").unlink()
    bench.push()
    simulate_labels.fn(bench.truth, bench.config)
    report = pull_labels.fn(bench.config)
    assert report.skipped == (bench.ids[0],)
    assert len(report.frames) == 2


def test_pull_repeats_itself_until_acknowledged(bench: Bench) -> None:
    """A crash between pull and data set loses nothing; after it, only changes come."""
    bench.push()
    simulate_labels.fn(bench.truth, bench.config)
    first = pull_labels.fn(bench.config)
    assert pull_labels.fn(bench.config) == first
    acknowledge_labels.fn(first, bench.config)
    assert pull_labels.fn(bench.config).frames == ()
    bench.queue.answer(Answer(frame_id=bench.ids[1], labels=(TRUE,), labeler="maria"))
    assert [frame.labeler for frame in pull_labels.fn(bench.config).frames] == ["maria"]


def test_answer_file_edited_by_hand_into_nonsense_is_a_problem_not_a_label(bench: Bench) -> None:
    """One broken answer is named; the others come through."""
    bench.push()
    simulate_labels.fn(bench.truth, bench.config)
    (bench.queue.folder / "answers" / f"{bench.ids[0]}.json").write_text("{")
    report = pull_labels.fn(bench.config)
    assert len(report.frames) == 2
    assert bench.ids[0] in report.problems[0]
    assert labels_status.fn(bench.config).labelled == 3


def test_changed_image_is_refused(bench: Bench) -> None:
    """A frame is its content: labels for other bytes would be wrong for ever."""
    (bench.config.root / "var/store/frames" / f"{bench.ids[1]}.png").write_bytes(b"other")
    with pytest.raises(BadInput, match="content has changed"):
        bench.push()
    assert labels_status.fn(bench.config).total == 0


def test_frames_that_a_device_named_become_data(bench: Bench) -> None:
    """A device names a frame before it becomes a JPEG: the id is not the content's, yet the label arrives."""
    named = "0123456789abcdef"
    image = bench.config.root / "var/store/frames/01" / f"{named}.jpg"
    image.parent.mkdir()
    image.write_bytes(cv2.imencode(".jpg", np.full((320, 320, 3), 90, np.uint8))[1].tobytes())
    row = logged_frame(named, START + timedelta(seconds=90), [], f"frames/01/{named}.jpg") | {"kept": "every"}
    write_log(table_of([row]), bench.config.root / "var" / "log")
    chosen = Selected(frame_id=named, stratum="uncertain", score=0.1, reason="test")
    bench.selection = bench.selection.model_copy(update={"frames": (chosen,)})
    bench.push()
    bench.queue.answer(Answer(frame_id=named, labels=(TRUE,), labeler="maria"))
    data = bench.config.root / "data"
    merge(data, pull_labels.fn(bench.config).frames, NAMES)
    (labelled,) = load_labels(data)
    assert (labelled.frame.frame_id, len(labelled.labels)) == (named, 1)


def test_missing_image_is_refused(bench: Bench) -> None:
    """The message names the file."""
    (bench.config.root / "var/store/frames" / f"{bench.ids[1]}.png").unlink()
    with pytest.raises(BadInput, match=f"{bench.ids[1]}.png"):
        bench.push()


def test_images_of_a_remote_store_are_fetched(bench: Bench) -> None:
    """An fsspec URL works like a folder."""
    import fsspec

    memory = fsspec.filesystem("memory")
    for key in bench.ids:
        memory.pipe(f"/plant/frames/{key}.png", (bench.config.root / f"var/store/frames/{key}.png").read_bytes())
    bench.config = bench.config.model_copy(update={"store": "memory://plant"})
    bench.push()
    assert all(task.frame.image.parent == bench.config.workspace.var / "frames" for task in bench.queue.waiting())
    assert all(task.frame.image.is_file() for task in bench.queue.waiting())


def test_class_names_cannot_change_meaning_under_way(bench: Bench) -> None:
    """Pushing for an artifact with other classes into the same queue is refused."""
    bench.push()
    bench.artifact = bench.artifact.model_copy(update={"names": ("crack", "dent")})
    with pytest.raises(BadInput, match=r"queue\.project"):
        bench.push()


def test_answer_without_task_is_refused(bench: Bench) -> None:
    """Nobody answers what was not asked."""
    with pytest.raises(BadInput, match="push it first"):
        bench.queue.answer(Answer(frame_id="0" * 16, labeler="maria"))


def test_box_outside_is_refused_when_it_is_answered(bench: Bench) -> None:
    """The person hears it at once."""
    bench.push()
    with pytest.raises(BadInput, match="no area"):
        bench.queue.answer(
            Answer(frame_id=bench.ids[0], labels=(replace(TRUE, box=(400, 1, 500, 9)),), labeler="maria")
        )


def test_the_remote_is_asked_before_labels_are_merged(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it takes no version, the data set stays as it was and the same labels come with the next pull."""
    data = bench.config.workspace.data
    merge(data, [], NAMES)
    before = state_of(data)
    bench.push()
    simulate_labels.fn(bench.truth, bench.config)
    (bench.config.root / "file").write_text("")
    (bench.config.root / "config.yaml").write_text("dvc_remote: file/remote\n")
    for name in ("pull_labels", "require_remote", "ingest_labels", "commit_version", "acknowledge_labels"):
        monkeypatch.setattr(label_sync_module, name, getattr(label_sync_module, name).fn)  # without a Prefect server
    with pytest.raises(BadInput, match="file/remote"):
        label_sync_module.label_sync.fn(emit=False, config_path=bench.config.root / "config.yaml")
    assert state_of(data) == before
    assert len(pull_labels.fn(bench.config).frames) == 3
