"""The demo's own workspace: a folder with its own config.yaml, begun anew when anything it rests on changed."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import yaml

from edgeloop.config import CONFIG_NAME, Config
from edgeloop.demo import DemoOptions
from edgeloop.errors import BadInput
from edgeloop.files import write_text
from edgeloop.record import Record
from tasks.stage import ROOT, code_fingerprint

MARK = "demo.json"


class DemoMark(Record):
    """What a demo workspace was begun with."""

    options: DemoOptions
    fingerprint: str


def open_demo(folder: Path, options: DemoOptions, config: Config, *, fresh: bool = False) -> Path:
    """The config.yaml of the demo's workspace; an unfinished walk with the same options and code goes on there.

    Args:
        folder: the workspace; cleared when it was begun with other options, other code or another data set.
        options: what to run on.
        config: the user's own configuration, from which card, device and queue are taken.
        fresh: begin anew in any case.

    Raises:
        BadInput: the folder holds something that is no demo workspace; it is left alone.
    """
    mark = DemoMark(options=options, fingerprint=_fingerprint(options, config))
    if folder.exists() and any(folder.iterdir()):
        _require_ours(folder)
        if fresh or DemoMark.load(folder / MARK) != mark:
            _clear(folder)
    mark.save(folder / MARK)
    return write_text(folder / CONFIG_NAME, _config(config))


def _require_ours(folder: Path) -> None:
    if not (folder / MARK).is_file():
        raise BadInput(
            f"{folder} is not empty and not a demo's workspace (it has no {MARK}), so it is left alone; name another "
            f"with --workspace."
        )


def _clear(folder: Path) -> None:
    """Everything goes, the mark last: killed in between, the folder is still known as a demo's."""
    for path in sorted(folder.iterdir(), key=lambda path: path.name == MARK):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _config(config: Config) -> str:
    document = {
        "var": "var",
        "card": str(config.path(config.card)),
        "sweep": str(config.path(config.sweep)),
        "device": str(config.path(config.device)),
        "sampling": config.sampling.model_dump(mode="json"),
        "drift": config.drift.model_dump(mode="json"),
    }
    return "# Written by `edgeloop demo`; a workspace of its own.\n" + yaml.safe_dump(document, sort_keys=False)


def _fingerprint(options: DemoOptions, config: Config) -> str:
    """The code, the card, the device and, for the user's own data, its files by size and time of change."""
    digest = hashlib.sha256(code_fingerprint().encode())
    digest.update(_config(config).encode())
    for path in (config.path(config.card), config.path(config.device)):
        if ROOT not in path.parents:
            digest.update(path.read_bytes() if path.is_file() else b"")
    if options.data is not None:
        for path in sorted(options.data.rglob("*")):
            state = path.stat()
            digest.update(f"{path}\0{state.st_size}\0{state.st_mtime_ns}\0".encode())
    return digest.hexdigest()
