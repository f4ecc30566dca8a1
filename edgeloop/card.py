"""Cards say what to train and what the gate asks; device profiles say what the device allows. Both are YAML, typed."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field, model_validator

from edgeloop.artifact import Head, InputKind, Precision
from edgeloop.class_weights import Scheme
from edgeloop.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from edgeloop.edge.runtime import RuntimeName
from edgeloop.errors import BadInput
from edgeloop.record import R, Record


class PruneCard(Record):
    """Structured pruning of a trained detector, and the training that repairs it.

    Attributes:
        ratio: share of the channels that every prunable group loses; computation falls by about 1 - (1 - ratio)^2.
        round_to: channels are left in multiples of so many, which suits vector units; narrow layers lose more for it.
        epochs: passes over the training side afterwards.
        learning_rate: of them.
    """

    ratio: float = Field(default=0.15, gt=0, lt=1)
    round_to: int = Field(default=4, ge=1)
    epochs: int = Field(default=10, ge=1)
    learning_rate: float = Field(default=0.001, gt=0)


class QatCard(Record):
    """Quantization-aware training: fine-tuning with INT8 simulated in it.

    Attributes:
        when: "needed" where post-training quantization cannot keep the limits; "always" to ask for it anyhow.
        epochs: passes over the training side.
        learning_rate: of them.
    """

    when: Literal["needed", "always"] = "needed"
    epochs: int = Field(default=4, ge=1)
    learning_rate: float = Field(default=0.001, gt=0)


class QuantizeCard(Record):
    """How INT8 is made: symmetric QDQ, per-channel weights, only Conv, the head's output convolutions in float.

    Attributes:
        calibration: how far an activation's range reaches: its largest magnitude, a percentile of them, or TensorRT's
            entropy; "nncf" leaves ranges and biases to NNCF; "auto" lets the search compare them all.
        percentile: for "percentile"; 99.999 lost less than 99.99 on the three sets of docs/quantization.md.
        frames: calibration frames, from the training side.
        float_head: leave the head's output convolutions and the DFL in float.
        search: float the fewest further layers that keep the limits, on the validation side. Without it the recipe is
            what this card says, and nothing is measured.
        limit: relative mAP50-95 that INT8 may lose on the frames of the search.
        class_limit: AP50-95 that a class may lose on them, absolute, 0..1.
        minimum_class_truths: a class with fewer boxes on them is told, not judged.
        judge_loss_by: "bound" asks that the whole 95 % interval of the loss keeps the limit, so that no recipe is taken
            because few frames happened to like it; "estimate" asks it of the measured loss.
        maximum_float: share of the convolutions that may stay float, the head's among them.
        budget_seconds: after so long the search ends with the best found; None lets it finish.
        qat: train with INT8 simulated where the search cannot keep the limits; None leaves it at the nearest file.
    """

    calibration: Literal["auto", "minmax", "percentile", "entropy", "nncf"] = "percentile"
    percentile: float = Field(default=99.999, gt=50, le=100)
    frames: int = Field(default=200, ge=8)
    float_head: bool = True
    search: bool = False
    limit: float = Field(default=0.02, ge=0)
    class_limit: float = Field(default=0.05, ge=0)
    minimum_class_truths: int = Field(default=20, ge=1)
    judge_loss_by: Literal["estimate", "bound"] = "estimate"
    maximum_float: float = Field(default=0.15, ge=0, le=1)
    budget_seconds: float | None = Field(default=None, gt=0)
    qat: QatCard | None = None

    @model_validator(mode="after")
    def _what_needs_a_search(self) -> QuantizeCard:
        if self.calibration == "auto" and not self.search:
            raise ValueError("expected search: true with calibration: auto, or one of the calibrations")
        if self.qat is not None and not self.search:
            raise ValueError("expected search: true with qat: it begins with the file that the search found")
        return self


Objective = Literal["f-beta", "recall", "cost", "risk"]


class ClassTarget(Record):
    """What one class asks for in place of the card's; None leaves a key as it is. See `ThresholdCard`."""

    objective: Objective | None = None
    beta: float | None = Field(default=None, gt=0)
    minimum_recall: float | None = Field(default=None, gt=0, le=1)
    cost_false: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    cost_miss: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    maximum_risk: float | None = Field(default=None, gt=0, lt=1)


LEAST_PRODUCTION = 100  # frames; from fewer nothing is estimated


class ProductionCard(Record):
    """Unlabelled production frames that say how often each class occurs there today (`edgeloop.prior_shift`).

    Attributes:
        frames: so many, drawn at random; fewer where there are fewer, none below 100.
        days: how far back they reach from the newest.
    """

    frames: int = Field(default=500, ge=LEAST_PRODUCTION)
    days: float = Field(default=7.0, gt=0, le=3650)

    @property
    def reach(self) -> timedelta:
        """`days` as a duration."""
        return timedelta(days=self.days)


class ThresholdCard(Record):
    """What the per-class thresholds are tuned for, on audit frames at production prevalence.

    Attributes:
        objective: "f-beta" is maximised; "cost" is least; "recall" is the highest threshold that finds so much;
            "risk" the highest one with a guarantee that the expected miss rate is at most `maximum_risk` (conformal
            risk control, `edgeloop.objectives`).
        beta: recall weighs beta times as much as precision.
        minimum_recall: share of the labelled boxes.
        cost_false, cost_miss: of a false positive and of a missed box, in any unit.
        maximum_risk: mean share of the boxes of a group of frames that is missed, over groups that hold the class.
        minimum_truths: a class with fewer labelled boxes takes the global threshold.
        shrink: weight of the global threshold, in labelled boxes (a pseudo-count). A threshold that keeps a recall or a
            risk is only ever lowered by it.
        production: frames of the store that correct the tuning for what has become rarer or more frequent since the
            audit frames were drawn; None takes the audit frames' own prevalence.
        classes: what single classes ask for instead, by name.
    """

    objective: Objective = "f-beta"
    beta: float = Field(default=1.0, gt=0)
    minimum_recall: float = Field(default=0.95, gt=0, le=1)
    cost_false: float = Field(default=1.0, ge=0, allow_inf_nan=False)
    cost_miss: float = Field(default=5.0, ge=0, allow_inf_nan=False)
    maximum_risk: float = Field(default=0.1, gt=0, lt=1)
    minimum_truths: int = Field(default=5, ge=1)
    shrink: float = Field(default=20.0, ge=0)
    production: ProductionCard | None = None
    classes: dict[str, ClassTarget] = Field(default_factory=dict)

    def of_class(self, name: str) -> ThresholdCard:
        """The card as it holds for one class."""
        asked = self.classes.get(name, ClassTarget()).model_dump(exclude_none=True)
        return self.model_copy(update={**asked, "classes": {}})


class RobustnessSettings(Record):
    """Which part of the robustness suite is run (`edgeloop.robustness`).

    Attributes:
        corruptions, severities: all when not given.
        frames: at most so many, drawn by a hash of their ids; None takes all.
        seed: of everything that is random in the pictures.
    """

    corruptions: tuple[Corruption, ...] = Field(default=CORRUPTIONS, min_length=1)
    severities: tuple[Annotated[int, Field(ge=SEVERITIES[0], le=SEVERITIES[-1])], ...] = Field(
        default=SEVERITIES, min_length=1
    )
    frames: int | None = Field(default=None, ge=1)
    seed: int = Field(default=0, ge=0)


class EvaluationCard(Record):
    """What an evaluation states beyond average precision.

    Attributes:
        critical: classes whose misses cost most; their common miss rate is stated.
        resamples: of the frames, for the intervals; 0 for none.
        confidence: of the intervals.
        robustness: in the loop, what the shipped file keeps under corrupted pictures: a pass over the frames for each
            corruption and severity; None leaves it out. `{}` is the whole suite, 50 passes.
    """

    critical: tuple[str, ...] = ()
    resamples: int = Field(default=200, ge=0)
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    robustness: RobustnessSettings | None = None


class GateCard(Record):
    """What an artifact must show before it may be promoted. Fractions are relative, points are absolute mAP x 100."""

    minimum_map50: float = Field(default=0.0, ge=0, le=1)
    maximum_int8_loss: float = Field(default=0.02, ge=0)  # relative mAP50-95, INT8 against its own FP32
    maximum_drop: float = Field(default=0.02, ge=0)  # mAP50 the challenger may lose on any audit set, absolute
    maximum_class_drop: float = Field(default=0.05, ge=0)  # AP50 a class may lose, absolute
    minimum_class_truths: int = Field(default=10, ge=1)  # classes with fewer audit boxes are reported, not judged
    confidence: float = Field(default=0.95, gt=0.5, lt=1)
    judge_loss_by: Literal["estimate", "bound"] = "estimate"  # "bound": the interval's bad end must keep the limit


class Card(Record):
    """A candidate to train.

    Attributes:
        name: unique; used in MLflow and in file names.
        architecture: an Ultralytics model YAML, a path relative to the card or a name Ultralytics knows.
        start: checkpoint to fine-tune from, relative to the card; None trains from scratch. A `.pt` is a pickle and
            runs code when loaded: name only files you trust.
        imgsz: input side in pixels, a multiple of 32.
        epochs: passes over the training side.
        challenger_epochs: the same when training continues from the champion.
        minimum_images: a set so small that its epochs show fewer images than this is trained for more epochs.
        repeat_threshold: classes on a smaller share of the training frames than this are shown more often
            (`edgeloop.repeat_factor`); None shows every frame once.
        class_weights: what each class weighs in the classification loss (`edgeloop.class_weights`): a scheme, or
            weights by name.
        prune: remove channels after training, and train on; None keeps the architecture. A challenger that continues
            from a pruned champion keeps its shape.
        training_device: where to train, Ultralytics' own setting: "cpu", "0", "0,1", "mps".
        head: what is exported; "end-to-end" needs an architecture with a one-to-one head (YOLO26, YOLOv10).
        input: what the exported file takes; "uint8-nhwc" has colour order, scale and layout in the graph.
        open_batch: leave the number of images in a call open, for streams; 1 when false.
    """

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    architecture: str
    start: Path | None = None
    imgsz: int = Field(default=192, ge=32, multiple_of=32)
    epochs: int = Field(default=10, ge=1)
    challenger_epochs: int | None = Field(default=None, ge=1)
    minimum_images: int = Field(default=0, ge=0)
    repeat_threshold: float | None = Field(default=None, gt=0, le=1)
    class_weights: Scheme | dict[str, Annotated[float, Field(gt=0)]] = "none"
    batch: int = Field(default=16, ge=1)
    learning_rate: float = Field(default=0.002, gt=0)
    optimizer: Literal["auto", "SGD", "AdamW"] = "AdamW"
    seed: int = 0
    training_device: str = "cpu"
    head: Head = "anchor-free"
    input: InputKind = "float32-nchw"
    open_batch: bool = False
    augment: dict[str, float] = Field(default_factory=dict)  # Ultralytics' augmentation arguments
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    prune: PruneCard | None = None
    quantize: QuantizeCard = QuantizeCard()
    thresholds: ThresholdCard = ThresholdCard()
    evaluation: EvaluationCard = EvaluationCard()
    gate: GateCard = GateCard()

    @model_validator(mode="after")
    def _hooks_need_one_device(self) -> Card:
        """Ultralytics trains on several devices in processes of its own, which know nothing of our hooks."""
        hooked = self.class_weights != "none" or self.prune is not None or self.quantize.qat is not None
        if "," in self.training_device and hooked:
            raise ValueError("expected one training_device with class_weights, prune or quantize.qat")
        return self

    def epochs_for(self, frames: int, *, challenger: bool = False) -> int:
        """How many passes over a training side of `frames` frames."""
        asked = (self.challenger_epochs if challenger else None) or self.epochs
        return max(asked, -(-self.minimum_images // max(frames, 1)))


class DeviceProfile(Record):
    """What a device allows. The benchmark measures against it, the gate asks for it.

    Attributes:
        name: file name of the profile.
        runtimes: what may run there, in the order they are tried.
        threads: CPU threads the runtime may use.
        maximum_p99_ms: end to end, decoded image to final boxes, batch 1.
        maximum_memory_mb: resident set of the process that runs the artifact.
        maximum_size_mb: of the artifact file.
        minimum_fps: sustained frames per second; None where the p99 limit says it all.
        power_mode: nvpmodel mode for a Jetson; None where there is none.
        verified: whether a benchmark of this project has run on such a device.
    """

    name: str
    runtimes: tuple[RuntimeName, ...] = ("openvino", "onnxruntime")
    threads: int = Field(default=1, ge=1)
    maximum_p99_ms: float = Field(default=33.3, gt=0)
    maximum_memory_mb: float = Field(default=1024.0, gt=0)
    maximum_size_mb: float = Field(default=64.0, gt=0)
    minimum_fps: float | None = Field(default=None, gt=0)
    timed_frames: int = Field(default=662, ge=100)  # a p99 claim at 99 % confidence with one outlier needs 662 (MLPerf)
    power_mode: str | None = None
    verified: bool = False


def load_yaml(kind: type[R], path: Path) -> R:
    """Read a record from YAML.

    Raises:
        BadInput: missing file, broken YAML, unknown keys or values that do not fit.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist; expected a {kind.__name__} in YAML.") from error
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); expected a {kind.__name__} in YAML.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return kind.from_document(document, str(path))


def load_card(path: Path) -> Card:
    """Read a card; paths in it that exist relative to the card become absolute.

    A card may lie under the very name of its architecture: another card beside it is none.

    Raises:
        BadInput: the card does not fit, or the checkpoint it starts from is missing.
    """
    card = load_yaml(Card, path)
    beside = path.parent / card.architecture
    changes: dict[str, object] = (
        {"architecture": str(beside.resolve())} if beside.is_file() and not _is_card(beside) else {}
    )
    if card.start is not None:
        start = card.start if card.start.is_absolute() else path.parent / card.start
        if not start.is_file():
            raise BadInput(
                f"{path}: the checkpoint to start from, {start}, does not exist. Put it there, name another in "
                f"`start:`, or remove the line to train from scratch."
            )
        changes["start"] = start.resolve()
    return card.model_copy(update=changes)


def _is_card(path: Path) -> bool:
    """Whether a YAML file is a card, which names an architecture, where a model YAML describes one."""
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    return isinstance(document, dict) and "architecture" in document


def quantize_settings(card: Path | None, asked: Mapping[str, object]) -> QuantizeCard:
    """How a user's own model is quantized: always with a search, by a card's `quantize:` where one is named.

    Args:
        card: a card; without one every calibration is compared.
        asked: in place of the card's; None leaves a key as it is.

    Raises:
        BadInput: the card does not fit, or a value.
    """
    begin = load_yaml(Card, card).quantize.model_dump() if card else {"calibration": "auto"}
    changes = {key: value for key, value in asked.items() if value is not None}
    return QuantizeCard.from_document({**begin, **changes, "search": True}, "the options")


def load_profile(path: Path) -> DeviceProfile:
    """Read a device profile.

    Raises:
        BadInput: the file is missing, or does not fit.
    """
    return load_yaml(DeviceProfile, path)
