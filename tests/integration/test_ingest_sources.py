"""`edgeloop ingest` at the command line: every kind of source, killed, repeated, remote, and hostile."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from edgeloop.edge.log import read_log
from edgeloop.manifest import read_manifest
from edgeloop.store import FrameStore
from tests.edgeloop.test_log_intake import Device
from tests.edgeloop.test_video_frames import noisy
from tests.integration.s3 import BUCKET
from tests.labelled_sets import smooth

pytestmark = pytest.mark.integration

NAMES = ("dent", "scratch")


def yolo_set(folder: Path, count: int, names: tuple[str, ...] = NAMES) -> Path:
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    (folder / "data.yaml").write_text(f"names: {json.dumps(list(names))}\n")
    for number in range(count):
        cv2.imwrite(str(folder / f"images/cam{number % 2}-{number}.png"), smooth(number))
        (folder / f"labels/cam{number % 2}-{number}.txt").write_text(f"{number % len(names)} 0.5 0.5 0.5 0.5\n")
    return folder


def photos(folder: Path, count: int) -> Path:
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.jpg"), smooth(number))
    return folder


def workspace(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").touch()
    return folder


def command(place: Path, *words: str | Path) -> list[str]:
    return [sys.executable, "-m", "edgeloop", "ingest", *map(str, words), "--config", str(place / "config.yaml")]


def ingest(root: Path, place: Path, *words: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(place, *words), cwd=root, capture_output=True, text=True, check=False)


def state(place: Path) -> dict[str, bytes]:
    """The data set, its pointer and the store, without what a killed writer left: a later one clears that away."""
    kept = [place / "data", place / "data.dvc", place / "var/store"]
    files = [path for top in kept for path in ([top] if top.is_file() else top.rglob("*")) if path.is_file()]
    return {str(path.relative_to(place)): path.read_bytes() for path in files if "/.writing/" not in str(path)}


def labelled(folder: Path) -> Path:
    return yolo_set(folder / "set", 60)


def images(folder: Path) -> Path:
    return photos(folder / "photos", 200)


def video(folder: Path) -> Path:
    return noisy(folder / "cam1_20260301T081500.000Z.avi", 300)


def log(folder: Path) -> Path:
    device = Device(folder / "device")
    device.see(0, 60)
    device.close()
    return device.folder


@pytest.mark.parametrize("make", [labelled, images, video, log])
def test_killed_and_repeated(root: Path, tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """SIGKILL at any moment, then once more: the state of an undisturbed run; and again: not a byte changes."""
    source = make(tmp_path)
    quiet, rough = workspace(tmp_path / "quiet"), workspace(tmp_path / "rough")
    begin = time.monotonic()
    done = ingest(root, quiet, source)
    assert done.returncode == 0, done.stderr
    took = time.monotonic() - begin
    moments = random.Random(0)
    for _ in range(2):
        process = subprocess.Popen(
            command(rough, source), cwd=root, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        time.sleep(moments.uniform(0.3, 1.0) * took)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert ingest(root, rough, source).returncode == 0
    assert state(rough) == state(quiet)
    before = state(rough)
    assert ingest(root, rough, source).returncode == 0
    assert state(rough) == before


def upload(s3: Any, folder: Path, prefix: str) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            s3.upload_file(str(path), BUCKET, f"{prefix}/{path.relative_to(folder).as_posix()}")


def test_sources_on_s3(root: Path, tmp_path: Path, s3: Any) -> None:
    """A labelled set, images and a log in a bucket are taken in; unchanged ones are not fetched again."""
    place = workspace(tmp_path / "ws")
    upload(s3, yolo_set(tmp_path / "set", 12), "sets/march")
    upload(s3, photos(tmp_path / "photos", 5), "photos")
    device = Device(tmp_path / "device")
    device.see(0, 6)
    device.close()
    upload(s3, device.folder / "spool", "line2")
    sources = [f"s3://{BUCKET}/{name}" for name in ("sets/march", "photos", "line2")]
    done = ingest(root, place, *sources, "--json")
    assert done.returncode == 0, done.stderr
    reports = [one for one in json.loads(done.stdout) if "kind" in one]
    assert [(one["kind"], one["added"], one["rows"]) for one in reports] == [
        ("labelled", 12, 0), ("images", 5, 0), ("log", 6, 6)
    ]  # fmt: skip
    assert len(read_manifest(place / "data")) == 12
    assert read_log(str(place / "var/store/log")).num_rows == 6
    assert FrameStore(str(place / "var/store")).catalogue.read().num_rows == 11
    before = state(place)
    copies = {path: path.stat().st_mtime_ns for path in (place / "var/mirrors").rglob("*.png")}
    assert ingest(root, place, *sources).returncode == 0
    assert state(place) == before
    assert copies == {path: path.stat().st_mtime_ns for path in copies}


@pytest.mark.parametrize("address", ["s3://no-such-bucket/set", f"s3://{BUCKET}/nothing"])
def test_a_remote_that_has_nothing_or_refuses(root: Path, tmp_path: Path, s3: Any, address: str) -> None:
    """One sentence, exit 2, and the secret is not in it."""
    place = workspace(tmp_path / "ws")
    done = ingest(root, place, address)
    assert done.returncode == 2, done.stderr
    assert one_sentence(done.stderr)
    assert "hush" not in done.stderr + done.stdout
    assert state(place) == {}


def one_sentence(stderr: str) -> bool:
    """Nothing but progress and one line that begins with the program's name."""
    said = [line for line in stderr.splitlines() if line.startswith("edgeloop: ")]
    return len(said) == 1 and "Traceback" not in stderr


def traversal(folder: Path) -> Path:
    photos(folder / "images", 1)
    document = {
        "images": [{"id": 1, "file_name": "../../../etc/passwd", "width": 64, "height": 64}],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 1, 9, 9]}],
        "categories": [{"id": 1, "name": "dent"}],
    }
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def entity_bomb(folder: Path) -> Path:
    photos(folder / "JPEGImages", 1)
    (folder / "Annotations").mkdir()
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    bomb = f'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY l0 "lol">{entities}]><annotation>&l9;</annotation>'
    (folder / "Annotations/0.xml").write_text(bomb)
    return folder


def decompression_bomb(folder: Path) -> Path:
    made = yolo_set(folder, 2)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", len(header)) + b"IHDR" + header + struct.pack(">I", zlib.crc32(b"IHDR" + header))
    (made / "images/cam0-0.png").write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)
    return made


def huge(folder: Path) -> Path:
    made = yolo_set(folder, 2)
    with (made / "images/cam0-0.png").open("wb") as file:
        file.truncate(2 * 10**9)
    return made


def contradiction(folder: Path) -> Path:
    return yolo_set(folder, 3, ("dent", "hole"))


def odd_names(folder: Path) -> Path:
    """A broken image whose name holds a newline and bytes that are no text."""
    made = yolo_set(folder, 2)
    name = os.fsdecode(b"new\nline \xff")
    (made / f"images/{name}.png").write_bytes(b"no picture")
    (made / f"labels/{name}.txt").write_text("")
    return made


HOSTILE = {
    "leaves the folder": traversal, "document type": entity_bomb, "megapixels": decompression_bomb,
    "at most 200 MB": huge, "hole": contradiction, "unreadable image": odd_names,
    "does not exist": lambda folder: folder / "nothing",
}  # fmt: skip


@pytest.fixture(scope="module")
def good(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with a data set, which nothing of this module changes."""
    folder = tmp_path_factory.mktemp("good")
    place = workspace(folder / "ws")
    assert ingest(root, place, yolo_set(folder / "set", 4)).returncode == 0
    return place


@pytest.mark.parametrize("words", HOSTILE)
def test_bad_input_changes_nothing(root: Path, good: Path, tmp_path: Path, words: str) -> None:
    """One sentence that says what it is, exit 2, and the data set is as it was."""
    before = state(good)
    done = ingest(root, good, HOSTILE[words](tmp_path / "bad"))
    assert done.returncode == 2, done.stderr
    assert one_sentence(done.stderr), done.stderr
    assert words in done.stderr
    assert state(good) == before


def test_a_dvc_remote_that_refuses(root: Path, tmp_path: Path) -> None:
    """One sentence, and the data set is unchanged: with none, and with a version. The next run takes the set in."""
    place = workspace(tmp_path / "ws")
    (place / "config.yaml").write_text("dvc_remote: blocked/remote\n")
    for count in (4, 8):
        source, before = yolo_set(tmp_path / f"set{count}", count), state(place)
        if (place / "blocked").is_dir():
            shutil.rmtree(place / "blocked")
        (place / "blocked").touch()
        done = ingest(root, place, source)
        assert done.returncode == 2, done.stderr
        assert one_sentence(done.stderr), done.stderr
        assert state(place) == before
        (place / "blocked").unlink()
        assert ingest(root, place, source).returncode == 0
        assert state(place) != before
    assert (place / "data.dvc").exists()


def test_one_side_a_group(root: Path, tmp_path: Path) -> None:
    """--split-by keeps what its pattern names together."""
    place = workspace(tmp_path / "ws")
    done = ingest(root, place, yolo_set(tmp_path / "set", 40), "--split-by", r"(cam\d)")
    assert done.returncode == 0, done.stderr
    sides: dict[str, set[str]] = {}
    for row in read_manifest(place / "data"):
        sides.setdefault(row.group, set()).add(row.split)
    assert len(sides) == 2
    assert all(len(found) == 1 for found in sides.values())


def test_a_dry_run_changes_nothing(root: Path, tmp_path: Path) -> None:
    """Of every kind."""
    place, sources = workspace(tmp_path / "ws"), []
    for make in (labelled, images, video, log):
        (tmp_path / make.__name__).mkdir()
        sources.append(make(tmp_path / make.__name__))
    done = ingest(root, place, *sources, "--dry-run", "--json")
    assert [one["kind"] for one in json.loads(done.stdout)] == ["labelled", "images", "video", "log"]
    assert state(place) == {}
