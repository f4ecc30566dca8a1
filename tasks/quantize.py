"""Stage quantize: the FP32 artifact and frames of the training side give the INT8 artifact."""

from __future__ import annotations

import hashlib

from edgeloop.artifact import Artifact
from edgeloop.card import Card
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, load_labels
from edgeloop.held_out import HeldOut
from models.calibration import choose_frames, describe_frames
from models.quantize import quantize as quantize_artifact
from tasks.stage import stage


@stage
def quantize(artifact: Artifact, version: DatasetVersion, card: Card, config: Config) -> Artifact:
    """Write `<card>-<imgsz>-<checkpoint>-<recipe>-int8.onnx` below `artifacts`, with its record beside it.

    The calibration frames are chosen from the version's training side, so that no side that is evaluated has a part in
    it, for a good spread of classes, cameras and brightness.

    Raises:
        BadInput: see `models.quantize.quantize`; a frame of an audit set is never calibrated on.
        Refused: the result breaks a rule for quantized graphs.
    """
    side = load_labels(version.root, "train")
    held_out = HeldOut.of(version.root, [config.path(folder) for folder in config.audits])
    held_out.refuse([frame.frame.image for frame in side], "calibrated on")
    images = choose_frames(describe_frames(side), card.quantize.frames, card.seed)
    made_from = f"{version.md5} {card.seed} {card.quantize.to_json()}"
    if (card.input, card.open_batch) != ("float32-nchw", False):
        made_from += f" {card.input} {card.open_batch}"
    recipe = hashlib.sha256(made_from.encode()).hexdigest()[:6]
    name = f"{card.name}-{artifact.imgsz}-{artifact.checkpoint_sha256[:12] or artifact.id}-{recipe}-int8.onnx"
    return quantize_artifact(artifact, images, card.quantize, config.workspace.artifacts / name)
