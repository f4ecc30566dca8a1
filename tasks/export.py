"""Stage export: a checkpoint gives the FP32 ONNX artifact that every other precision is made from."""

from __future__ import annotations

from edgeloop.artifact import Artifact
from edgeloop.card import Card
from edgeloop.config import Config
from models.checkpoint import Checkpoint
from models.ultralytics_door import export_onnx
from tasks.stage import stage


@stage
def export(checkpoint: Checkpoint, card: Card, config: Config) -> Artifact:
    """Write `<card>-<imgsz>-<checkpoint>[-uint8][-batch]-fp32.onnx` below `artifacts`, with its record beside it.

    Raises:
        BadInput: see `models.ultralytics_door.export_onnx`.
    """
    name = f"{card.name}-{card.imgsz}-{checkpoint.sha256[:12]}{variant(card)}-fp32.onnx"
    out = config.workspace.artifacts / name
    return export_onnx(checkpoint, card, checkpoint.names, out, dynamic=card.open_batch)


def variant(card: Card) -> str:
    """What tells files of one checkpoint apart in their names: another input, an open batch."""
    return ("-uint8" if card.input == "uint8-nhwc" else "") + ("-batch" if card.open_batch else "")
