"""Files of a set: found through links, named inside the set, or said to lead out of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from operator import attrgetter
from pathlib import Path, PurePosixPath

from edgeloop.errors import BadInput
from edgeloop.formats.findings import printable
from edgeloop.formats.images import SUFFIXES

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://|data:", re.ASCII)
_DRIVE = re.compile(r"[A-Za-z]:/", re.ASCII)


def files_below(folder: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    """Files with one of the suffixes (lower case) in `folder`, sorted, through symbolic links, hidden ones left out.

    A link to nothing is given too, so that somebody misses it; pipes, sockets and devices, which a reader could wait
    at for ever, are not.
    """
    return map(Path, names_below(folder, suffixes))


def names_below(folder: Path, suffixes: frozenset[str]) -> Iterator[str]:
    """The same as text, at a third of the time, for folders with a hundred thousand of them."""
    waiting, visited, endings = [str(folder)], set[str](), tuple(suffixes)
    while waiting:
        here = waiting.pop()
        real = os.path.realpath(here)
        if real in visited:  # a link that leads back up
            continue
        visited.add(real)
        entries = _listed(here)
        for entry in entries:
            if entry.name.lower().endswith(endings) and _readable(entry):
                yield entry.path
        waiting += [entry.path for entry in reversed(entries) if entry.is_dir()]


def _listed(folder: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted((entry for entry in found if not entry.name.startswith(".")), key=attrgetter("name"))
    except OSError:  # no such folder, or one that may not be read: nothing in it can be taken in
        return []


def _readable(entry: os.DirEntry[str]) -> bool:
    return entry.is_file() or (entry.is_symlink() and not Path(entry.path).exists())


def images_below(folder: Path) -> Iterator[Path]:
    """Image files in `folder`, sorted, through symbolic links."""
    return files_below(folder, SUFFIXES)


def require_images(folder: Path) -> list[Path]:
    """The same, at least one.

    Raises:
        BadInput: no such folder, or no image in it.
    """
    return [Path(name) for name in require_image_names(folder)]


def require_image_names(folder: Path) -> list[str]:
    """The same as text.

    Raises:
        BadInput: no such folder, or no image in it.
    """
    found = list(names_below(folder, SUFFIXES)) if folder.is_dir() else []
    if not found:
        came = "holds no frames" if folder.is_dir() else "is a file" if folder.exists() else "does not exist"
        raise BadInput(f"{printable(folder)} {came}: expected a folder with .jpg, .png, .bmp, .webp or .tif files.")
    return found


def unsafe(name: str) -> str:
    """Why a file name that an annotation gives may not be followed; "" when it stays in the set.

    Backslashes count as Windows means them: `..\\secret.jpg` leaves the folder on any system.
    """
    path = PurePosixPath(name.replace("\\", "/"))
    if _URL.match(name):
        return "is a URL"
    if path.is_absolute() or _DRIVE.match(str(path)):
        return "is an absolute path"
    return "leaves the folder" if ".." in path.parts else ""


class Inside:
    """Whether files really lie in a folder, after all links. Looks each parent folder up once."""

    def __init__(self, folder: Path) -> None:
        self._root = os.path.realpath(folder)
        self._parents: dict[str, bool] = {}

    def holds(self, path: Path) -> bool:
        """False for a file that only a link brings into the folder."""
        parent = str(path.parent)
        if parent not in self._parents:
            self._parents[parent] = self._within(parent)
        return self._within(str(path)) if path.is_symlink() else self._parents[parent]

    def _within(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == self._root or real.startswith(self._root.rstrip(os.sep) + os.sep)
