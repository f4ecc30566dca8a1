"""A copy of a remote source on this machine, brought up to date file by file: what did not change is not fetched.

Every reader then works on plain files. The copy may be deleted at any time; it is fetched again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from edgeloop.errors import BadInput
from edgeloop.file_systems import open_store, said_plainly
from edgeloop.files import write_bytes, write_text
from edgeloop.formats.findings import printable
from edgeloop.formats.images import MAXIMUM_BYTES
from edgeloop.lock import exclusive
from edgeloop.progress import bar
from edgeloop.spread import fetch

MAXIMUM_FILES = 5_000_000
MAXIMUM_FILE_BYTES = 50 * 1000**3  # of hours of video
STATE = ".mirror.json"
FLUSH = 1000  # files fetched between two writes of the state; what a killed run fetches again
TAGS = ("ETag", "etag", "md5", "mtime", "LastModified", "last_modified", "created")  # what tells that a file changed


@dataclass(frozen=True)
class Remote:
    """One file of the source: its name below the source, its key, and what tells whether it changed."""

    name: str
    key: str
    size: int
    tag: str


def is_remote(source: str) -> bool:
    """Whether a source is an fsspec URL rather than a path; `file://` is a path."""
    return "://" in source and not source.startswith(("file://", "local://"))


def mirror(url: str, folder: Path) -> Path:
    """Bring the copy of a source below `folder` up to date; returns the copy's folder, named like the source.

    Args:
        url: a folder on any fsspec file system, or one file.
        folder: of all copies.

    Raises:
        BadInput: the source cannot be reached, holds nothing or too much, a name in it leaves the folder, or another
            process is fetching it.
    """
    place = folder / hashlib.sha256(url.encode()).hexdigest()[:16]
    copy = place / (PurePosixPath(url.rstrip("/")).name or "source")
    with exclusive(place / ".lock", f"the copy of {url}"), said_plainly(url):
        files, root = open_store(url)
        wanted = list(_list(files, root, url))
        state = _load(place / STATE)
        stale = [one for one in wanted if state.get(one.name) != [one.size, one.tag] or not (copy / one.name).exists()]
        _fetch_all(files, stale, copy, state, place / STATE)
        _remove(copy, state, {one.name for one in wanted})
        _save(place / STATE, state)
    single = len(wanted) == 1 and wanted[0].name == copy.name and files.isfile(root)
    return copy / copy.name if single else copy


def _list(files: Any, root: str, url: str) -> Iterator[Remote]:
    found = files.find(root, detail=True)
    if not found:
        raise BadInput(f"{url} holds no files; expected a labelled set, images, videos or a log. Check the address.")
    if len(found) > MAXIMUM_FILES:
        raise BadInput(
            f"{url} holds {len(found)} files, at most {MAXIMUM_FILES} are taken at a time; name a part of it."
        )
    for key, facts in sorted(found.items()):
        name = key[len(root) :].lstrip("/") or PurePosixPath(root).name
        _refuse_unsafe(name, url)
        if (facts.get("size") or 0) > MAXIMUM_FILE_BYTES:
            size, most = facts["size"] / 1e9, MAXIMUM_FILE_BYTES / 1e9
            raise BadInput(f"{url} holds {printable(name)} of {size:.0f} GB, at most {most:.0f} GB; name a part of it.")
        tag = next((str(facts[tag]) for tag in TAGS if facts.get(tag) is not None), "")
        yield Remote(name, key, int(facts.get("size") or 0), tag)


def _refuse_unsafe(name: str, url: str) -> None:
    """A key is any text; as a path it must stay inside the copy."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name or "\\" in name:
        raise BadInput(f"{url} holds a file named {printable(name[:200])!r}, which leaves the folder; rename it there.")


def _fetch_all(files: Any, stale: list[Remote], copy: Path, state: dict[str, list[Any]], record: Path) -> None:
    done = fetch(partial(_fetch, files, copy), stale)
    for count, one in enumerate(bar(done, "fetching", len(stale)), 1):
        state[one.name] = [one.size, one.tag]
        if count % FLUSH == 0:
            _save(record, state)


def _fetch(files: Any, copy: Path, one: Remote) -> Remote:
    """One file, whole or not at all."""
    target = copy / one.name
    if one.size > MAXIMUM_BYTES:  # a video, or what its reader will reject: not through memory
        target.parent.mkdir(parents=True, exist_ok=True)
        partial_file = target.with_name(f".{target.name}.tmp")
        files.get_file(one.key, str(partial_file))
        partial_file.replace(target)
    else:
        write_bytes(target, files.cat_file(one.key))
    return one


def _remove(copy: Path, state: dict[str, list[Any]], wanted: set[str]) -> None:
    """What the source no longer has goes from the copy, too."""
    for name in set(state) - wanted:
        (copy / name).unlink(missing_ok=True)
        del state[name]


def _load(record: Path) -> dict[str, list[Any]]:
    try:
        found: dict[str, list[Any]] = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found


def _save(record: Path, state: dict[str, list[Any]]) -> None:
    write_text(record, json.dumps(state, sort_keys=True))
