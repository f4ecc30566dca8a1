"""Sample: a choice that stands, from a log on disk."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from edgeloop.artifact import Artifact
from edgeloop.config import Config, SamplingSection
from edgeloop.errors import BadInput
from edgeloop.log_slice import LogSlice
from edgeloop.selection import Known, Selection
from tasks.sample import sample
from tests.logs import START, synthetic_log, write_log

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
