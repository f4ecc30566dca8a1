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
    """Write `<card>-<imgsz>-<checkpoint>-fp32.onnx` below `artifacts`, with its record beside it.

    Raises:
        BadInput: see `models.ultralytics_door.export_onnx`.
    """
    name = f"{card.name}-{card.imgsz}-{checkpoint.sha256[:12]}-fp32.onnx"
    return export_onnx(checkpoint, card, checkpoint.names, config.workspace.artifacts / name)
