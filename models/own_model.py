"""INT8 of a user's own float32 ONNX and labelled folders: no workspace, no checkpoint, no server.

The evaluation side is divided by a hash of each frame: recipes are chosen on one half, and the loss that is told last
is measured on the other, which had no part in the choice.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import average_precision
from edgeloop.card import QuantizeCard
from edgeloop.edge.benchmark import BLOCK, Lane, latency
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import CPU_RUNTIMES, installed, open_runtime
from edgeloop.errors import BadInput
from edgeloop.evaluation import read_image, scored_names
from edgeloop.foreign import open_detector, refuse_checkpoint
from edgeloop.formats.detect import detect, read
from edgeloop.formats.findings import printable
from edgeloop.formats.paths import require_images
from edgeloop.frames import frame_id
from edgeloop.matching import IOU_LIMITS
from edgeloop.output import say
from edgeloop.progress import bar
from edgeloop.quantization import QuantizeReport
from edgeloop.yardstick import Yardstick
from models.calibration import choose_frames, describe_frames, refuse_overlap
from models.judge import GLANCED, Judge, choosing_runtime
from models.precision_search import report_path, search

TIMED, PICTURES = 96, 16  # runs a file and runtime; decoded frames they take turns on


def quantize_own(
    model: Path, calibrate: Path, evaluate: Path, card: QuantizeCard, out: Path
) -> tuple[Artifact, QuantizeReport]:
    """Search the INT8 recipe of a model, write its file, record and report; see `models.precision_search.search`.

    Args:
        model: a float32 ONNX detector, with edgeloop's record beside it or without.
        calibrate: a labelled set, of which the training side counts, or a folder of frames.
        evaluate: a labelled set, of which everything but the training side counts.
        card: limits and method.
        out: the .onnx file to write; `OUT.search/` beside it keeps what a stopped search goes on from.

    Raises:
        BadInput: the model is no float32 detector in ONNX, a folder is no such set, the two share frames, there are
            too few, no labelled box on one half, or the model finds nothing that is labelled there.
        Refused: the graph does not take the recipe.
    """
    refuse_checkpoint(model)
    audit = evaluation_side(evaluate)
    fp32 = open_detector(model, audit.names)
    scored_names(fp32, audit)
    images = calibration_images(calibrate, card.frames, {frame.frame.frame_id for frame in audit.frames})
    judge = Judge(fp32, audit.half("tune"), images[:GLANCED], choosing_runtime(), kept_beside(out))
    say(*_unjudged(fp32, audit))
    refuse_useless(judge)
    artifact, report = search(judge, images, card, out)
    report = _timed(_scored(report, artifact, replace(judge, choosing=audit.half("score"))), (fp32, artifact), audit)
    report.save(report_path(out))
    return artifact, report


def evaluation_side(folder: Path) -> AuditFrames:
    """The frames of a labelled set that are not its training side.

    Raises:
        BadInput: no such set, or nothing but a training side.
    """
    found = read(folder)
    kept = sorted((one for one in found.frames if one.split != "train"), key=lambda one: one.frame.frame_id)
    if not kept:
        raise BadInput(f"{printable(folder)} has a training side alone; expected labelled frames to evaluate on.")
    return AuditFrames(folder.resolve().name, found.names, tuple(kept))


def calibration_images(folder: Path, number: int, evaluated: Collection[str]) -> tuple[Path, ...]:
    """Frames to calibrate on, chosen for a good spread where they have labels.

    Args:
        folder: a labelled set, of which the training side counts where it has one; or a folder of frames.
        number: how many.
        evaluated: ids of the frames that are evaluated on.

    Raises:
        BadInput: no frames, or one that is evaluated on too.
    """
    if not _is_labelled(folder):
        images = require_images(folder)
        refuse_overlap([(frame_id(image.read_bytes()), image) for image in images], evaluated)
        step = max(len(images) / number, 1)
        return tuple(images[int(index * step)] for index in range(min(len(images), number)))
    frames = [one for one in read(folder).frames if one.split in ("train", None)]
    refuse_overlap([(one.frame.frame_id, one.frame.image) for one in frames], evaluated)
    return choose_frames(describe_frames(frames), number)


def refuse_useless(judge: Judge) -> None:
    """Whether there is any accuracy to lose; what was detected to know it is not kept where there is none.

    Raises:
        BadInput: the float32 model finds none of the labelled boxes.
    """
    kept = judge.kept.exists()
    if not judge.choosing.boxes:  # the search says that
        return
    matches = judge.matches(judge.fp32.path.read_bytes(), "fp32")
    whole = np.ones((1, matches.frame_count), np.int64)
    if np.nanmax(average_precision(matches, whole, range(len(IOU_LIMITS)))) > 0:
        return
    if not kept:
        shutil.rmtree(judge.kept)
    raise BadInput(
        f"{printable(judge.fp32.path)} has an mAP50-95 of 0 on the {len(judge.choosing.frames)} frames of "
        f"{printable(judge.choosing.name)} that recipes are chosen on, so that nothing it could lose can be measured; "
        f"expected a detector that finds some of the {judge.choosing.boxes} labelled boxes. Evaluate it first."
    )


def _unjudged(fp32: Artifact, audit: AuditFrames) -> list[str]:
    """What a reader must know of classes that nothing is measured of."""
    labelled = {audit.names[label.class_id] for frame in audit.frames for label in frame.labels}
    missing = [printable(name) for name in fp32.names if name not in labelled]
    told = f"No labelled box on the evaluation side of {', '.join(missing)}: what INT8 costs there is not measured."
    return [told] if missing and labelled else []


def _is_labelled(folder: Path) -> bool:
    try:
        detect(folder)
    except BadInput:
        return False
    return True


def kept_beside(out: Path) -> Path:
    """The folder of what a search keeps."""
    return out.with_name(f"{out.name}.search")


def _scored(report: QuantizeReport, artifact: Artifact, judge: Judge) -> QuantizeReport:
    """The report with the loss on the half that had no part in the choice."""
    if not judge.choosing.boxes:
        return report
    matches = judge.matches(judge.fp32.path.read_bytes(), "fp32")
    yardstick = Yardstick.of(matches, judge.choosing.names, judge.choosing.groups)
    loss = yardstick.loss(judge.matches(artifact.path.read_bytes(), "int8"))
    return report.model_copy(update={"scored": loss, "scored_frames": len(judge.choosing.frames)})


def _timed(report: QuantizeReport, files: Sequence[Artifact], audit: AuditFrames) -> QuantizeReport:
    """The report with the latency of FP32 and of the file, in turns on real frames, model alone, one thread."""
    pictures = [read_image(frame.frame.image) for frame in audit.frames[:PICTURES]]
    lanes = [
        Lane(file, Detector(file, open_runtime(file.path, name), statistics="never"))
        for file in files
        for name in installed(CPU_RUNTIMES)
    ]
    for lane in bar(lanes * (TIMED // BLOCK), "latency", len(lanes) * (TIMED // BLOCK)):
        lane.run(pictures, 1, BLOCK)
    times: dict[str, dict[str, float]] = {}
    for lane in lanes:
        p50 = latency([time.inference for time in lane.times]).p50
        times.setdefault(lane.artifact.id, {})[lane.detector.runtime.name] = p50
    rows = tuple(row.model_copy(update={"p50_ms": times.get(row.artifact_id, {})}) for row in report.rows)
    return report.model_copy(update={"rows": rows, "reference_p50_ms": times[report.reference_id]})
