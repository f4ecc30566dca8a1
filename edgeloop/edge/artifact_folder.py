"""A device's artifacts: files with their records, a pointer that says which one is wanted, and what came of it.

    <folder>/<name>.onnx, <name>.onnx.json      artifacts
    <folder>/current                            the wanted one's file name; one line, replaced whole
    <folder>/state.json                         what runs, what is on trial, what was refused, and the history

Whoever wants another artifact writes `current`; the agent alone writes `state.json`.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import AwareDatetime, Field

from edgeloop.artifact import Artifact, load_artifact, sidecar_of
from edgeloop.errors import BadInput
from edgeloop.files import write_bytes, write_text
from edgeloop.record import Record

CURRENT, STATE = "current", "state.json"
HISTORY = 100  # events
ATTEMPTS = 3  # a trial that the process did not survive is begun again: a power cut is not the artifact's fault

Step = Literal["activated", "trial", "kept", "rolled-back", "refused"]


class Wanted(NamedTuple):
    """What the pointer says, and when it was written, nanoseconds: writing it again asks again."""

    name: str
    asked: int


class Event(Record):
    """One step of an artifact on this device.

    Attributes:
        time: when.
        step: "activated" without a predecessor to compare with; "trial": answers, under observation; "kept" after it;
            "rolled-back" to the one before; "refused" before it answered anything.
        name: of the file.
        artifact_id: "" when the file could not even be read.
        reason: one sentence for a step back.
    """

    time: AwareDatetime
    step: Step
    name: str
    artifact_id: str
    reason: str = ""


class SwapState(Record):
    """What a device runs and has tried.

    Attributes:
        active: file name of the artifact that was last found healthy.
        trial: file name of the one under observation; a process that starts and finds one here did not survive it.
        attempts: how often that trial was begun.
        refused: what the pointer asked for and will not get: file name, and the pointer's time.
        history: the last hundred steps, oldest first.
    """

    active: str | None = None
    trial: str | None = None
    attempts: int = Field(default=0, ge=0)
    refused: tuple[str, int] | None = None
    history: tuple[Event, ...] = ()

    def after(self, step: Step, name: str, artifact_id: str, reason: str = "", **changes: object) -> SwapState:
        """The state with one more event and these changes."""
        event = Event(time=datetime.now(timezone.utc), step=step, name=name, artifact_id=artifact_id, reason=reason)
        return self.model_copy(update={**changes, "history": (*self.history, event)[-HISTORY:]})


class ArtifactFolder:
    """The artifacts of one device."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def wanted(self) -> Wanted | None:
        """What the pointer asks for; None when there is none, or it names nothing.

        Raises:
            BadInput: it names a file outside the folder.
        """
        pointer = self.path / CURRENT
        try:
            name, asked = pointer.read_text(encoding="utf-8").strip(), pointer.stat().st_mtime_ns
        except FileNotFoundError:
            return None
        except UnicodeDecodeError as error:
            raise BadInput(f"{pointer} is no text; expected the file name of an artifact in {self.path}.") from error
        if name and Path(name).name != name:
            raise BadInput(f"{pointer} names {name!r}; expected the file name of an artifact in {self.path}.")
        return Wanted(name, asked) if name else None

    def load(self, name: str) -> Artifact:
        """An artifact of the folder, checked against its record.

        Raises:
            BadInput: it is not there, or is not the file that its record describes.
        """
        return load_artifact(self.path / name)

    def add(self, artifact: Artifact) -> str:
        """Copy an artifact and its record in, the record last; returns its name here. Nothing points at it yet."""
        name = f"{artifact.id}{artifact.path.suffix}"
        write_bytes(self.path / name, artifact.path.read_bytes())
        artifact.model_copy(update={"path": Path(name)}).save(sidecar_of(self.path / name))
        return name

    def want(self, name: str) -> None:
        """Point at an artifact of the folder.

        Raises:
            BadInput: it is not there, or is not the file that its record describes.
        """
        self.load(name)
        write_text(self.path / CURRENT, f"{name}\n")

    def state(self) -> SwapState:
        """What is recorded; a fresh state when nothing is.

        Raises:
            BadInput: the file is broken.
        """
        path = self.path / STATE
        return SwapState.load(path) if path.is_file() else SwapState()

    def save(self, state: SwapState) -> None:
        """Record a state, whole or not at all."""
        state.save(self.path / STATE)

    def only(self) -> str | None:
        """The one artifact of a folder without a pointer; None when there are several."""
        names = [path.name.removesuffix(".json") for path in self.path.glob("*.onnx.json")]
        with suppress(ValueError):
            (name,) = names
            return name
        return None
