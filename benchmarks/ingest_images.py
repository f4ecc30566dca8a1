"""Frames into the store against a bare loop that reads, hashes and decodes the same files, in one run.

    python -m benchmarks.ingest_images [--images N] [--turns N] [--fresh]

N synthetic JPEGs of about 20 kB, every one different. The bare loop reads each file, takes its SHA-256 and decodes it
in grey at an eighth of its size with libjpeg-turbo, once in threads and once in processes on all cores. Ours does what
`edgeloop ingest` does with a folder of frames: hash, decode check, image statistics, perceptual hash, copy into the
content-addressed store, catalogue; then once more on the unchanged folder. Each turn of ours has a new store.

Before each turn the page cache fills the memory, as it does on any machine that has been up for a while. A virtual
machine gives free memory back to the host, and pays for each page when it is used again: 50 us an image, which a loop
that only reads never does. `--fresh` leaves that out. Nothing is removed before the end: an ext4 without a journal
makes files slowly for minutes after many were removed.

Memory is the peak of our process and of the largest of its children, as Linux counts them. Writes ingest_images.json
and a table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil  # type: ignore[import-untyped]

from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.edge.machine import machine
from edgeloop.formats.paths import images_below
from edgeloop.progress import bar
from edgeloop.spread import chunked, spread

ROOT = Path(__file__).resolve().parents[1]
SIDE, QUALITY = 640, 29
CHUNK = 128  # of the bare loop
FREE = 512 << 20  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=100_000)
    parser.add_argument("--turns", type=int, default=3, help="of each loop")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--fresh", action="store_true", help="do not fill the memory first")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source"
        size = generate(source, asked.images)
        os.sync()
        turns = []
        for number in range(asked.turns):
            if not asked.fresh:
                fill_memory(Path(work) / "holes")
            turns.append(turn(source, Path(work) / f"turn{number}", asked.images))
    document = {
        "machine": machine(), "cores": os.cpu_count(), "images": asked.images, "bytes": size, "fresh": asked.fresh,
        "turns": turns,
    }  # fmt: skip
    keep(asked.out, "ingest_images", document, table(document))


def generate(folder: Path, count: int) -> int:
    """Write the images; returns how many bytes one has on average."""
    folder.mkdir()
    chunks = chunked([(str(folder), number) for number in range(count)])
    done = sum(sum(sizes) for sizes in bar(spread(_write_images, chunks), "generating", len(chunks)))
    return round(done / count)


def _write_images(numbered: Sequence[tuple[str, int]]) -> list[int]:
    return [_write_image(Path(folder), number) for folder, number in numbered]


def _write_image(folder: Path, number: int) -> int:
    random = np.random.default_rng(number)
    coarse = random.integers(0, 256, (12, 12, 3)).astype(np.uint8)
    image = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    fine = cv2.resize(random.integers(0, 28, (320, 320, 3)).astype(np.uint8), (SIDE, SIDE))
    content = cv2.imencode(".jpg", cv2.add(image, fine), [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes()
    (folder / f"{number:07d}.jpg").write_bytes(content)
    return len(content)


def fill_memory(file: Path) -> None:
    """Read a file of holes, as large as the memory, until nearly none of it is free."""
    with file.open("ab") as handle:
        handle.truncate(psutil.virtual_memory().total)
    with file.open("rb", buffering=0) as holes:
        while psutil.virtual_memory().free > FREE and holes.read(1 << 24):
            pass


def turn(source: Path, place: Path, count: int) -> dict[str, Any]:
    """Each loop once over `count` images: images a second, and what ours took of memory."""
    paths = list(images_below(source))
    with ThreadPoolExecutor(os.cpu_count() or 1) as threads:
        in_threads = seconds_of(threads, paths)
    with ProcessPoolExecutor(os.cpu_count() or 1) as processes:
        list(processes.map(_bare, [str(path) for path in paths[:CHUNK]]))
        in_processes = seconds_of(processes, paths)
    command = [sys.executable, "-m", "benchmarks.ingest_images_ours", str(source), str(place)]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}  # as Python does
    said = subprocess.run(command, cwd=ROOT, env=kept, check=True, stdout=subprocess.PIPE, text=True).stdout
    ours = json.loads(said)
    assert ours["added"] == ours["present_again"] == count, ours
    return {
        "bare_threads": round(count / in_threads),
        "bare_processes": round(count / in_processes),
        "ours": round(count / ours["first"]),
        "again": round(count / ours["again"]),
        "share_of_threads": round(in_threads / ours["first"], 3),
        "share_of_processes": round(in_processes / ours["first"], 3),
        "again_faster": round(ours["first"] / ours["again"], 1),
        "memory_mb": ours["memory_mb"],
        "child_memory_mb": ours["child_memory_mb"],
    }


def seconds_of(pool: ThreadPoolExecutor | ProcessPoolExecutor, paths: list[Path]) -> float:
    begin = time.perf_counter()
    for _ in bar(pool.map(_bare, [str(path) for path in paths], chunksize=CHUNK), "bare loop", len(paths)):
        pass
    return time.perf_counter() - begin


def _bare(path: str) -> bool:
    content = Path(path).read_bytes()
    hashlib.sha256(content).digest()
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8) is not None


def table(document: dict[str, Any]) -> str:
    head = (
        "images a second: bare, threads|bare, processes|edgeloop|of bare threads, processes|again, unchanged|faster|"
        "memory"
    )
    command = f"python -m benchmarks.ingest_images --images {document['images']} --turns {len(document['turns'])}"
    command += " --fresh" * document["fresh"]
    run = (
        f"`{command}`; {document['images']:,} JPEGs of {document['bytes'] / 1000:.1f} kB, {document['machine']}, "
        f"{document['cores']} cores; medians of {len(document['turns'])} turns."
    )
    middle = {key: statistics.median(turn[key] for turn in document["turns"]) for key in document["turns"][0]}
    cells = [
        f"{middle['bare_threads']:,.0f}", f"{middle['bare_processes']:,.0f}", f"{middle['ours']:,.0f}",
        f"{middle['share_of_threads']:.2f}, {middle['share_of_processes']:.2f}",
        f"{middle['again']:,.0f}", f"{middle['again_faster']:.0f}x",
        f"{middle['memory_mb']:.0f} MB and {document['cores']} x {middle['child_memory_mb']:.0f} MB",
    ]  # fmt: skip
    return f"{run}\n\n{markdown(head.split('|'), [cells])}"


if __name__ == "__main__":
    main()
