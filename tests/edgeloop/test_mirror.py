"""A remote source as a folder of this machine."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from edgeloop.errors import BadInput
from edgeloop.mirror import is_remote, mirror


class CountedMemory(MemoryFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """A remote store that says what was read of it, and can be away."""

    protocol = "counted"
    store: dict[str, Any] = {}  # noqa: RUF012  # fsspec's own way
    pseudo_dirs: list[str] = [""]  # noqa: RUF012
    read: list[str] = []  # noqa: RUF012
    away = False

    def cat_file(self, path: str, **rest: Any) -> Any:
        if CountedMemory.away:
            raise OSError("no route to host")
        CountedMemory.read.append(path)
        return super().cat_file(path, **rest)

    def find(self, path: str, **rest: Any) -> Any:
        if CountedMemory.away:
            raise OSError("no route to host")
        return super().find(path, **rest)


fsspec.register_implementation("counted", CountedMemory, clobber=True)


@pytest.fixture
def remote() -> Iterator[CountedMemory]:
    files = fsspec.filesystem("counted")
    files.pipe_file("counted://line/set/images/a b.jpg", b"one")
    files.pipe_file("counted://line/set/labels/\u00fc.txt", b"two")
    files.read.clear()
    yield files
    CountedMemory.store.clear()
    CountedMemory.away = False


def content(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_copy_is_the_source(remote: CountedMemory, tmp_path: Path) -> None:
    """Names and bytes, in a folder named like the source."""
    copy = mirror("counted://line/set", tmp_path)
    assert copy.name == "set"
    assert content(copy) == {"images/a b.jpg": b"one", "labels/\u00fc.txt": b"two"}


def test_only_what_changed_is_fetched(remote: CountedMemory, tmp_path: Path) -> None:
    """An unchanged file never, a changed one once; one that is gone there is gone here."""
    mirror("counted://line/set", tmp_path)
    remote.read.clear()
    copy = mirror("counted://line/set", tmp_path)
    assert remote.read == []
    remote.pipe_file("counted://line/set/images/a b.jpg", b"three")
    remote.rm("counted://line/set/labels/\u00fc.txt")
    mirror("counted://line/set", tmp_path)
    assert remote.read == ["counted://line/set/images/a b.jpg"]
    assert content(copy) == {"images/a b.jpg": b"three"}


def test_a_file_that_was_lost_here_is_fetched_again(remote: CountedMemory, tmp_path: Path) -> None:
    """So is everything when the state is damaged."""
    copy = mirror("counted://line/set", tmp_path)
    (copy / "images/a b.jpg").unlink()
    mirror("counted://line/set", tmp_path)
    assert (copy / "images/a b.jpg").read_bytes() == b"one"
    next(tmp_path.rglob(".mirror.json")).write_text("{")
    mirror("counted://line/set", tmp_path)
    assert len(content(copy)) == 2


def test_a_single_file_is_a_source(remote: CountedMemory, tmp_path: Path) -> None:
    """A video, for example."""
    path = mirror("counted://line/set/images/a b.jpg", tmp_path)
    assert (path.name, path.read_bytes()) == ("a b.jpg", b"one")


@pytest.mark.parametrize("name", ["../../evil.jpg", "a/../../evil.jpg", "..\\evil.jpg"])
def test_a_name_that_leaves_the_folder_is_refused(remote: CountedMemory, tmp_path: Path, name: str) -> None:
    """Before anything is fetched."""
    CountedMemory.store[f"counted://line/set/{name}"] = CountedMemory.store["counted://line/set/images/a b.jpg"]
    with pytest.raises(BadInput, match="leaves the folder"):
        mirror("counted://line/set", tmp_path / "copies")
    assert remote.read == []
    assert not [path for path in tmp_path.rglob("*evil*") if path.is_file()]


def test_a_remote_that_refuses_is_one_sentence(remote: CountedMemory, tmp_path: Path) -> None:
    """And so is one with nothing in it."""
    with pytest.raises(BadInput, match="holds no files"):
        mirror("counted://line/nothing", tmp_path)
    CountedMemory.away = True
    with pytest.raises(BadInput, match="no route to host"):
        mirror("counted://line/set", tmp_path)


@pytest.mark.parametrize(
    ("source", "remote"), [("s3://bucket/set", True), ("file:///data", False), ("/data", False), ("a:b", False)]
)
def test_what_is_remote(source: str, remote: bool) -> None:
    """A URL of another machine."""
    assert is_remote(source) is remote
