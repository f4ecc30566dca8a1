"""Stage train: a card on a data set version gives a checkpoint, in a process of its own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeloop.card import Card, PruneCard
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.files import sha256
from models.apart import TrainingJob
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record
from models.tuning import Tuning
from tasks.process import train_apart
from tasks.stage import stage


@stage
def train(
    version: DatasetVersion, card: Card, config: Config, start: Path | None = None, epochs: int | None = None
) -> Checkpoint:
    """Train the card on the version's training side; where the card prunes, remove channels then and train on.

    A start that was pruned before keeps its shape and is not pruned again.

    Args:
        version: the data.
        card: what to train.
        config: where checkpoints are kept: one folder below `artifacts` for each version, card, start and length.
        start: checkpoint to continue from, such as the champion's; the card's own when None.
        epochs: passes over the training side; what the card says for a set of this size when None.

    Raises:
        BadInput: see `models.ultralytics_door.train`; a frame of the version's audit side or of the configuration's
            audit sets is never trained on.
    """
    passes = epochs or card.epochs_for(version.frames["train"], challenger=start is not None)
    begin = start or card.start
    out = config.workspace.artifacts / "checkpoints" / f"{card.name}-{_key(version, card, begin, passes)}"
    job = TrainingJob(
        data_yaml=version.data_yaml,
        card=card,
        out=out,
        start=begin,
        epochs=passes,
        dataset_md5=version.md5,
        data=version.root,
        audits=tuple(config.path(folder) for folder in config.audits),
    )
    trained = _trained(job)
    return trained if card.prune is None or trained.pruned else _pruned(job, trained, card.prune)


def _pruned(job: TrainingJob, trained: Checkpoint, asked: PruneCard) -> Checkpoint:
    """The trained checkpoint with fewer channels, in a folder beside its own."""
    tuning = Tuning(learning_rate=asked.learning_rate, prune=asked)
    changes = {"start": trained.path, "epochs": asked.epochs, "tuning": tuning}
    return _trained(job.model_copy(update={**changes, "out": job.out.with_name(f"{job.out.name}-pruned")}))


def _trained(job: TrainingJob) -> Checkpoint:
    train_apart(job)
    return load_checkpoint_record(job.out / CHECKPOINT)


def _key(version: DatasetVersion, card: Card, start: Path | None, epochs: int) -> str:
    """12 hexadecimal digits for everything that the checkpoint follows from."""
    origin = sha256(start) if start is not None and start.is_file() else str(start)
    content = "\n".join([version.md5, card.to_json(), origin, str(epochs)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
