"""`edgeloop bench`: what is measured, on what, and how it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile
from edgeloop.cli import run
from edgeloop.edge import benchmark as benchmark_module
from edgeloop.edge.bench import (
    IMAGES,
    bench,
    bench_table,
    draw_images,
    load_images,
    profile_for,
    read_batches,
)
from edgeloop.edge.model import read_artifact
from edgeloop.errors import BadInput
from tests.tasks.test_benchmark import write_images

Make = Callable[..., Artifact]


@pytest.fixture(autouse=True)
def without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """The memory figure starts a process for each lane; it has tests of its own."""
    monkeypatch.setattr(benchmark_module, "measure_memory", lambda *_: 1.0)


def test_command_prints_one_json_document(
    colour_artifact: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One report for each runtime and batch, nothing else on stdout."""
    artifact = colour_artifact(64, "N")
    images = write_images(tmp_path / "images", 3)
    arguments = ["bench", str(artifact.path), "--images", str(images), "--batch", "1,4", "--frames", "100", "--json"]
    assert run(arguments) == 0
    reports = json.loads(capsys.readouterr().out)
    assert [(one["runtime"], one["batch"]) for one in reports] == [
        (runtime, batch) for batch in (1, 4) for runtime in ("onnxruntime", "openvino")
    ]
    assert {one["artifact_id"] for one in reports} == {artifact.id}


def test_table_marks_what_auto_would_run(colour_artifact: Make) -> None:
    """The smallest median of each batch has the star."""
    artifact = colour_artifact(64)
    profile = profile_for(None, "auto", None, 100)
    reports = bench(artifact, profile, [np.zeros((64, 64, 3), np.uint8)], (1,))
    cells = list(bench_table(artifact, profile, reports).columns[0].cells)
    best = min(reports, key=lambda report: report.total.p50)
    assert [cell for cell in cells if str(cell).endswith("*")] == [f"{best.runtime} *"]


def test_runtime_that_does_not_run_is_left_out_and_said(
    colour_artifact: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A GPU build without a GPU costs a line on stderr, not the whole measurement."""
    monkeypatch.setattr("edgeloop.edge.onnx_runtime.built_in", lambda: ("CUDAExecutionProvider",))
    profile = DeviceProfile(name="x", runtimes=("onnxruntime-cuda", "onnxruntime"), timed_frames=100)
    with pytest.warns(UserWarning, match="Specified provider"):
        reports = bench(colour_artifact(64), profile, [np.zeros((64, 64, 3), np.uint8)], (1,))
    assert [one.runtime for one in reports] == ["onnxruntime"]
    assert "onnxruntime-cuda is left out: CUDAExecutionProvider did not start" in capsys.readouterr().err


def test_batch_that_was_not_exported_is_refused(colour_artifact: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """One sentence and exit code 2."""
    assert run(["bench", str(colour_artifact(64).path), "--batch", "4", "--frames", "100"]) == 2
    assert "export it for this batch" in capsys.readouterr().err


def test_profile_and_options_together(root: Path) -> None:
    """A profile's own values stand unless an option says otherwise; an option out of range is refused."""
    path = root / "models/devices/cpu.yaml"
    profile = profile_for(path, "onnxruntime", 3, None)
    assert (profile.name, profile.runtimes, profile.threads, profile.timed_frames) == ("cpu", ("onnxruntime",), 3, 662)
    with pytest.raises(BadInput, match="threads"):
        profile_for(path, "auto", 0, None)
    with pytest.raises(BadInput, match="came 'caffe'"):
        profile_for(None, "caffe", None, None)


@pytest.mark.parametrize("text", ["", "0", "1,,4", "one", "65", "-1"])
def test_batches_that_are_none_are_refused(text: str) -> None:
    """The sentence shows what it should look like."""
    assert read_batches("1, 4,8") == (1, 4, 8)
    with pytest.raises(BadInput, match="such as 1,4,8"):
        read_batches(text)


def test_artifact_by_its_file_or_its_record(colour_artifact: Make, tmp_path: Path) -> None:
    """Both names lead to the same artifact; a file without a record is refused."""
    artifact = colour_artifact(64)
    assert read_artifact(artifact.path) == read_artifact(artifact.sidecar) == artifact
    alone = tmp_path / "alone.onnx"
    alone.write_bytes(artifact.path.read_bytes())
    with pytest.raises(BadInput, match="does not exist"):
        read_artifact(alone)


def test_drawn_images_are_always_the_same() -> None:
    """Two measurements without images of the user's can be compared."""
    one, other = draw_images(), draw_images()
    assert len(one) == 12
    assert all(image.shape == (640, 640, 3) for image in one)
    assert all((left == right).all() for left, right in zip(one, other, strict=True))
    assert np.std([cv2.mean(image)[0] for image in one]) > 1


@pytest.mark.parametrize(("count", "expected"), [(3, [0, 1, 2]), (IMAGES * 2, [2 * n for n in range(IMAGES)])])
def test_images_are_chosen_evenly(tmp_path: Path, count: int, expected: list[int]) -> None:
    """All of a few; every second of twice as many as are kept in memory."""
    images = load_images(write_images(tmp_path / "images", count))
    assert [int(image[0, 0, 0]) for image in images] == expected


def test_folder_without_images_is_refused(tmp_path: Path) -> None:
    """There is nothing to measure with."""
    with pytest.raises(BadInput, match="holds no frames"):
        load_images(tmp_path)


@pytest.mark.parametrize("arguments", [["bench"], ["bench", "x", "--frames", "7"], ["no-such-command"]])
def test_wrong_usage_is_exit_code_2_and_no_traceback(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """Whichever click the installed Typer brings, its errors are the user's."""
    assert run(arguments) == 2
    assert "Traceback" not in capsys.readouterr().err
