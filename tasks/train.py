"""Stage train: a card on a data set version gives a checkpoint, in a process of its own."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from edgeloop.card import Card
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.files import sha256
from models.apart import BAD_INPUT, FULL_DISK, INTERRUPTED, TrainingJob
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record, result_folder
from models.continuation import unfinished_folder
from tasks.process import boot
from tasks.stage import stage


@stage
def train(
    version: DatasetVersion,
    card: Card,
    config: Config,
    start: Path | None = None,
    epochs: int | None = None,
    until: int | None = None,
) -> Checkpoint:
    """Train the card on the version's training side; killed, it goes on from its last finished epoch.

    Args:
        version: the data.
        card: what to train.
        config: where checkpoints are kept: one folder below `artifacts` for each version, card, start and length.
        start: checkpoint to continue from, such as the champion's; the card's own when None.
        epochs: passes over the training side; what the card says for a set of this size when None.
        until: pause after so many of them; asked again with more, the same training goes on.

    Raises:
        BadInput: see `models.ultralytics_door.train`; a frame of the version's audit side or of the configuration's
            audit sets is never trained on.
    """
    passes = epochs or card.epochs_for(version.frames["train"], challenger=start is not None)
    begin = start or card.start
    out = _folder(version, card, config, (begin, passes))
    train_apart(
        TrainingJob(
            data_yaml=version.data_yaml,
            card=card,
            out=out,
            start=begin,
            epochs=passes,
            dataset_md5=version.md5,
            data=version.root,
            audits=tuple(config.path(folder) for folder in config.audits),
            until=until,
        )
    )
    return load_checkpoint_record(result_folder(out, passes, until) / CHECKPOINT)


def abandon(version: DatasetVersion, card: Card, config: Config) -> None:
    """Forget a training of the card from its own start that paused and is not going on; its checkpoints stay."""
    passes = card.epochs_for(version.frames["train"])
    shutil.rmtree(unfinished_folder(_folder(version, card, config, (card.start, passes))), ignore_errors=True)


def _folder(version: DatasetVersion, card: Card, config: Config, run: tuple[Path | None, int]) -> Path:
    """Where the checkpoint goes; `run` is its start and its epochs."""
    return config.workspace.artifacts / "checkpoints" / f"{card.name}-{_key(version, card, *run)}"


def train_apart(job: TrainingJob) -> None:
    """Run the job in a child, which ends with us; its progress is on our stderr.

    Raises:
        BadInput: as the child says it.
        OSError: the disk is full.
        KeyboardInterrupt: the child was interrupted.
        EdgeloopError: it failed otherwise; its traceback is on stderr.
    """
    command = boot([sys.executable, "-m", "models.apart"])
    child = subprocess.run(command, input=job.model_dump_json(), stdout=subprocess.PIPE, text=True, check=False)
    if child.returncode == BAD_INPUT:
        raise BadInput(child.stdout)
    if child.returncode == FULL_DISK:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(job.out))
    if child.returncode == INTERRUPTED:
        raise KeyboardInterrupt
    if child.returncode:
        raise EdgeloopError(f"Training ended with exit code {child.returncode}; the reason is on stderr above.")


def _key(version: DatasetVersion, card: Card, start: Path | None, epochs: int) -> str:
    """12 hexadecimal digits for everything that the checkpoint follows from."""
    origin = sha256(start) if start is not None and start.is_file() else str(start)
    content = "\n".join([version.md5, card.to_json(), origin, str(epochs)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
