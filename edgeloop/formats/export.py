"""Writing sets: image files under names that every reader can pair with their labels."""

from __future__ import annotations

import shutil
from pathlib import Path

from edgeloop.files import atomic_file
from edgeloop.formats.images import SUFFIXES
from edgeloop.formats.paths import unsafe
from edgeloop.frames import Frame


class Copier:
    """Copies the images of a set and keeps their names apart: labels are found by the stem of an image's name."""

    def __init__(self) -> None:
        self._taken: set[Path] = set()

    def copy(self, frame: Frame, folder: Path) -> Path:
        """Copy the image of a frame into a folder, whole or not at all; returns where it is now.

        It keeps its name, unless another image of that stem is there or a line of text could not hold the name. Then
        the frame's id is in it. Without the suffix of an image it is given .jpg; decoders look at the content.
        """
        suffix = frame.image.suffix.lower() if frame.image.suffix.lower() in SUFFIXES else ".jpg"
        stem = frame.image.stem if _plain(frame.image.stem) else frame.frame_id
        number = 0
        while (target := folder / (stem if not number else f"{frame.frame_id}-{number}")) in self._taken:
            number += 1
        self._taken.add(target)
        image = target.with_name(f"{target.name}{suffix}")
        with atomic_file(image) as temporary:
            shutil.copyfile(frame.image, temporary)
        return image


def _plain(stem: str) -> bool:
    """Whether a stem survives a list of names, an XML and a JSON document, and stays in its folder on any system."""
    return (
        stem.isprintable()
        and stem == stem.strip()
        and not stem.startswith(".")
        and "\\" not in stem
        and not unsafe(stem)
    )
