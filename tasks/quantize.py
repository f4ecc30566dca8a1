"""Stage quantize: the FP32 artifact and frames of the training side give the INT8 artifact."""

from __future__ import annotations

import hashlib

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.card import Card
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, load_labels
from edgeloop.held_out import HeldOut
from edgeloop.output import say
from models.calibration import choose_frames, describe_frames, refuse_overlap
from models.judge import GLANCED, Judge, choosing_runtime
from models.precision_search import search
from models.quantize import quantize as quantize_artifact
from tasks.stage import stage

KEPT = "search"  # below `artifacts`: what searches go on from


@stage
def quantize(artifact: Artifact, version: DatasetVersion, card: Card, config: Config) -> Artifact:
    """Write `<card>-<imgsz>-<checkpoint>-<recipe>-int8.onnx` below `artifacts`, with its record beside it.

    The calibration frames are chosen from the version's training side for a good spread of classes, cameras and
    brightness. Where the card asks for a search, the recipe is chosen on the validation side. No side that is audited
    has a part in either. A search that cannot keep the card's limits says so on stderr and gives the nearest it found:
    the gate judges it.

    Raises:
        BadInput: see `models.quantize.quantize` and `models.precision_search.search`; a frame of an audit set is never
            calibrated on.
        Refused: the result breaks a rule for quantized graphs.
    """
    frames = load_labels(version.root, "train")
    held_out = HeldOut.of(version.root, [config.path(folder) for folder in config.audits])
    held_out.refuse([frame.frame.image for frame in frames], "calibrated on")
    images = choose_frames(describe_frames(frames), card.quantize.frames, card.seed)
    out = config.workspace.artifacts / file_name(artifact, version, card)
    if not card.quantize.search:
        return quantize_artifact(artifact, images, card.quantize, out)
    choosing = validation_side(version)
    refuse_overlap([(one.frame.frame_id, one.frame.image) for one in frames], choosing.ids)
    judge = Judge(artifact, choosing, images[:GLANCED], choosing_runtime(), config.workspace.artifacts / KEPT)
    found, report = search(judge, images, card.quantize, out)
    if not report.reached:
        say(f"warning: {report.reason}")
    return found


def file_name(artifact: Artifact, version: DatasetVersion, card: Card) -> str:
    """What the INT8 file is called: everything that it follows from has a part in the name."""
    made_from = f"{version.md5} {card.seed} {card.input} {card.open_batch} {card.quantize.to_json()}"
    recipe = hashlib.sha256(made_from.encode()).hexdigest()[:6]
    return f"{card.name}-{artifact.imgsz}-{artifact.checkpoint_sha256[:12] or artifact.id}-{recipe}-int8.onnx"


def validation_side(version: DatasetVersion) -> AuditFrames:
    """The frames that a recipe is chosen on."""
    frames = sorted(load_labels(version.root, "val"), key=lambda one: one.frame.frame_id)
    return AuditFrames(f"val-{version.md5[:8]}", version.names, tuple(frames))
