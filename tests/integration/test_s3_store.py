"""The frame store on a real S3 server, on loopback: what holds for a folder holds there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import cv2
import httpx
import numpy as np
import pyarrow.dataset as ds
import pytest
import s3fs

from edgeloop.errors import BadInput
from edgeloop.frame_intake import register
from edgeloop.inspection import InspectionCache
from edgeloop.services import LOOPBACK
from edgeloop.store import FrameStore, frame_key
from tasks.process import free_port
from tests.integration.s3 import BUCKET, SECRET

pytestmark = pytest.mark.integration

STORE = f"s3://{BUCKET}/line1"
DATES = ("2026-03-01", "2026-03-02")
# Small batches, so that a run of a few hundred frames has a middle to be killed in.
REGISTER = """
import pathlib, sys
from edgeloop import frame_intake, spread
frame_intake.BATCH = spread.CHUNK = 16
frame_intake.register(pathlib.Path(sys.argv[1]), sys.argv[2])
"""


def frames(folder: Path, count: int) -> Path:
    """Distinct frames of one camera, on two days."""
    folder.mkdir()
    for number in range(count):
        coarse = np.random.default_rng(number).integers(0, 256, (9, 12), np.uint8)
        name = f"cam1_{DATES[number % 2].replace('-', '')}T0815{number // 1000:02d}.{number % 1000:03d}Z.jpg"
        cv2.imwrite(str(folder / name), cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC))
    return folder


def keys(s3: Any, below: str) -> set[str]:
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"line1/{below}/")
    return {item["Key"] for page in pages for item in page.get("Contents", ())}


def test_a_frame_comes_back_as_it_was_put(s3: Any) -> None:
    """Same bytes, stored once; one that is not there is refused in one sentence."""
    store = FrameStore(STORE)
    assert store.put("ab" * 8, ".jpg", b"content")
    assert not store.put("ab" * 8, ".jpg", b"content")
    assert FrameStore(STORE).get("ab" * 8) == b"content"
    assert keys(s3, "frames") == {f"line1/{frame_key('ab' * 8)}"}
    with pytest.raises(BadInput, match="does not hold the frame 0000"):
        store.get("0" * 16)


def test_what_a_device_uploads_meanwhile_is_found(s3: Any) -> None:
    """A frame that arrives without a catalogue row, after this process listed the store, is there for the next one."""
    FrameStore(STORE).put("ab" * 8, ".jpg", b"content")
    assert "cd" * 8 not in FrameStore(STORE)
    s3.put_object(Bucket=BUCKET, Key=f"line1/{frame_key('cd' * 8)}", Body=b"from a device")
    assert FrameStore(STORE).get("cd" * 8) == b"from a device"


def test_registering_twice_changes_nothing(s3: Any, tmp_path: Path) -> None:
    """Every file is a frame with its bytes and one row of the catalogue, after one run and after three."""
    folder = frames(tmp_path / "frames", 40)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    (folder / "copy.jpg").write_bytes(sorted(folder.glob("cam1*"))[0].read_bytes())
    first = register(folder, STORE)
    assert (first.added, first.present, first.place) == (40, 1, None)
    assert [finding.path.name for finding in first.rejected] == ["broken.jpg"]
    before = {key: s3.head_object(Bucket=BUCKET, Key=key)["LastModified"] for key in keys(s3, "")}
    cache = InspectionCache(tmp_path / "cache", folder)
    for _ in range(2):
        again = register(folder, STORE, cache)
        assert (again.added, again.present, len(again.rejected)) == (0, 41, 1)
    assert set(before) == keys(s3, "")
    store = FrameStore(STORE)
    stored = {store.get(frame_id) for frame_id in store.catalogue.read().column("frame_id").to_pylist()}
    assert stored == {path.read_bytes() for path in folder.glob("cam1*")}


def test_the_catalogue_is_one_dataset(s3: Any, tmp_path: Path) -> None:
    """Any reader of Parquet sees the days as partitions and each frame once."""
    register(frames(tmp_path / "frames", 30), STORE)
    files = s3fs.S3FileSystem()
    found = ds.dataset(f"{BUCKET}/line1/catalogue", filesystem=files, format="parquet", partitioning="hive")
    table = found.to_table(filter=ds.field("date") == DATES[0])
    assert table.num_rows == 15
    assert set(table.column("camera").to_pylist()) == {"cam1"}
    assert table.column("perceptual_hash").null_count == 0


def test_a_killed_run_goes_on(s3: Any, tmp_path: Path) -> None:
    """What the catalogue names is stored, at the moment of a kill -9; the next run completes it, each frame once."""
    folder = frames(tmp_path / "frames", 300)
    run = subprocess.Popen([sys.executable, "-c", REGISTER, str(folder), STORE], start_new_session=True)
    deadline = time.monotonic() + 60
    while len(keys(s3, "catalogue")) < 3 and run.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(run.pid, signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "the run ended before it could be killed"
    catalogue = FrameStore(STORE).catalogue
    known = catalogue.read().column("frame_id").to_pylist()
    assert 0 < len(known) < 300
    assert {f"line1/{frame_key(frame_id)}" for frame_id in known} <= keys(s3, "frames")
    assert register(folder, STORE).added == 300 - len(known)
    all_of_them = catalogue.read().column("frame_id").to_pylist()
    assert len(all_of_them) == len(set(all_of_them)) == len(keys(s3, "frames")) == 300


@pytest.mark.parametrize("cause", ["no bucket", "no rights", "no credentials", "no server"])
def test_a_store_that_refuses_says_so_in_one_sentence(
    s3: Any, server: str, cause: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is asked of it: the store's name, the reason, no secret, and no half-done work to clean up."""
    url = STORE if cause != "no bucket" else "s3://nowhere/line1"
    if cause == "no rights":
        httpx.post(f"{server}/moto-api/reset-auth", content=b"0")
    if cause == "no credentials":
        monkeypatch.delenv("AWS_ACCESS_KEY_ID")
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    if cause == "no server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{LOOPBACK}:{free_port()}")
    folder = frames(tmp_path / "frames", 3)
    try:
        for ask in (
            lambda: register(folder, url), lambda: FrameStore(url).get("0" * 16),
            lambda: FrameStore(url).put("0" * 16, ".jpg", b"x"),
        ):  # fmt: skip
            with pytest.raises(BadInput) as refused:
                ask()
            said = str(refused.value)
            assert url in said
            assert "\n" not in said
            assert SECRET not in said
    finally:
        httpx.post(f"{server}/moto-api/reset-auth", content=b"1000000000")
