"""`train`, `sweep`, `gate` and `retrain` read what they rest on first: a typo is one sentence, at once."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

import pytest

import tasks.ephemeral
from edgeloop.cli import run

CARD = "name: small\narchitecture: yolov8n.yaml\nimgsz: 64\n"
SWEEP = "name: few\nbase: card.yaml\narchitectures: [{card}]\nimgsz: [{imgsz}]\nbudget_seconds: {budget}\n"


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace without a data set, in which no server can start."""
    for name, text in {
        "config.yaml": "card: card.yaml\ndevice: device.yaml\nsweep: sweep.yaml\n",
        "card.yaml": CARD,
        "device.yaml": "name: cpu\n",
        "sweep.yaml": SWEEP.format(card="card.yaml", imgsz=64, budget=60),
    }.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(tasks.ephemeral, "spawn", _no_server)
    return tmp_path


def _no_server(*_: object, **__: object) -> AbstractContextManager[None]:
    raise AssertionError("a server was started")


def is_refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one sentence; nothing is left behind."""
    before = sorted(Path().rglob("*"))
    assert run(list(words)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert sorted(Path().rglob("*")) == before
    return said.err


def test_a_sound_workspace_reaches_the_server(workspace: Path) -> None:
    """Where nothing is wrong with what is read first, all four go on."""
    for words in (["train"], ["sweep"], ["gate"], ["retrain"]):
        with pytest.raises(AssertionError, match="a server was started"):
            run(words)


@pytest.mark.parametrize("command", ["train", "gate", "retrain"])
def test_card_and_device_are_read_first(command: str, workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By every command that trains or judges."""
    (workspace / "card.yaml").write_text(CARD + "learning_rte: 1\n")
    assert "learning_rte: extra inputs are not permitted" in is_refused(capsys, command)
    (workspace / "card.yaml").write_text(CARD)
    (workspace / "device.yaml").unlink()
    assert "device.yaml does not exist; expected a DeviceProfile" in is_refused(capsys, command)


def test_a_named_card_is_read_first(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The configuration's own does not count then."""
    assert "nope.yaml does not exist; expected a Card in YAML" in is_refused(capsys, "train", "--card", "nope.yaml")


def test_audit_folders_are_looked_at_before_the_version(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Those of the command line and those of the configuration: a folder, with class names."""
    came = "expected the folder of a labelled set to judge by, came"
    assert f"nope: {came} nothing" in is_refused(capsys, "gate", "--audit", "nope")
    assert f"card.yaml: {came} a file" in is_refused(capsys, "gate", "nobody", "--audit", "card.yaml")
    (workspace / "bare").mkdir()
    assert "bare names no classes" in is_refused(capsys, "gate", "--audit", "bare")
    (workspace / "config.yaml").write_text((workspace / "config.yaml").read_text() + "audits: [gone]\n")
    assert f"gone: {came} nothing" in is_refused(capsys, "retrain")


@pytest.mark.parametrize(
    ("changed", "words", "reason"),
    [
        ({}, ("--sweep", "nope.yaml"), "nope.yaml does not exist; expected a Sweep in YAML"),
        ({"card": "gone.yaml"}, (), "gone.yaml does not exist; expected a Card in YAML"),
        ({"card": "card.yaml, card.yaml"}, (), "the sweep few has two candidates small-64"),
        ({"imgsz": "-32"}, (), "imgsz.0: input should be greater than or equal to 32 (got -32)"),
        ({"imgsz": "-3"}, (), "imgsz.0: input should be a multiple of 32 (got -3)"),
        ({"budget": ".inf"}, (), "budget_seconds: input should be a finite number"),
        ({}, ("--budget", "inf"), "budget_seconds: input should be a finite number"),
    ],
)
def test_a_sweep_is_read_wholly(
    changed: dict[str, str],
    words: tuple[str, ...],
    reason: str,
    workspace: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its own values and every card that it names, before the data set is asked for."""
    text = SWEEP.format(**{"card": "card.yaml", "imgsz": "64", "budget": "60", **changed})
    (workspace / "sweep.yaml").write_text(text)
    assert reason in is_refused(capsys, "sweep", *words)
