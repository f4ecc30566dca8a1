"""A version of the data set, made by edgeloop and by plain `dvc add` and `dvc push` of the same folder, in one run.

    python -m benchmarks.dataset_version [--frames N] [--new N] [--turns N]

N small JPEGs, every one different, each with a label file, so that the number of files counts and not their size. A
first version holds all but the new frames; every turn adds some more. Ours reads the manifest, finds near duplicates,
places the new frames, swaps the folder, adds and pushes, and lays out a snapshot that training reads. Plain DVC has the
same files copied into a folder of its own, adds and pushes that, and has no snapshot. Times are of the library calls in
this process; plain DVC's command line takes about two seconds more to start twice. Writes dataset_version.json and a
table.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.config import Config
from edgeloop.dataset import merge
from edgeloop.edge.machine import machine, peak_memory_mb
from edgeloop.formats.images import ImageFacts, inspect_all
from edgeloop.frames import Frame, Label, LabelledFrame
from edgeloop.progress import bar
from tasks import version as door

NAMES = ("scratch", "dent", "stain")
SIDE, QUALITY = 160, 70
BEGIN = datetime(2026, 3, 1, tzinfo=timezone.utc)
PARTS = ("merge", "add", "push", "snapshot", "count")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=50_000, help="in the first version")
    parser.add_argument("--new", type=int, default=1_000, help="in every turn")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    os.environ.setdefault("DVC_NO_ANALYTICS", "1")
    with tempfile.TemporaryDirectory() as work:
        turns = measure(Path(work), asked.frames, asked.new, asked.turns)
    document = {"machine": machine(), "cores": os.cpu_count(), "frames": asked.frames, "new": asked.new}
    document |= {"memory_mb": round(peak_memory_mb()), "turns": turns}
    keep(asked.out, "dataset_version", document, table(document))


def measure(work: Path, frames: int, new: int, turns: int) -> list[dict[str, float]]:
    """Seconds of every part, in every turn; the first version is made before and not counted."""
    config = Config(root=work / "ours")
    plain = Plain(work / "plain")
    _ours(config, draw(work / "frames", 0, frames))
    plain.take(config.workspace.data)
    plain.version()
    found = []
    for turn in range(turns):
        ours = _ours(config, draw(work / "frames", frames + turn * new, new))
        plain.take(config.workspace.data)
        found.append({**ours, **plain.version()})
    return found


def draw(folder: Path, first: int, count: int) -> list[LabelledFrame]:
    """New frames with two boxes each, a second apart, from four cameras."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_draw(folder, number) for number in bar(range(first, first + count), "generating", count)]
    frames = []
    for number, (path, fact) in enumerate(zip(paths, inspect_all(paths), strict=True), first):
        assert isinstance(fact, ImageFacts)
        time = BEGIN + timedelta(seconds=number)
        photo = Frame(fact.frame_id, path, SIDE, SIDE, f"cam{number % 4}", time, perceptual_hash=fact.perceptual_hash)
        boxes = Label(number % 3, (8.0, 8.0, 40.0, 40.0)), Label((number + 1) % 3, (50.0, 50.0, 90.0, 90.0))
        frames.append(LabelledFrame(photo, boxes))
    return frames


def _draw(folder: Path, number: int) -> Path:
    coarse = np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    path = folder / f"{number:07d}.jpg"
    picture = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(path), picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return path


def _ours(config: Config, frames: list[LabelledFrame]) -> dict[str, float]:
    from dvc.data_cloud import DataCloud
    from dvc.repo import Repo

    spent: dict[str, float] = {}
    parts = [
        (Repo, "add", "add"),
        (DataCloud, "push", "push"),
        (door, "_lay_out", "snapshot"),
        (door, "describe", "count"),
    ]
    with _timed(parts, spent):
        begin = time.perf_counter()
        report = merge(config.workspace.data, frames, NAMES)
        spent["merge"] = time.perf_counter() - begin
        version = door.commit_version.fn(config, report.state)
        spent["ours"] = time.perf_counter() - begin
    assert report.added == len(frames), report.left_out[:3]
    assert version.state == report.state
    return spent


@contextmanager
def _timed(parts: list[tuple[Any, str, str]], spent: dict[str, float]) -> Iterator[None]:
    """Note how long the named functions take."""
    kept = [(owner, name, getattr(owner, name)) for owner, name, _ in parts]
    for (owner, name, call), (_, _, part) in zip(kept, parts, strict=True):
        setattr(owner, name, _noting(call, part, spent))
    try:
        yield
    finally:
        for owner, name, call in kept:
            setattr(owner, name, call)


def _noting(call: Callable[..., Any], part: str, spent: dict[str, float]) -> Callable[..., Any]:
    def noting(*arguments: Any, **named: Any) -> Any:
        begin = time.perf_counter()
        try:
            return call(*arguments, **named)
        finally:
            spent[part] = spent.get(part, 0.0) + time.perf_counter() - begin

    return noting


class Plain:
    """A folder that DVC alone looks after, as its documentation shows."""

    def __init__(self, root: Path) -> None:
        from dvc.repo import Repo

        root.mkdir(parents=True)
        self.root, self.data = root, root / "data"
        Repo.init(str(root), no_scm=True).close()
        with closing(Repo(str(root))) as repo, repo.config.edit() as settings:
            settings["core"]["remote"] = "store"
            settings["remote"]["store"] = {"url": str(root / "remote")}

    def take(self, source: Path) -> None:
        """Copy what is new or changed."""
        for parent, _, names in os.walk(source):
            folder = self.data / Path(parent).relative_to(source)
            folder.mkdir(parents=True, exist_ok=True)
            for name in names:
                if not (folder / name).exists() or name in ("manifest.parquet", "data.yaml"):
                    (folder / name).unlink(missing_ok=True)
                    shutil.copyfile(Path(parent, name), folder / name)

    def version(self) -> dict[str, float]:
        """Seconds of `dvc add data` and `dvc push`."""
        from dvc.repo import Repo

        begin = time.perf_counter()
        with closing(Repo(str(self.root))) as repo:
            repo.add(str(self.data))
        added = time.perf_counter()
        with closing(Repo(str(self.root))) as repo:
            repo.push()
        done = time.perf_counter()
        return {"plain_add": added - begin, "plain_push": done - added, "plain": done - begin}


def table(document: dict[str, Any]) -> str:
    command = f"python -m benchmarks.dataset_version --frames {document['frames']} --new {document['new']}"
    run = (
        f"`{command} --turns {len(document['turns'])}`; "
        f"{document['new']:,} new frames on {document['frames']:,}, an image and a label file each; "
        f"{document['machine']}, {document['cores']} cores; medians of {len(document['turns'])} turns, seconds; peak "
        f"{document['memory_mb']} MB of one process for both, the first version included."
    )
    middle = {key: statistics.median(turn[key] for turn in document["turns"]) for key in document["turns"][0]}
    plain = (f"{middle[part]:.1f}" for part in ("plain_add", "plain_push"))
    rows = [
        ("edgeloop", *(f"{middle[part]:.1f}" for part in PARTS), f"**{middle['ours']:.1f}**"),
        ("plain DVC", "", *plain, "", "", f"**{middle['plain']:.1f}**"),
    ]
    return f"{run}\n\n{markdown(['', 'merge', 'add', 'push', 'snapshot', 'count', 'all'], rows)}"


if __name__ == "__main__":
    main()
