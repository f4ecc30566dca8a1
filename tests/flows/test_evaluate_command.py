"""`edgeloop evaluate` on a user's own files: what it prints, what it writes, and one sentence for every mistake."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edgeloop.artifact import Artifact
from edgeloop.cli import run
from tests.audits import colour_artifact, write_audit


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return colour_artifact(tmp_path / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_audit(tmp_path / "own set", 16)


def evaluate(model: Path, data: Path, *words: str) -> int:
    out = data.parent / "out"
    return run(["evaluate", str(model), "--data", str(data), "--runtime", "onnxruntime", "--out", str(out),
                "--resamples", "20", *words])  # fmt: skip


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on stderr, without what was told before it."""
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.strip().splitlines()[-1]


def test_json_is_the_whole_answer(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document on stdout with accuracy, intervals, sizes and calibration; detections and record are kept."""
    assert evaluate(artifact.path, data, "--critical", "red", "--json") == 0
    found = document(capsys)
    report = found["report"]
    assert found["side"] == "all"
    assert report["frames"] == 16
    assert report["intervals"]["map50"]["low"] <= report["map50"] <= report["intervals"]["map50"]["high"]
    assert 0 < report["critical_miss_rate"] < 1
    assert {one["kind"] for one in report["sizes"]} == {"pixels", "share"}
    assert Path(report["predictions"]).is_file()
    assert Path(report["predictions"]).with_suffix(".json").is_file()
    assert found["robustness"] is None


def test_a_record_is_not_needed(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without the record beside it the file is opened by what it says and the set's names; AP is the same."""
    evaluate(artifact.path, data, "--json")
    with_record = document(capsys)["report"]
    artifact.sidecar.unlink()
    assert evaluate(artifact.path, data, "--json") == 0
    assert document(capsys)["report"]["map50_95"] == with_record["map50_95"]


def test_tables_and_report(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People get tables, and an HTML file that loads nothing, with curves, the diagram and pictures."""
    page = data.parent / "page.html"
    words = ("--report", str(page), "--corruption", "darker", "--severities", "1,5", "--frames", "8")
    assert evaluate(artifact.path, data, *words) == 0
    said = capsys.readouterr().out
    assert "D-ECE" in said
    assert "rPC" in said
    html = page.read_text()
    assert html.count("<svg") == 2
    assert "data:image/jpeg" in html
    assert "http" not in html.replace("http://www.w3.org", "")


def test_weights_change_the_rates(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames that stand for more weigh more, and the report says how many frames that is worth."""
    table = data.parent / "w.csv"
    names = sorted(path.name for path in (data / "images").iterdir())
    rows = [f"{name},{30 if index < 4 else 1}" for index, name in enumerate(names)]
    table.write_text("\n".join(["frame,weight", *rows]))
    evaluate(artifact.path, data, "--json")
    plain = document(capsys)["report"]
    assert evaluate(artifact.path, data, "--weights", str(table), "--json") == 0
    weighted = document(capsys)["report"]
    assert weighted["effective_frames"] == pytest.approx(132**2 / (4 * 900 + 12))
    assert plain["false_positives_per_1000_frames"] == pytest.approx(1000 / 16)  # one, on a frame that weighs 1
    assert weighted["false_positives_per_1000_frames"] == pytest.approx(1000 / 132)
    assert weighted["map50"] != pytest.approx(plain["map50"], abs=1e-3)


def test_a_class_without_labels_is_said(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It is named on stderr, has no score, and the mean is over the others."""
    for path in (data / "labels").iterdir():
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("2 ")))
    assert evaluate(artifact.path, data, "--critical", "blue", "--json") == 0
    said = capsys.readouterr()
    assert "No labelled box here of blue" in said.err
    assert "nothing is known about the critical blue" in said.err
    report = json.loads(said.out)["report"]
    assert report["critical_miss_rate"] is None
    red, green, blue = report["classes"]
    assert blue["ap50"] is None
    assert report["map50"] == pytest.approx((red["ap50"] + green["ap50"]) / 2)


def test_the_validation_side_is_taken(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a divided set the training side is not scored unless it is asked for."""
    for folder in ("images", "labels"):
        for index, path in enumerate(sorted((data / folder).iterdir())):
            target = data / folder / ("val" if index % 4 == 0 else "train")
            target.mkdir(exist_ok=True)
            path.rename(target / path.name)
    (data / "data.yaml").write_text((data / "data.yaml").read_text() + "train: images/train\nval: images/val\n")
    assert evaluate(artifact.path, data, "--json") == 0
    found = document(capsys)
    assert (found["side"], found["report"]["frames"]) == ("val", 4)
    assert evaluate(artifact.path, data, "--side", "audit") == 2
    assert "has no frame on the audit side; its sides are train, val" in refusal(capsys)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--side", "left"), "expected a side of auto, train, val, test, audit, all"),
        (("--severities", "1,9"), "expected severities such as 1,3,5"),
        (("--corruption", "rain"), "expected corruptions out of darker"),
        (("--critical", "violet"), "expected critical classes out of red, green, blue"),
        (("--runtime", "abacus"), "expected a runtime of auto"),
        (("--weights", "nothing.csv"), "nothing.csv cannot be read as a table of weights (No such file or directory)."),
    ],
)
def test_options_that_do_not_fit(
    words: tuple[str, ...], reason: str, artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, nothing on stdout, one sentence, and nothing written."""
    assert evaluate(artifact.path, data, *words) == 2
    assert reason in refusal(capsys)
    assert not (data.parent / "out").exists()


@pytest.mark.parametrize("place", ["--out {file}", "--out {file}/x", "--report {file}/x.html"])
def test_a_place_that_cannot_be_written_is_said_first(
    place: str, artifact: Artifact, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not after minutes of inference, whose result would be lost."""
    (tmp_path / "file").write_text("mine")
    option, where = place.split()
    assert evaluate(artifact.path, data, option, where.format(file=tmp_path / "file")) == 2
    assert "expected a folder to write into" in refusal(capsys)
    assert (tmp_path / "file").read_text() == "mine"
    assert not (data.parent / "out").exists()


def test_files_that_do_not_fit(
    artifact: Artifact, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """No class in common, no label, no set, a checkpoint, no model: exit 2 and one sentence each."""
    other = write_audit(tmp_path / "other", 4, names=("cat", "dog", "bird"))
    assert evaluate(artifact.path, other) == 2
    assert "expected an artifact that knows a class of the audit set other (cat, dog, bird)" in refusal(capsys)
    (tmp_path / "empty").mkdir()
    assert evaluate(artifact.path, tmp_path / "empty") == 2
    assert "is empty: expected YOLO" in refusal(capsys)
    bare = shutil.copytree(data, tmp_path / "bare")
    for path in (bare / "labels").iterdir():
        path.write_text("")
    assert evaluate(artifact.path, bare) == 2
    assert "bare: 16 frames and no labelled box to judge by" in refusal(capsys)
    pickle = tmp_path / "model.pt"
    pickle.write_bytes(b"PK\x03\x04")
    assert evaluate(pickle, data) == 2
    assert "opening one runs the code in it" in refusal(capsys)
    before = artifact.path.read_bytes()
    assert evaluate(artifact.path, data, "--report", str(artifact.path)) == 2
    assert "expected a file to write that ends in .html, came one that ends in .onnx" in refusal(capsys)
    assert artifact.path.read_bytes() == before
    assert evaluate(tmp_path / "none.onnx", data) == 2
    assert "does not exist" in refusal(capsys)


def test_a_broken_image_is_named(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The first broken image refuses the set, by its name."""
    image = sorted((data / "images").iterdir())[2]
    image.write_bytes(image.read_bytes()[:60])
    assert evaluate(artifact.path, data) == 2
    assert image.name in refusal(capsys)


def test_a_file_that_is_quantized_already_can_be_scored(
    artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """INT8 without a record is opened too: what is judged is the file as it is."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    images = [cv2.imread(str(path))[:, :, ::-1] for path in sorted((data / "images").iterdir())]

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            self.left = iter(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.left, None)
            return None if image is None else {"images": image.transpose(2, 0, 1)[None].astype(np.float32) / 255}

    kinds = {node.op_type for node in onnx.load(artifact.path).graph.node}
    target = artifact.path.with_name("int8.onnx")
    quantize_static(artifact.path, target, Reader(), quant_format=QuantFormat.QDQ, op_types_to_quantize=sorted(kinds))
    assert evaluate(target, data, "--json") == 0
    assert document(capsys)["artifact"]["precision"] == "int8"
