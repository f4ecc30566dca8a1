"""What a card asks of Ultralytics' trainer beyond its settings: class weights, a pruned model, fake quantization.

All of it hangs on the trainer's own callbacks and on the model it is given. The trainer itself is Ultralytics': its
data, its losses, its moving average and its checkpoints.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from pydantic import Field

from edgeloop.card import Card, PruneCard
from edgeloop.class_weights import class_weights
from edgeloop.errors import BadInput
from edgeloop.record import Record

PRUNED = "pruned"  # key in a model's own `yaml`: the share of channels that was removed


class Tuning(Record):
    """A second training, of a checkpoint that was trained already.

    Attributes:
        learning_rate: in place of the card's.
        prune: remove channels first.
        ranges: train with fake INT8: how far the data of each convolution reaches, by the name of its module.
    """

    learning_rate: float = Field(gt=0)
    prune: PruneCard | None = None
    ranges: dict[str, float] = Field(default_factory=dict)


def settings(card: Card, tuning: Tuning | None) -> dict[str, Any]:
    """Ultralytics' training arguments that differ from those of a first training."""
    if tuning is None:
        return {}
    # A step each batch, where Ultralytics would gather 64 images first; a warm-up would be most of the few epochs.
    changed: dict[str, Any] = {"lr0": tuning.learning_rate, "nbs": card.batch, "warmup_epochs": 0.0}
    if tuning.ranges:
        changed["amp"] = False  # rounding is simulated in float32
    return changed


def tune(trainer: Any, card: Card, tuning: Tuning | None, start: Any) -> None:
    """Hang what the card and `tuning` ask onto a trainer that has not begun.

    Args:
        trainer: an Ultralytics detection trainer.
        card: what is trained.
        tuning: of a second training; None for a first one.
        start: the torch model that training continues from; None where it begins with the architecture.
    """
    if start is not None and (tuning is not None or pruned_share(start)):
        trainer.get_model = partial(_as_it_is, trainer, card, tuning)
    if card.class_weights != "none":
        trainer.add_callback("on_pretrain_routine_end", partial(_weigh, card))
    if tuning is not None and tuning.ranges:
        trainer.add_callback("on_pretrain_routine_end", partial(_round, tuning))
        trainer.add_callback("on_train_batch_start", _freeze_statistics)


def pruned_share(model: Any) -> float:
    """The share of its channels that a model has lost to pruning; 0 for one that fits its architecture's YAML."""
    return float(model.yaml.get(PRUNED, 0.0))


def share_after(tuning: Tuning | None, start: Any) -> float:
    """`pruned_share` of what the training gives."""
    if tuning is not None and tuning.prune is not None:
        return tuning.prune.ratio
    return 0.0 if start is None else pruned_share(start)


def _as_it_is(
    trainer: Any, card: Card, tuning: Tuning | None, cfg: Any = None, weights: Any = None, verbose: bool = True
) -> Any:
    """In place of the trainer's `get_model`: the start itself, not the architecture's YAML with weights that fit it."""
    classes = trainer.data["nc"]
    if weights.model[-1].nc != classes:
        raise BadInput(
            f"the card {card.name} continues a model that was pruned or is being fine-tuned, for "
            f"{weights.model[-1].nc} classes; the data set has {classes}. Train from an unpruned start."
        )
    if tuning is not None and tuning.prune is not None and not pruned_share(weights):
        from models.prune import prune

        prune(weights, tuning.prune, card.imgsz)
        weights.yaml[PRUNED] = tuning.prune.ratio
    for parameter in weights.parameters():
        parameter.requires_grad = True
    weights.criterion = None
    return weights


def _weigh(card: Card, trainer: Any) -> None:
    """Set the attribute that Ultralytics' detection losses, the end-to-end one too, read class weights from."""
    import torch

    counts, names = trainer.get_class_counts(), [trainer.data["names"][index] for index in range(trainer.data["nc"])]
    found = class_weights([int(count) for count in counts], names, card.class_weights)
    if found is not None:
        trainer.model.class_weights = torch.tensor(found, dtype=torch.float32, device=trainer.device)
        stated = ", ".join(f"{name} {weight:.3g}" for name, weight in zip(names, found, strict=True))
        logging.getLogger("ultralytics").info("class weights: %s", stated)


def _round(tuning: Tuning, trainer: Any) -> None:
    from models.fake_quant import insert

    insert(trainer.model, tuning.ranges)


def _freeze_statistics(trainer: Any) -> None:
    from models.fake_quant import freeze_statistics

    freeze_statistics(trainer.model)
