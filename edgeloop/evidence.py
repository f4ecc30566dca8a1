"""What the gate judges by: a candidate's reports, and its detections matched with the labels of the frozen sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames, Scored, pooled_weights
from edgeloop.bootstrap import Doubles, Statistic, difference, frame_weights, paired_interval
from edgeloop.boxes import Ints
from edgeloop.evaluation import match_audit
from edgeloop.matching import Matches, join
from edgeloop.measures import Candidate, Interval
from edgeloop.predictions import load_predictions

RESAMPLES = 1000
SEED = 0


@dataclass(frozen=True)
class Evidence:
    """A candidate with the matches of its shipped file and of its FP32 file, by name of the audit set.

    A set on which a file was not measured, or was measured when the set held something else, is absent.
    """

    candidate: Candidate
    shipped: Mapping[str, Matches]
    reference: Mapping[str, Matches]


def collect(candidate: Candidate, audits: Sequence[AuditFrames]) -> Evidence:
    """Match the saved detections of a candidate's two files with the labels of `audits`.

    Raises:
        BadInput: a file of detections is missing or is not what its report says.
    """
    names = class_names([audit.scored for audit in audits])
    both = [match_saved(candidate, artifact, audits, names) for artifact in (candidate.shipped, candidate.reference)]
    return Evidence(candidate, *both)


def match_saved(
    candidate: Candidate, artifact: Artifact, audits: Sequence[AuditFrames], names: Sequence[str]
) -> dict[str, Matches]:
    """The saved detections of one file of a candidate, matched, by name of the set it was measured on as it is now.

    Raises:
        BadInput: a file of detections is missing or is not what its report says.
    """
    measured = {(one.artifact_id, one.audit_digest): one.predictions for one in candidate.evaluations}
    return {
        audit.name: match_audit(artifact, audit, load_predictions(path, artifact.id, audit), names)
        for audit in audits
        if (path := measured.get((artifact.id, audit.digest))) is not None
    }


def class_names(scored: Sequence[Scored]) -> tuple[str, ...]:
    """The classes of all sets, each once."""
    return tuple(dict.fromkeys(name for one in scored for name in one.names))


def pool(matches: Mapping[str, Matches], scored: Sequence[Scored]) -> Matches | None:
    """All sets as one; None where one of them, or all, are missing."""
    if not scored or any(one.name not in matches for one in scored):
        return None
    return join([matches[one.name] for one in scored])


def paired(
    ours: Matches,
    theirs: Matches,
    statistic: Statistic,
    scored: Sequence[Scored],
    compare: Callable[[Doubles, Doubles], Doubles] = difference,
    confidence: float = 0.95,
) -> Interval:
    """Compare two detectors on all of these sets together, on the resamples and with the weights of everybody."""
    drawn, weights = draws_of(scored), pooled_weights(scored)
    return paired_interval(ours, theirs, statistic, compare, drawn, confidence, weights)


def draws_of(scored: Sequence[Scored]) -> Ints:
    """The resamples that every comparison on these sets uses: the same frames for everybody, the same every time."""
    groups = [f"{one.name} {group}" for one in scored for group in one.groups]
    return frame_weights(len(groups), RESAMPLES, SEED, groups)
