"""`edgeloop run`: put an agent together from its settings, run it, and take it apart in the right order."""

from __future__ import annotations

import signal
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Literal

import cv2
from pydantic import Field

from edgeloop.edge.agent import Agent, Screen
from edgeloop.edge.artifact_folder import ArtifactFolder
from edgeloop.edge.device_token import read_token
from edgeloop.edge.endpoint import Endpoint
from edgeloop.edge.health import HealthLimits
from edgeloop.edge.hot_swap import HotSwap
from edgeloop.edge.live_line import LiveLine
from edgeloop.edge.meter import AgentStatus
from edgeloop.edge.model import FixedModel, Model, detectors, read_artifact
from edgeloop.edge.picture import VideoFile, Window
from edgeloop.edge.recorder import Recorder
from edgeloop.edge.retention import Retention
from edgeloop.edge.runtime import RuntimeName
from edgeloop.edge.sources import Warn, open_source
from edgeloop.errors import BadInput
from edgeloop.lock import exclusive
from edgeloop.record import Record

STOPPED_DRAIN_SECONDS = 10.0  # uploading after SIGTERM; systemd kills after 90 seconds
ENDED_DRAIN_SECONDS = 600.0  # uploading after the end of a recorded source, while the store takes it
VIDEO_RATE = 30.0


class AgentSettings(Record):
    """What a run is asked to do.

    Attributes:
        source: see `open_source`.
        model: an artifact's file or record, or a folder of artifacts whose current one may be exchanged meanwhile.
        device: folder for log, images and everything else that must outlive the process.
        store: where log, images and flags are uploaded to, any fsspec URL; None keeps them in the device folder.
        runtime, threads, batch: of the detector.
        retention: which images are kept.
        budget_bytes: how much may wait for the store.
        camera: names the camera in the log; None takes what the source says.
        endpoint: loopback address for flags and metrics, `127.0.0.1:8765`; None for none.
        max_frames: end after so many.
        health: what an exchanged artifact must keep.
        show, save_video: an annotated window; an annotated MP4.
    """

    source: str
    model: Path
    device: Path
    store: str | None = None
    runtime: RuntimeName | Literal["auto"] = "auto"
    threads: int = Field(default=1, ge=1)
    batch: int = Field(default=1, ge=1)
    retention: Retention = Retention()
    budget_bytes: int = Field(default=2 * 2**30, gt=0)
    camera: str | None = None
    endpoint: str | None = None
    max_frames: int | None = Field(default=None, gt=0)
    health: HealthLimits = HealthLimits()
    show: bool = False
    save_video: Path | None = None


def run_agent(settings: AgentSettings) -> AgentStatus:
    """Run until the source ends or SIGTERM or SIGINT comes, and drain; returns how it ended.

    Raises:
        BadInput: something asked for is not there, another agent has the device folder, or no frame was usable.
    """
    line = LiveLine()
    cv2.setNumThreads(settings.threads)  # one for each core would take turns with the camera's and the encoder's
    with exclusive(settings.device / "agent.lock", f"the device folder {settings.device}", patience_seconds=0):
        agent = assemble(settings, line.say)
        try:
            with stopped_by_signals(agent), serving(settings, agent, line.say):
                line.start(agent.status)
                agent.run(settings.max_frames)
        finally:
            line.close()
            status = agent.close(STOPPED_DRAIN_SECONDS if agent.stopped else ENDED_DRAIN_SECONDS)
    if not status.frames and not agent.stopped:
        raise BadInput(f"{settings.source} gave no usable frame; {status.skipped} were skipped.")
    return status


def assemble(settings: AgentSettings, warn: Warn) -> Agent:
    """Open everything that the settings name; what can be refused is refused before anything is written."""
    run = uuid.uuid4().hex[:12]
    source = open_source(settings.source, run, warn, settings.camera)
    screens: list[Screen] = [Window()] if settings.show else []
    if settings.save_video:
        screens.append(VideoFile(settings.save_video, VIDEO_RATE))
    with ExitStack() as opened:
        opened.callback(source.close)
        model = open_model(settings, warn)
        opened.callback(model.close)
        recorder = Recorder(settings.device, run, settings.store, settings.retention, settings.budget_bytes)
        opened.pop_all()
    return Agent(source, model, recorder, warn, screens)


def open_model(settings: AgentSettings, warn: Warn) -> Model:
    """The artifact, or the folder of artifacts, that the settings name, ready to answer."""
    open_detector = detectors(settings.runtime, settings.threads, settings.batch)
    if settings.model.is_dir():
        return HotSwap(ArtifactFolder(settings.model), open_detector, warn, settings.health)
    return FixedModel(read_artifact(settings.model), open_detector)


@contextmanager
def serving(settings: AgentSettings, agent: Agent, warn: Warn) -> Iterator[None]:
    """Answer HTTP while the block runs, when an endpoint was asked for."""
    if settings.endpoint is None:
        yield
        return
    token = read_token(settings.device)
    endpoint = Endpoint(settings.endpoint, token, agent.status, agent.meter.loop, agent.recorder.flag)
    warn(f"flags, metrics and health on http://{endpoint.address}")
    try:
        yield
    finally:
        endpoint.close()


@contextmanager
def stopped_by_signals(agent: Agent) -> Iterator[None]:
    """SIGTERM and SIGINT let the agent finish the frames in hand; a second one ends the process at once."""

    def stop(number: int, _: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        agent.stop()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
