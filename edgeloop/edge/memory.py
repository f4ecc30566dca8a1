"""How much memory a device process needs for an artifact: measured in a process of its own.

The process that asks may hold a training framework; its resident set says nothing about the device. Run as a module,
this file is that process of its own: the artifact's record arrives on stdin, megabytes leave on stdout.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.edge.detector import Detector
from edgeloop.edge.log_schema import InferenceRecord
from edgeloop.edge.machine import peak_memory_mb
from edgeloop.edge.runtime import RuntimeName, open_runtime
from edgeloop.edge.segments import DeviceLog
from edgeloop.errors import BadInput, EdgeloopError

FRAMES = 20
HEIGHT, WIDTH = 720, 1280  # of the noise frame
PACKAGES = Path(__file__).resolve().parents[2]


def measure_memory(artifact: Artifact, runtime: RuntimeName, threads: int = 1, batch: int = 1) -> float:
    """Peak resident set in MB of a fresh process that loads the artifact and logs 20 batches of 1280x720 noise.

    It holds the device side with its log, and nothing else of this project.

    Raises:
        BadInput: the artifact does not run.
    """
    search = os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [sys.executable, "-m", "edgeloop.edge.memory", runtime, str(threads), str(batch)],
        input=artifact.to_json(),
        env={**os.environ, "PYTHONPATH": search},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BadInput(f"{artifact.path} does not run in {runtime} in a process of its own: {reason}")
    return float(done.stdout)


def main(arguments: list[str]) -> int:
    """The process of its own."""
    runtime, threads, batch = arguments
    artifact = Artifact.from_document(json.load(sys.stdin), "stdin")
    detector = Detector(artifact, open_runtime(artifact.path, runtime, int(threads)), batch=int(batch))  # type: ignore[arg-type]
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        log = DeviceLog(Path(folder), "memory")
        for number in range(FRAMES):
            for found in detector.detect_batch([noise] * int(batch)):
                moment = datetime.now(timezone.utc)
                log.append(InferenceRecord(str(number), "noise", moment, artifact.id, found, artifact.thresholds))
        log.close()
    sys.stdout.write(f"{peak_memory_mb()}\n")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except EdgeloopError as problem:
        sys.exit(str(problem))
