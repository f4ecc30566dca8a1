"""What was measured: evaluation, robustness, benchmark and gate records. Each names the artifact it was measured on."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from edgeloop.artifact import Artifact, Precision
from edgeloop.card import Objective, RobustnessSettings, ThresholdCard
from edgeloop.corruptions import Corruption
from edgeloop.record import Record


class Interval(Record):
    """A measured value and the two-sided interval of a bootstrap over frames around it."""

    value: float
    low: float
    high: float
    confidence: float


class ClassScore(Record):
    """One class on one audit set. Rates at the artifact's own threshold; None where there is no truth to judge by."""

    name: str
    truths: int
    ap50: float | None
    ap50_95: float | None
    threshold: float
    precision: float | None
    recall: float | None
    false_positives_per_1000_frames: float | None = None
    calibration_error: float | None = None  # D-ECE
    intervals: dict[str, Interval] = Field(default_factory=dict)  # by name of the field


class Part(Record):
    """A part of an audit set: one camera's frames, or the objects of one size on all frames.

    Rates at the artifact's thresholds; None where the part has nothing to measure by. For a size, what found an object
    of another size counts neither way, and a false positive has the size of its own box.
    """

    kind: Literal["camera", "pixels", "share"]  # sizes by COCO's pixels, or by the share of the frame
    name: str
    frames: int
    truths: int
    map50: Interval | None
    map50_95: Interval | None
    recall: Interval | None
    false_positives_per_1000_frames: Interval | None


class ReliabilityBin(Record):
    """The detections whose confidence lies in one bin: what they claim, and how often they are right."""

    low: float
    high: float
    detections: int
    confidence: float
    precision: float


class ConditionalCalibration(Record):
    """D-ECE over bins of confidence and of where the box lies or how large it is.

    Only bins with enough detections count; `covered` is the share of the detections that lie in them.
    """

    given: Literal["position", "size", "position and size"]
    error: float
    by_chance: float
    covered: float


class Calibration(Record):
    """Does a confidence mean what it says? Detection expected calibration error, at IoU 0.5.

    Attributes:
        error: the mean distance between confidence and precision, over bins of confidence, by detections.
        by_chance: what a perfectly calibrated detector of these confidences would show on so few detections.
        floor: confidences below it are left out.
        bins: the reliability diagram; bins without a detection are left out.
        conditional: the same with the box's position and size.
    """

    error: Interval
    by_chance: float
    floor: float
    detections: int
    bins: tuple[ReliabilityBin, ...]
    conditional: tuple[ConditionalCalibration, ...] = ()


class EvaluationReport(Record):
    """Accuracy of one artifact file on one frozen set, through the runtime that ships it. AP as in COCO, 0..1.

    Where frames carry weights, every number is weighted by what its frames stand for in production.
    """

    artifact_id: str
    precision: Precision
    audit: str
    runtime: str
    frames: int
    map50: float
    map50_95: float
    classes: tuple[ClassScore, ...]
    false_positives_per_1000_frames: float
    missed_per_1000_frames: float
    predictions: Path  # Parquet: one row a detection down to the evaluation floor
    audit_digest: str = ""  # of the scored frames and their labels; the gate refuses to compare different ones
    intervals: dict[str, Interval] = Field(default_factory=dict)  # by name of the field
    cameras: tuple[Part, ...] = ()  # where there are several
    sizes: tuple[Part, ...] = ()
    critical: tuple[str, ...] = ()  # the card's critical classes
    critical_miss_rate: float | None = None  # of all their labelled boxes, the share that is not shown
    calibration: Calibration | None = None
    effective_frames: float | None = None  # Kish: as many equally weighted frames say as much; None: all weigh the same
    resamples: int = 0  # behind the intervals; whole groups of frames are drawn

    @property
    def unjudged(self) -> tuple[str, ...]:
        """The classes without a labelled box here: they have no score, and no mean counts them as 0."""
        return tuple(one.name for one in self.classes if not one.truths)


class Condition(Record):
    """What one corruption at one severity leaves; rates at the artifact's thresholds."""

    corruption: Corruption
    severity: int
    map50: Interval | None
    map50_95: Interval | None
    recall: Interval | None
    false_positives_per_1000_frames: Interval | None


class CorruptionScore(Record):
    """One corruption over its severities: mean mAP50-95, and its share of the clean one; None where that is 0."""

    corruption: Corruption
    mean: Interval | None
    kept: Interval | None


class RobustnessReport(Record):
    """One artifact file under corrupted pictures of one set, through one runtime."""

    artifact_id: str
    audit: str
    audit_digest: str  # of the frames that were used, clean
    runtime: str
    frames: int
    settings: RobustnessSettings
    clean: Interval | None  # mAP50-95
    mpc: Interval | None
    rpc: Interval | None
    corruptions: tuple[CorruptionScore, ...]
    conditions: tuple[Condition, ...]


class ClassThreshold(Record):
    """The confidence threshold of one class and what it rests on."""

    name: str
    threshold: float
    own: float | None  # the optimum of this class alone; None where nothing was found to tune on
    low: float
    high: float
    truths: int  # labelled boxes on the tuning half
    basis: Literal["own", "shrunk", "global", "default"]
    objective: Objective = "f-beta"
    recall: Interval | None = None  # at the threshold, on the tuning half; None without a label, or where not resampled
    recall_bound: float | None = None  # one-sided 95 % lower bound of it
    everyone: float | None = None  # what the same rule gives for all classes together: where it is drawn toward
    guarantee: str = ""  # what is promised of it; empty where nothing


class OperatingPoint(Record):
    """What a set of thresholds gives over all classes at IoU 0.5."""

    name: str
    on: Literal["tuning", "held-out"] = "tuning"  # frames that the thresholds were tuned on, or that nothing was
    precision: float | None
    recall: float | None
    f_beta: float | None
    false_positives_per_1000_frames: float
    missed_per_1000_frames: float
    cost_per_1000_frames: float | None = None  # by the card's costs
    recalls: dict[str, float | None] = Field(default_factory=dict)  # of each class; None without a label
    false_by_class: dict[str, float] = Field(default_factory=dict)  # false positives per 1,000 frames of each class


class ClassPrior(Record):
    """How much more or less often production shows a class than the labelled frames do (edgeloop.prior_shift).

    Attributes:
        right, wrong: labelled candidates above the device's floor; candidates: production's.
        labelled, production: share of the candidates that are right; None where it was not estimated.
        right_ratio, wrong_ratio: right and wrong candidates a production frame has for each one of a labelled frame.
        note: why it was not estimated.
    """

    name: str
    right: int
    wrong: int
    candidates: int
    labelled: float | None = None
    production: Interval | None = None
    right_ratio: float = 1.0
    wrong_ratio: float = 1.0
    note: str = ""


class ThresholdReport(Record):
    """Thresholds tuned on one artifact's own detections, on audit frames that the gate does not score.

    Attributes:
        tuned: the same file with the tuned thresholds.
        audit_digests: of the tuning halves.
        frames, truths: on them.
        beta: of F-beta.
        global_threshold: the one that is best for all classes together; rare classes are drawn toward it.
        classes: each threshold and what it rests on.
        comparison: tuned, global 0.25 and 0.5, on the tuning frames and, where there are some, on held-out ones.
        warning: set when the thresholds do not rest on labels; the gate refuses them.
        card: what was asked for; None in records of an older edgeloop.
        remarks: what a reader must know of single classes.
        rarest: the class with the fewest labelled boxes.
        saving: share of a global 0.5's cost that the tuned thresholds save, on held-out frames where there are some.
        savings: the same against each global threshold, by its name.
        shifted: by class, how much more frequent it is in production than on the tuning frames; empty: not estimated.
        priors: what that was estimated from.
        effective_frames: so many equally weighted frames would say as much (Kish); None: all weigh the same.
    """

    tuned: Artifact
    audit_digests: tuple[str, ...]
    frames: int
    truths: int
    beta: float
    global_threshold: float
    classes: tuple[ClassThreshold, ...]
    comparison: tuple[OperatingPoint, ...]
    warning: str | None = None
    card: ThresholdCard | None = None
    remarks: tuple[str, ...] = ()
    rarest: str | None = None
    saving: Interval | None = None
    savings: dict[str, Interval] = Field(default_factory=dict)
    shifted: dict[str, float] = Field(default_factory=dict)
    priors: tuple[ClassPrior, ...] = ()
    effective_frames: float | None = None


class Latency(Record):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float
    maximum: float


class BenchmarkReport(Record):
    """Latency of one artifact on one machine, decoded image to final boxes, batch 1 unless said otherwise."""

    artifact_id: str
    precision: Precision
    device: str  # the profile's name
    machine: str  # processor as the machine reports it
    instructions: tuple[str, ...]  # of avx2, avx512f, avx512_vnni, avx_vnni, amx_int8, those the machine has
    runtime: str
    threads: int
    batch: int
    timed_frames: int
    total: Latency
    preprocess: Latency
    inference: Latency
    postprocess: Latency
    frames_per_second: float
    memory_mb: float
    size_mb: float
    throttled: bool | None  # None where the machine cannot tell


class GateRow(Record):
    """One question of the gate."""

    check: str
    value: str
    limit: str
    passed: bool
    reason: str
    judged: bool = True  # False: told for information, cannot fail


class GateDecision(Record):
    """Whether an artifact may be promoted, and why; every row is a measurement, never a stored number."""

    artifact_id: str
    champion_id: str | None
    passed: bool
    rows: tuple[GateRow, ...]
    report: Path | None = None  # HTML
    candidates: Path | None = None  # HTML: challenger and champion side by side, every precision


class Candidate(Record):
    """A trained candidate on its way to the gate: the shipped artifact and its FP32 twin, with what was measured.

    Attributes:
        shipped: what is deployed when the gate passes it.
        reference: FP32, the same file where FP32 ships.
        checkpoint: what both were exported from.
        evaluations, benchmarks: of every precision.
        thresholds: what the shipped file's thresholds rest on.
        others: further precisions of the same checkpoint, which were measured and not chosen.
        robustness: of the shipped file, where its card asks for it.
    """

    shipped: Artifact
    reference: Artifact
    checkpoint: Path
    evaluations: tuple[EvaluationReport, ...]
    benchmarks: tuple[BenchmarkReport, ...]
    thresholds: ThresholdReport | None = None
    others: tuple[Artifact, ...] = ()
    robustness: RobustnessReport | None = None

    @property
    def files(self) -> tuple[Artifact, ...]:
        """Every precision once, FP32 first and the shipped file last."""
        found = {one.id: one for one in (self.reference, *self.others) if one.id != self.shipped.id}
        return (*found.values(), self.shipped)

    def report_on(self, artifact_id: str, audit: str) -> EvaluationReport | None:
        """What was measured of one of the files on an audit set."""
        mine = (one for one in self.evaluations if (one.artifact_id, one.audit) == (artifact_id, audit))
        return next(mine, None)

    def benchmark_on(self, artifact_id: str, device: str) -> BenchmarkReport | None:
        """The single-frame benchmark of a file on a device, in its fastest runtime: what a device with `auto` runs."""
        mine = [one for one in self.benchmarks if (one.artifact_id, one.device, one.batch) == (artifact_id, device, 1)]
        return min(mine, key=lambda one: one.total.p50, default=None)
