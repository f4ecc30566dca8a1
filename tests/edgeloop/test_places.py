"""Where commands write: a wrong place is one sentence before any work, and what is there stays as it was."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeloop.cli import run
from edgeloop.errors import BadInput
from edgeloop.files import atomic_directory, atomic_file
from edgeloop.places import refuse_target, require_place


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_text("mine")
    return path


def test_a_folder_that_could_be_made_passes_and_is_not_made(tmp_path: Path) -> None:
    """However deep; looking at it leaves nothing behind."""
    require_place(tmp_path)
    require_place(tmp_path / "a/b/c")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("below", ["", "x", "x/y"])
def test_a_file_is_no_folder(below: str, file: Path) -> None:
    """Neither itself nor a place below it; the sentence names the file."""
    with pytest.raises(BadInput, match=r"expected a folder to write into; .*file is none"):
        require_place(file / below)
    with pytest.raises(BadInput, match="expected a folder to write into"):
        refuse_target(file / below / "page.html", ".html")


def test_a_link_to_nothing_is_no_folder(tmp_path: Path) -> None:
    """What it leads to cannot be made by its name."""
    (tmp_path / "link").symlink_to(tmp_path / "gone")
    with pytest.raises(BadInput, match="link is none"):
        require_place(tmp_path / "link/out")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(tmp_path: Path) -> None:
    """It is said before, not after the work."""
    tmp_path.chmod(0o500)
    with pytest.raises(BadInput, match="may not be written"):
        require_place(tmp_path / "out")
    tmp_path.chmod(0o700)


def test_atomic_writes_never_replace_another_kind(tmp_path: Path, file: Path) -> None:
    """A folder takes no file's place, a file no folder's; both stay, and nothing is left beside them."""
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(NotADirectoryError), atomic_directory(file):
        pass
    with pytest.raises(IsADirectoryError), atomic_file(folder) as temporary:
        temporary.write_text("x")
    assert file.read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


@pytest.mark.parametrize(
    "words",
    [
        ("flag", "0123456789abcdef", "--kind", "missed", "--device-folder", "{file}"),
        ("flag", "0123456789abcdef", "--kind", "missed", "--device-folder", "{file}/x"),
        ("sample-data", "{file}", "--size", "tiny"),
        ("sample-data", "{file}/x", "--size", "tiny"),
        ("demo", "--workspace", "{file}"),
        ("demo", "--workspace", "{file}/x"),
        ("demo", "--data", "{file}", "--workspace", "{here}/demo"),
        ("dataset", "checkout", "current", "--out", "{file}/x"),
        ("dataset", "report", "--out", "{file}/x.html"),
    ],
)
def test_commands_say_it_in_one_sentence(
    words: tuple[str, ...], file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit 2, the place named, and nothing left behind."""
    monkeypatch.chdir(file.parent)
    assert run([word.format(file=file, here=file.parent) for word in words]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert len(said.err.strip().splitlines()) == 1
    assert str(file) in said.err
    assert [path.name for path in file.parent.iterdir()] == ["file"]
    assert file.read_text() == "mine"


def test_a_sample_replaces_no_other_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder that holds something else is left alone; so is a seed that there is none of."""
    (tmp_path / "notes.txt").write_text("mine")
    assert run(["sample-data", str(tmp_path), "--size", "tiny"]) == 2
    assert "is not empty and holds no sample" in capsys.readouterr().err
    assert run(["sample-data", str(tmp_path / "new"), "--size", "tiny", "--seed", "-1"]) == 2
    assert "seed: input should be greater than or equal to 0" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_budget_without_end_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """What may wait on a device is a number of bytes: usage, not a traceback."""
    assert run(["run", "0", "--model", "none.onnx", "--budget-gb", "inf"]) == 2
    assert "Invalid value for '--budget-gb'" in capsys.readouterr().err
