"""Kill -9 in a loop: an agent's log, images and upload are killed at random moments, again and again.

    python -m benchmarks.kill_loop [--kills N] [--seed N]

Each life takes up what the one before left, appends rows, keeps images, uploads, and says how many rows it flushed,
until it is killed; every other one not before its first flush, however slow the machine. The last life only takes up.
Then every row that was said to be flushed must be in the store, none of them twice, every image whole and nothing left
on the device. Exit code 1 when not. Writes kill_loop.json and a table.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq

from benchmarks.records import record
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.edge.log import IDENTITY, read_log
from edgeloop.edge.retention import ImageKeeper, Retention
from edgeloop.edge.segments import DeviceLog
from edgeloop.edge.spool import Spool
from edgeloop.edge.upload import Uploader
from edgeloop.progress import bar

ROOT = Path(__file__).resolve().parents[1]
SECONDS_TO_LIVE = (0.0, 1.0)  # after the first flush, or after the imports: some end while they take up what was left
NEVER_KILLED_SECONDS = 60


@dataclass
class KillReport:
    """What the kills cost.

    Attributes:
        kills: how many.
        flushed: rows that the lives had said to be flushed.
        in_store: rows in the store's files.
        missing: of `flushed`, not in the store.
        repeated: rows that are in the store's files more than once.
        images: in the store.
        broken_images: of them, not whole.
        misnamed: log files whose name is not their content's.
        left: segments, and files waiting for upload, after the last life.
    """

    kills: int
    flushed: int
    in_store: int
    missing: int
    repeated: int
    images: int
    broken_images: int
    misnamed: int
    left: int

    @property
    def is_clean(self) -> bool:
        return not (self.missing or self.repeated or self.broken_images or self.misnamed or self.left)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--victim", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--life", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.victim is not None:
        live(asked.victim, asked.life)
        return 0
    with tempfile.TemporaryDirectory() as folder:
        report = kill_loop(Path(folder), asked.kills, asked.seed)
    keep(asked.out, "kill_loop", asdict(report), table(report))
    return 0 if report.is_clean else 1


def table(report: KillReport) -> str:
    return f"`python -m benchmarks.kill_loop --kills {report.kills}`\n\n{markdown(['', ''], asdict(report).items())}"


def kill_loop(folder: Path, kills: int, seed: int) -> KillReport:
    """Kill that many lives of one device, let the last one end, and look at the store."""
    rng = random.Random(seed)
    lives = bar(range(kills), "kills", kills)
    promised = [killed_life(folder, life, rng.uniform(*SECONDS_TO_LIVE), flushes=life % 2) for life in lives]
    with start(folder, None) as last:
        last.wait(NEVER_KILLED_SECONDS)
    return look(folder, promised)


def killed_life(folder: Path, life: int, seconds: float, flushes: int) -> int:
    """One life, killed some seconds after that many flushes; returns how many rows it had said to be flushed."""
    with start(folder, life) as victim:
        assert victim.stdout is not None
        said = [int(victim.stdout.readline()) for _ in range(1 + flushes)]
        killer = threading.Timer(seconds, victim.kill)
        killer.start()
        said += [int(line) for line in victim.stdout if line.endswith(b"\n")]
        killer.join()
    return said[-1]


def start(folder: Path, life: int | None) -> subprocess.Popen[bytes]:
    number = [] if life is None else ["--life", str(life)]
    command = [sys.executable, "-m", "benchmarks.kill_loop", "--victim", str(folder), *number]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def live(folder: Path, life: int | None) -> None:
    """Append until killed; without a number, only take up what was left."""
    device = folder / "device"
    print(0, flush=True)
    log = DeviceLog(device, f"life{life}", flush_seconds=0.1, rows_a_file=60, seconds_a_file=0.5)
    keeper = ImageKeeper(device, Retention(every=4, recent=8), 2**26)
    uploader = Uploader(device / "spool", str(folder / "store"), budget_bytes=2**28, retry_seconds=(0.05, 0.2))
    uploader.start()
    if life is not None:
        append_for_ever(log, keeper, life)
    keeper.close()
    log.close()
    uploader.close(NEVER_KILLED_SECONDS)


def append_for_ever(log: DeviceLog, keeper: ImageKeeper, life: int) -> None:
    image = np.random.default_rng(life).integers(0, 256, (96, 128, 3), np.uint8)
    said = 0
    for number in itertools.count():
        log.append(keeper.offer(record(number, image, life), image))
        if log.flushed != said:
            said = log.flushed
            print(said, flush=True)
        time.sleep(0.002)


def look(folder: Path, promised: Iterable[int]) -> KillReport:
    """Compare the store with what was promised."""
    store, device, counts = folder / "store", folder / "device", list(promised)
    files = sorted((store / "log").glob("*/*/*.parquet"))
    rows = [tuple(row.values()) for file in files for row in rows_of(file)]
    flushed = {f"{life:06x}{number:010x}" for life, count in enumerate(counts) for number in range(count)}
    read = set(read_log(str(store / "log"))["frame_id"].to_pylist())
    images = sorted((store / "frames").glob("*/[!.]*.jpg"))
    return KillReport(
        kills=len(counts),
        flushed=len(flushed),
        in_store=len(rows),
        missing=len(flushed - read),
        repeated=len(rows) - len(set(rows)),
        images=len(images),
        broken_images=sum(cv2.imread(str(image)) is None for image in images),
        misnamed=sum(hashlib.sha256(file.read_bytes()).hexdigest()[:16] != file.stem for file in files),
        left=len(list((device / "segments").iterdir())) + Spool(device / "spool").totals().files,
    )


def rows_of(file: Path) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = pq.read_table(file, columns=list(IDENTITY), partitioning=None).to_pylist()
    return rows


if __name__ == "__main__":
    sys.exit(main())
