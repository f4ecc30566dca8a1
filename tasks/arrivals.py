"""Stage arrivals: what came in, and what each of it is. Remote sources are brought to this machine first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edgeloop.arrival import Arrival, IngestSettings, SourceFormat, recognise
from edgeloop.config import Config
from edgeloop.file_systems import said_plainly
from edgeloop.log_intake import is_log
from edgeloop.mirror import is_remote, mirror
from tasks.stage import stage


@stage(cache=False)
def list_arrivals(
    sources: Sequence[Path | str] | None, config: Config, settings: IngestSettings | None = None
) -> tuple[Arrival, ...]:
    """What to take in: the sources that are named, or whatever of the inbox can be.

    Args:
        sources: folders, files and fsspec URLs.
        config: names the inbox and where copies of remote sources are kept.
        settings: what the sources are.

    Raises:
        BadInput: a named source does not exist, cannot be reached, or holds nothing that can be taken in.
    """
    kind = (settings or IngestSettings()).format
    if sources is None:
        found = (folder for folder in sorted(config.path(config.inbox).glob("*")) if not folder.name.startswith("."))
        return tuple(arrival for folder in found for arrival in _in_inbox(folder))
    return tuple(arrival for source in sources for arrival in _named(str(source), config, kind))


def _in_inbox(folder: Path) -> list[Arrival]:
    """An empty folder of the inbox is one that is still being filled, or was emptied."""
    if folder.is_dir() and not any(path.is_file() for path in folder.rglob("*")):
        return []
    return recognise(str(folder), folder.resolve(), "auto")


def _named(source: str, config: Config, kind: SourceFormat) -> list[Arrival]:
    if not is_remote(source):
        place = config.path(source.removeprefix("file://"))
        return recognise(str(place), place, kind)
    if kind == "log" or (kind == "auto" and _is_remote_log(source)):
        return [Arrival(source=source, place=None, kind="log")]
    return recognise(source, mirror(source, config.workspace.mirrors), kind)


def _is_remote_log(source: str) -> bool:
    with said_plainly(source):
        return is_log(source)
