"""What `edgeloop ingest` says to people: every finding with its file, its reason and what was done about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgeloop.arrival import IngestReport
from edgeloop.ingest_tables import ingest_tables
from edgeloop.output import show
from flows.cli import app
from tests.labelled_sets import picture, yolo_set

BOX, OVER = "0 0.5 0.5 0.2 0.2", "0 0.9 0.5 0.4 0.2"  # the second ends a tenth of the width outside


def told(workspace: Path, source: Path, *options: str) -> list[list[str]]:
    """The rows of the tables that a dry run prints."""
    workspace.mkdir()
    (workspace / "config.yaml").write_text("{}\n")
    command = ["ingest", str(source), *options, "--dry-run", "--config", str(workspace / "config.yaml")]
    ran = CliRunner().invoke(app, command, catch_exceptions=False)
    assert ran.exit_code == 0
    return rows(ran.stdout)


def rows(printed: str) -> list[list[str]]:
    """The cells of every row of the tables, lines that were broken joined again."""
    found: list[list[str]] = []
    for line in printed.splitlines():
        cells = [cell.strip() for cell in line.split("│")[1:-1]]
        if cells and cells[0]:
            found.append(cells)
        elif cells:
            found[-1] = [f"{before} {more}".strip() for before, more in zip(found[-1], cells, strict=True)]
    return found


def test_what_was_mended_is_said(tmp_path: Path) -> None:
    """Each mended file has its path in the source, what was wrong, and the remedy; files of one name are told apart."""
    source = yolo_set(tmp_path / "set", {"a": OVER, "b": BOX})
    yolo_set(source, {"a": OVER, "c": BOX}, side="val")
    for seed, image in enumerate(sorted((source / "images/val").iterdir())):
        picture(image, seed=10 + seed)
    (source / "data.yaml").write_text("names: [scratch, dent]\ntrain: images/train\nval: images/val\n")
    picture(source / "images/train/alone.jpg", seed=20)
    (source / "labels/val/lost.txt").write_text(BOX)
    mended = told(tmp_path / "ws", source, "--fix")
    for side in ("train", "val"):
        (reason,) = [reason for *_, path, reason in mended if path == f"labels/{side}/a.txt"]
        assert reason.startswith("line 1: box (44.8, 19.2, 70.4, 28.8) leaves the 64 × 48 image: cut to ")
    without = "image without a label file (a background needs an empty one): image left out"
    assert ["image-without-label", "images/train/alone.jpg", without] in mended
    assert ["label-without-image", "labels/val/lost.txt", "label without its image: label left out"] in mended


def test_frames_that_kept_their_side_are_counted(capsys: pytest.CaptureFixture[str]) -> None:
    """A source that asks for another side than its frames are on is told how many stayed."""
    report = IngestReport(source="set", kind="labelled", unchanged=3, stayed=("0" * 16, "1" * 16), state="f" * 64)
    show(report, ingest_tables(report), as_json=False)
    assert ["frames that kept another side than asked", "2"] in rows(capsys.readouterr().out)
