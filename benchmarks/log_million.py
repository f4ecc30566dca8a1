"""A million inferences through the device's log and into a store: memory, time and bytes.

    python -m benchmarks.log_million [--rows N]

Records with ten boxes each come as fast as the log takes them (a loop of 30 frames per second needs nine hours for as
many), segments become Parquet, and an uploader brings them to a folder, which cannot be reached before an hour's worth
of them has been logged. The resident set is that of the whole process, as Linux counts its peak. Writes
log_million.json and a table.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from benchmarks.records import record
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.edge.machine import machine, peak_memory_mb
from edgeloop.edge.segments import WAITING_ROWS, DeviceLog
from edgeloop.edge.upload import Uploader
from edgeloop.progress import bar

HOUR_ROWS = 30 * 3600


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        document = measure(Path(folder), asked.rows)
    keep(asked.out, "log_million", document, table(document))


def table(document: dict[str, Any]) -> str:
    rows = [(name.replace("_", " "), value) for name, value in document.items() if name != "machine"]
    command = f"`python -m benchmarks.log_million --rows {document['rows']}`; {document['machine']}"
    return f"{command}\n\n{markdown(['', ''], rows)}"


def measure(folder: Path, rows: int) -> dict[str, Any]:
    image = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    log = DeviceLog(folder / "device", "million")
    uploader = Uploader(folder / "device/spool", str(folder / "store"), budget_bytes=10**10)
    uploader.start()
    before, begin, waited = peak_memory_mb(), time.monotonic(), 0
    (folder / "store").touch()  # a file where the store's folder should be: every upload fails
    for number in bar(range(rows), "rows", rows):
        while log.waiting > WAITING_ROWS // 2:
            time.sleep(0.001)
        if number == min(HOUR_ROWS, rows - 1):
            waited = uploader.status().files
            (folder / "store").unlink()
        log.append(record(number, image))
    log.close()
    logged = time.monotonic() - begin
    uploader.close(600)
    peak = peak_memory_mb()
    files = sorted((folder / "store/log").glob("*/*/*.parquet"))
    return {
        "machine": machine(),
        "rows": log.rows,
        "lost": log.lost,
        "files_waiting_after_an_hour_without_store": waited,
        "in_store": sum(pq.read_metadata(file).num_rows for file in files),
        "distinct_in_store": len({name for file in files for name in ids(file)}),
        "files": len(files),
        "rows_per_second": round(rows / logged),
        "peak_memory_mb_before": round(before, 1),
        "peak_memory_mb": round(peak, 1),
        "bytes_a_row": round(sum(file.stat().st_size for file in files) / rows, 1),
    }


def ids(file: Path) -> list[str]:
    found: list[str] = pq.read_table(file, columns=["frame_id"]).column(0).to_pylist()
    return found


if __name__ == "__main__":
    main()
