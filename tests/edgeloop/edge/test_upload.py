"""The uploader: everything arrives under its key, once, whatever the store does in between."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from edgeloop.edge.log import read_log
from edgeloop.edge.segments import DeviceLog
from edgeloop.edge.spool import Spool, put_by_content
from edgeloop.edge.upload import Uploader
from edgeloop.errors import BadInput
from tests.edgeloop.edge.test_segments import rows, wait_for
from tests.edgeloop.edge.test_spool import FLAG_FOLDER, image, parquet

BUDGET = 10**9
QUICK = (0.01, 0.05)


class SimulatedOutage(MemoryFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """A store in memory that can be unreachable, cut uploads short, hang, or refuse one key for ever."""

    protocol = "outage"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]
    unreachable: ClassVar[bool] = False
    cut_short: ClassVar[int] = 0
    refused: ClassVar[str] = ""
    hang: ClassVar[threading.Event | None] = None
    writes: ClassVar[list[str]] = []

    def info(self, path: str, **rest: Any) -> Any:
        if SimulatedOutage.hang is not None:
            SimulatedOutage.hang.wait(30)
        if SimulatedOutage.unreachable:
            raise ConnectionError("no route to host")
        return super().info(path, **rest)

    def pipe_file(self, path: str, value: bytes, **rest: Any) -> None:
        if SimulatedOutage.refused and SimulatedOutage.refused in path:
            raise PermissionError("access denied")
        SimulatedOutage.writes.append(path)
        if SimulatedOutage.cut_short:
            SimulatedOutage.cut_short -= 1
            value = value[:-1]
        super().pipe_file(path, value, **rest)


fsspec.register_implementation("outage", SimulatedOutage, clobber=True)


@pytest.fixture
def outage() -> Iterator[type[SimulatedOutage]]:
    yield SimulatedOutage
    for name, value in (("unreachable", False), ("cut_short", 0), ("refused", ""), ("hang", None)):
        setattr(SimulatedOutage, name, value)
    for held in (SimulatedOutage.store, SimulatedOutage.writes):
        held.clear()


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store on disk and one that is no disk."""
    yield str(tmp_path / "store") if request.param == "folder" else "memory://store"
    if request.param == "memory":
        fsspec.filesystem("memory").rm("/", recursive=True)


def filled(spool: Path) -> dict[str, bytes]:
    """One file of each kind; what is in them."""
    keys = [image(spool, "aabb"), parquet(spool, 5), put_by_content(spool, FLAG_FOLDER, ".json", b"{}")]
    return {key: (spool / key).read_bytes() for key in keys}


def content_of(store: str) -> dict[str, bytes]:
    files, root = fsspec.core.url_to_fs(store)
    return {path.removeprefix(root).lstrip("/"): files.cat_file(path) for path in files.find(root)}


def upload(spool: Path, store: str | None, seconds: float = 20, budget: int = BUDGET) -> Uploader:
    uploader = Uploader(spool, store, budget_bytes=budget, retry_seconds=QUICK)
    uploader.start()
    uploader.close(seconds)
    return uploader


def test_everything_arrives_and_leaves_the_spool(tmp_path: Path, store: str) -> None:
    """Each file is in the store under the same key with the same bytes, and nowhere else."""
    expected = filled(tmp_path / "spool")
    status = upload(tmp_path / "spool", store).status()
    assert content_of(store) == expected
    assert (status.files, status.bytes, status.oldest, status.last_error) == (0, 0, None, None)
    assert (status.uploaded, status.uploaded_bytes) == (3, sum(map(len, expected.values())))


def test_the_log_is_readable_in_the_store(tmp_path: Path, store: str) -> None:
    """From `append` to `read_log`: what the loop logged is what the pipeline reads."""
    log = DeviceLog(tmp_path / "device", "run", rows_a_file=10)
    for one in rows(25):
        log.append(one)
    log.close()
    upload(tmp_path / "device/spool", store)
    assert read_log(f"{store}/log")["frame_id"].to_pylist() == [one.frame_id for one in rows(25)]


def test_files_that_come_later_are_uploaded(tmp_path: Path, store: str) -> None:
    """The uploader runs for as long as the agent does."""
    spool, elsewhere = tmp_path / "spool", tmp_path / "elsewhere"
    uploader = Uploader(spool, store, budget_bytes=BUDGET)
    uploader.start()
    expected = filled(elsewhere)
    for key in expected:
        (spool / key).parent.mkdir(parents=True)
        (elsewhere / key).rename(spool / key)
    wait_for(lambda: uploader.status().uploaded == 3)
    uploader.close()
    assert content_of(store) == expected


def test_the_same_again_changes_nothing(tmp_path: Path, outage: type[SimulatedOutage]) -> None:
    """Killed between upload and removal, the next run finds the files in the store and only removes them."""
    expected = filled(tmp_path)
    upload(tmp_path, "outage://store")
    filled(tmp_path)
    assert upload(tmp_path, "outage://store").status().files == 0
    assert content_of("outage://store") == expected
    assert len(outage.writes) == 3


def test_an_unreachable_store_that_returns(tmp_path: Path, outage: type[SimulatedOutage]) -> None:
    """While it is away nothing is lost and the status says why; when it is back everything arrives."""
    expected = filled(tmp_path)
    outage.unreachable = True
    uploader = Uploader(tmp_path, "outage://store", budget_bytes=BUDGET, retry_seconds=QUICK)
    uploader.start()
    wait_for(lambda: uploader.status().last_error)
    assert "no route to host" in str(uploader.status().last_error)
    assert uploader.status().files == 3
    assert uploader.status().oldest is not None
    outage.unreachable = False
    wait_for(lambda: uploader.status().files == 0)
    assert uploader.status().last_error is None
    uploader.close()
    assert content_of("outage://store") == expected


def test_a_store_that_is_back_at_the_end_gets_everything(tmp_path: Path, outage: type[SimulatedOutage]) -> None:
    """The last attempt failed long ago and the next is due in a minute: closing does not wait for it, nor give up."""
    expected = filled(tmp_path)
    outage.unreachable = True
    uploader = Uploader(tmp_path, "outage://store", budget_bytes=BUDGET, retry_seconds=(60, 60))
    uploader.start()
    wait_for(lambda: uploader.status().last_error is not None)
    outage.unreachable = False
    uploader.close()
    assert content_of("outage://store") == expected
    assert uploader.status().last_error is None


def test_an_upload_cut_short_is_done_again(tmp_path: Path, outage: type[SimulatedOutage]) -> None:
    """A file leaves the spool only when the store has all of it."""
    expected = {key: content for key, content in filled(tmp_path).items() if not key.startswith("frames")}
    Spool(tmp_path).remove("frames/aa/aabb.jpg")
    outage.cut_short = 1
    uploader = Uploader(tmp_path, "outage://store", budget_bytes=BUDGET, retry_seconds=QUICK)
    uploader.start()
    wait_for(lambda: uploader.status().files == 0)
    uploader.close()
    assert content_of("outage://store") == expected
    assert len(outage.writes) == 3


def test_one_refused_file_does_not_stop_the_others(tmp_path: Path, outage: type[SimulatedOutage]) -> None:
    """A key that the store never takes stays in the spool, is said, and lets the others pass."""
    filled(tmp_path)
    outage.refused = "flags/"
    uploader = Uploader(tmp_path, "outage://store", budget_bytes=BUDGET, retry_seconds=QUICK)
    uploader.start()
    wait_for(lambda: uploader.status().files == 1 and uploader.status().last_error)
    assert "access denied" in str(uploader.status().last_error)
    uploader.close()
    assert {key.split("/")[0] for key in content_of("outage://store")} == {"frames", "log"}


def test_flags_and_rows_go_before_images(tmp_path: Path, outage: type[SimulatedOutage]) -> None:
    """On a slow line what is small and wanted goes first, protected images before the others."""
    for frame_id in ("aa11", "bb22", "cc33"):
        image(tmp_path, frame_id)
    Spool(tmp_path).protect("cc33")
    filled(tmp_path)
    upload(tmp_path, "outage://store")
    order = [path.split("store/")[1].replace("/.", "/").removesuffix(".tmp") for path in outage.writes]
    assert [path.split("/")[0] for path in order[:2]] == ["flags", "log"]
    assert order[2] == "frames/cc/cc33.jpg"


def test_a_hanging_store_does_not_fill_the_disk(tmp_path: Path, outage: type[SimulatedOutage]) -> None:
    """While one call never returns, the spool stays within its budget, and closing does not wait for the store."""
    outage.hang = threading.Event()
    for number in range(20):
        image(tmp_path, f"{number:02d}ab", 1000)
    uploader = Uploader(tmp_path, "outage://store", budget_bytes=10_000)
    uploader.start()
    wait_for(lambda: uploader.status().bytes <= 10_000)
    begin = time.monotonic()
    uploader.close(0.2)
    assert time.monotonic() - begin < 10
    assert uploader.status().evicted_images >= 10
    outage.hang.set()


def test_without_a_store_the_budget_still_holds(tmp_path: Path) -> None:
    """A device that has no store keeps its newest images."""
    for number in range(10):
        image(tmp_path, f"{number:02d}ab", 1000, time.time() - 100 + number)
    status = upload(tmp_path, None, budget=5000).status()
    assert 0 < status.bytes <= 5000
    assert (tmp_path / "frames/09/09ab.jpg").exists()


def test_a_frame_that_the_store_has_is_not_replaced(tmp_path: Path, store: str) -> None:
    """A frame's id names it: what came first stays, as in the frame store."""
    files, root = fsspec.core.url_to_fs(store)
    files.makedirs(f"{root}/frames/aa", exist_ok=True)
    files.pipe_file(f"{root}/frames/aa/aabb.jpg", b"the original")
    image(tmp_path / "spool", "aabb")
    assert upload(tmp_path / "spool", store).status().files == 0
    assert content_of(store) == {"frames/aa/aabb.jpg": b"the original"}


def test_an_unknown_kind_of_store_is_bad_input(tmp_path: Path) -> None:
    """A URL that cannot be opened is said at the start, not after a day offline."""
    with pytest.raises(BadInput, match="cannot be opened"):
        Uploader(tmp_path, "nowhere://bucket", budget_bytes=BUDGET)
