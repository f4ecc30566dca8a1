"""The stage benchmark: reports of real files, saved for people and machines."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile
from edgeloop.files import sha256
from edgeloop.measures import BenchmarkReport
from tasks.benchmark import benchmark
from tests.edgeloop.edge.conftest import NAMES, write_colour_detector

PROFILE = DeviceProfile(name="here", runtimes=("onnxruntime",), timed_frames=100)


def write_images(folder: Path, count: int) -> Path:
    """PNGs whose blue value is their number."""
    folder.mkdir()
    for number in range(count):
        cv2.imwrite(str(folder / f"{number:03}.png"), np.full((8, 8, 3), (number, 0, 0), np.uint8))
    return folder


def test_reports_are_returned_and_saved(tmp_path: Path) -> None:
    """Each report lies as JSON under the artifact's id, the profile and the runtime."""
    path = write_colour_detector(tmp_path / "colours.onnx", 64)
    artifact = Artifact(path=path, sha256=sha256(path), precision="fp32", imgsz=64, names=NAMES, thresholds=(0.5,) * 3)
    (report,) = benchmark.fn((artifact,), write_images(tmp_path / "images", 3), PROFILE, tmp_path / "out")
    saved = BenchmarkReport.load(tmp_path / "out" / f"{artifact.id}-here-onnxruntime-batch1.json")
    assert saved == report
    assert report.memory_mb > 40
