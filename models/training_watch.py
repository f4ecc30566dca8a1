"""What is watched while Ultralytics trains: a progress bar, the curve, a loss that must stay a number."""

from __future__ import annotations

import csv
import logging
import math
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from edgeloop.errors import BadInput
from edgeloop.training_curve import Epoch


class TrainingWatch:
    """Callbacks for one Ultralytics trainer.

    Args:
        title: what the progress bar says.
        images: how many images the trainer must have accepted on the training side.
        log: Ultralytics' own log, searched for the reason when it refused some.
        on_epoch: called with every new point of the curve.
        curve: the points of earlier attempts, which this one goes on from.
    """

    def __init__(
        self,
        title: str,
        images: int,
        log: Path,
        on_epoch: Callable[[Epoch], None] | None = None,
        curve: Sequence[Epoch] = (),
    ) -> None:
        self.title, self.images, self.log, self.on_epoch = title, images, log, on_epoch
        self.curve = list(curve)
        self.threads = training_threads()
        self.bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
        )

    def attach(self, trainer: Any, ready: ExitStack) -> None:
        """Add the callbacks to a trainer."""
        trainer.add_callback("on_pretrain_routine_end", lambda _: ready.close())
        trainer.add_callback("on_pretrain_routine_end", self.prepare)
        trainer.add_callback("on_train_batch_end", self.advance)
        trainer.add_callback("on_fit_epoch_end", self.record)

    def prepare(self, trainer: Any) -> None:
        """Check that every image was accepted, use every core and start the bar."""
        import torch

        accepted = len(trainer.train_loader.dataset)
        if accepted != self.images:
            raise BadInput(
                f"{self.images - accepted} of {self.images} training images cannot be used: {_complaint(self.log)}. "
                f"Correct or remove them."
            )
        if trainer.device.type == "cpu":
            torch.set_num_threads(self.threads)  # Ultralytics leaves one core idle
        self.bar.start()
        batches = len(trainer.train_loader)
        words = f"{self.title}: {trainer.epochs} epochs"
        done = len(self.curve) * batches
        self.task = self.bar.add_task(words, total=trainer.epochs * batches, completed=done, loss="")

    def advance(self, trainer: Any) -> None:
        """Move the bar one batch.

        Raises:
            BadInput: the loss is not a finite number.
        """
        loss = float(trainer.loss.detach())
        if not math.isfinite(loss):
            raise BadInput(
                f"training diverged: the loss is {loss} in epoch {trainer.epoch + 1} at learning rate "
                f"{trainer.args.lr0:g}. Lower the card's `learning_rate`, or check the labels."
            )
        self.bar.update(self.task, advance=1, loss=f"loss {loss:.3g}")

    def record(self, trainer: Any) -> None:
        """Take the newest point of the curve, and pass it on."""
        last = read_curve(trainer.csv, trainer.epoch + 1 if trainer.stop else 0)[-1]
        self.curve.append(last.model_copy(update={"seconds": trainer.epoch_time}))
        if self.on_epoch is not None:
            self.on_epoch(self.curve[-1])

    def __enter__(self) -> TrainingWatch:
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()


def read_curve(results: Path, measured: int) -> tuple[Epoch, ...]:
    """The curve in Ultralytics' results.csv; accuracy is kept for the one epoch that was measured."""
    with results.open(encoding="utf-8", newline="") as handle:
        rows = list(csv.DictReader(handle))
    return tuple(_epoch(row, int(float(row["epoch"])) == measured) for row in rows)


def _epoch(row: dict[str, str], measured: bool) -> Epoch:
    losses = {
        key.removeprefix("train/").removesuffix("_loss"): float(text)
        for key, text in row.items()
        if key.startswith("train/")
    }
    return Epoch(
        epoch=int(float(row["epoch"])),
        losses=losses,
        learning_rate=float(row["lr/pg0"]),
        map50=float(row["metrics/mAP50(B)"]) if measured else None,
        map50_95=float(row["metrics/mAP50-95(B)"]) if measured else None,
    )


def training_threads() -> int:
    """Cores this process may use, fewer where OMP_NUM_THREADS says so."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return min(cores, int(asked)) if asked.isdigit() and int(asked) > 0 else cores


@contextmanager
def logged_to(log: Path) -> Iterator[ExitStack]:
    """Send Ultralytics' own messages to a file instead of the terminal, and what it prints until `ready` is closed."""
    logger = logging.getLogger("ultralytics")
    handlers, level = logger.handlers, logger.level
    target = logging.FileHandler(log, encoding="utf-8")
    logger.handlers = [target]
    logger.setLevel(logging.INFO)
    try:
        with ExitStack() as ready:
            ready.enter_context(redirect_stdout(target.stream))
            yield ready
    finally:
        logger.handlers = handlers
        logger.setLevel(level)
        target.close()


def _complaint(log: Path) -> str:
    lines = log.read_text(encoding="utf-8").splitlines()
    reasons = [line for line in lines if "ignoring corrupt" in line or "WARNING" in line]
    return reasons[0].strip()[:300] if reasons else "the log gives no reason"
