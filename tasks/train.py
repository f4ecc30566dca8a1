"""Stage train: a card on a data set version gives a checkpoint, in a process of its own."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

from edgeloop.card import Card, PruneCard
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.files import sha256
from models.apart import TrainingJob
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record, result_folder
from models.continuation import unfinished_folder
from models.tuning import Tuning
from tasks.process import train_apart
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

    Where the card prunes, channels are removed then and it is trained on. A start that was pruned before keeps its
    shape and is not pruned again.

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
    job = TrainingJob(
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
    trained = _trained(job)
    paused = until is not None and until < passes
    return trained if card.prune is None or trained.pruned or paused else _pruned(job, trained, card.prune)


def abandon(version: DatasetVersion, card: Card, config: Config) -> None:
    """Forget a training of the card from its own start that paused and is not going on; its checkpoints stay."""
    passes = card.epochs_for(version.frames["train"])
    shutil.rmtree(unfinished_folder(_folder(version, card, config, (card.start, passes))), ignore_errors=True)


def _folder(version: DatasetVersion, card: Card, config: Config, run: tuple[Path | None, int]) -> Path:
    """Where the checkpoint goes; `run` is its start and its epochs."""
    return config.workspace.artifacts / "checkpoints" / f"{card.name}-{_key(version, card, *run)}"


def _pruned(job: TrainingJob, trained: Checkpoint, asked: PruneCard) -> Checkpoint:
    """The trained checkpoint with fewer channels, in a folder beside its own."""
    tuning = Tuning(learning_rate=asked.learning_rate, prune=asked)
    changes = {"start": trained.path, "epochs": asked.epochs, "tuning": tuning, "until": None}
    return _trained(job.model_copy(update={**changes, "out": job.out.with_name(f"{job.out.name}-pruned")}))


def _trained(job: TrainingJob) -> Checkpoint:
    train_apart(job)
    return load_checkpoint_record(result_folder(job.out, job.epochs, job.until) / CHECKPOINT)


def _key(version: DatasetVersion, card: Card, start: Path | None, epochs: int) -> str:
    """12 hexadecimal digits for everything that the checkpoint follows from."""
    origin = sha256(start) if start is not None and start.is_file() else str(start)
    content = "\n".join([version.md5, card.to_json(), origin, str(epochs)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
