"""`edgeloop run` and `edgeloop flag` as processes: signals, kills, and a second agent."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgeloop.artifact import Artifact
from edgeloop.edge.artifact_folder import ArtifactFolder
from edgeloop.edge.flags import read_flags
from edgeloop.edge.log import read_log
from tests.cameras import MjpegCamera
from tests.edgeloop.edge.test_hot_swap import make_artifact
from tests.edgeloop.edge.test_sources import write_images

Make = Callable[..., Artifact]
PATIENCE_SECONDS = 60
pytestmark = pytest.mark.integration


class Device:
    """A device folder, a store, and agents as processes."""

    def __init__(self, path: Path, artifact: Artifact) -> None:
        self.path, self.artifact = path, artifact
        self.folder, self.store = path / "device", path / "store"
        self.started: list[subprocess.Popen[str]] = []

    def start(self, source: object, *options: object, model: object | None = None) -> subprocess.Popen[str]:
        words = [
            "run", source, "--model", model or self.artifact.path, "--device-folder", self.folder,
            "--store", self.store, "--runtime", "onnxruntime", "--json", *options,
        ]  # fmt: skip
        process = self.popen(*words)
        self.started.append(process)
        return process

    def popen(self, *words: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "edgeloop", *(str(word) for word in words)]
        return subprocess.Popen(
            command, cwd=self.path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "OMP_NUM_THREADS": "1"},
        )  # fmt: skip

    def rows(self) -> list[dict[str, Any]]:
        return read_log(f"{self.store}/log").to_pylist()

    def until_segments(self) -> None:
        until(lambda: any(path.stat().st_size > 4000 for path in (self.folder / "segments").glob("*.arrow")))


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def ask(request: str | urllib.request.Request) -> str:
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def ended(process: subprocess.Popen[str]) -> tuple[int, Any, str]:
    with process:
        out, err = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, json.loads(out) if out else None, err


@pytest.fixture
def device(tmp_path: Path, colour_artifact: Make) -> Iterator[Device]:
    device = Device(tmp_path, colour_artifact(64))
    yield device
    for process in device.started:
        with process:
            process.kill()


@pytest.fixture
def camera() -> Iterator[MjpegCamera]:
    camera = MjpegCamera()
    yield camera
    camera.unplug()


def test_a_folder_becomes_rows_and_one_document(device: Device) -> None:
    """Six images: exit 0, the status alone on stdout, six rows in the store; again: the same rows, not twelve."""
    write_images(device.path / "images", 6)
    for _ in range(2):
        code, status, err = ended(device.start(device.path / "images"))
        assert (code, status["frames"], err) == (0, 6, "")
        assert len(device.rows()) == 6


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_drains(device: Device, camera: MjpegCamera, number: signal.Signals) -> None:
    """SIGTERM and SIGINT end the run with exit 0; every frame that was detected on is a row of the store."""
    process = device.start(camera.url, "--camera", "line1")
    device.until_segments()
    process.send_signal(number)
    code, status, _ = ended(process)
    rows = device.rows()
    assert (code, status["rows_lost"], status["spool_files"]) == (0, 0, 0)
    assert len(rows) == len({row["frame_id"] for row in rows}) == status["frames"]
    assert {row["camera"] for row in rows} == {"line1"}
    assert not list((device.folder / "segments").iterdir())


def test_a_second_agent_is_refused(device: Device, camera: MjpegCamera) -> None:
    """Two agents on one device folder: the second ends with exit 2 and names the first, which goes on."""
    first = device.start(camera.url)
    device.until_segments()
    code, status, err = ended(device.start(camera.url))
    assert (code, status) == (2, None)
    assert f"process {first.pid}" in err
    first.send_signal(signal.SIGTERM)
    assert ended(first)[0] == 0


def test_flags_from_the_line_and_from_the_command(device: Device, camera: MjpegCamera) -> None:
    """While an agent runs: a flag over HTTP and one from the command line both arrive, and metrics are served."""
    process = device.start(camera.url, "--endpoint", "127.0.0.1:0", "--keep", "all")
    assert process.stderr is not None
    address = process.stderr.readline().split()[-1]
    until(lambda: len(list((device.store / "frames").rglob("*.jpg"))) > 2)
    assert "edgeloop_connected 1" in ask(f"{address}/metrics")
    frames = [path.stem for path in (device.store / "frames").rglob("*.jpg")][:2]
    token = (device.folder / "token").read_text().strip()
    body = json.dumps({"frame_id": frames[0], "kind": "missed"}).encode()
    request = urllib.request.Request(f"{address}/flags", body, {"Authorization": f"Bearer {token}"})
    assert json.loads(ask(request))["image"] == "kept"
    with device.popen("flag", frames[1], "--kind", "false-positive", "--device-folder", device.folder) as command:
        assert command.wait(PATIENCE_SECONDS) == 0
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0
    found = {flag.frame_id: flag.kind for flag in read_flags(str(device.store))}
    assert found == {frames[0]: "missed", frames[1]: "false-positive"}


def test_a_killed_agent_loses_nothing_that_was_flushed(device: Device, camera: MjpegCamera) -> None:
    """kill -9 in the middle; the next run brings every flushed row to the store, each once."""
    process = device.start(camera.url, "--endpoint", "127.0.0.1:0")
    assert process.stderr is not None
    address = process.stderr.readline().split()[-1]
    flushed = 0

    def look() -> bool:
        nonlocal flushed
        flushed = json.loads(ask(f"{address}/health"))["rows_flushed"]
        return flushed > 100

    until(look)
    process.kill()
    process.wait()
    write_images(device.path / "images", 1)
    assert ended(device.start(device.path / "images"))[0] == 0
    rows = [row["frame_id"] for row in device.rows()]
    assert len(rows) == len(set(rows)) >= flushed + 1


def test_an_artifact_is_exchanged_while_the_camera_runs(device: Device, camera: MjpegCamera) -> None:
    """A pointer that is rewritten takes effect between two frames of the process: two artifacts, one gapless log."""
    folder = ArtifactFolder(device.path / "artifacts")
    second = make_artifact(device.path / "made", "second")
    folder.want(folder.add(device.artifact))
    name = folder.add(second)
    process = device.start(camera.url, model=folder.path)
    device.until_segments()
    folder.want(name)
    until(lambda: folder.state().active == name)
    process.send_signal(signal.SIGTERM)
    code, status, _ = ended(process)
    answered = [row["artifact_id"] for row in device.rows()]
    assert (code, status["errors"], len(answered)) == (0, 0, status["frames"])
    assert answered == sorted(answered, key=[device.artifact.id, second.id].index)
    assert set(answered) == {device.artifact.id, second.id}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["missing", "--model", "x.onnx"], "missing does not exist"),
        (["images", "--model", "x.onnx"], "x.onnx does not exist"),
        (["images", "--model", "MODEL", "--runtime", "fast"], "runtime"),
        (["images", "--model", "MODEL", "--keep", "some"], "--keep some means nothing"),
        (["images", "--model", "MODEL", "--endpoint", "0.0.0.0:80"], "expected a loopback address"),
        (["images", "--model", "MODEL", "--store", "nowhere://x"], "nowhere"),
        (["images", "--model", "MODEL", "--show"], "leave --show out"),
        (["images", "--model", "MODEL", "--batch", "3"], "batch"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(device: Device, words: list[str], sentence: str) -> None:
    """Exit 2, one sentence, no traceback, nothing on stdout."""
    write_images(device.path / "images", 1)
    words = [str(device.artifact.path) if word == "MODEL" else word for word in words]
    process = device.popen("run", *words, "--device-folder", device.folder, "--json")
    code, status, err = ended(process)
    assert (code, status) == (2, None)
    assert sentence in err
    assert "Traceback" not in err
