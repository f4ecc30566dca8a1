"""The queue against a real Label Studio server, labelled through its API as people do.

The tests run in order on one project: pushed, labelled, pulled, edited, taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.config import Config, QueueSection
from edgeloop.errors import BadInput
from edgeloop.frames import Frame, frame_id
from edgeloop.labelling import PreLabel, PullReport, PushReport, QueueTask
from edgeloop.regions import to_percent
from tasks.label_studio import KEY
from tasks.labels import acknowledge_labels, labels_status, open_queue, pull_labels
from tests.integration.label_studio_server import LabelStudioServer, label_studio
from tests.logs import START

__all__ = ["label_studio"]  # a fixture is found by its name here

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

NAMES = ("scratch", "dent", "a <b> & c")
SIZE = (320, 240)
SCORES = (0.7, 0.1, 0.4, 0.9, 0.2)


def make_task(folder: Path, index: int, score: float, stratum: str = "uncertain") -> QueueTask:
    """A frame of noise with one proposed box."""
    picture = np.random.default_rng(index).integers(0, 255, (SIZE[1], SIZE[0], 3), np.uint8)
    content = cv2.imencode(".jpg", picture)[1].tobytes()
    image = folder / f"{index}.jpg"
    image.parent.mkdir(parents=True, exist_ok=True)
    image.write_bytes(content)
    frame = Frame(frame_id(content), image, *SIZE, "cam1", START + timedelta(seconds=index))
    boxes = (PreLabel(class_id=index % 3, box=(10, 20, 110, 220), score=0.5),)
    return QueueTask(frame=frame, stratum=stratum, score=score, reason="t", artifact_id="a" * 12, prelabels=boxes)


def region(box: tuple[float, float, float, float], name: str, **value: float) -> dict:
    """A box as the labelling screen sends it."""
    return {
        "from_name": "label", "to_name": "image", "type": "rectanglelabels", "original_width": SIZE[0],
        "original_height": SIZE[1], "image_rotation": 0, "origin": "manual",
        "value": {**to_percent(box, *SIZE), "rotation": 0, "rectanglelabels": [name], **value},
    }  # fmt: skip


class Story:
    """One project on its way through the tests of this file."""

    def __init__(self, root: Path, server: LabelStudioServer) -> None:
        queue = QueueSection(kind="label-studio", url=server.url, project="edgeloop-story")
        self.config = Config(root=root, queue=queue)
        self.server = server
        strata = ("uncertain", "uncertain", "audit", "missed", "flagged")
        self.tasks = [make_task(root / "frames", i, s, t) for i, (s, t) in enumerate(zip(SCORES, strata, strict=True))]
        self.second = server.invite("maria@example.com", "edgeloop-maria-1")
        self.shown: list[dict] = []
        self.annotations: dict[str, int] = {}

    def push(self, tasks: list[QueueTask], names: tuple[str, ...] = NAMES) -> PushReport:
        with open_queue(self.config) as queue:
            return queue.push(tasks, names)

    @property
    def project(self) -> int:
        found = self.server.get("/api/projects", title="edgeloop-story").json()["results"]
        assert len(found) == 1
        return int(found[0]["id"])

    def pull(self) -> PullReport:
        return pull_labels.fn(self.config)

    def sync(self) -> PullReport:
        report = self.pull()
        acknowledge_labels.fn(report, self.config)
        return report


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, label_studio: LabelStudioServer) -> Iterator[Story]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, label_studio.token)
        yield Story(tmp_path_factory.mktemp("story"), label_studio)


def test_push_creates_one_project_and_adds_each_frame_once(story: Story) -> None:
    """Pushing twice, or a push that was killed half-way and is repeated, leaves one task a frame."""
    first = story.push(story.tasks[:2], NAMES)
    again = story.push(story.tasks, NAMES)
    last = story.push(story.tasks, NAMES)
    assert [(r.added, r.already) for r in (first, again, last)] == [(2, 0), (3, 2), (0, 5)]
    status = labels_status.fn(story.config)
    assert (status.total, status.waiting) == (5, 5)
    assert set(status.frame_ids) == {task.frame.frame_id for task in story.tasks}


def test_people_see_the_lowest_score_first_with_proposals_and_image(story: Story) -> None:
    """Two people label in turn: what the server shows next follows the score, is pre-labelled, and has its pixels."""
    for turn in range(len(SCORES)):
        token = story.second if turn % 2 else story.server.token
        task = story.server.next_task(story.project, token)
        assert task is not None
        story.shown.append(task)
        key = task["data"]["frame_id"]
        result = [
            region((0, 0, 32, 24), "dent"), region((300, 200, 350, 260), "a <b> & c")
        ] if turn == 0 else task["predictions"][0]["result"] if turn < 3 else []  # fmt: skip
        story.annotations[key] = story.server.annotate(task["id"], result, token, skip=turn == 3)
    scores = [task["data"]["score"] for task in story.shown]
    assert scores == sorted(SCORES)
    assert all(len(task["predictions"][0]["result"]) == 1 for task in story.shown)
    image = story.server.get(story.shown[0]["data"]["image"])
    assert frame_id(image.content) == story.shown[0]["data"]["frame_id"]


def test_pull_brings_labels_backgrounds_and_skips_apart(story: Story) -> None:
    """Boxes in pixels and cut to the image; an empty answer is a background; a skip is no label; audit stays audit."""
    report = story.pull()
    by_score = {task.score: task.frame.frame_id for task in story.tasks}
    frames = {frame.frame.frame_id: frame for frame in report.frames}
    assert report.skipped == (by_score[0.7],)
    assert set(frames) == {by_score[score] for score in (0.1, 0.2, 0.4, 0.9)}
    first = frames[by_score[0.1]]
    assert [label.class_id for label in first.labels] == [1, 2]
    np.testing.assert_allclose(first.labels[0].box, (0, 0, 32, 24), atol=1e-3)
    np.testing.assert_allclose(first.labels[1].box, (300, 200, 320, 240), atol=1e-3)
    assert report.clipped == 1
    assert frames[by_score[0.9]].labels == ()
    kept = next(task for task in story.tasks if task.score == 0.4)
    np.testing.assert_allclose(frames[by_score[0.4]].labels[0].box, kept.prelabels[0].box, atol=1e-3)
    assert {frame.split for frame in report.frames if frame.source == "queue:audit"} == {"audit"}
    assert first.labeler == "admin@example.com"
    assert frames[by_score[0.2]].labeler == "maria@example.com"


def test_pulled_frames_have_their_image_on_this_machine(story: Story) -> None:
    """Labels may be pulled where the frames never were; the bytes are those that were pushed."""
    for frame in story.pull().frames:
        assert frame.frame.image.is_relative_to(story.config.workspace.var)
        assert frame_id(frame.frame.image.read_bytes()) == frame.frame.frame_id


def test_pull_repeats_itself_until_acknowledged(story: Story) -> None:
    """A crash before the labels are safe loses none of them."""
    assert len(story.pull().frames) == 4
    assert len(story.sync().frames) == 4
    assert story.pull().frames == ()


def test_edit_after_the_pull_comes_once(story: Story) -> None:
    """A person corrects an answer."""
    key = story.shown[0]["data"]["frame_id"]
    body = {"result": [region((50, 50, 90, 90), "scratch")]}
    story.server.patch(f"/api/annotations/{story.annotations[key]}/", body).raise_for_status()
    report = story.sync()
    assert [frame.frame.frame_id for frame in report.frames] == [key]
    np.testing.assert_allclose(report.frames[0].labels[0].box, (50, 50, 90, 90), atol=1e-3)
    assert story.sync().frames == ()


def test_deleted_answer_is_retracted(story: Story) -> None:
    """The data set must forget what nobody answers for any more; told once."""
    key = story.shown[1]["data"]["frame_id"]
    story.server.delete(f"/api/annotations/{story.annotations[key]}/").raise_for_status()
    assert story.sync().retracted == (key,)
    assert story.sync().retracted == ()


def test_skipped_frame_that_is_labelled_later_comes(story: Story) -> None:
    """A skip is served again, and its answer counts."""
    key = story.shown[3]["data"]["frame_id"]
    story.annotations[key] = story.server.annotate(story.shown[3]["id"], [region((1, 1, 50, 50), "dent")])
    assert [frame.frame.frame_id for frame in story.sync().frames] == [key]


def test_rotated_box_becomes_the_upright_box_around_it(story: Story) -> None:
    """90 degrees clockwise about the left top corner, in pixels of an image that is not square."""
    key = story.shown[0]["data"]["frame_id"]
    body = {"result": [region((160, 60, 220, 80), "dent", rotation=90)]}
    story.server.patch(f"/api/annotations/{story.annotations[key]}/", body).raise_for_status()
    np.testing.assert_allclose(story.sync().frames[0].labels[0].box, (140, 60, 160, 120), atol=1e-3)


def test_unusable_answer_is_a_problem_until_it_is_changed(story: Story) -> None:
    """A label nobody knows never becomes a class; told at every pull, also long after."""
    key = story.shown[0]["data"]["frame_id"]
    address = f"/api/annotations/{story.annotations[key]}/"
    story.server.patch(address, {"result": [region((1, 1, 9, 9), "rust")]}).raise_for_status()
    assert key in story.sync().problems[0]
    report = story.sync()
    assert report.frames == ()
    assert "'rust'" in report.problems[0]
    story.server.patch(address, {"result": [region((1, 1, 9, 9), "dent")]}).raise_for_status()
    report = story.sync()
    assert report.problems == ()
    assert [frame.frame.frame_id for frame in report.frames] == [key]


def test_task_somebody_else_imported_is_named(story: Story) -> None:
    """It is not ours to read."""
    story.server.post(f"/api/projects/{story.project}/import", [{"image": "/data/upload/x.jpg"}]).raise_for_status()
    assert "did not push it" in story.pull().problems[0]


def test_status_counts(story: Story) -> None:
    """What waits, what is done."""
    status = labels_status.fn(story.config)
    assert (status.total, status.labelled, status.skipped, status.waiting) == (6, 4, 0, 2)


def test_new_classes_may_be_appended_but_not_changed(story: Story) -> None:
    """Ids in finished labels keep their meaning."""
    more = make_task(story.config.root / "more", 11, 0.3)
    story.push([more], (*NAMES, "rust"))
    with pytest.raises(BadInput, match=r"queue\.project"):
        story.push([more], ("dent", *NAMES))


def test_personal_access_token_works(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of a production server, for the SDK's requests and for ours: an upload and a download."""
    monkeypatch.setenv(KEY, story.server.personal_access_token())
    task = make_task(story.config.root / "pat", 12, 0.3)
    assert story.push([task], (*NAMES, "rust")).added == 1
    pushed = story.server.get("/api/tasks", project=story.project, page_size=100).json()["tasks"]
    asked = next(item["id"] for item in pushed if item["data"].get("frame_id") == task.frame.frame_id)
    story.server.annotate(asked, [])
    assert len(story.sync().frames) == 1


def test_local_files_are_served_not_copied(story: Story) -> None:
    """A server on this machine reads the images where they are."""
    queue = story.config.queue.model_copy(update={"project": "edgeloop-local", "local_files": story.server.documents})
    config = story.config.model_copy(update={"queue": queue})
    task = make_task(story.server.documents / "frames", 21, 0.5)
    with open_queue(config) as local:
        assert local.push([task], NAMES).added == 1
    project = story.server.get("/api/projects", title="edgeloop-local").json()["results"][0]["id"]
    shown = story.server.next_task(project)
    assert shown is not None
    assert story.server.get(shown["data"]["image"]).content == task.frame.image.read_bytes()
    story.server.annotate(shown["id"], [region((1, 1, 9, 9), "dent")])
    assert pull_labels.fn(config).frames[0].frame.frame_id == task.frame.frame_id
    outside = make_task(story.config.root / "frames", 22, 0.5)
    with open_queue(config) as local, pytest.raises(BadInput, match="local_files"):
        local.push([outside], NAMES)


def test_wrong_key_and_missing_project_are_one_sentence(story: Story, monkeypatch: pytest.MonkeyPatch) -> None:
    """Exit 2 with what to do, and never the key."""
    empty = story.config.model_copy(update={"queue": story.config.queue.model_copy(update={"project": "nobody"})})
    with pytest.raises(BadInput, match="push to it first"):
        pull_labels.fn(empty)
    monkeypatch.setenv(KEY, "0" * 40)
    with pytest.raises(BadInput, match="refuses the key") as refusal:
        open_queue(story.config)
    assert "0" * 40 not in str(refusal.value)
