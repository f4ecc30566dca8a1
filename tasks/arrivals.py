"""Stage arrivals: which folders came in, and which of them are labelled."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.config import Config
from edgeloop.errors import BadInput
from edgeloop.formats.assemble import images_below
from edgeloop.formats.detect import detect
from edgeloop.record import Record
from tasks.stage import stage


class Arrival(Record):
    """A folder that came in; a labelled set goes into the data set, mere frames into the store."""

    folder: Path
    labelled: bool


@stage(cache=False)
def list_arrivals(sources: Sequence[Path] | None, config: Config) -> tuple[Arrival, ...]:
    """The folders to take in: those named, or every folder of the inbox that holds an image.

    Raises:
        BadInput: a named folder does not exist or holds no image.
    """
    if sources is None:
        inbox = config.path(config.inbox)
        found = sorted(folder for folder in inbox.glob("*") if folder.is_dir() and any(images_below(folder)))
        return tuple(_arrival(folder) for folder in found)
    return tuple(_arrival(_named(config.path(source))) for source in sources)


def _named(folder: Path) -> Path:
    if not folder.is_dir():
        came = "a file" if folder.exists() else "nothing"
        raise BadInput(f"{folder}: expected a folder with images, came {came}. Name the folder of a set or of frames.")
    if not any(images_below(folder)):
        raise BadInput(f"{folder} holds no images: expected .jpg, .png, .bmp, .webp or .tif files in it.")
    return folder.resolve()


def _arrival(folder: Path) -> Arrival:
    """A folder that looks like no labelled layout is one of frames; a damaged set is refused when it is read."""
    try:
        detect(folder)
    except BadInput:
        return Arrival(folder=folder.resolve(), labelled=False)
    return Arrival(folder=folder.resolve(), labelled=True)
