"""Sample: a choice that stands, from a log on disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest

from edgeloop.artifact import Artifact
from edgeloop.config import Config, SamplingSection
from edgeloop.errors import BadInput
from edgeloop.formats.images import ImageFacts, inspect_content
from edgeloop.frame_intake import register
from edgeloop.frames import frame_id
from edgeloop.log_slice import LogSlice
from edgeloop.selection import Known, Selection
from edgeloop.store import FrameStore, frame_key
from tasks.sample import StoredHashes, sample
from tests.logs import START, logged_frame, synthetic_log, table_of, write_log

ARTIFACT = Artifact(
    path=Path("m.onnx"), sha256="a" * 64, precision="fp32", imgsz=192, names=("a", "b", "c", "d"), thresholds=(0.5,) * 4
)
KNOWN = Known(training_boxes=(90, 80, 70, 3))


@pytest.fixture
def config(tmp_path: Path) -> Config:
    log = synthetic_log(80, 1)
    images = pa.array([f"frames/{key}.jpg" for key in log.column("frame_id").to_pylist()])
    write_log(log.set_column(log.column_names.index("image"), "image", images), tmp_path / "log")
    return Config(root=tmp_path, sampling=SamplingSection(budget=20, minimum_gap_seconds=0.5))


def window(config: Config, *, closed: bool = True) -> LogSlice:
    return LogSlice(url=str(config.root / "log"), until=START + timedelta(hours=1) if closed else None)


def test_choice_is_recorded(config: Config) -> None:
    """What was chosen, from how many, lies in a file that reads back the same."""
    chosen = sample.fn(window(config), ARTIFACT, KNOWN, config)
    assert len(chosen.frames) == 20
    assert chosen.count("audit") == 3
    assert chosen.candidates == 80
    assert Selection.load(chosen.path) == chosen


def test_choice_for_a_closed_window_stands(config: Config) -> None:
    """A run killed while it filled the queue goes on with the same frames, though they are queued now."""
    first = sample.fn(window(config), ARTIFACT, KNOWN, config)
    queued = KNOWN.model_copy(update={"taken": tuple(frame.frame_id for frame in first.frames[:5])})
    assert sample.fn(window(config), ARTIFACT, queued, config) == first


def test_next_round_on_an_open_window_chooses_other_frames(config: Config) -> None:
    """What is queued is never chosen again."""
    first = sample.fn(window(config, closed=False), ARTIFACT, KNOWN, config)
    taken = KNOWN.model_copy(update={"taken": tuple(frame.frame_id for frame in first.frames)})
    second = sample.fn(window(config, closed=False), ARTIFACT, taken, config)
    assert not {frame.frame_id for frame in first.frames} & {frame.frame_id for frame in second.frames}


def test_nothing_left_to_label_is_said(config: Config) -> None:
    """One sentence, exit code 2."""
    ids = tuple(synthetic_log(80, 1).column("frame_id").to_pylist())
    with pytest.raises(BadInput, match="None of the 80 logged frames"):
        sample.fn(window(config), ARTIFACT, KNOWN.model_copy(update={"taken": ids}), config)


def picture(seed: int, light: int = 0) -> bytes:
    coarse = np.random.default_rng(seed).integers(40, 200, (9, 12)).astype(np.uint8)
    pixels = cv2.resize(coarse, (96, 72), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".png", pixels + np.uint8(light))[1].tobytes()


class TestStoredHashes:
    """Four pictures in a store: two nearly equal ones, another, and a flat one."""

    PICTURES = (picture(0), picture(0, light=9), picture(1), cv2.imencode(".png", np.zeros((72, 96)))[1].tobytes())
    IDS = tuple(frame_id(content) for content in PICTURES)

    @pytest.fixture(params=["var/store", "memory://{}"])
    def store(self, request: pytest.FixtureRequest, tmp_path: Path) -> Config:
        """The configuration of a store that holds them, without a catalogue."""
        config = Config(
            root=tmp_path, store=request.param.format(tmp_path.name), sampling=SamplingSection(budget=2, audit_share=0)
        )
        for name, content in zip(self.IDS, self.PICTURES, strict=True):
            FrameStore(config.workspace.store).put(name, ".png", content)
        return config

    def log(self) -> pa.Table:
        """A frame every ten seconds, equally uncertain, the two alike first; their light differs."""
        box = {"x1": 10.0, "y1": 10.0, "x2": 40.0, "y2": 40.0, "score": 0.5, "class_id": 0}
        rows = [
            logged_frame(name, START + timedelta(seconds=10 * at), [box], frame_key(name, ".png"))
            | {"brightness": 100.0 + 10 * at}
            for at, name in enumerate(self.IDS)
        ]
        return table_of(rows)

    def hashes(self, config: Config, images: int = 9) -> list[int | None]:
        asked = StoredHashes(self.log(), config.workspace.store, images)
        return [asked(name) for name in self.IDS]

    def expected(self) -> list[int | None]:
        facts = [inspect_content(Path("p"), content) for content in self.PICTURES]
        return [fact.perceptual_hash for fact in facts if isinstance(fact, ImageFacts)]

    def test_images_are_looked_at_and_not_too_many(self, store: Config) -> None:
        """Hashes are those of inspection; from the third image on nobody knows when two may be read."""
        assert self.hashes(store) == self.expected()
        assert self.expected()[3] is None
        assert self.hashes(store, images=2) == [*self.expected()[:2], None, None]

    def test_what_the_catalogue_knows_is_not_read_again(self, store: Config, tmp_path: Path) -> None:
        """Of a registered frame the hash is there though no image may be read, or none is left."""
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder/one.png").write_bytes(self.PICTURES[0])
        register(tmp_path / "folder", store.workspace.store)
        assert self.hashes(store, images=0) == [self.expected()[0], None, None, None]

    def test_an_image_that_is_gone_or_damaged_stops_nothing(self, store: Config) -> None:
        """The choice goes by image statistics where nobody can look."""
        files, root = FrameStore(store.workspace.store)._files, FrameStore(store.workspace.store)._root
        files.rm(f"{root}/{frame_key(self.IDS[0], '.png')}")
        files.pipe_file(f"{root}/{frame_key(self.IDS[2], '.png')}", self.PICTURES[2][:60])
        assert self.hashes(store) == [None, self.expected()[1], None, None]

    def test_the_choice_sees_near_duplicates(self, store: Config) -> None:
        """Of two nearly equal pictures in different light one is chosen, though their statistics are far apart."""
        write_log(self.log(), store.root / "log")
        chosen = sample.fn(window(store), ARTIFACT, Known(training_boxes=(9,) * 4), store)
        assert {frame.frame_id for frame in chosen.frames} == {self.IDS[0], self.IDS[2]}
