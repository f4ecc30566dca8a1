"""A training that is killed goes on from its last finished epoch, and nothing that it leaves is trusted blindly."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgeloop.card import Card
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.lock import exclusive
from edgeloop.training_curve import Epoch
from models.apart import TrainingJob
from models.checkpoint import Checkpoint, result_folder
from models.continuation import LOCK, PROGRESS, Progress, unfinished_folder
from models.ultralytics_door import import_ultralytics, train
from tests.training_sets import toy_card, write_set

pytestmark = pytest.mark.integration

EPOCHS = 5  # of 3 batches; a step every 4 batches, so that gradients wait across the end of an epoch


class Stopped(Exception):
    """What a test stops a training with, in place of a kill."""


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return toy_card(tmp_path_factory.mktemp("card")).model_copy(update={"batch": 16})


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set") / "set", train=40, val=4)


@pytest.fixture(scope="module")
def whole(card: Card, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Trained without an interruption."""
    return train(data_yaml, card, tmp_path_factory.mktemp("whole") / "toy", start=None, epochs=EPOCHS)


def stop_in(epoch: int) -> Any:
    """Raise when this epoch was trained and before its state is kept."""

    def told(point: Epoch) -> None:
        if point.epoch == epoch:
            raise Stopped

    return told


def losses(checkpoint: Checkpoint) -> list[dict[str, float]]:
    return [point.losses for point in checkpoint.curve]


def test_after_kill_9_the_same_bytes(card: Card, data_yaml: Path, whole: Checkpoint, tmp_path: Path) -> None:
    """Killed with SIGKILL after its second epoch, the next run trains the rest alone and ends with the same file."""
    out = tmp_path / "toy"
    job = TrainingJob(data_yaml=data_yaml, card=card, out=out, start=None, epochs=EPOCHS, dataset_md5="")
    first = start_job(job)
    progress = unfinished_folder(out) / PROGRESS
    while not (progress.is_file() and Progress.load(progress).epoch >= 2):
        assert first.poll() is None, "the training ended before it could be killed"
        time.sleep(0.002)
    first.send_signal(signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    assert not out.exists()
    left = Progress.load(progress).epoch
    assert 2 <= left < EPOCHS
    seen: list[Epoch] = []
    again = train(data_yaml, card, out, start=None, epochs=EPOCHS, on_epoch=seen.append)
    assert [point.epoch for point in seen] == list(range(left + 1, EPOCHS + 1))
    assert again.path.read_bytes() == whole.path.read_bytes()
    assert losses(again) == losses(whole)
    assert [path.name for path in tmp_path.iterdir()] == ["toy"]


def start_job(job: TrainingJob) -> subprocess.Popen[str]:
    child = subprocess.Popen([sys.executable, "-m", "models.apart"], stdin=subprocess.PIPE, text=True)
    assert child.stdin is not None
    child.stdin.write(job.model_dump_json())
    child.stdin.close()
    return child


def test_stopped_over_and_over(card: Card, data_yaml: Path, whole: Checkpoint, tmp_path: Path) -> None:
    """Stopped in every epoch, each attempt goes one epoch further; a resumed run is resumed again."""
    for epoch in range(2, EPOCHS + 1):
        with pytest.raises(Stopped):
            train(data_yaml, card, tmp_path / "toy", start=None, epochs=EPOCHS, on_epoch=stop_in(epoch))
        assert Progress.load(unfinished_folder(tmp_path / "toy") / PROGRESS).epoch == epoch - 1
    again = train(data_yaml, card, tmp_path / "toy", start=None, epochs=EPOCHS)
    assert again.sha256 == whole.sha256


@pytest.mark.parametrize("changes", [{"optimizer": "SGD"}, {"augment": {"mosaic": 1.0, "close_mosaic": 2.0}}])
def test_other_optimizer_and_mosaic(card: Card, data_yaml: Path, tmp_path: Path, changes: dict[str, Any]) -> None:
    """It holds for momentum, and across the epoch in which Ultralytics rebuilds its loader without mosaics."""
    other = card.model_copy(update=changes)
    wanted = train(data_yaml, other, tmp_path / "whole", start=None, epochs=EPOCHS)
    for epoch in (2, 5):
        with pytest.raises(Stopped):
            train(data_yaml, other, tmp_path / "toy", start=None, epochs=EPOCHS, on_epoch=stop_in(epoch))
    assert train(data_yaml, other, tmp_path / "toy", start=None, epochs=EPOCHS).sha256 == wanted.sha256


def test_a_pause_changes_nothing(card: Card, data_yaml: Path, whole: Checkpoint, tmp_path: Path) -> None:
    """Paused after two epochs and after four, with a checkpoint and accuracy at each, the last file is the same."""
    out = tmp_path / "toy"
    paused = [train(data_yaml, card, out, start=None, epochs=EPOCHS, until=until) for until in (2, 4)]
    assert [one.path.parent for one in paused] == [result_folder(out, EPOCHS, until) for until in (2, 4)]
    assert [(one.epochs, len(one.curve)) for one in paused] == [(2, 2), (4, 4)]
    assert [point.map50_95 is not None for point in paused[1].curve] == [False, True, False, True]
    last = train(data_yaml, card, out, start=None, epochs=EPOCHS, until=EPOCHS)
    assert last.path.read_bytes() == whole.path.read_bytes()
    assert not unfinished_folder(out).exists()


def test_another_run_never_goes_on_from_it(card: Card, data_yaml: Path, tmp_path: Path) -> None:
    """Another seed, length, version or set of the same size starts from its first epoch."""
    out = tmp_path / "toy"
    other_set = write_set(tmp_path / "other", train=40, val=4)
    asked: list[tuple[Path, Card, int, str]] = [
        (data_yaml, card.model_copy(update={"seed": 1}), EPOCHS, ""),
        (data_yaml, card, EPOCHS + 1, ""),
        (data_yaml, card, EPOCHS, "1" * 32),
        (other_set, card, EPOCHS, ""),
    ]
    for data, asked_card, epochs, md5 in asked:
        with pytest.raises(Stopped):
            train(data_yaml, card, out, start=None, epochs=EPOCHS, on_epoch=stop_in(3))
        seen: list[int] = []
        with pytest.raises(Stopped):
            train(data, asked_card, out, start=None, epochs=epochs, dataset_md5=md5, on_epoch=first_of(seen))
        assert seen == [1]


def test_a_changed_state_is_not_opened(card: Card, data_yaml: Path, tmp_path: Path) -> None:
    """A state that is not the recorded one, byte for byte, is left alone: training starts from its first epoch."""
    out = tmp_path / "toy"
    with pytest.raises(Stopped):
        train(data_yaml, card, out, start=None, epochs=EPOCHS, on_epoch=stop_in(2))
    state = unfinished_folder(out) / "state-1.pt"
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    seen: list[int] = []
    with pytest.raises(Stopped):
        train(data_yaml, card, out, start=None, epochs=EPOCHS, on_epoch=first_of(seen))
    assert seen == [1]


def first_of(seen: list[int]) -> Any:
    def told(point: Epoch) -> None:
        seen.append(point.epoch)
        raise Stopped

    return told


def test_a_state_with_code_in_it_runs_none(card: Card, data_yaml: Path, tmp_path: Path) -> None:
    """Even a state whose recorded hash was forged with it is read as tensors alone."""
    import torch

    out = tmp_path / "toy"
    with pytest.raises(Stopped):
        train(data_yaml, card, out, start=None, epochs=EPOCHS, on_epoch=stop_in(2))
    progress = Progress.load(unfinished_folder(out) / PROGRESS)
    state = unfinished_folder(out) / progress.state
    torch.save({"model": Bomb(tmp_path / "exploded")}, state)
    progress.model_copy(update={"sha256": sha256(state)}).save(state.with_name(PROGRESS))
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        train(data_yaml, card, out, start=None, epochs=EPOCHS)
    assert not (tmp_path / "exploded").exists()


class Bomb:
    """Unpickling this leaves a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.path),))


def test_two_at_once_are_refused(card: Card, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same checkpoint is trained by one process at a time, and the other's state stays as it is."""
    folder = unfinished_folder(tmp_path / "toy")
    monkeypatch.setattr("edgeloop.lock.time.monotonic", iter(range(0, 10_000, 60)).__next__)
    with exclusive(folder / LOCK, "the checkpoint"):
        (folder / "state-1.pt").touch()
        with pytest.raises(BadInput, match="is being written by process"):
            train(data_yaml, card, tmp_path / "toy", start=None, epochs=1)
        assert (folder / "state-1.pt").exists()


def test_same_seed_same_order(card: Card, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order and the augmented pixels of every epoch follow from the seed: equal in two runs, other with another."""
    fed = feed(monkeypatch)
    runs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        fed.clear()
        train(data_yaml, card.model_copy(update={"seed": seed}), tmp_path / name, start=None, epochs=2)
        runs.append(list(fed))
    first, second, other = runs
    assert len(first) == 2 * 3
    assert first == second
    orders = [[names for names, _ in run] for run in (first, other)]
    assert orders[0] != orders[1]
    assert orders[0][:3] != orders[0][3:]  # another order in the second epoch


def test_an_epochs_order_is_its_own(
    card: Card, data_yaml: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What an epoch is fed does not hang on what came before: a resumed one gets what the uninterrupted one got."""
    fed = feed(monkeypatch)
    train(data_yaml, card, tmp_path / "whole", start=None, epochs=3)
    uninterrupted = list(fed)
    with pytest.raises(Stopped):
        train(data_yaml, card, tmp_path / "toy", start=None, epochs=3, on_epoch=stop_in(2))
    fed.clear()
    train(data_yaml, card, tmp_path / "toy", start=None, epochs=3)
    assert fed == uninterrupted[3:]


def feed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[tuple[str, ...], str]]:
    """Names and a hash of the pixels of every batch that a trainer is given."""
    import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer

    fed: list[tuple[tuple[str, ...], str]] = []
    taken = DetectionTrainer.preprocess_batch

    def looked(self: Any, batch: dict[str, Any]) -> Any:
        names = tuple(Path(name).name for name in batch["im_file"])
        fed.append((names, hashlib.sha256(batch["img"].numpy().tobytes()).hexdigest()))
        return taken(self, batch)

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", looked)
    return fed
