"""Stage quantize: the FP32 artifact and frames of the training side give the INT8 artifact.

Where no recipe keeps the card's limits and the card says so, the checkpoint is trained on with INT8 simulated.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.card import Card, QatCard
from edgeloop.config import Config
from edgeloop.dataset import DatasetVersion, load_labels
from edgeloop.held_out import HeldOut
from edgeloop.output import say
from edgeloop.quantization import QuantizeReport
from models.apart import TrainingJob
from models.calibration import choose_frames, describe_frames, refuse_overlap
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record
from models.judge import GLANCED, Judge, choosing_runtime
from models.precision_search import Trials, report_path, search
from models.qat import graphs, judge_trained, module_ranges, requantize
from models.quantize import open_float, write_int8
from models.quantize import quantize as quantize_artifact
from models.tuning import Tuning
from models.ultralytics_door import export_onnx, fused_weights
from tasks.process import train_apart
from tasks.stage import stage

KEPT = "search"  # below `artifacts`: what searches go on from


@stage
def quantize(
    artifact: Artifact, checkpoint: Checkpoint, version: DatasetVersion, card: Card, config: Config
) -> Artifact:
    """Write `<card>-<imgsz>-<checkpoint>-<recipe>-int8.onnx` below `artifacts`, with its record beside it.

    The calibration frames are chosen from the version's training side for a good spread of classes, cameras and
    brightness. Where the card asks for a search, the recipe is chosen on the validation side. No side that is audited
    has a part in either. A search that cannot keep the card's limits says so on stderr and gives the nearest it found:
    the gate judges it. With `quantize.qat` the checkpoint that `artifact` was exported from is trained on first; what
    that gives is `<…>-qat-int8.onnx`, and is taken when it keeps the limits or comes nearer to them.

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
    asked = card.quantize.qat
    if asked is not None and (asked.when == "always" or not report.reached):
        found, report = Training(Trials(judge, card.quantize), checkpoint, version, card, config).of(
            found, report, asked
        )
    if not report.reached:
        say(f"warning: {report.reason}")
    return found


@dataclass(frozen=True)
class Training:
    """Quantization-aware training of the checkpoint that the FP32 artifact of the trials was exported from."""

    trials: Trials
    checkpoint: Checkpoint
    version: DatasetVersion
    card: Card
    config: Config

    def of(self, int8: Artifact, report: QuantizeReport, asked: QatCard) -> tuple[Artifact, QuantizeReport]:
        """The better of the file that the search found and of what training makes of it, and the report of both."""
        fp32 = self.trials.judge.fp32
        begun = graphs(fp32, int8)
        out = int8.path.with_name(int8.path.name.replace("-int8.onnx", "-qat-int8.onnx"))
        weights = fused_weights(self.checkpoint.path, self.card)
        trained = self._train(module_ranges(begun[1], begun[0], weights), asked, out.name.removesuffix("-int8.onnx"))
        export = export_onnx(
            trained,
            self.card,
            trained.names,
            out.with_name(out.name.replace("-int8", "-fp32")),
            dynamic=self.card.open_batch,
        )
        content = requantize(open_float(export), begun[1], begun[0])
        row, judged = judge_trained(self.trials, report, content, asked)
        better = judged.artifact_id == row.artifact_id
        found = write_int8(export, content, self.card.quantize, out) if better else int8
        judged.save(report_path(found.path))
        return found, judged

    def _train(self, ranges: dict[str, float], asked: QatCard, name: str) -> Checkpoint:
        job = TrainingJob(
            data_yaml=self.version.data_yaml,
            card=self.card,
            out=self.config.workspace.artifacts / "checkpoints" / name,
            start=self.checkpoint.path,
            epochs=asked.epochs,
            dataset_md5=self.version.md5,
            data=self.version.root,
            audits=tuple(self.config.path(audit) for audit in self.config.audits),
            tuning=Tuning(learning_rate=asked.learning_rate, ranges=ranges),
        )
        train_apart(job)
        return load_checkpoint_record(job.out / CHECKPOINT)


def file_name(artifact: Artifact, version: DatasetVersion, card: Card) -> str:
    """What the INT8 file is called: everything that it follows from has a part in the name."""
    made_from = f"{version.md5} {card.seed} {card.input} {card.open_batch} {card.quantize.to_json()}"
    recipe = hashlib.sha256(made_from.encode()).hexdigest()[:6]
    return f"{card.name}-{artifact.imgsz}-{artifact.checkpoint_sha256[:12] or artifact.id}-{recipe}-int8.onnx"


def validation_side(version: DatasetVersion) -> AuditFrames:
    """The frames that a recipe is chosen on."""
    frames = sorted(load_labels(version.root, "val"), key=lambda one: one.frame.frame_id)
    return AuditFrames(f"val-{version.md5[:8]}", version.names, tuple(frames))
