"""The queue on a Label Studio server: tasks with the detector's boxes go in, people's annotations come out.

The one door to Label Studio. One project is one queue, in uncertainty order (the lowest prediction score first).
The key is a legacy token or a personal access token in LABEL_STUDIO_API_KEY; it is sent and never shown.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import Field

from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.files import write_bytes
from edgeloop.frames import Frame, LabelledFrame
from edgeloop.labelling import Answer, PullReport, PushReport, QueueStatus, QueueTask, Reply, check_names, collect
from edgeloop.lock import exclusive
from edgeloop.progress import bar
from edgeloop.record import Record
from edgeloop.regions import (
    IMAGE,
    MODEL_VERSION,
    class_ids,
    from_data,
    from_regions,
    label_config,
    standing_annotation,
    task_filter,
    task_json,
)

T = TypeVar("T")
KEY = "LABEL_STUDIO_API_KEY"
ORDER = "Uncertainty sampling"
TASKS_A_REQUEST = 50  # Label Studio takes at most 100 files a request, and ids in a filter travel in the URL
OVERLAP = timedelta(minutes=10)  # a task's time of change is a little later than its annotation's
ATTEMPTS = 4
FIRST_PAUSE_SECONDS = 0.5  # doubles: 0.5, 1, 2
TIMEOUT_SECONDS = 60.0


class Cursor(Record):
    """How far this workspace has read one project: revisions by frame id, and changes up to `until`."""

    project: int
    until: datetime | None = None
    seen: dict[str, str] = Field(default_factory=dict)


def open_label_studio(config: Config) -> LabelStudioQueue:
    """The queue, after a first request has shown that the server is there and takes the key.

    Raises:
        BadInput: no key, no server, or a key that the server refuses.
    """
    key = os.environ.get(KEY, "")
    if not key:
        raise BadInput(f"{KEY} is not set; expected a token from the account page of {config.queue.url}.")
    return LabelStudioQueue(config, key)


class LabelStudioQueue:
    """One project of a Label Studio server as a labelling queue."""

    def __init__(self, config: Config, key: str) -> None:
        import httpx
        from label_studio_sdk import LabelStudio
        from label_studio_sdk.core.api_error import ApiError

        self.url, self.title = config.queue.url.rstrip("/"), config.queue.project
        self.name = f"Label Studio project {self.title} at {self.url}"
        self._documents = config.queue.local_files
        self._frames = config.workspace.var / "frames"
        stem = config.workspace.var / "label-studio" / quote(self.title, safe=" ")
        self._cursor_file, self._lock = stem.with_name(f"{stem.name}.json"), stem.with_name(f"{stem.name}.lock")
        self._errors: tuple[type[Exception], ...] = (ApiError, httpx.HTTPError)
        self._http = httpx.Client(timeout=TIMEOUT_SECONDS, follow_redirects=True)

        def connect() -> Any:
            client = LabelStudio(base_url=self.url, api_key=key, httpx_client=self._http)
            client.users.whoami()
            return client

        try:
            self._client = self._serve(connect)
        except BadInput:
            self._http.close()
            raise

    def __enter__(self) -> LabelStudioQueue:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def push(self, tasks: Sequence[QueueTask], names: Sequence[str]) -> PushReport:
        chunks = [tasks[start : start + TASKS_A_REQUEST] for start in range(0, len(tasks), TASKS_A_REQUEST)]
        with exclusive(self._lock, self.name):
            project = self._serve(partial(self._project_for, names))
            already = sum(len(self._serve(partial(self._known, project, chunk))) for chunk in chunks)
            uploads = self._serve(partial(self._uploads, project))
            for chunk in bar(chunks, "labels push", len(chunks)):
                self._serve(partial(self._push, project, chunk, names, uploads))
        return PushReport(queue=self.name, added=len(tasks) - already, already=already)

    def pull(self) -> PullReport:
        project = self._required()
        cursor, ids = self._cursor(project.id), class_ids(project.parsed_label_config or {})
        changed = self._serve(partial(self._changed, project.id, cursor.until))
        labelers = self._serve(self._labelers) if changed else {}
        replies = [self._reply(task, ids, labelers) for task in changed]
        report = collect(self.name, [r for r in replies if isinstance(r, Reply)], cursor.seen, len(ids))
        frames = [self._with_image(frame, changed) for frame in bar(report.frames, "labels pull", len(report.frames))]
        return report.model_copy(
            update={
                "frames": tuple(frames),
                "problems": (*report.problems, *(r for r in replies if isinstance(r, str))),
                "until": _until(changed, report.problems, cursor.until),
            }
        )

    def acknowledge(self, report: PullReport) -> None:
        with exclusive(self._lock, self.name):
            cursor = self._cursor(self._required().id)
            seen = {key: revision for key, revision in {**cursor.seen, **dict(report.seen)}.items() if revision}
            cursor.model_copy(update={"seen": seen, "until": report.until or cursor.until}).save(self._cursor_file)

    def status(self) -> QueueStatus:
        project = self._serve(self._find)
        tasks = [] if project is None else self._serve(partial(self._counted, project.id))
        labelled = sum(task.total_annotations > 0 for task in tasks)
        skipped = sum(task.total_annotations == 0 and task.cancelled_annotations > 0 for task in tasks)
        return QueueStatus(
            queue=self.name,
            total=len(tasks),
            labelled=labelled,
            skipped=skipped,
            waiting=len(tasks) - labelled - skipped,
            frame_ids=tuple(task.data["frame_id"] for task in tasks if "frame_id" in task.data),
        )

    def _serve(self, call: Callable[[], T]) -> T:
        """Call the server; what passes (no answer, busy, 5xx) is tried again, what stays becomes one sentence."""
        for attempt in range(ATTEMPTS):
            try:
                return call()
            except self._errors as error:
                if attempt == ATTEMPTS - 1 or not _passes(error):
                    raise BadInput(_explain(self.url, error)) from error
            time.sleep(FIRST_PAUSE_SECONDS * 2**attempt)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _find(self) -> Any:
        """The project with this title, the oldest if there are several; Label Studio's own search is by substring."""
        found = [project for project in self._client.projects.list(title=self.title) if project.title == self.title]
        return min(found, key=lambda project: int(project.id), default=None)

    def _required(self) -> Any:
        project = self._serve(self._find)
        if project is None:
            raise BadInput(f"{self.url} has no project {self.title}; push to it first.")
        return project

    def _project_for(self, names: Sequence[str]) -> int:
        project = self._find()
        if project is None:
            created = self._client.projects.create(
                title=self.title,
                label_config=label_config(names),
                sampling=ORDER,
                model_version=MODEL_VERSION,
                maximum_annotations=1,
                enable_empty_annotation=True,
                show_collab_predictions=True,
                skip_queue="REQUEUE_FOR_ME",
            )
            return int(created.id)
        ids = class_ids(project.parsed_label_config or {})
        check_names(self.name, names, sorted(ids, key=lambda name: ids[name]))
        wanted: dict[str, Any] = {"sampling": ORDER, "model_version": MODEL_VERSION}
        changes = {key: value for key, value in wanted.items() if getattr(project, key) != value}
        changes |= {} if len(ids) == len(names) else {"label_config": label_config(names)}
        if changes:
            self._client.projects.update(project.id, **changes)
        return int(project.id)

    def _known(self, project: int, tasks: Sequence[QueueTask]) -> set[str]:
        """Frame ids of these tasks that the project has."""
        asked = [task.frame.frame_id for task in tasks]
        query = task_filter("data.frame_id", "in_list", "String", asked)
        found = self._client.tasks.list(project=project, query=query, fields="task_only", include="id,data")
        return {task.data["frame_id"] for task in found}

    def _push(self, project: int, tasks: Sequence[QueueTask], names: Sequence[str], uploads: dict[str, str]) -> None:
        """Import what is missing. An import that was done but not answered is seen by the next attempt's look-up."""
        known = self._known(project, tasks)
        new = [task for task in tasks if task.frame.frame_id not in known]
        if self._documents is None:
            self._upload(project, [task.frame for task in new if task.frame.frame_id not in uploads], uploads)
            images = {task.frame.frame_id: f"/data/{uploads[task.frame.frame_id]}" for task in new}
        else:
            images = self._serve_folder(project, [task.frame for task in new], self._documents.resolve())
        request = [task_json(task, images[task.frame.frame_id], names) for task in new]
        if request:
            self._client.projects.import_tasks(id=project, request=request, request_options={"max_retries": 0})

    def _uploads(self, project: int) -> dict[str, str]:
        """Frame id to uploaded file, also of a push that was killed before its tasks were imported."""
        return {} if self._documents else _by_frame(self._client.files.list(id=project, all_=True))

    def _upload(self, project: int, frames: Sequence[Frame], uploads: dict[str, str]) -> None:
        """Send the images; every file has a field of its own, since Label Studio keeps one file a field."""
        if not frames:
            return
        files = [
            (f"file{number}", (f"{frame.frame_id}{frame.image.suffix}", frame.image.read_bytes()))
            for number, frame in enumerate(frames)
        ]
        response = self._http.post(
            f"{self.url}/api/projects/{project}/import",
            params={"commit_to_project": "false"},
            files=files,
            headers=self._authorization(),
        )
        ids = response.raise_for_status().json()["file_upload_ids"]
        uploads |= _by_frame(self._client.files.list(id=project, ids=json.dumps(ids)))

    def _serve_folder(self, project: int, frames: Sequence[Frame], documents: Path) -> dict[str, str]:
        """Addresses of images that Label Studio reads from the folder it serves; each subfolder needs a storage."""
        addresses = {}
        storages = {storage.path for storage in self._client.import_storage.local.list(project=project)}
        for frame in frames:
            image = frame.image.resolve()
            if not image.is_relative_to(documents) or image.parent == documents:
                raise BadInput(f"{image} is not in a folder below queue.local_files, {documents}; remove that key.")
            inner = image.relative_to(documents)
            top = str(documents / inner.parts[0])
            if top not in storages:
                self._client.import_storage.local.create(project=project, path=top, title=top[-50:], use_blob_urls=True)
                storages.add(top)
            addresses[frame.frame_id] = f"/data/local-files/?d={inner.as_posix()}"
        return addresses

    def _changed(self, project: int, until: datetime | None) -> list[Any]:
        query = None
        if until is not None:
            since = (until - OVERLAP).astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            query = task_filter("updated_at", "greater_or_equal", "Datetime", since)
        return list(self._client.tasks.list(project=project, query=query, fields="all"))

    def _labelers(self) -> dict[int, str]:
        return {user.id: user.email for user in self._client.users.list()}

    def _counted(self, project: int) -> list[Any]:
        include = "id,data,total_annotations,cancelled_annotations"
        return list(self._client.tasks.list(project=project, fields="task_only", include=include))

    def _reply(self, task: Any, ids: Mapping[str, int], labelers: Mapping[int, str]) -> Reply | str:
        """What the project says about one frame now; a sentence when the task is not one of ours."""
        try:
            asked = from_data(task.data, self._frames)
        except BadInput as problem:
            return f"task {task.id}: {problem}"
        annotation = standing_annotation(task.annotations or [])
        if annotation is None:
            return Reply(asked)
        revision = f"{annotation['id']}@{annotation['updated_at']}"
        labeler = labelers.get(annotation["completed_by"], f"label-studio:{annotation['completed_by']}")
        key, skipped = asked.frame.frame_id, bool(annotation["was_cancelled"])
        try:
            labels = () if skipped else from_regions(annotation["result"], ids, asked.frame)
        except BadInput as problem:
            return Reply(asked, revision, problem=str(problem))
        return Reply(asked, revision, Answer(frame_id=key, labels=labels, labeler=labeler, skipped=skipped))

    def _with_image(self, labelled: LabelledFrame, changed: Sequence[Any]) -> LabelledFrame:
        """The frame with its image on this machine, fetched when it is not there yet."""
        image, key = labelled.frame.image, labelled.frame.frame_id
        if not image.is_file():
            address = next(task.data[IMAGE] for task in changed if task.data.get("frame_id") == key)
            content = self._serve(partial(self._download, address))
            if not labelled.frame.is_content(content):
                raise BadInput(f"{self.name} shows another image for frame {key}; delete that task and push again.")
            write_bytes(image, content)
        return replace(labelled, frame=replace(labelled.frame, image=image))

    def _download(self, address: str) -> bytes:
        response = self._http.get(f"{self.url}{address}", headers=self._authorization())
        return response.raise_for_status().content

    def _authorization(self) -> dict[str, str]:
        """The SDK exchanges a personal access token for one of five minutes; it has no public way to hand that out."""
        return {"Authorization": self._client._client_wrapper.get_headers()["Authorization"]}  # noqa: SLF001

    def _cursor(self, project: int) -> Cursor:
        """The saved cursor; a project that was made anew is read from its beginning."""
        saved = Cursor.load(self._cursor_file) if self._cursor_file.is_file() else None
        return saved if saved is not None and saved.project == project else Cursor(project=project)


def _by_frame(files: Sequence[Any]) -> dict[str, str]:
    """Label Studio stores `upload/<project>/<random>-<frame id>.jpg`."""
    return {Path(upload.file).stem.rsplit("-", 1)[-1]: upload.file for upload in files}


def _until(changed: Sequence[Any], problems: Sequence[str], before: datetime | None) -> datetime | None:
    """Changes up to here need not be read again; an unusable answer keeps its task in reach until it is changed."""
    unusable = {problem.split(":", 1)[0] for problem in problems}
    held = [task.updated_at for task in changed if task.data.get("frame_id") in unusable]
    return min(held) if held else max((task.updated_at for task in changed), default=before)


def _status(error: Exception) -> int | None:
    response = getattr(error, "response", None)
    return getattr(error, "status_code", None) or getattr(response, "status_code", None)


def _passes(error: Exception) -> bool:
    """Whether trying again may help: no answer at all, busy, or a fault of the server."""
    status = _status(error)
    return status is None or status == 429 or status >= 500


def _explain(url: str, error: Exception) -> str:
    """One sentence. The SDK's own text holds headers and cookies, so only the status and the detail are told."""
    status, body = _status(error), getattr(error, "body", None)
    if status is None:
        return f"Label Studio does not answer at {url} ({error}); start it, or correct queue.url."
    detail = body.get("detail", "") if isinstance(body, dict) else ""
    if status in {401, 403}:
        return f"Label Studio at {url} refuses the key in {KEY} ({status} {detail}); take one from its account page."
    return f"Label Studio at {url} answered {status} {detail}".rstrip() + "; see its log."
