"""The wheel alone: a bare Python 3.10, one runtime's extra, nothing of the pipeline, and the device's commands run."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest

from edgeloop.artifact import Artifact
from edgeloop.files import sha256
from tests.edgeloop.edge.conftest import NAMES, write_colour_detector

pytestmark = pytest.mark.integration

OLDEST = "3.10"
ABSENT = ("torch", "onnx", "prefect", "mlflow", "ultralytics", "pandas", "click")


def call(*command: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def uv() -> str:
    found = os.environ.get("UV") or shutil.which("uv")
    if not found:
        pytest.skip("uv is not on the path")
    return found


@pytest.fixture(scope="module")
def wheel(uv: str, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    built = call(uv, "build", "--quiet", "--wheel", "--out-dir", folder, root, cwd=folder)
    assert built.returncode == 0, built.stderr
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture
def install(uv: str, wheel: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Installs the wheel with an extra into a fresh environment; returns its folder of programs."""

    def into(extra: str) -> Path:
        python = os.environ.get("EDGELOOP_PYTHON310", OLDEST)
        made = call(uv, "venv", "--quiet", "--no-python-downloads", "-p", python, tmp_path / "venv", cwd=tmp_path)
        if made.returncode != 0:
            pytest.skip(f"there is no Python {OLDEST} here: set EDGELOOP_PYTHON310 to one")
        programs = tmp_path / "venv/bin"
        done = call(uv, "pip", "install", "--quiet", "--python", programs / "python", f"{wheel}[{extra}]", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return programs

    return into


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """The colour detector with its record."""
    path = write_colour_detector(tmp_path / "colours.onnx", 64)
    Artifact(
        path=path, sha256=sha256(path), precision="fp32", imgsz=64, names=NAMES, thresholds=(0.5,) * 3
    ).save_sidecar()
    return path


@pytest.fixture
def video(tmp_path: Path) -> Path:
    """Two seconds of a red square that moves."""
    path = tmp_path / "square.mp4"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (128, 128))
    for step in range(20):
        frame = np.zeros((128, 128, 3), np.uint8)
        frame[32:64, step * 4 : step * 4 + 32] = (0, 0, 255)
        writer.write(frame)
    writer.release()
    return path


@pytest.mark.parametrize("extra", ["onnxruntime", "openvino"])
def test_device_commands_run(
    install: Callable[[str], Path], model: Path, video: Path, tmp_path: Path, extra: str
) -> None:
    """`run` finds the square in every frame and brings the log to the store; `bench` reports; nothing else is there."""
    programs = install(extra)
    ran = call(
        *(programs / "edgeloop", "run", video, "--model", model, "--store", tmp_path / "store"),
        *("--device-folder", tmp_path / "device", "--json"),
        cwd=tmp_path,
    )
    assert ran.returncode == 0, ran.stderr
    status = json.loads(ran.stdout)
    assert (status["runtime"], status["frames"], status["rows_flushed"]) == (extra, 20, 20)
    assert status["detections"] >= 20
    assert list((tmp_path / "store/log").rglob("*.parquet"))
    measured = call(programs / "edgeloop", "bench", model, "--frames", "100", "--json", cwd=tmp_path)
    assert [one["runtime"] for one in json.loads(measured.stdout)] == [extra]
    asked = f"from importlib.util import find_spec; print([name for name in {ABSENT} if find_spec(name)])"
    assert call(programs / "python", "-c", asked, cwd=tmp_path).stdout.strip() == "[]"


def test_real_videos_run(install: Callable[[str], Path], model: Path, shared: Path, tmp_path: Path) -> None:
    """Every frame that the videos hold is answered, logged and in the store."""
    programs = install("onnxruntime")
    for video in sorted((shared / "data/videos").glob("*.mp4")):
        place = tmp_path / video.stem
        ran = call(
            *(programs / "edgeloop", "run", video, "--model", model, "--store", place / "store"),
            *("--device-folder", place / "device", "--json"),
            cwd=tmp_path,
        )
        assert ran.returncode == 0, ran.stderr
        status = json.loads(ran.stdout)
        length = int(cv2.VideoCapture(str(video)).get(cv2.CAP_PROP_FRAME_COUNT))
        assert status["frames"] == status["rows_flushed"] == length
        logged = sum(pq.read_metadata(file).num_rows for file in (place / "store/log").rglob("*.parquet"))
        assert logged == length


def test_tensorrt_extra_without_tensorrt_is_one_sentence(
    install: Callable[[str], Path], model: Path, tmp_path: Path
) -> None:
    """The extra brings what reads ONNX files; TensorRT comes with the device, and is named where it is missing."""
    programs = install("tensorrt")
    refused = call(programs / "edgeloop", "bench", model, "--runtime", "tensorrt", cwd=tmp_path)
    assert refused.returncode == 2
    assert "JetPack" in refused.stderr
    assert "Traceback" not in refused.stderr
    checked = "from pathlib import Path; from edgeloop.qdq import check_qdq; print(check_qdq(Path('m.onnx'))[0].rule)"
    shutil.copy(model, tmp_path / "m.onnx")
    assert call(programs / "python", "-c", checked, cwd=tmp_path).stdout.strip() == "quantized"
