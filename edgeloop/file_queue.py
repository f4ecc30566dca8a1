"""The embedded labelling queue: files, and a labeler for demonstrations that answers from true labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from pydantic import Field

from edgeloop.dataset import load_labels
from edgeloop.errors import BadInput
from edgeloop.frames import LabelledFrame
from edgeloop.labelling import (
    Answer,
    PullReport,
    PushReport,
    QueueStatus,
    QueueTask,
    Reply,
    check_names,
    collect,
    settle,
)
from edgeloop.lock import exclusive
from edgeloop.progress import bar
from edgeloop.record import Record

SIMULATED = "simulated-labeler"


class SimulatedLabeler:
    """Answers from true labels, as a tireless person would. Skips what it has no truth for; signs as what it is."""

    def __init__(self, truth: Path) -> None:
        self.truth: dict[str, LabelledFrame] = {frame.frame.frame_id: frame for frame in load_labels(truth)}

    def answer(self, task: QueueTask) -> Answer:
        """The true labels of a frame, or a skip."""
        true = self.truth.get(task.frame.frame_id)
        if true is None:
            return Answer(frame_id=task.frame.frame_id, labeler=SIMULATED, skipped=True)
        return Answer(frame_id=task.frame.frame_id, labels=true.labels, labeler=SIMULATED)


class FileQueueState(Record):
    """The class names that the queue's ids mean, and the revisions whose labels are in the data set."""

    names: tuple[str, ...] = ()
    seen: dict[str, str] = Field(default_factory=dict)


class FileQueue:
    """A queue of files: tasks/<frame>.json asks, answers/<frame>.json answers, acknowledged.json remembers.

    Every file is written whole or not at all, and a task is named by its frame, so a push may be killed and repeated.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"file queue {folder.name}"

    def __enter__(self) -> FileQueue:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held open."""

    def push(self, tasks: Sequence[QueueTask], names: Sequence[str]) -> PushReport:
        with exclusive(self.folder / ".lock", self.name):
            check_names(self.name, names, self._state().names)
            self._state().model_copy(update={"names": tuple(names)}).save(self._acknowledged)
            new = [task for task in tasks if not self._task(task.frame.frame_id).is_file()]
            for task in bar(new, "labels push", len(new)):
                task.save(self._task(task.frame.frame_id))
        return PushReport(queue=self.name, added=len(new), already=len(tasks) - len(new))

    def pull(self) -> PullReport:
        state = self._state()
        return collect(self.name, self._replies(), state.seen, len(state.names))

    def acknowledge(self, report: PullReport) -> None:
        with exclusive(self.folder / ".lock", self.name):
            state = self._state()
            seen = {key: revision for key, revision in {**state.seen, **dict(report.seen)}.items() if revision}
            state.model_copy(update={"seen": seen}).save(self._acknowledged)

    def status(self) -> QueueStatus:
        replies = list(self._replies())
        answered = [reply for reply in replies if reply.answer or reply.problem]
        skipped = sum(reply.answer is not None and reply.answer.skipped for reply in answered)
        return QueueStatus(
            queue=self.name,
            total=len(replies),
            labelled=len(answered) - skipped,
            skipped=skipped,
            waiting=len(replies) - len(answered),
            frame_ids=tuple(reply.task.frame.frame_id for reply in replies),
        )

    def waiting(self) -> list[QueueTask]:
        """Tasks without an answer, lowest score first."""
        tasks = [reply.task for reply in self._replies() if not reply.answer and not reply.problem]
        return sorted(tasks, key=lambda task: (task.score, task.frame.frame_id))

    def answer(self, answer: Answer) -> None:
        """Answer a task, or change its answer.

        Raises:
            BadInput: no such task, or a box that cannot be used.
        """
        path = self._task(answer.frame_id)
        if not path.is_file():
            raise BadInput(f"{self.name} has no task for frame {answer.frame_id}; push it first.")
        settle(Reply(QueueTask.load(path), answer=answer), len(self._state().names))
        answer.save(self._answer(answer.frame_id))

    def _replies(self) -> Iterator[Reply]:
        for path in sorted((self.folder / "tasks").glob("*.json")):
            task = QueueTask.load(path)
            yield self._reply(task, self._answer(task.frame.frame_id))

    def _reply(self, task: QueueTask, path: Path) -> Reply:
        if not path.is_file():
            return Reply(task)
        revision = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        try:
            return Reply(task, revision, Answer.load(path))
        except BadInput as problem:
            return Reply(task, revision, problem=str(problem))

    def _state(self) -> FileQueueState:
        return FileQueueState.load(self._acknowledged) if self._acknowledged.is_file() else FileQueueState()

    @property
    def _acknowledged(self) -> Path:
        return self.folder / "acknowledged.json"

    def _task(self, key: str) -> Path:
        return self.folder / "tasks" / f"{key}.json"

    def _answer(self, key: str) -> Path:
        return self.folder / "answers" / f"{key}.json"
