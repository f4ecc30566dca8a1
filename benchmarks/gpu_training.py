"""The trainings that `benchmarks/gpu.py` compares: the same card on a GPU, twice, with a pause, and on the CPU."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest import mock

import torch

from benchmarks.int8_sets import MeasuredSet, prepare
from edgeloop.artifact import Artifact
from edgeloop.card import Card, PruneCard
from edgeloop.files import write_text
from models import ultralytics_door
from models.apart import TrainingJob
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record
from models.continuation import Continuation
from models.qat import graphs, module_ranges, requantize
from models.quantize import open_float, write_int8
from models.tuning import Tuning
from models.ultralytics_door import export_onnx, fused_weights, open_checkpoint, train
from tasks.process import train_apart

ORDER = "order.json"  # digests of the batches that a training saw
LEARNING_RATE = 0.001  # of the second trainings, as their cards have it
Row = dict[str, Any]


@dataclass(frozen=True)
class Trainings:
    """What was trained, in one folder; what an earlier run left there is used again.

    Attributes:
        of: the set, and the first training of its card on the GPU.
        folder: of all the others.
        pause: after so many epochs the third one stops, and goes on in another process.
    """

    of: MeasuredSet
    folder: Path
    pause: int

    def rows(self) -> list[Row]:
        """A row for each on the GPU, compared with the first."""
        return [
            self.row("GPU", self.of.checkpoint, self.of.data.parents[1] / ORDER),
            self.row("GPU, the same seed again", *self._plain("again", self.of.card, None)),
            self.row(f"GPU, stopped after epoch {self.pause}, gone on in another process", self._paused(), None),
            self.row("GPU, then 15 % of the channels pruned", self._second("pruned", self._pruning()), None),
        ]

    def on_cpu(self) -> Row:
        """The first epoch on every core of the processor."""
        card = self.of.card.model_copy(update={"training_device": "cpu"})
        return self.row("CPU, stopped after epoch 1", *self._plain("cpu", card, 1))

    def row(self, name: str, trained: Checkpoint, order: Path | None) -> Row:
        first, last = trained.curve[0], trained.curve[-1]
        return {
            "training": name,
            "epochs": len(trained.curve),
            "seconds_an_epoch": median([one.seconds for one in trained.curve][1:] or [first.seconds]),
            "seconds_of_the_first": first.seconds,
            "loss": [sum(first.losses.values()), sum(last.losses.values())],
            "map50": last.map50,
            "map50_95": last.map50_95,
            "same_batches": None if order is None else same_batches(self.of.data.parents[1] / ORDER, order),
            "same_bytes": trained.sha256 == self.of.checkpoint.sha256,
            "weights_apart": weights_apart(self.of.checkpoint, trained, self.of.card),
        }

    def quantized_in_training(self, fp32: Artifact, int8: Artifact) -> tuple[Row, Artifact]:
        """One epoch with INT8 simulated, from the ranges of `int8`, and the file that it gives."""
        card = self.of.card
        before, ranged = graphs(fp32, int8)
        ranges = module_ranges(ranged, before, fused_weights(self.of.checkpoint.path, card))
        trained = self._second("qat", Tuning(learning_rate=LEARNING_RATE, ranges=ranges))
        whole = export_onnx(trained, card, trained.names, self.folder / "qat-fp32.onnx", dynamic=True)
        content = requantize(open_float(whole), ranged, before)
        made = write_int8(whole, content, card.quantize, self.folder / "qat-int8.onnx")
        return self.row("GPU, then INT8 simulated", trained, None), made

    def _plain(self, name: str, card: Card, until: int | None) -> tuple[Checkpoint, Path]:
        out, epochs = self.folder / name, self.of.checkpoint.epochs
        folder = out if until is None else out.with_name(f"{name}-epoch{until}")
        if not (folder / CHECKPOINT).is_file():
            with noting(self.folder / f"{name}-{ORDER}"):
                train(self.of.data, card, out, start=card.start, epochs=epochs, until=until)
        return load_checkpoint_record(folder / CHECKPOINT), self.folder / f"{name}-{ORDER}"

    def _paused(self) -> Checkpoint:
        """As tasks/train.py trains: in a process of its own, a new one after the pause."""
        out, card = self.folder / "paused", self.of.card
        job = TrainingJob(
            data_yaml=self.of.data, card=card, out=out, start=card.start, epochs=self.of.checkpoint.epochs,
            dataset_md5=self.of.data.parents[1].name,
        )  # fmt: skip
        if not (out / CHECKPOINT).is_file():
            train_apart(job.model_copy(update={"until": self.pause}))
            train_apart(job)
        return load_checkpoint_record(out / CHECKPOINT)

    def _second(self, name: str, tuning: Tuning) -> Checkpoint:
        out, start = self.folder / name, self.of.checkpoint.path
        if not (out / CHECKPOINT).is_file():
            train(self.of.data, self.of.card, out, start=start, epochs=1, tuning=tuning)
        return load_checkpoint_record(out / CHECKPOINT)

    def _pruning(self) -> Tuning:
        return Tuning(learning_rate=LEARNING_RATE, prune=PruneCard(epochs=1))


def prepared(source: Path, start: Path, work: Path, changes: Row) -> MeasuredSet:
    """The set divided, its card trained and exported, and the digests of the batches beside it."""
    work.mkdir(parents=True, exist_ok=True)
    with noting(work / ORDER):
        of = prepare("bccd", source, start, work, changes)
    if (work / ORDER).is_file():
        (work / ORDER).replace(of.data.parents[1] / ORDER)
    return of


@contextmanager
def noting(path: Path) -> Iterator[None]:
    """Write a digest of the pictures of every batch that is trained on in here, in their order; nothing if none is."""
    seen: list[str] = []

    class Noted(Continuation):
        def restore(self, trainer: Any) -> None:
            super().restore(trainer)
            move = trainer.preprocess_batch

            def note(batch: Any) -> Any:
                seen.append(hashlib.sha256(batch["img"].numpy().tobytes()).hexdigest()[:16])
                return move(batch)

            trainer.preprocess_batch = note

    with mock.patch.object(ultralytics_door, "Continuation", Noted):
        yield
    if seen:
        write_text(path, json.dumps(seen))


def same_batches(one: Path, other: Path) -> bool:
    """Whether two trainings saw the same pictures in the same order, as far as the shorter one went."""
    both = [json.loads(path.read_text()) for path in (one, other)]
    return all(first == second for first, second in zip(*both, strict=False))


def weights_apart(one: Checkpoint, other: Checkpoint, card: Card) -> float | None:
    """The distance of two checkpoints' weights over the length of the first; None where they have other shapes."""
    first, second = (open_checkpoint(each.path, card).state_dict() for each in (one, other))
    if {name: value.shape for name, value in first.items()} != {name: value.shape for name, value in second.items()}:
        return None
    flat = [torch.cat([value.double().flatten() for value in each.values()]) for each in (first, second)]
    return float((flat[0] - flat[1]).norm() / flat[0].norm())
