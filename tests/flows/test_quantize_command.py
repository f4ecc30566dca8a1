"""`edgeloop quantize` on a user's own ONNX and folders: the file, the table, and one sentence for what does not fit."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgeloop.artifact import load_artifact
from edgeloop.cli import run
from edgeloop.qdq import check_qdq
from tests.detectors import save_artifact
from tests.own_labels import write_own_labels

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """own.onnx without a record; calibration frames, and an evaluation set, labelled by the model."""
    folder = tmp_path_factory.mktemp("own")
    artifact = save_artifact(folder / "made")
    write_own_labels(folder / "calibration", artifact, 12, 1)
    write_own_labels(folder / "evaluation", artifact, 24, 2)
    shutil.copyfile(artifact.path, folder / "own.onnx")
    return folder


def quantize(place: Path, out: Path, *options: str, **changed: Path) -> int:
    given = {"model": "own.onnx", "calibrate": "calibration", "evaluate": "evaluation"}
    model, calibrate, evaluate = (str(changed.get(name) or place / path) for name, path in given.items())
    command = ["quantize", model, "--calibrate", calibrate, "--evaluate", evaluate, "--out", str(out), "--frames", "12"]
    return run([*command, *options])


def test_the_file_the_record_and_the_report(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The file keeps the rules, the JSON is the report, and the loss on the other half of the frames is in it."""
    out = tmp_path / "int8.onnx"
    assert quantize(place, out, "--limit", "1", "--class-limit", "1", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert check_qdq(out) == ()
    assert load_artifact(out).id == report["artifact_id"]
    assert report["frames"] + report["scored_frames"] == 24
    assert report["scored"]["relative"]["low"] <= report["scored"]["relative"]["high"]
    assert set(report["reference_p50_ms"]) == {"onnxruntime", "openvino"}


def test_a_limit_out_of_reach_exits_3(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The best found is written and named."""
    out = tmp_path / "int8.onnx"
    options = ("--limit", "0", "--class-limit", "0", "--method", "percentile", "--budget", "1")
    card = tmp_path / "card.yaml"
    card.write_text("name: mine\narchitecture: x.yaml\nquantize: {percentile: 60, maximum_float: 0.6}\n")
    assert quantize(place, out, "--card", str(card), *options) == 3
    captured = capsys.readouterr()
    assert "percentile 60" in captured.out
    assert "The limits were not kept" in captured.err
    assert out.is_file()


def test_bad_input_exits_2_in_one_sentence(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Shared frames, a checkpoint, too few frames and a method that there is none of: nothing is written."""
    out, few = tmp_path / "int8.onnx", tmp_path / "few"
    few.mkdir()
    shutil.copyfile(place / "calibration/images/0.png", few / "0.png")
    checkpoint = tmp_path / "best.pt"
    checkpoint.write_bytes(b"PK\x03\x04")
    tries = {
        "on the evaluation side too": quantize(place, out, calibrate=place / "evaluation/images"),
        "opening one runs the code in it": quantize(place, out, model=checkpoint),
        "1 calibration frames; expected at least 8": quantize(place, out, calibrate=few),
        "calibration: input should be": quantize(place, out, "--method", "magic"),
        "is the model itself": quantize(place, place / "own.onnx"),
        "expected a file to write that ends in .onnx, came a folder": quantize(place, few),
        "is none. Name another.": quantize(place, checkpoint / "int8.onnx"),
        "nowhere does not exist: expected a folder with .jpg": quantize(place, out, calibrate=tmp_path / "nowhere"),
    }
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("edgeloop: ")]
    assert set(tries.values()) == {2}
    assert all(words in line for words, line in zip(tries, said, strict=True))
    assert not out.exists()
