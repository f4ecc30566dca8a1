"""Stage train: a card on a data set version gives a checkpoint."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeloop.card import Card
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion
from edgeloop.files import sha256
from models.checkpoint import Checkpoint
from models.ultralytics_door import train as train_card
from tasks.stage import stage


@stage
def train(
    version: DatasetVersion, card: Card, config: Config, start: Path | None = None, epochs: int | None = None
) -> Checkpoint:
    """Train the card on the version's training side.

    Args:
        version: the data.
        card: what to train.
        config: where checkpoints are kept: one folder below `artifacts` for each version, card, start and length.
        start: checkpoint to continue from, such as the champion's; the card's own when None.
        epochs: passes over the training side; the card's `challenger_epochs` with a start, else its `epochs`.

    Raises:
        BadInput: see `models.ultralytics_door.train`.
    """
    passes = epochs or (card.challenger_epochs if start else None) or card.epochs
    begin = start or card.start
    out = config.workspace.artifacts / "checkpoints" / f"{card.name}-{_key(version, card, begin, passes)}"
    return train_card(version.data_yaml, card, out, start=begin, epochs=passes, dataset_md5=version.md5)


def _key(version: DatasetVersion, card: Card, start: Path | None, epochs: int) -> str:
    """12 hexadecimal digits for everything that the checkpoint follows from."""
    origin = sha256(start) if start is not None and start.is_file() else str(start)
    content = "\n".join([version.md5, card.to_json(), origin, str(epochs)])
    return hashlib.sha256(content.encode()).hexdigest()[:12]
