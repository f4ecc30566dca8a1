"""A trained checkpoint: what it is, and which ones may be opened. A `.pt` is a pickle, so not any file will do."""

from __future__ import annotations

from pathlib import Path

from edgeloop.card import Card
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.record import Record
from edgeloop.training_curve import Epoch

CHECKPOINT, RECORD, LOG = "checkpoint.pt", "checkpoint.json", "train.log"


class Checkpoint(Record):
    """Trained weights and where they come from.

    Attributes:
        path: the `.pt`, half precision, the moving average of the weights after the last epoch.
        sha256: of the file's bytes; the same data, card and seed on the same machine give the same bytes.
        dataset_md5: the DVC version it was trained on.
        card: name of the card.
        start_sha256: of the checkpoint it was fine-tuned from; empty when trained from scratch.
        names: class names, index is the class id.
        epochs: passes over the training side.
        curve: one point an epoch.
        pruned: share of the channels that was removed; such a model does not fit its architecture's YAML. 0: none.
    """

    path: Path
    sha256: str
    dataset_md5: str = ""
    card: str = ""
    start_sha256: str = ""
    names: tuple[str, ...]
    epochs: int
    curve: tuple[Epoch, ...]
    pruned: float = 0.0


def result_folder(out: Path, epochs: int, until: int | None) -> Path:
    """Where the checkpoint of a training into `out` goes that pauses after `until` of its epochs; None: it does not."""
    return out if until is None or until >= epochs else out.with_name(f"{out.name}-epoch{until}")


def load_checkpoint_record(path: Path) -> Checkpoint:
    """The record beside a `checkpoint.pt` that `train` wrote, checked against the file; the folder may have moved.

    Raises:
        BadInput: no record, or the file is not the one that was recorded.
    """
    record = Checkpoint.load(path.with_name(RECORD))
    if not path.is_file() or sha256(path) != record.sha256:
        raise BadInput(f"{path} is not the checkpoint that {path.with_name(RECORD)} records. Train it again.")
    return record.model_copy(update={"path": path})


def check_trusted(path: Path, card: Card) -> Path:
    """Return `path` when it may be unpickled: the card names it, or this pipeline wrote it and it has not changed.

    Raises:
        BadInput: the file is missing, or neither holds.
    """
    if not path.is_file():
        raise BadInput(f"the checkpoint {path} does not exist. Train it, or name another in the card's `start:`.")
    if card.start is not None and path.resolve() == card.start.resolve():
        return path
    if path.with_name(RECORD).is_file():
        return load_checkpoint_record(path).path
    raise BadInput(
        f"{path} was neither written by this pipeline nor named in the card {card.name}; a .pt is a pickle and is not "
        f"opened on trust. If you trust it, name it in the card's `start:`."
    )
