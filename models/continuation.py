"""A training that can be killed goes on from its last finished epoch, and ends with the same weights bit for bit.

Ultralytics' own `last.pt` cannot do that: it keeps the moving average of the weights in half precision, from which a
resumed training takes its weights too, and neither the gradients that wait for their step nor the order of the data.
So the run keeps a state of its own beside the checkpoint that it is going to write:

    .NAME.unfinished/  state-N.pt     tensors after epoch N: weights, average, optimizer, gradients that wait
                       progress.json  which state counts, its SHA-256, what the run is made of, the curve so far

`progress.json` is written last, so that a kill at any point leaves a state and its record. A state is opened when its
bytes are the recorded ones and the run is made of the same things, and it is opened as tensors alone: no code in it
could run. What is drawn at random in epoch N follows from the card's seed and N, whatever came before it.
"""

from __future__ import annotations

import hashlib
import io
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from edgeloop.card import Card
from edgeloop.errors import BadInput
from edgeloop.files import sha256, write_bytes
from edgeloop.lock import exclusive
from edgeloop.record import Record
from edgeloop.training_curve import Epoch
from models.staging import StagedSet
from models.training_watch import TrainingWatch

PROGRESS, LOCK = "progress.json", "lock"


class Progress(Record):
    """How far an unfinished training is.

    Attributes:
        key: what the run is made of, from `training_key`.
        epoch: the last one that is finished, from 1.
        state: name of the file with the tensors.
        sha256: of that file.
        curve: one point an epoch, from the first on.
    """

    key: str
    epoch: int
    state: str
    sha256: str
    curve: tuple[Epoch, ...]


def unfinished_folder(out: Path) -> Path:
    """Where the training that is going to write `out` works."""
    return out.with_name(f".{out.name}.unfinished")


@contextmanager
def working_in(out: Path) -> Iterator[Path]:
    """The folder of the unfinished training, for one process at a time; a refused one leaves nothing behind.

    Raises:
        BadInput: another process trains this very checkpoint.
    """
    folder = unfinished_folder(out)
    with exclusive(folder / LOCK, f"the checkpoint {out}"):
        try:
            yield folder
        except BadInput:  # it would be refused again
            shutil.rmtree(folder, ignore_errors=True)
            raise


def training_key(card: Card, run: tuple[Path | None, int], staged: StagedSet, dataset_md5: str, trainer: str) -> str:
    """64 hexadecimal digits for all that the weights follow from: card, architecture, start, data, versions.

    Args:
        card: what is trained.
        run: the checkpoint to start from, and the epochs.
        staged: the data set; without a version it counts by the names, sizes and times of its files.
        dataset_md5: its version.
        trainer: name and version of what trains.
    """
    import torch

    start, epochs = run
    architecture = Path(card.architecture)
    parts = [
        card.to_json(), str(epochs), sha256(start) if start else "", torch.__version__, trainer,
        architecture.read_text(encoding="utf-8") if architecture.is_file() else "",
        dataset_md5 or _stamps(staged.yaml.parent),
    ]  # fmt: skip
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def _stamps(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file() and path.suffix != ".yaml")
    looks = [(path, path.stat()) for path in files]
    return "\n".join(
        f"{path.relative_to(root)} {path.read_text(encoding='utf-8')}"
        if path.suffix == ".txt"
        else f"{path.relative_to(root)} {look.st_size} {look.st_mtime_ns}"
        for path, look in looks
    )


class Continuation:
    """Keeps the state of one training in `folder` after every epoch, and gives it back to the next that asks.

    Args:
        folder: of the unfinished training.
        key: what the run is made of; a state of another is not looked at.
        seed: the card's.
        until: the epoch after which training pauses; None for the last.
    """

    def __init__(self, folder: Path, key: str, seed: int, until: int | None) -> None:
        self.folder, self.key, self.seed, self.until = folder, key, seed, until
        self.progress = self._found()
        self.carried = 0  # batches that the next step waits longer, because Ultralytics counts them from this start
        self.stepped = -1  # number of the batch after which the weights last changed, over all epochs
        self.batch = -1  # of this epoch
        self.gradients: dict[str, Any] = {}  # that waited for their step when the state was kept
        self.taken: dict[str, Any] | None = None

    @property
    def curve(self) -> tuple[Epoch, ...]:
        """What earlier attempts came to."""
        return self.progress.curve if self.progress else ()

    def _found(self) -> Progress | None:
        """How far an earlier attempt came; None when there is none, it is of another run or is past the pause."""
        path = self.folder / PROGRESS
        if not path.is_file():
            return None
        found = Progress.load(path)
        state = self.folder / found.state
        usable = found.key == self.key and (self.until is None or found.epoch < self.until)
        return found if usable and state.is_file() and sha256(state) == found.sha256 else None

    def attach(self, trainer: Any, watch: TrainingWatch) -> None:
        """Add the callbacks to a trainer, behind those of its watch."""
        trainer.add_callback("on_pretrain_routine_end", self.restore)
        trainer.add_callback("on_train_epoch_start", self.begin_epoch)
        trainer.add_callback("on_train_batch_start", self.begin_batch)
        trainer.add_callback("on_train_batch_end", self.end_batch)
        trainer.add_callback("on_train_epoch_end", self.end_epoch)
        trainer.add_callback("on_fit_epoch_end", lambda finished: self.keep(finished, watch.curve))

    def restore(self, trainer: Any) -> None:
        """Give the trainer the weights, average, optimizer and epoch of the state."""
        import torch

        self._count_steps(trainer)
        if self.progress is None:
            return
        state = torch.load(self.folder / self.progress.state, map_location="cpu", weights_only=True)
        trainer.model.load_state_dict(state["model"])
        trainer.resume = True
        trainer.resume_training({"epoch": state["epoch"], "optimizer": state["optimizer"], "scaler": state["scaler"]})
        trainer.ema.ema.load_state_dict(state["ema"])
        trainer.ema.updates = state["updates"]
        trainer.scheduler.last_epoch = trainer.start_epoch - 1
        self.gradients, self.stepped, self.carried = state["gradients"], state["stepped"], state["stepped"] + 1

    def _count_steps(self, trainer: Any) -> None:
        """Say when the weights change, and let the first step after a restart wait as long as it would have."""
        prepare, step = trainer.preprocess_batch, trainer.optimizer_step

        def prepare_batch(batch: Any) -> Any:  # the one place between the warm-up, which sets it, and its use
            trainer.accumulate += self.carried
            return prepare(batch)

        def take_step() -> None:
            self.stepped = self.batch + trainer.epoch * len(trainer.train_loader)
            step()

        trainer.preprocess_batch, trainer.optimizer_step = prepare_batch, take_step

    def begin_epoch(self, trainer: Any) -> None:
        """Make what this epoch draws at random follow from the seed and its number alone."""
        import torch

        drawn = int(np.random.SeedSequence((self.seed, trainer.epoch)).generate_state(1)[0])
        random.seed(drawn)
        np.random.seed(drawn)
        torch.manual_seed(drawn)
        loader = trainer.train_loader
        loader.reset()
        loader.generator.manual_seed(drawn)
        _forget_recent(loader.dataset)
        self.batch = -1
        for name, value in trainer.model.named_parameters():
            if name in self.gradients:
                value.grad = self.gradients[name].to(value.device)
        self.gradients = {}

    def begin_batch(self, _: Any) -> None:
        """Count."""
        self.batch += 1

    def end_batch(self, trainer: Any) -> None:
        """Take back what `_count_steps` added, and the delay with it once the first step was taken."""
        trainer.accumulate -= self.carried
        if self.stepped == self.batch + trainer.epoch * len(trainer.train_loader):
            self.carried = 0

    def end_epoch(self, trainer: Any) -> None:
        """Take the state before anything is measured, and pause where that was asked for."""
        trainer.stop = trainer.stop or trainer.epoch + 1 == self.until
        if trainer.epoch + 1 < trainer.epochs:
            self.taken = _state(trainer, self.stepped)

    def keep(self, trainer: Any, curve: Sequence[Epoch]) -> None:
        """Write the state down; the last one of this attempt waits for `pause`."""
        if self.taken is not None and not trainer.stop:
            self._write(tuple(curve))

    def pause(self, curve: Sequence[Epoch]) -> None:
        """Write the state down at which training goes on later, when its checkpoint is in place."""
        if self.taken is not None:
            self._write(tuple(curve))

    def _write(self, curve: tuple[Epoch, ...]) -> None:
        import torch

        assert self.taken is not None
        buffer = io.BytesIO()
        torch.save(self.taken, buffer)
        epoch = self.taken["epoch"] + 1
        path = write_bytes(self.folder / f"state-{epoch}.pt", buffer.getvalue())
        digest = hashlib.sha256(buffer.getbuffer()).hexdigest()
        Progress(key=self.key, epoch=epoch, state=path.name, sha256=digest, curve=curve).save(self.folder / PROGRESS)
        self.taken = None
        for older in self.folder.glob("state-*.pt"):
            if older != path:
                older.unlink()


def _state(trainer: Any, stepped: int) -> dict[str, Any]:
    """All that the next epoch follows from, in full precision and apart from what training changes."""
    from copy import deepcopy

    gradients = {name: value.grad for name, value in trainer.model.named_parameters() if value.grad is not None}
    return deepcopy({
        "epoch": trainer.epoch, "stepped": stepped, "updates": trainer.ema.updates, "gradients": gradients,
        "model": trainer.model.state_dict(), "ema": trainer.ema.ema.state_dict(),
        "optimizer": trainer.optimizer.state_dict(), "scaler": trainer.scaler.state_dict(),
    })  # fmt: skip


def _forget_recent(dataset: Any) -> None:
    """Empty the list of recent images, from which a mosaic takes its parts where the set is not kept in memory."""
    if dataset.cache != "ram":
        for index in dataset.buffer:
            dataset.ims[index] = dataset.im_hw0[index] = dataset.im_hw[index] = None
        dataset.buffer.clear()
