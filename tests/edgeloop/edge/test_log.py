"""The inference log: what is written is read, in the right folder, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fsspec
import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.boxes import Detections
from edgeloop.edge.detector import Inference, Timing
from edgeloop.edge.log import LogWriter, read_log, run_id
from edgeloop.edge.log_schema import LOG_SCHEMA, InferenceRecord, partition, to_table
from edgeloop.edge.statistics import ImageStatistics
from edgeloop.errors import BadInput

NOON = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=timezone.utc)


def record(
    number: int, *, camera: str = "cam1", time: datetime | None = None, artifact: str = "a" * 12
) -> InferenceRecord:
    """A record whose content is known from its number: `number % 4` boxes."""
    rng = np.random.default_rng(number)
    count = number % 4
    detections = Detections(
        rng.random((count, 4), np.float32) * 100, rng.random(count, np.float32), rng.integers(0, 3, count)
    )
    statistics = ImageStatistics(brightness=100 + number, contrast=10, sharpness=5)
    return InferenceRecord(
        frame_id=f"{number:016x}",
        camera=camera,
        time=time or NOON + timedelta(seconds=number),
        artifact_id=artifact,
        inference=Inference(detections, Timing(1, 2, 3), statistics, width=640, height=480),
        thresholds=(0.25, 0.5, 0.75),
        image=f"frames/{number}.jpg" if number % 2 else None,
    )


def write(url: str, records: Iterable[InferenceRecord], run: str = "run", rows: int = 10_000) -> LogWriter:
    with LogWriter(url, run, rows) as writer:
        for one in records:
            writer.append(one)
    return writer


@pytest.fixture(params=["folder", "memory"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store on disk and one that is no disk."""
    yield str(tmp_path / "log") if request.param == "folder" else "memory://store/log"
    if request.param == "memory":
        fsspec.filesystem("memory").rm("/", recursive=True)


def test_what_is_written_is_read(url: str) -> None:
    """Every column of every row comes back, oldest first, across files, dates and cameras."""
    records = [record(n, camera=f"cam{n % 3}", time=NOON + timedelta(hours=5 * n)) for n in range(17)]
    write(url, records[::-1], rows=5)
    table = read_log(url)
    assert table.schema.equals(LOG_SCHEMA, check_metadata=True)
    assert table.equals(to_table(records))


@given(counts=st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_boxes_stay_with_their_frame(counts: list[int]) -> None:
    """However many boxes the frames have, each row holds its own."""
    frames = []
    for index, count in enumerate(counts):
        boxes = np.full((count, 4), index, np.float32)
        found = Detections(boxes, np.full(count, 0.5, np.float32), np.full(count, index % 3))
        timing, statistics = Timing(1, 1, 1), ImageStatistics(0, 0, 0)
        one = record(index)
        frames.append(
            InferenceRecord(one.frame_id, "c", one.time, "a", Inference(found, timing, statistics, 1, 1), (0.5,))
        )
    table = to_table(frames)
    assert [len(row) for row in table["boxes"].to_pylist()] == counts
    assert [{box["x1"] for box in row} for row in table["boxes"].to_pylist()] == [
        {float(index)} if count else set() for index, count in enumerate(counts)
    ]


def test_files_lie_under_date_and_camera(tmp_path: Path) -> None:
    """The date is the frame's in UTC; a camera's name cannot leave its folder."""
    late = datetime(2026, 3, 1, 23, 30, tzinfo=timezone(timedelta(hours=-5)))
    write(str(tmp_path), [record(0, camera="line/../3 ä", time=late)])
    (path,) = tmp_path.rglob("*.parquet")
    assert path.parent.relative_to(tmp_path).as_posix() == "date=2026-03-02/camera=line%2F..%2F3%20%C3%A4"
    assert path.parent.relative_to(tmp_path).as_posix() == partition(late, "line/../3 ä")
    assert read_log(str(tmp_path))["camera"].to_pylist() == ["line/../3 ä"]


def test_same_run_again_replaces_its_files(url: str) -> None:
    """Writing the same stream twice leaves each row once."""
    records = [record(n, camera=f"cam{n % 2}") for n in range(11)]
    first = write(url, records, rows=4).files
    second = write(url, records, rows=4).files
    assert first == second
    assert len(set(first)) == len(first)
    assert read_log(url)["frame_id"].to_pylist() == [one.frame_id for one in records]


def test_another_run_adds(url: str) -> None:
    """Two runs live beside each other, and each artifact's rows can be had alone."""
    write(url, [record(n) for n in range(3)], run="one")
    write(url, [record(n, artifact="b" * 12) for n in range(3)], run="two")
    assert len(read_log(url)) == 6
    assert read_log(url, artifact_id="b" * 12)["artifact_id"].to_pylist() == ["b" * 12] * 3


@pytest.mark.parametrize(
    ("since", "until", "expected"), [(2, 5, [2, 3, 4]), (None, 1, [0]), (9, None, [9]), (20, None, [])]
)
def test_interval_has_its_start_and_not_its_end(
    tmp_path: Path, since: int | None, until: int | None, expected: list[int]
) -> None:
    """Neighbouring windows share no row and lose none; an interval without rows is empty, not an error."""
    write(str(tmp_path), [record(n, time=NOON + timedelta(hours=n * 7)) for n in range(10)])
    moments = [None if n is None else NOON + timedelta(hours=n * 7) for n in (since, until)]
    assert read_log(str(tmp_path), *moments)["frame_id"].to_pylist() == [f"{n:016x}" for n in expected]


def test_memory_is_bounded_by_rotation(tmp_path: Path) -> None:
    """A file is written as soon as enough rows came together, before the run ends."""
    writer = LogWriter(str(tmp_path), "run", rows_a_file=3)
    for number in range(7):
        writer.append(record(number))
    assert len(read_log(str(tmp_path))) == 6
    writer.rotate()
    assert len(read_log(str(tmp_path))) == 7


def test_failed_run_writes_no_half_file(tmp_path: Path) -> None:
    """An error inside the run leaves what was rotated and nothing else."""

    def camera() -> Iterator[InferenceRecord]:
        yield from (record(number) for number in range(3))
        raise RuntimeError("camera gone")

    with pytest.raises(RuntimeError, match="camera gone"):
        write(str(tmp_path), camera(), rows=2)
    assert len(read_log(str(tmp_path))) == 2
    assert not list(tmp_path.rglob("*.tmp"))


def test_missing_log_is_bad_input(tmp_path: Path) -> None:
    """A wrong store is not an empty log."""
    with pytest.raises(BadInput, match="there is no inference log"):
        read_log(str(tmp_path / "nowhere"))


def test_broken_file_is_named(tmp_path: Path) -> None:
    """A file that was cut short is bad input with its reason."""
    path = Path(write(str(tmp_path), [record(0)]).files[0])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(BadInput, match="is broken"):
        read_log(str(tmp_path))


@pytest.mark.parametrize("version", [b"3", None])
def test_newer_or_foreign_file_is_refused(tmp_path: Path, version: bytes | None) -> None:
    """A file that another version wrote is not read as if it were ours."""
    path = write(str(tmp_path), [record(0)]).files[0]
    metadata = {"edgeloop.inference_log": version} if version else {}
    pq.write_table(pq.read_table(path, partitioning=None).replace_schema_metadata(metadata), path)
    with pytest.raises(BadInput, match="inference log version"):
        read_log(str(tmp_path))


def test_a_row_delivered_twice_is_one_row(url: str) -> None:
    """Two files with the same rows give them once; of two that differ in the image, the one that has it."""
    records = [replace(record(n), image=None) for n in range(6)]
    write(url, records, run="one")
    write(url, [replace(one, image="frames/x.jpg", kept="flagged") for one in records[2:4]], run="two")
    write(url, records[:3], run="three")
    table = read_log(url)
    assert table["frame_id"].to_pylist() == [one.frame_id for one in records]
    assert table["kept"].to_pylist() == [None, None, "flagged", "flagged", None, None]


def test_looks_that_differ_are_all_rows(url: str) -> None:
    """The same frame by another camera, at another time or through another artifact is another row."""
    one = record(1)
    others = [replace(one, camera="cam2"), replace(one, artifact_id="b" * 12), replace(one, time=NOON), record(2)]
    write(url, [one, *others])
    assert len(read_log(url)) == 5


def test_version_1_is_read(tmp_path: Path) -> None:
    """A file from before `kept` reads with null in its place, beside files of today."""
    path = Path(write(str(tmp_path), [record(0)], run="old").files[0])
    old = pq.read_table(path, partitioning=None).drop_columns("kept")
    pq.write_table(old.replace_schema_metadata({"edgeloop.inference_log": "1"}), path)
    write(str(tmp_path), [replace(record(1), kept="every")], run="new")
    assert read_log(str(tmp_path))["kept"].to_pylist() == [None, "every"]


def test_run_id_tells_parts_apart() -> None:
    """The same parts give the same name, and moving a letter from one part to the next gives another."""
    assert run_id("ab", "c") == run_id("ab", "c")
    assert run_id("ab", "c") != run_id("a", "bc")


def test_documented_columns_are_the_columns(root: Path) -> None:
    """docs/inference-log.md has one row for each column of the schema, in its order."""
    lines = (root / "docs/inference-log.md").read_text().splitlines()
    documented = [line.split("`")[1] for line in lines if line.startswith("| `")]
    assert documented == LOG_SCHEMA.names
