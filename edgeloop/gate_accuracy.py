"""The gate's questions about accuracy. Each answers with a row; docs/gate.md says why the rules are what they are."""

from __future__ import annotations

from collections.abc import Sequence

from edgeloop.artifact import Artifact
from edgeloop.audit import Scored, pooled_weights
from edgeloop.bootstrap import (
    average_precision,
    effective_counts,
    interval,
    percentile_interval,
    relative_loss,
    with_plain,
)
from edgeloop.card import GateCard
from edgeloop.evidence import Evidence, class_names, draws_of, paired, pool
from edgeloop.measures import GateRow, Interval

UNMEASURED = "not measured"


def frozen_sets(challenger: Evidence, champion: Evidence | None, scored: Sequence[Scored]) -> GateRow:
    """Was everything measured on the same frozen audit sets?"""
    sides = [(challenger, "challenger"), *([(champion, "champion")] if champion else [])]
    wrong = [
        problem
        for evidence, who in sides
        for artifact in _files(evidence)
        for one in scored
        if (problem := _mismatch(evidence, artifact, one, who))
    ]
    if not scored:
        wrong = ["there is no audit set with labels to judge by"]
    return GateRow(
        check="same frozen audit sets",
        value=", ".join(f"{one.name} {one.digest[:8]}{' weighted' if one.weights else ''}" for one in scored) or "none",
        limit="equal digests",
        passed=not wrong,
        reason=_sentence("; ".join(wrong) or "every file was scored on the same frames, labels and weights"),
    )


def _files(evidence: Evidence) -> list[Artifact]:
    candidate = evidence.candidate
    return list({one.id: one for one in (candidate.shipped, candidate.reference)}.values())


def _mismatch(evidence: Evidence, artifact: Artifact, scored: Scored, who: str) -> str | None:
    report = evidence.candidate.report_on(artifact.id, scored.name)
    name = f"the {who}'s {artifact.precision} file {artifact.id}"
    if report is None:
        return f"{name} was not measured on {scored.name}"
    if report.audit_digest != scored.digest:
        return f"{name} was measured on {scored.name} {report.audit_digest[:8]}, which is another content"
    return None


def tuned_thresholds(challenger: Evidence) -> GateRow:
    """Do the thresholds rest on audit labels of this very file?"""
    report, shipped = challenger.candidate.thresholds, challenger.candidate.shipped
    if report is None:
        wrong = "the thresholds were never tuned"
    elif report.warning is not None:
        wrong = report.warning
    elif (report.tuned.id, report.tuned.thresholds) != (shipped.id, shipped.thresholds):
        wrong = "the shipped thresholds are not those that were tuned on this file"
    else:
        wrong = ""
    return GateRow(
        check="thresholds tuned on audit labels",
        value=f"{report.truths} boxes on {report.frames} frames" if report else "none",
        limit="tuned on this file",
        passed=not wrong,
        reason=_sentence(wrong or "each class has a threshold from frames that the gate does not score"),
    )


def minimum_accuracy(challenger: Evidence, scored: Sequence[Scored], card: GateCard) -> GateRow:
    """Is it accurate enough at all?"""
    check, limit = "mAP50 on all audit frames", f"at least {card.minimum_map50:.3f}"
    pooled = pool(challenger.shipped, scored)
    if pooled is None:
        return _unmeasured(check, limit)
    found = interval(pooled, "map50", draws_of(scored), card.confidence, pooled_weights(scored))
    passed = found.value >= card.minimum_map50
    reason = f"it finds {'enough' if passed else 'too little'} for the card's minimum"
    return GateRow(check=check, value=_points(found), limit=limit, passed=passed, reason=_sentence(reason))


def quantization_loss(challenger: Evidence, scored: Sequence[Scored], card: GateCard) -> GateRow:
    """What did the shipped precision cost against its own FP32 file?"""
    check, limit = "mAP50-95 lost to quantization", f"at most {card.maximum_int8_loss:.1%} of FP32"
    shipped, reference = challenger.candidate.shipped, challenger.candidate.reference
    if shipped.id == reference.id:
        return GateRow(check=check, value="0", limit=limit, passed=True, reason="The shipped file is the FP32 file.")
    ours, theirs = pool(challenger.shipped, scored), pool(challenger.reference, scored)
    if ours is None or theirs is None:
        return _unmeasured(check, limit)
    loss = paired(ours, theirs, "map50_95", scored, relative_loss, card.confidence)
    judged = loss.high if card.judge_loss_by == "bound" else loss.value
    passed = judged <= card.maximum_int8_loss
    value = f"{loss.value:+.1%} [{loss.low:+.1%}, {loss.high:+.1%}]"
    reason = f"{shipped.precision.upper()} {'keeps' if passed else 'loses more of'} the accuracy of its FP32 file"
    return GateRow(check=check, value=value, limit=limit, passed=passed, reason=_sentence(reason + _by(card)))


def set_drop(challenger: Evidence, champion: Evidence, scored: Scored, card: GateCard) -> GateRow:
    """Does it lose against the champion on one audit set?"""
    check, limit = (
        f"mAP50 against the champion on {scored.name}",
        f"a drop of at most {card.maximum_drop * 100:.1f} points",
    )
    ours, theirs = challenger.shipped.get(scored.name), champion.shipped.get(scored.name)
    if ours is None or theirs is None:
        return _unmeasured(check, limit)
    gain = paired(ours, theirs, "map50", [scored], confidence=card.confidence)
    judged = gain.low if card.judge_loss_by == "bound" else gain.value
    passed = judged >= -card.maximum_drop
    resolution = (gain.high - gain.low) / 2
    reason = f"it {'does not lose' if passed else 'loses'} more than allowed{_by(card)}"
    if resolution > card.maximum_drop:
        reason += f"; {len(scored.groups)} frames tell differences apart only to about {resolution * 100:.1f} points"
    return GateRow(check=check, value=_gain(gain), limit=limit, passed=passed, reason=_sentence(reason))


def pooled_gain(challenger: Evidence, champion: Evidence, scored: Sequence[Scored], card: GateCard) -> GateRow:
    """Is it better than the champion, beyond chance, on all production frames together?"""
    check, limit = "mAP50 gained over the champion, all audit frames", f"{card.confidence:.0%} interval above 0"
    ours, theirs = pool(challenger.shipped, scored), pool(champion.shipped, scored)
    if ours is None or theirs is None:
        return _unmeasured(check, limit)
    gain = paired(ours, theirs, "map50", scored, confidence=card.confidence)
    passed = gain.low > 0
    if challenger.candidate.shipped.id == champion.candidate.shipped.id:
        reason = "it is the champion's own file"
    else:
        reason = "the gain is more than chance" if passed else "the gain may be chance, so the champion stays"
    return GateRow(check=check, value=_gain(gain), limit=limit, passed=passed, reason=_sentence(reason))


def class_drop(challenger: Evidence, champion: Evidence, scored: Sequence[Scored], card: GateCard) -> GateRow:
    """Does any class with enough labels lose more than allowed, beyond chance?"""
    check, limit = (
        "AP50 of each class against the champion",
        f"a drop of at most {card.maximum_class_drop * 100:.1f} points",
    )
    gains = class_gains(challenger, champion, scored, card)
    if gains is None:
        return _unmeasured(check, limit)
    if not gains:
        reason = f"no class has {card.minimum_class_truths} labelled boxes to be judged by"
        return GateRow(check=check, value="no class judged", limit=limit, passed=True, reason=_sentence(reason))
    lost = {name: gain for name, gain in gains.items() if gain.value < -card.maximum_class_drop and gain.high < 0}
    worst = min(lost or gains, key=lambda name: gains[name].value)
    reason = f"lost beyond chance: {', '.join(lost)}" if lost else "no class loses more than allowed beyond chance"
    value = f"{worst} {_gain(gains[worst])}"
    return GateRow(check=check, value=value, limit=limit, passed=not lost, reason=_sentence(reason))


def class_gains(
    challenger: Evidence, champion: Evidence, scored: Sequence[Scored], card: GateCard
) -> dict[str, Interval] | None:
    """AP50 gained by each class that has enough labels, with its interval; None where a set was not measured."""
    ours, theirs = pool(challenger.shipped, scored), pool(champion.shipped, scored)
    if ours is None or theirs is None:
        return None
    weights = with_plain(draws_of(scored), pooled_weights(scored))
    gains = (average_precision(ours, weights) - average_precision(theirs, weights))[:, :, 0]
    counts = effective_counts(ours.truths, weights[0])
    return {
        name: percentile_interval(gains[:, index], card.confidence)
        for index, name in enumerate(class_names(scored))
        if counts[index] >= card.minimum_class_truths
    }


def _unmeasured(check: str, limit: str) -> GateRow:
    reason = "Nothing is promoted that was not measured on every audit set."
    return GateRow(check=check, value=UNMEASURED, limit=limit, passed=False, reason=reason)


def _by(card: GateCard) -> str:
    return ", judged by the bad end of the interval" if card.judge_loss_by == "bound" else ""


def _points(found: Interval) -> str:
    return f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"


def _gain(gain: Interval) -> str:
    return f"{gain.value * 100:+.1f} points [{gain.low * 100:+.1f}, {gain.high * 100:+.1f}]"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."
