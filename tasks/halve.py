"""Stage halve: the FP32 artifact gives the FP16 artifact, compared on frames of the training side."""

from __future__ import annotations

from edgeloop.artifact import Artifact
from edgeloop.card import Card
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, load_labels
from models.calibration import choose_frames, describe_frames
from models.half import halve as halve_artifact
from models.judge import GLANCED
from tasks.stage import stage


@stage
def halve(artifact: Artifact, version: DatasetVersion, card: Card, config: Config) -> Artifact:
    """Write the FP16 file below `artifacts`, named as the FP32 one with `-fp16`, with its record beside it.

    Raises:
        BadInput: see `models.half.halve`.
        Refused: FP16 sees something else than FP32.
    """
    images = choose_frames(describe_frames(load_labels(version.root, "train")), GLANCED, card.seed)
    stem = artifact.path.stem.removesuffix("-fp32")
    return halve_artifact(artifact, images, config.workspace.artifacts / f"{stem}-fp16.onnx")
