"""What is kept of an inspection, and when it is trusted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgeloop import inspection
from edgeloop.formats.findings import Finding
from edgeloop.formats.images import ImageFacts, inspect
from edgeloop.inspection import Inspected, InspectionCache, inspect_files, stamp_of
from tests.labelled_sets import encoded, smooth

OLD = 1_700_000_000


@pytest.fixture(autouse=True)
def _settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of this test were changed a moment ago; here that is long enough."""
    monkeypatch.setattr(inspection, "RACY_NS", 0)


def photo(path: Path, seed: int = 0) -> Path:
    path.write_bytes(encoded(".jpg", smooth(seed)))
    return path


def keep(folder: Path, path: Path, found: ImageFacts | Finding) -> InspectionCache:
    cache = InspectionCache(folder, "source")
    cache.add([Inspected(path, stamp_of(path), found)])
    cache.flush()
    return InspectionCache(folder, "source")


def test_an_unchanged_file_is_known(tmp_path: Path) -> None:
    """All of what was found comes back, of this source only."""
    path = photo(tmp_path / "a.jpg")
    found = inspect(path)
    assert keep(tmp_path / "cache", path, found).get(path, stamp_of(path)) == found
    assert InspectionCache(tmp_path / "cache", "another").get(path, stamp_of(path)) is None


@pytest.mark.parametrize("change", ["content", "size", "time"])
def test_a_changed_file_is_not_known(tmp_path: Path, change: str) -> None:
    """Even when somebody set the time of modification back."""
    path = photo(tmp_path / "a.jpg")
    os.utime(path, (OLD, OLD))
    cache = keep(tmp_path / "cache", path, inspect(path))
    content = path.read_bytes()
    path.write_bytes({"content": content[::-1], "size": content + b"\0", "time": content}[change])
    os.utime(path, (OLD + (change == "time"), OLD + (change == "time")))
    assert cache.get(path, stamp_of(path)) is None


def test_a_file_that_just_changed_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a tick of the clock it could change again without a sign."""
    monkeypatch.setattr(inspection, "RACY_NS", 2_000_000_000)
    path = photo(tmp_path / "a.jpg")
    assert keep(tmp_path / "cache", path, inspect(path)).get(path, stamp_of(path)) is None


def test_findings_are_not_kept(tmp_path: Path) -> None:
    """A broken file is looked at every time: who mended it sees so."""
    path = tmp_path / "a.jpg"
    path.write_bytes(b"no picture")
    found = inspect(path)
    assert isinstance(found, Finding)
    assert keep(tmp_path / "cache", path, found).get(path, stamp_of(path)) is None


def test_a_damaged_cache_is_as_good_as_none(tmp_path: Path) -> None:
    """Rubbish, or the file of another program, in the cache's folder."""
    path = photo(tmp_path / "a.jpg")
    keep(tmp_path / "cache", path, inspect(path))
    for kept in (tmp_path / "cache").rglob("*.parquet"):
        kept.write_bytes(kept.read_bytes()[:100])
    assert InspectionCache(tmp_path / "cache", "source").get(path, stamp_of(path)) is None
    assert inspect_files([path], InspectionCache(tmp_path / "cache", "source")) == [inspect(path)]


def test_many_small_files_are_joined(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache that grew in small steps is one file again, and knows the newest of each path."""
    monkeypatch.setattr(inspection, "MAXIMUM_PARTS", 3)
    path = tmp_path / "a.jpg"
    for seed in range(5):
        keep(tmp_path / "cache", photo(path, seed), inspect(path))
    assert len(list((tmp_path / "cache").rglob("*.parquet"))) <= 3
    assert InspectionCache(tmp_path / "cache", "source").get(path, stamp_of(path)) == inspect(path)


def test_only_what_is_new_is_inspected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order of the paths, known and unknown ones mixed, names of undecodable bytes among them."""
    odd = tmp_path / os.fsdecode(b"caf\xe9 \n.jpg")
    paths = [photo(tmp_path / f"{number}.jpg", number) for number in range(3)] + [photo(odd, 9)]
    first = inspect_files(paths[::2], InspectionCache(tmp_path / "cache", "source"))
    looked: list[Path] = []
    monkeypatch.setattr(inspection, "inspect", lambda path: looked.append(path) or inspect(path))
    found = inspect_files(paths, InspectionCache(tmp_path / "cache", "source"))
    assert looked == paths[1::2]
    assert found[::2] == first
    assert found == [inspect(path) for path in paths]
