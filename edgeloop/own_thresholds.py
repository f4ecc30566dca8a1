"""What `edgeloop thresholds` does: a user's own ONNX tuned on one part of a user's own set, and judged on another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeloop.artifact import Artifact, sidecar_of
from edgeloop.audit import AuditFrames
from edgeloop.card import Card, DeviceProfile, Objective, ThresholdCard, load_yaml
from edgeloop.edge.runtime import Runtime, installed
from edgeloop.errors import BadInput
from edgeloop.evaluation import match_audit, open_for, predict, scored_names
from edgeloop.foreign import open_detector
from edgeloop.measures import ThresholdReport
from edgeloop.output import say
from edgeloop.own_evaluation import open_side
from edgeloop.prior_shift import estimate_shift
from edgeloop.production import read_production
from edgeloop.ranking import Labelled
from edgeloop.threshold_report import report_thresholds

# Which objective an option belongs to.
OBJECTIVE_OF: dict[str, Objective] = {
    "beta": "f-beta", "minimum_recall": "recall", "cost_false": "cost", "cost_miss": "cost", "maximum_risk": "risk",
}  # fmt: skip


@dataclass(frozen=True)
class Sides:
    """What is tuned on, and what had no part in it; None where nothing is held out."""

    tuning: AuditFrames
    held_out: AuditFrames | None

    @classmethod
    def halves(cls, audit: AuditFrames) -> Sides:
        """The two halves of a set; groups of frames stay together. A set of which one half has no label stays whole."""
        tuning, judging = audit.half("tune"), audit.half("score")
        return cls(tuning, judging) if tuning.boxes and judging.boxes else cls(audit, None)

    @classmethod
    def of(cls, data: Path, side: str, weights: Path | None, held_out: str) -> tuple[Sides, str]:
        """The sides of a set that the command line names, and which was taken to tune on.

        Args:
            data, side, weights: see `open_side`.
            held_out: "half" holds out half of that side; else another side, which is held out whole.

        Raises:
            BadInput: see `open_side`; or both are the same.
        """
        audit, taken = open_side(data, side, weights)
        if held_out == "half":
            return cls.halves(audit), taken
        judging, judged = open_side(data, held_out, weights)
        if set(judging.ids) & set(audit.ids):
            raise BadInput(
                f"expected a side to hold out other than the one that is tuned on, {taken}; came {judged}. "
                f"Name another with --held-out, or half."
            )
        return cls(audit, judging), taken


@dataclass(frozen=True)
class OwnThresholds:
    """What was tuned, and the frames it was tuned and judged on.

    Attributes:
        report: thresholds, what they rest on, and the comparison.
        labelled: what was tuned on.
        held_out: what nothing was tuned on; None where the set is too small to hold some of it out.
    """

    report: ThresholdReport
    labelled: Labelled
    held_out: Labelled | None


def tune_own(
    model: Path, sides: Sides, runtime: DeviceProfile, card: ThresholdCard, production: str | None = None
) -> OwnThresholds:
    """Tune on one part of a set and judge on the other.

    Args:
        model: an ONNX detector, with edgeloop's record beside it or without.
        sides: labelled frames; their weights count.
        runtime: says which runtimes and how many threads.
        card: what the thresholds are for.
        production: unlabelled frames of today, or what the model said on them (`edgeloop.production`); estimates what
            has become rarer or more frequent since.

    Raises:
        BadInput: no detector, no class in common, a broken image, nothing in `production`, or a class of the card that
            the detector does not know.
    """
    artifact = open_detector(model, sides.tuning.names, reduced=True)
    profile = runtime.model_copy(update={"runtimes": installed(runtime.runtimes)})
    names = tuple(dict.fromkeys((*artifact.names, *scored_names(artifact, sides.tuning))))
    engine = open_for(artifact, profile)
    try:
        labelled = _seen(artifact, sides.tuning, engine, names)
        held_out = _seen(artifact, sides.held_out, engine, names) if sides.held_out else None
        now = read_production(production, artifact, engine) if production else None
    finally:
        engine.close()
    if now is not None:
        shift = estimate_shift(labelled, now)
        labelled, held_out = replace(labelled, shift=shift), held_out and replace(held_out, shift=shift)
    return OwnThresholds(report_thresholds(artifact, labelled, card, held_out), labelled, held_out)


def _seen(artifact: Artifact, frames: AuditFrames, engine: Runtime, names: tuple[str, ...]) -> Labelled:
    matches = match_audit(artifact, frames, predict(artifact, frames, engine), names)
    return Labelled(matches, frames.groups, [frames.digest], frames.weights)


def save_thresholds(report: ThresholdReport, folder: Path) -> tuple[Path, Path]:
    """Write the model's record with the thresholds, and the report; returns their paths."""
    record = sidecar_of(folder / report.tuned.path.name)
    told = report.save(record.with_name(f"{report.tuned.path.name}.thresholds.json"))
    return report.tuned.save(record), told


def threshold_settings(card: Path | None, asked: Mapping[str, Sequence[str]]) -> ThresholdCard:
    """A card's `thresholds:`, or the defaults, with what the command line asks in place of it.

    Costs that choose no threshold still count in the comparison, and stderr says so.

    Args:
        card: a card in YAML.
        asked: by key of `ThresholdCard`: VALUE for all classes, CLASS=VALUE for one.

    Raises:
        BadInput: the card does not fit, or a value, or an option is of an objective that no class has.
    """
    begin: dict[str, Any] = load_yaml(Card, card).thresholds.model_dump() if card else {"classes": {}}
    for key, values in asked.items():
        for text in values:
            name, equals, value = text.rpartition("=")
            target = begin["classes"].setdefault(name, {}) if equals else begin
            target[key] = value
    settings = ThresholdCard.from_document(begin, "the options")
    for key, values in asked.items():
        for name in dict.fromkeys(text.rpartition("=")[0] for text in values):
            _tell_unused(settings, key, name)
    return settings


def _tell_unused(card: ThresholdCard, key: str, name: str) -> None:
    """Say that an option, of one class or of all (""), chooses no threshold; refuse it where it does nothing at all."""
    objective = OBJECTIVE_OF.get(key)
    cards = [card.of_class(name)] if name else [card, *map(card.of_class, card.classes)]
    if objective is None or objective in {one.objective for one in cards}:
        return
    option, who = f"--{key.replace('_', '-')}", name or "no class"
    why = f"it belongs to the objective {objective}, which {who} {'has not' if name else 'has'}"
    add = f"--objective {name}={objective}" if name else f"--objective {objective}"
    if objective == "cost":
        say(f"warning: {option} chooses no threshold: {why} ({add}). It counts in the comparison alone.")
    else:
        raise BadInput(f"{option} has no effect: {why}. Add {add}, or leave it out.")
