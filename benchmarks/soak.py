"""The agent under everything that happens to a device, for minutes: a report of what it did meanwhile.

    python -m benchmarks.soak [--minutes N] [--checkpoint CHECKPOINT.pt]

`edgeloop run` watches a real network camera (30 JPEG a second over HTTP on loopback, 640 x 640 frames of the generated
sample) with the checkpoint exported to INT8 at 192 pixels. Meanwhile, at fixed shares of the time, the camera is
unplugged and plugged in, the store is away, the artifact is exchanged for a good one and for one that sees nothing, an
operator flags frames, and the process is killed with SIGKILL and started again. At the end it is stopped with SIGTERM.
Then every question of the table must be answered with yes; exit code 1 when not. Writes soak.json and soak.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame_loop import export, limit_threads, sample
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact, sidecar_of
from edgeloop.card import QuantizeCard
from edgeloop.edge.artifact_folder import ArtifactFolder
from edgeloop.edge.flags import read_flags
from edgeloop.edge.log import read_log
from edgeloop.edge.machine import instructions, machine
from edgeloop.formats.paths import images_below
from edgeloop.progress import bar
from models.quantize import quantize
from tests.cameras import MjpegCamera

ROOT = Path(__file__).resolve().parents[1]
RATE = 30.0
LOOK_SECONDS = 1.0
SEEING = 0.05  # confidence: the checkpoint is no detector of these defects, but it sees something on most frames
MEMORY_GROWTH_MB = 50.0  # from the warm process to the end
TIMELINE = ("second", "fps", "dropped", "loop_p99_ms", "memory_mb", "spool_bytes", "artifact_id")
FRAMES_KEPT_UP = 0.98  # of what the camera sent while it was plugged in and the process lived


@dataclass
class Soak:
    """The device, what surrounds it, and what was seen of it."""

    work: Path
    camera: MjpegCamera
    folder: ArtifactFolder
    seconds: float
    process: subprocess.Popen[str] | None = None
    address: str = ""
    samples: list[dict[str, Any]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    flagged: list[str] = field(default_factory=list)
    flushed_before_kill: int = 0
    ends: list[dict[str, Any]] = field(default_factory=list)
    begin: float = field(default_factory=time.monotonic)

    @property
    def device(self) -> Path:
        return self.work / "device"

    @property
    def store(self) -> Path:
        return self.work / "store"

    def start(self) -> None:
        """Start an agent; its first line on stderr tells the endpoint's address."""
        command = [
            sys.executable, "-m", "edgeloop", "run", self.camera.url, "--camera", "soak", "--model", self.folder.path,
            "--device-folder", self.device, "--store", self.store, "--endpoint", "127.0.0.1:0", "--json",
        ]  # fmt: skip
        errors = (self.work / "agent.log").open("a")
        self.process = subprocess.Popen(
            [str(word) for word in command], cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        errors.close()
        self.address = self._wait(self._said_address)

    def _said_address(self) -> str | None:
        lines = (self.work / "agent.log").read_text().splitlines()
        said = [line.split()[-1] for line in lines if line.startswith("flags, metrics and health on ")]
        return said[-1] if len(said) > len(self.ends) + bool(self.flushed_before_kill) else None

    def _wait(self, ready: Callable[[], str | None], seconds: float = 60.0) -> str:
        end = time.monotonic() + seconds
        while (found := ready()) is None:
            if time.monotonic() > end:
                raise TimeoutError((self.work / "agent.log").read_text()[-2000:])
            time.sleep(0.1)
        return found

    def status(self) -> dict[str, Any]:
        """What /health says, whether well or not."""
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                return json.load(answer)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as problem:
            return json.load(problem)  # type: ignore[no-any-return]

    def look(self) -> None:
        """Take a sample."""
        assert self.process is not None
        proc = Path(f"/proc/{self.process.pid}")
        memory = next(line for line in (proc / "status").read_text().splitlines() if line.startswith("VmRSS"))
        self.samples.append(
            {
                "second": time.monotonic() - self.begin,
                "life": len(self.ends) + bool(self.flushed_before_kill),
                "memory_mb": int(memory.split()[1]) / 1024,
                "files": len(list((proc / "fd").iterdir())),
                "threads": len(list((proc / "task").iterdir())),
                **self.status(),
            }
        )

    def say(self, event: str) -> None:
        self.events.append(f"{time.monotonic() - self.begin:.0f} s: {event}")

    # What happens

    def unplug(self) -> None:
        self.say("the camera is unplugged")
        self.camera.unplug()

    def plug(self) -> None:
        self.say("the camera is plugged in")
        self.camera.plug()

    def lose_store(self) -> None:
        self.say("the store is away")
        self.store.rename(self.work / "away")
        self.store.write_text("nothing can be written below a file")

    def find_store(self) -> None:
        self.say("the store is back")
        self.store.unlink()
        (self.work / "away").rename(self.store)

    def exchange(self, name: str) -> None:
        self.say(f"{name} is wanted")
        self.folder.want(name)

    def flag(self) -> None:
        """Flag a frame whose image is in the store, over HTTP."""
        frames = sorted(path.stem for path in (self.store / "frames").rglob("*.jpg"))
        fresh = [frame for frame in frames if frame not in self.flagged]
        if fresh:
            token = (self.device / "token").read_text().strip()
            body = json.dumps({"frame_id": fresh[0], "kind": "missed"}).encode()
            request = urllib.request.Request(f"{self.address}/flags", body, {"Authorization": f"Bearer {token}"})
            urllib.request.urlopen(request, timeout=5).close()
            self.flagged.append(fresh[0])

    def kill(self) -> None:
        """SIGKILL, and a new start."""
        assert self.process is not None
        self.flushed_before_kill = self.status()["rows_flushed"]
        self.process.kill()
        self.process.wait()
        self.say(f"killed after {self.flushed_before_kill} flushed rows")
        self.start()
        self.say("started again")

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.say("stopped")
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        self.ends.append(json.loads(out))
        return self.process.returncode


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--checkpoint", type=Path, default=ROOT / "models/weights/edgeloop-n.pt", help="one you trust")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    limit_threads()
    with tempfile.TemporaryDirectory() as work:
        document = soak(Path(work), asked.checkpoint, asked.minutes * 60)
    keep(asked.out, "soak", document, report(document))
    sys.exit(0 if all(row["yes"] for row in document["questions"]) else 1)


def soak(work: Path, checkpoint: Path, seconds: float) -> dict[str, Any]:
    """Run everything; returns the document of the report."""
    images = list(images_below(sample(work)))
    folder = prepare(work, checkpoint, images)
    camera = MjpegCamera(RATE, frames=[path.read_bytes() for path in images if path.suffix == ".jpg"])
    device = Soak(work, camera, folder, seconds)
    try:
        device.start()
        device.begin = time.monotonic()
        run(device)
        code = device.stop()
    finally:
        camera.unplug()
        if device.process is not None:
            device.process.kill()
    return {
        "machine": machine(),
        "instructions": instructions(),
        "seconds": seconds,
        "rate": RATE,
        "questions": judge(device, code),
        "numbers": numbers(device),
        "events": device.events,
        "every_ten_seconds": [{name: one[name] for name in TIMELINE} for one in device.samples[::10]],
        "history": [event.model_dump(mode="json") for event in folder.state().history],
    }


def prepare(work: Path, checkpoint: Path, images: Sequence[Path]) -> ArtifactFolder:
    """Three artifacts: one that runs, one as good, one that sees nothing."""
    fp32 = export(checkpoint, 192, work)
    int8 = quantize(fp32, images, QuantizeCard(), work / "int8.onnx")
    folder = ArtifactFolder(work / "artifacts")
    for name, artifact, threshold in (
        ("first.onnx", int8, SEEING), ("second.onnx", fp32, SEEING), ("blind.onnx", fp32, 1.0)
    ):  # fmt: skip
        put(folder, name, artifact.model_copy(update={"thresholds": (threshold,) * len(artifact.names)}))
    folder.want("first.onnx")
    return folder


def put(folder: ArtifactFolder, name: str, artifact: Artifact) -> None:
    folder.path.mkdir(exist_ok=True)
    (folder.path / name).write_bytes(artifact.path.read_bytes())
    artifact.model_copy(update={"path": Path(name)}).save(sidecar_of(folder.path / name))


def run(device: Soak) -> None:
    """Let things happen at their shares of the time, and look at the agent every second."""
    plan: list[tuple[float, Callable[[], None]]] = [
        (0.15, device.flag), (0.20, device.unplug), (0.23, device.plug), (0.30, device.lose_store),
        (0.50, device.find_store), (0.55, device.flag), (0.58, lambda: device.exchange("second.onnx")),
        (0.70, lambda: device.exchange("blind.onnx")), (0.80, device.kill), (0.90, device.flag),
    ]  # fmt: skip
    for second in bar(range(int(device.seconds)), "soak", int(device.seconds)):
        while plan and time.monotonic() - device.begin >= plan[0][0] * device.seconds:
            plan.pop(0)[1]()
        device.look()
        time.sleep(max(0.0, device.begin + (second + 1) * LOOK_SECONDS - time.monotonic()))


def judge(device: Soak, code: int) -> list[dict[str, Any]]:
    """The questions of the table."""
    rows = read_log(f"{device.store}/log")
    ids = rows.column("frame_id").to_pylist()
    end, steps = device.ends[-1], [event.step for event in device.folder.state().history]
    warm = [one for one in device.samples if one["life"] == 0][30:]
    growth = warm[-1]["memory_mb"] - warm[0]["memory_mb"]
    steady = [one["fps"] for one in device.samples if one["connected"] and one["frames"] > 10 * RATE]
    wanted = [flag.frame_id for flag in read_flags(str(device.store))]
    logged = device.flushed_before_kill + end["frames"]
    answers = [
        ("SIGTERM ended it with exit code 0 and nothing waiting", code == end["spool_files"] == 0, f"exit {code}"),
        ("every row is in the store once", len(ids) == len(set(ids)), f"{len(ids)} rows"),
        ("no flushed row was lost, SIGKILL included", len(ids) >= logged, f"at least {logged} expected"),
        ("no row was lost to the disk", end["rows_lost"] == 0, f"{end['rows_lost']} lost"),
        (f"it kept up with {RATE:.0f} frames a second", np.median(steady) >= FRAMES_KEPT_UP * RATE,
         f"{np.median(steady):.1f} frames a second"),
        ("the camera was found again", device.samples[-1]["connected"], f"{_most(device, 'disconnects')} disconnects"),
        ("the good artifact stayed, the blind one was rolled back",
         steps == ["activated", "trial", "kept", "trial", "rolled-back"], ", ".join(steps)),
        ("no frame was without an answer", _most(device, "errors") == 0, f"{_most(device, 'errors')} errors"),
        ("every flag is in the store", wanted == device.flagged and bool(wanted), f"{len(wanted)} flags"),
        (f"memory grew by less than {MEMORY_GROWTH_MB:.0f} MB", growth < MEMORY_GROWTH_MB, f"{growth:+.1f} MB"),
    ]  # fmt: skip
    return [{"question": question, "yes": bool(yes), "measured": measured} for question, yes, measured in answers]


def numbers(device: Soak) -> dict[str, Any]:
    """What is interesting besides."""
    away = [one["spool_bytes"] for one in device.samples]
    return {
        "frames": device.flushed_before_kill + device.ends[-1]["frames"],
        "dropped": _most(device, "dropped"),
        "loop_p50_ms": device.ends[-1]["loop_p50_ms"],
        "loop_p99_ms": device.ends[-1]["loop_p99_ms"],
        "infer_p99_ms": device.ends[-1]["infer_p99_ms"],
        "memory_mb": max(one["memory_mb"] for one in device.samples),
        "files": max(one["files"] for one in device.samples),
        "threads": max(one["threads"] for one in device.samples),
        "largest_spool_mb": max(away) / 1e6,
        "images": len(list((device.store / "frames").rglob("*.jpg"))),
    }


def _most(device: Soak, name: str) -> int:
    """A counter over both lives."""
    lives = {one["life"] for one in device.samples}
    return sum(max(one[name] for one in device.samples if one["life"] == life) for life in lives)


def report(document: dict[str, Any]) -> str:
    """The table for people."""
    answers = [(one["question"], "yes" if one["yes"] else "NO", one["measured"]) for one in document["questions"]]
    numbers = [
        (name, f"{value:.1f}" if isinstance(value, float) else value) for name, value in document["numbers"].items()
    ]
    command = f"python -m benchmarks.soak --minutes {document['seconds'] / 60:g}"
    return "\n".join([
        f"# Soak test, {document['seconds'] / 60:.0f} minutes at {document['rate']:.0f} frames a second",
        "",
        f"`{command}` on {document['machine']}. What happened: {'; '.join(document['events'])}.",
        "",
        markdown(["question", "", "measured"], answers),
        markdown(["number", ""], numbers),
    ])  # fmt: skip


if __name__ == "__main__":
    main()
