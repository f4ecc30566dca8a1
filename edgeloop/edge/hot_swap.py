"""Another artifact between two frames, without dropping one, and back again when it does not do well.

A thread watches the pointer of the artifact folder, loads what it names, warms it up and tests it. The loop takes the
new detector when it is ready, and keeps the old one at hand until the new one's first frames are through. A frame that
the new one fails on is answered by the old one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

from edgeloop.artifact import Artifact
from edgeloop.edge.artifact_folder import ATTEMPTS, ArtifactFolder, Step, SwapState, Wanted
from edgeloop.edge.detector import Detector, Inference
from edgeloop.edge.frame import Image
from edgeloop.edge.health import Baseline, HealthLimits, Window, self_test
from edgeloop.edge.model import OpenDetector
from edgeloop.edge.sources import Warn
from edgeloop.errors import BadInput

LOOK_SECONDS = 0.5  # how soon a new pointer is noticed
JUDGE_EVERY = 10  # batches: percentiles of a thousand times cost a tenth of a millisecond


class Trial(NamedTuple):
    """An artifact under observation, and what asked for it."""

    wanted: Wanted
    detector: Detector


class HotSwap:
    """The artifact that the folder's pointer names, exchanged while frames go through.

    Attributes:
        detector: the one that answered the last batch.
    """

    def __init__(
        self,
        folder: ArtifactFolder,
        open_detector: OpenDetector,
        warn: Warn,
        limits: HealthLimits | None = None,
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        """Open the artifact that was last found healthy, or the wanted one when there is none, and begin to watch.

        Raises:
            BadInput: there is no artifact, or the only one does not run.
        """
        self._folder, self._open, self._warn = folder, open_detector, warn
        self._limits, self._look_seconds = limits or HealthLimits(), look_seconds
        self._state = folder.state()
        self._active = self.detector = self._first()
        # Of the loop:
        self._baseline, self._batches = Baseline(), 0
        self._previous: Detector | None = None
        self._window: Window | None = None
        self._image: Image | None = None
        # From the thread to the loop, and back: (the detector that is no longer needed, what was wrong with it).
        self._ready: Detector | None = None
        self._judgement: tuple[Detector, str | None] | None = None
        # Of the thread:
        self._trial: Trial | None = None
        self._problem: str | None = None
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="edgeloop-artifacts", daemon=True)
        self._thread.start()

    @property
    def state(self) -> SwapState:
        """What runs, what is on trial, and the history."""
        return self._state

    def detect_batch(self, images: Sequence[Image]) -> list[Inference]:
        """Detections of a batch, by the newest artifact that is ready and sound."""
        self._take_ready()
        self._image = images[0]
        self.detector = self._active
        try:
            found = self._active.detect_batch(images)
        except Exception as problem:  # runtimes raise Exceptions of their own
            if self._window is None or self._previous is None:
                raise
            self._warn(f"{self._active.artifact.id} fails on a frame, the one before answers: {problem}")
            self._window.fail(len(images))
            self.detector = self._previous
            found = self._previous.detect_batch(images)
        else:
            counts = self._baseline if self._window is None else self._window
            for inference in found:
                counts.add(inference, self._active.artifact.thresholds)
        self._judge()
        return found

    def problems(self) -> tuple[str, ...]:
        return (self._problem,) if self._problem else ()

    def close(self) -> None:
        """End the thread; a trial that is not over is begun again by the next run, and not counted against it."""
        self._closing.set()
        self._thread.join()
        self._write_down_judgement()
        if self._trial is not None:
            self._save(self._state.model_copy(update={"attempts": self._state.attempts - 1}))
        for detector in {self._active, self._previous, self._ready} - {None}:
            detector.runtime.close()  # type: ignore[union-attr]

    # The loop's part

    def _take_ready(self) -> None:
        if self._ready is not None:
            self._previous, self._active, self._ready = self._active, self._ready, None
            self._window, self._batches = Window(self._limits, self._baseline), 0

    def _judge(self) -> None:
        window, previous, self._batches = self._window, self._previous, self._batches + 1
        if window is None or previous is None:
            return
        if self._batches % JUDGE_EVERY and not window.is_over and self.detector is self._active:
            return
        complaint = window.complaint()
        if complaint is None and not window.is_over:
            return
        if complaint is None:
            retired, self._baseline = previous, window.own
        else:
            retired, self._active = self._active, previous
        self._window = self._previous = None
        self._judgement = (retired, complaint)

    # The thread's part

    def _first(self) -> Detector:
        """The last healthy artifact, else the wanted one, else the only one."""
        if self._state.active is not None:
            try:
                return self._open(self._folder.load(self._state.active))
            except BadInput as problem:
                self._warn(f"the artifact that ran last does not run any more: {problem}")
        wanted = self._folder.wanted()
        name = wanted.name if wanted else self._folder.only()
        if name is None:
            raise BadInput(
                f"{self._folder.path} names no artifact; expected exactly one .onnx with its record, or a file "
                f"`current` with the name of the one to run."
            )
        detector = self._open(self._folder.load(name))
        self_test(detector, None, self._limits.maximum_p99_ms)
        self._save(self._state.after("activated", name, detector.artifact.id, active=name))
        return detector

    def _watch(self) -> None:
        while not self._closing.wait(self._look_seconds):
            problem = self._step()
            if problem is not None and problem != self._problem:
                self._warn(f"the artifact folder: {problem}")
            self._problem = problem

    def _step(self) -> str | None:
        """Write down what the loop found, and look for something new; returns what is wrong with the folder."""
        try:
            self._write_down_judgement()
            if self._trial is None:
                self._look()
        except (BadInput, OSError) as problem:
            return str(problem)
        return None

    def _look(self) -> None:
        wanted = self._folder.wanted()
        if wanted is None or wanted.name == self._state.active or self._state.refused == wanted:
            return
        if wanted.name == self._state.trial and self._state.attempts >= ATTEMPTS:
            self._refuse(wanted, "", f"the process ended {ATTEMPTS} times while it was on trial")
            return
        artifact: Artifact | None = None
        try:
            artifact = self._folder.load(wanted.name)
            detector = self._open(artifact)
            self_test(detector, self._image, self._limits.maximum_p99_ms)
        except Exception as problem:  # whatever is wrong with a new artifact, the old one goes on
            self._refuse(wanted, artifact.id if artifact else "", str(problem))
            return
        self._begin_trial(wanted, detector)

    def _begin_trial(self, wanted: Wanted, detector: Detector) -> None:
        begun = self._state.attempts if wanted.name == self._state.trial else 0
        identity = detector.artifact.id
        self._save(self._state.after("trial", wanted.name, identity, trial=wanted.name, attempts=begun + 1))
        self._trial, self._ready = Trial(wanted, detector), detector

    def _write_down_judgement(self) -> None:
        if self._judgement is None or self._trial is None:
            return
        retired, complaint = self._judgement
        wanted, identity = self._trial.wanted, self._trial.detector.artifact.id
        if complaint is None:
            self._save(
                self._state.after(
                    "kept", wanted.name, identity, active=wanted.name, trial=None, attempts=0, refused=None
                )
            )
            self._warn(f"{identity} is healthy and stays.")
        else:
            self._refuse(wanted, identity, complaint, rolled_back=True)
        self._judgement = self._trial = None
        retired.runtime.close()

    def _refuse(self, wanted: Wanted, identity: str, reason: str, *, rolled_back: bool = False) -> None:
        step: Step = "rolled-back" if rolled_back else "refused"
        changes = {"trial": None, "attempts": 0, "refused": tuple(wanted)}
        self._save(self._state.after(step, wanted.name, identity, reason, **changes))
        self._warn(f"{wanted.name} is {step}: {reason}")

    def _save(self, state: SwapState) -> None:
        self._folder.save(state)
        self._state = state
