"""`edgeloop thresholds` on a user's own files: what it prints, what it writes, and one sentence for every mistake."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from edgeloop.artifact import Artifact, load_artifact
from edgeloop.cli import run
from edgeloop.measures import ThresholdReport
from tests.audits import colour_artifact, write_audit
from tests.logs import logged_frame, table_of, write_log


@pytest.fixture
def artifact(tmp_path: Path) -> Artifact:
    return colour_artifact(tmp_path / "model")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write_audit(tmp_path / "own set", 40)


def thresholds(model: Path, data: Path, *words: str) -> int:
    return run(["thresholds", str(model), "--data", str(data), "--runtime", "onnxruntime", *words])


def document(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    """The one sentence on stderr, without what was told before it."""
    said = capsys.readouterr()
    assert said.out == ""
    return said.err.strip().splitlines()[-1]


def divide(data: Path) -> None:
    """Three quarters of the set become its training side, the rest its validation side."""
    for folder in ("images", "labels"):
        for index, path in enumerate(sorted((data / folder).iterdir())):
            target = data / folder / ("val" if index % 2 == 0 else "train")
            target.mkdir(exist_ok=True)
            path.rename(target / path.name)
    (data / "data.yaml").write_text((data / "data.yaml").read_text() + "train: images/train\nval: images/val\n")


def unlabel(data: Path) -> None:
    for path in (data / "labels").iterdir():
        path.write_text("")


def test_json_is_the_whole_answer(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One document: thresholds, what they rest on, six rows to compare, the saving; the record has the thresholds."""
    words = ("--objective", "cost", "--cost-miss", "2", "--cost-miss", "blue=9", "--json")
    assert thresholds(artifact.path, data, *words) == 0
    found = document(capsys)
    assert [(one["on"], one["name"]) for one in found["comparison"]] == [
        (on, name) for on in ("tuning", "held-out") for name in ("tuned", "global 0.25", "global 0.5")
    ]
    assert found["rarest"] == "blue"
    assert found["card"]["cost_miss"] == 2
    assert found["card"]["classes"]["blue"]["cost_miss"] == 9
    assert set(found["savings"]) <= {"global 0.25", "global 0.5"}
    assert found["truths"] == sum(one["truths"] for one in found["classes"])
    assert load_artifact(artifact.path).thresholds == tuple(one["threshold"] for one in found["classes"])
    saved = artifact.path.with_name("colours.onnx.thresholds.json")
    assert json.loads(ThresholdReport.load(saved).to_json()) == found


def test_twice_is_the_same_and_out_leaves_the_model_alone(
    artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing depends on an earlier run, and with --out the record beside the model stays what it was."""
    before, out = artifact.sidecar.read_bytes(), data.parent / "out"
    answers = []
    for _ in range(2):
        assert thresholds(artifact.path, data, "--out", str(out), "--json") == 0
        answers.append(document(capsys))
    assert answers[0] == answers[1]
    assert artifact.sidecar.read_bytes() == before
    assert Artifact.load(out / "colours.onnx.json").thresholds == tuple(answers[0]["tuned"]["thresholds"])


def test_a_record_is_not_needed(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An ONNX from elsewhere gets a record that devices read."""
    artifact.sidecar.unlink()
    assert thresholds(artifact.path, data, "--json") == 0
    found = document(capsys)
    assert load_artifact(artifact.path).thresholds == tuple(found["tuned"]["thresholds"])


def test_tables_and_report(artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """People get tables, and an HTML file that loads nothing, with a curve for each class on both halves."""
    page = tmp_path / "page.html"
    data = write_audit(tmp_path / "more", 60, seed=3)
    words = ("--objective", "risk", "--maximum-risk", "0.5", "--objective", "blue=recall", "--report", str(page))
    assert thresholds(artifact.path, data, *words) == 0
    said = capsys.readouterr().out
    assert "recall of" in said
    assert "cost / 1,000" in said
    assert "held-out" in said
    html = page.read_text()
    assert 4 <= html.count("<svg") <= 6
    assert "tuned 0." in html
    assert "http" not in html.replace("http://www.w3.org", "")


def test_another_side_is_held_out(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Tuned on the whole of one side, judged on the other; the same side twice is refused."""
    divide(data)
    assert thresholds(artifact.path, data, "--side", "train", "--held-out", "val", "--json") == 0
    found = document(capsys)
    assert found["frames"] == 20
    assert thresholds(artifact.path, data, "--side", "train", "--held-out", "train") == 2
    assert "expected a side to hold out other than the one that is tuned on" in refusal(capsys)


def test_a_card_says_what_for(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its `thresholds:` counts, options come before it, and a class that nobody knows is refused."""
    card = data.parent / "card.yaml"
    text = (
        "name: own\narchitecture: yolov8n.yaml\nthresholds:\n  objective: recall\n  minimum_recall: 0.6\n  classes:\n"
    )
    card.write_text(text + "    red: {objective: cost, cost_miss: 7}\n")
    assert thresholds(artifact.path, data, "--card", str(card), "--minimum-recall", "0.5", "--json") == 0
    found = document(capsys)
    assert [one["objective"] for one in found["classes"]] == ["cost", "recall", "recall"]
    assert found["card"]["minimum_recall"] == 0.5
    card.write_text(text + "    violet: {cost_miss: 7}\n")
    assert thresholds(artifact.path, data, "--card", str(card)) == 2
    assert "the card's thresholds name the class 'violet'; expected classes of the artifact: red" in refusal(capsys)


def test_no_label_falls_back_loudly(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An empty audit set: exit 3, the default for every class, a warning on stderr too, and nothing is written."""
    unlabel(data)
    page, beside = data.parent / "page.html", sorted(artifact.path.parent.iterdir())
    before = artifact.sidecar.read_bytes()
    warning = "warning: Thresholds were not tuned: 40 tuning frames with 0 labelled boxes"
    assert thresholds(artifact.path, data, "--json") == 3
    said = capsys.readouterr()
    found = json.loads(said.out)
    assert found["tuned"]["thresholds"] == [0.25] * 3
    assert "Thresholds were not tuned" in found["warning"]
    assert warning in said.err
    assert "Tuned on" not in said.err
    assert thresholds(artifact.path, data, "--report", str(page)) == 3
    said = capsys.readouterr()
    assert warning in " ".join(said.out.split())
    for text in (said.out, said.err, page.read_text()):
        assert "Thresholds were not tuned" in " ".join(text.split())
        assert "tuned on" not in text.lower()
    assert sorted(artifact.path.parent.iterdir()) == beside
    assert artifact.sidecar.read_bytes() == before


def test_costs_that_choose_nothing_are_told(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With another objective they change the comparison alone, for all classes or for one."""
    words = ("--objective", "green=cost", "--cost-false", "2", "--cost-miss", "blue=9", "--json")
    assert thresholds(artifact.path, data, *words) == 0
    told = capsys.readouterr().err
    assert "warning: --cost-miss chooses no threshold: it belongs to the objective cost, which blue has not" in told
    assert "--cost-false" not in told
    assert thresholds(artifact.path, data, "--cost-false", "2", "--json") == 0
    assert "warning: --cost-false chooses no threshold" in capsys.readouterr().err


def test_a_class_without_labels_is_said(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """It has the global threshold, is named, and is judged nowhere."""
    for path in (data / "labels").iterdir():
        path.write_text("".join(line for line in path.read_text().splitlines(True) if not line.startswith("2 ")))
    assert thresholds(artifact.path, data, "--json") == 0
    found = document(capsys)
    assert found["classes"][2]["basis"] == "global"
    assert "blue: no labelled box to tune on, it has the global threshold." in found["remarks"]
    assert "No labelled box of blue on the held-out frames: not judged there." in found["remarks"]
    assert found["comparison"][3]["recalls"]["blue"] is None


def test_a_set_too_small_to_hold_out(artifact: Artifact, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One labelled frame is tuned on and not judged on another: the tables say that this flatters."""
    data = write_audit(tmp_path / "small", 3, seed=4)
    labelled = [path for path in sorted((data / "labels").iterdir()) if path.read_text()]
    for path in labelled[1:]:
        path.write_text("")
    assert thresholds(artifact.path, data) == 0
    assert "Nothing was held out" in capsys.readouterr().out


def test_weights_count(artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Frames that stand for more weigh more, and so many equally weighted frames are told."""
    table = data.parent / "w.csv"
    names = sorted(path.name for path in (data / "images").iterdir())
    table.write_text(
        "\n".join(["frame,weight", *(f"{one},{1 + 30 * (number < 4)}" for number, one in enumerate(names))])
    )
    assert thresholds(artifact.path, data, "--weights", str(table), "--json") == 0
    found = document(capsys)
    assert found["effective_frames"] < found["frames"]


def boxes(rng: np.random.Generator, count: int) -> list[dict]:
    corner = {"x1": 0.0, "y1": 0.0, "x2": 16.0, "y2": 16.0}
    return [corner | {"score": float(rng.uniform(0.06, 0.9)), "class_id": 0} for _ in range(count)]


def test_production_from_a_log_a_file_and_frames(
    artifact: Artifact, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three forms of the same: each class says what production has of it, or why nothing could be estimated."""
    rng = np.random.default_rng(0)
    start = np.datetime64("2026-03-01T08:00:00").astype("datetime64[us]").item()
    rows = [logged_frame(f"{number:016x}", start, boxes(rng, 3)) | {"artifact_id": artifact.id} for number in range(60)]
    rows += [logged_frame("f" * 16, start, boxes(rng, 50))]  # another artifact's
    log = write_log(table_of(rows), tmp_path / "log")
    assert thresholds(artifact.path, data, "--production", str(log), "--json") == 0
    by_log = document(capsys)["priors"]
    assert by_log[0]["candidates"] == 180
    one_file = next(log.rglob("*.parquet"))
    assert thresholds(artifact.path, data, "--production", str(one_file), "--json") == 0
    assert document(capsys)["priors"] == by_log
    assert "not estimated" in by_log[2]["note"]
    assert thresholds(artifact.path, data, "--production", str(data / "images")) == 0
    assert "Production against the tuning frames" in capsys.readouterr().out


def test_production_that_does_not_fit(
    artifact: Artifact, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another artifact's scores, another table, no file, an empty folder: exit 2 and one sentence."""
    other = tmp_path / "other.parquet"
    columns = {"frame_id": ["a"], "class_id": [0], "score": [0.5]}
    pq.write_table(pa.table(columns).replace_schema_metadata({"artifact": "f" * 12}), other)
    assert thresholds(artifact.path, data, "--production", str(other)) == 2
    assert f"holds detections of {'f' * 12}; expected those of {artifact.id}" in refusal(capsys)
    pq.write_table(pa.table({"x": [1]}), other)
    assert thresholds(artifact.path, data, "--production", str(other)) == 2
    assert "expected a Parquet file of an inference log, or of detections" in refusal(capsys)
    other.write_bytes(b"PAR1")
    assert thresholds(artifact.path, data, "--production", str(other)) == 2
    assert "cannot be read as production detections" in refusal(capsys)
    for nowhere in ("nowhere", "nowhere.parquet"):
        assert thresholds(artifact.path, data, "--production", str(tmp_path / nowhere)) == 2
        assert f"{nowhere}: expected a folder of frames, the folder or URL of an inference log" in refusal(capsys)
    (tmp_path / "date=2026-03-01").mkdir()
    assert thresholds(artifact.path, data, "--production", str(tmp_path)) == 2
    said = refusal(capsys)
    assert "there is no inference log at" in said
    assert "config.yaml" not in said
    for url, reason in (("s3x://foo", "Protocol not known: s3x"), ("http://127.0.0.1:9/log", "refused")):
        assert thresholds(artifact.path, data, "--production", url) == 2
        assert reason in refusal(capsys)


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"class_id": ["x"]}, "expected class ids from 0 to 2 and scores from 0 to 1"),
        ({"class_id": [3]}, "expected class ids from 0 to 2"),
        ({"class_id": [None]}, "expected class ids from 0 to 2"),
        ({"score": ["high"]}, "scores from 0 to 1 in every row; came others"),
        ({"score": [float("nan")]}, "scores from 0 to 1 in every row; came others"),
        ({"boxes": [1]}, "expected the boxes of an inference log"),
    ],
)
def test_production_detections_are_looked_at(
    changed: dict[str, list[object]], reason: str, artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Columns of another type and values that no detector gives are refused, not counted."""
    table = data.parent / "seen.parquet"
    pq.write_table(pa.table({"frame_id": ["a"], "class_id": [0], "score": [0.5], **changed}), table)
    assert thresholds(artifact.path, data, "--production", str(table)) == 2
    assert reason in refusal(capsys)


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--objective", "luck"), "objective: input should be 'f-beta', 'recall', 'cost' or 'risk' (got 'luck')"),
        (("--cost-miss", "dear"), "cost_miss: input should be a valid number"),
        (("--cost-miss", "red=-1"), "classes.red.cost_miss: input should be greater than or equal to 0"),
        (("--cost-miss", "violet=2"), "name the class 'violet'"),
        (("--maximum-risk", "1"), "maximum_risk: input should be less than 1"),
        (("--minimum-recall", "nan"), "minimum_recall: input should be"),
        (("--minimum-recall", "0.9"), "which no class has. Add --objective recall, or leave it out"),
        (("--maximum-risk", "red=0.2"), "which red has not. Add --objective red=risk, or leave it out"),
        (("--beta", "2", "--objective", "cost"), "--beta has no effect"),
        (("--side", "left"), "expected a side of auto"),
        (("--held-out", "left"), "expected a side of auto"),
        (("--runtime", "abacus"), "expected a runtime of auto"),
        (("--card", "nothing.yaml"), "nothing.yaml does not exist"),
        (("--out", __file__), "is none. Name another."),
        (("--report", f"{__file__}/x.html"), "is none. Name another."),
    ],
)
def test_options_that_do_not_fit(
    words: tuple[str, ...], reason: str, artifact: Artifact, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, nothing on stdout, one sentence, and the record as it was."""
    before = artifact.sidecar.read_bytes()
    assert thresholds(artifact.path, data, *words) == 2
    assert reason in refusal(capsys)
    assert artifact.sidecar.read_bytes() == before


def test_files_that_do_not_fit(
    artifact: Artifact, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint is never opened; a model that is not there, and a set of other classes: exit 2."""
    pickle = tmp_path / "model.pt"
    pickle.write_bytes(b"PK\x03\x04")
    assert thresholds(pickle, data) == 2
    assert "opening one runs the code in it" in refusal(capsys)
    assert thresholds(tmp_path / "none.onnx", data) == 2
    assert "does not exist" in refusal(capsys)
    other = write_audit(tmp_path / "other", 4, names=("cat", "dog", "bird"))
    assert thresholds(artifact.path, other) == 2
    assert "expected an artifact that knows a class of the audit set other" in refusal(capsys)
