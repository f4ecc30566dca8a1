"""What `edgeloop evaluate` does: a user's own ONNX on a user's own labelled set, in the runtime that ships it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, cast, get_args

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.card import DeviceProfile, EvaluationCard, RobustnessSettings
from edgeloop.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from edgeloop.edge.runtime import installed
from edgeloop.errors import BadInput
from edgeloop.evaluation import evaluate
from edgeloop.foreign import open_detector
from edgeloop.formats import read
from edgeloop.formats.findings import printable
from edgeloop.frames import Split
from edgeloop.measures import EvaluationReport, RobustnessReport
from edgeloop.output import say
from edgeloop.prevalence import weighted
from edgeloop.record import Record
from edgeloop.robustness import run_suite

Side = Literal["auto", "train", "val", "test", "audit", "all"]
SIDES: tuple[Side, ...] = get_args(Side)


class OwnEvaluation(Record):
    """What `edgeloop evaluate` found.

    Attributes:
        artifact: the model; its thresholds are those that rates are stated at.
        side: the side of the set that was scored.
        report: accuracy.
        robustness: where it was asked for.
        page: the HTML report, where one was asked for.
    """

    artifact: Artifact
    side: Side
    report: EvaluationReport
    robustness: RobustnessReport | None = None
    page: Path | None = None


def open_side(folder: Path, side: str, weights: Path | None) -> tuple[AuditFrames, Side]:
    """One side of a labelled set, and which one that is.

    Args:
        folder: a labelled set in any layout that `edgeloop.formats` reads.
        side: "auto" takes the audit side, else the test side, else the validation side, else, in a set that names no
            sides, everything.
        weights: a table of what each frame stands for (edgeloop.prevalence).

    Raises:
        BadInput: no such set or side, errors in the set, nothing on the side, or the table does not fit.
    """
    if side not in SIDES:
        raise BadInput(f"expected a side of {', '.join(SIDES)}; came {side!r}.")
    found = read(folder)
    say(*(f"left out: {printable(one.path)}: {one.reason}" for one in found.findings))
    there = {frame.split for frame in found.frames}
    taken = _side(side, there)
    kept = [frame for frame in found.frames if taken == "all" or frame.split == taken]
    if not kept:
        named = ", ".join(sorted(split for split in there if split)) or "none, the set is not divided"
        raise BadInput(f"{printable(folder)} has no frame on the {taken} side; its sides are {named}.")
    frames = tuple(sorted(kept, key=lambda frame: frame.frame.frame_id))
    audit = AuditFrames(re.sub(r"[^\w.-]+", "_", folder.resolve().name), found.names, frames)
    return (weighted(audit, weights) if weights else audit), taken


def _side(asked: Side, there: set[Split | None]) -> Side:
    if asked != "auto":
        return asked
    order: tuple[Split, ...] = ("audit", "test", "val")
    return next((side for side in order if side in there), "all")


def evaluate_own(
    model: Path, audit: AuditFrames, runtime: DeviceProfile, out: Path, card: EvaluationCard
) -> tuple[Artifact, EvaluationReport]:
    """Open the model, with edgeloop's record beside it or without, and score it; the report is saved below `out`.

    Classes without a labelled box are told on stderr: they have no score.

    Raises:
        BadInput: no detector, an installed runtime is missing, no class in common, no labels, or a broken image.
    """
    artifact = open_detector(model, audit.names, reduced=True)
    profile = runtime.model_copy(update={"runtimes": installed(runtime.runtimes)})
    report = evaluate(artifact, audit, profile, out, card)
    report.save(report.predictions.with_suffix(".json"))
    say(*_remarks(report))
    return artifact, report


def _remarks(report: EvaluationReport) -> list[str]:
    """What a reader of the means must know."""
    said = []
    if report.unjudged:
        said.append(
            f"No labelled box here of {', '.join(map(printable, report.unjudged))}: not judged, and no mean counts "
            f"{'it' if len(report.unjudged) == 1 else 'them'} as 0."
        )
    blind = [name for name in report.critical if name in report.unjudged]
    if blind:
        said.append(f"warning: nothing is known about the critical {', '.join(map(printable, blind))}.")
    return said


def robustness_of(
    artifact: Artifact, audit: AuditFrames, out: Path, settings: RobustnessSettings, of: tuple[str, EvaluationCard]
) -> RobustnessReport:
    """Run the suite in the runtime that the evaluation ran in; `of` is its name and the evaluation's card.

    Raises:
        BadInput: see `edgeloop.robustness.robustness`.
    """
    name, card = of
    profile = DeviceProfile.from_document({"name": "here", "runtimes": (name,)}, "the evaluation")
    return run_suite(artifact, audit, profile, out, card.model_copy(update={"robustness": settings}))


def suite_settings(corruptions: Sequence[str], severities: str | None, frames: int | None) -> RobustnessSettings:
    """Which part of the suite the command line asks for.

    Raises:
        BadInput: no such corruption or severity.
    """
    unknown = [name for name in corruptions if name not in CORRUPTIONS]
    if unknown:
        raise BadInput(f"expected corruptions out of {', '.join(CORRUPTIONS)}; came {', '.join(unknown)}.")
    parts = [part.strip() for part in severities.split(",")] if severities else list(map(str, SEVERITIES))
    if not all(part.isdecimal() and int(part) in SEVERITIES for part in parts):
        raise BadInput(f"expected severities such as 1,3,5, each from 1 to {SEVERITIES[-1]}; came {severities!r}.")
    chosen = tuple(dict.fromkeys(cast("Corruption", name) for name in corruptions)) or CORRUPTIONS
    return RobustnessSettings(
        corruptions=chosen, severities=tuple(sorted({int(part) for part in parts})), frames=frames
    )
