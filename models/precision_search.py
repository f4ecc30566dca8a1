"""Accuracy-aware INT8: which calibration, and which few layers must stay float so that the limits are kept.

1. Every calibration method makes a file from the same ranges, and is judged on labelled frames of the choosing side.
2. When none keeps the limits, the one that loses least and the one that moves the detections least (often the same)
   go on. Their convolutions are ranked: how far does quantizing this layer alone move the detections, on a few
   calibration frames.
3. The most sensitive 1, 2, 4, … are given back to float until the limits are kept, then the number is halved down to
   the fewest; see `edgeloop.quantization.layers_to_try`.

What was computed is kept by content, so that a search that was stopped goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from edgeloop.artifact import Artifact
from edgeloop.boxes import Detections
from edgeloop.card import QuantizeCard
from edgeloop.errors import BadInput
from edgeloop.files import write_text
from edgeloop.progress import bar
from edgeloop.qdq import Graph
from edgeloop.quantization import (
    LayerSensitivity,
    Limits,
    QuantizeReport,
    QuantizeRow,
    choose_row,
    layers_to_try,
)
from edgeloop.yardstick import Yardstick
from models.float_layers import give_back, quantized_layers
from models.judge import Judge, moved
from models.onnx_graph import serialise
from models.quantize import Calibration, calibrate, insert_qdq, open_float, write_int8

PERCENTILES = (99.9, 99.99, 99.999, 99.9999)
METHODS = ("minmax", "entropy", "nncf")
REPORT = ".quantize.json"


@dataclass
class Trials:
    """What files of one detector are judged by.

    Attributes:
        judge: runs the files.
        card: limits.
    """

    judge: Judge
    card: QuantizeCard

    @cached_property
    def yardstick(self) -> Yardstick:
        """FP32 on the labelled frames."""
        matches = self.judge.matches(self.judge.fp32.path.read_bytes(), "fp32")
        return Yardstick.of(matches, self.judge.choosing.names, self.judge.choosing.groups)

    @cached_property
    def unquantized(self) -> list[Detections]:
        """FP32 on the few frames."""
        return self.judge.glance(self.judge.fp32.path.read_bytes(), "fp32")

    @property
    def limits(self) -> Limits:
        return Limits(
            loss=self.card.limit,
            class_loss=self.card.class_limit,
            minimum_truths=self.card.minimum_class_truths,
            judge_loss_by=self.card.judge_loss_by,
        )

    def row(self, content: bytes, recipe: str, floated: tuple[str, ...] = ()) -> QuantizeRow:
        """Judge the bytes of one file."""
        graph = Graph(_parsed(content))
        convolutions = sum(node.op_type == "Conv" for node in graph.nodes)
        loss = self.yardstick.loss(self.judge.matches(content, "int8"))
        return QuantizeRow(
            recipe=f"{recipe} + {len(floated)}" if floated else recipe,
            artifact_id=identity_of(content),
            floated=floated,
            float_convolutions=convolutions - len(quantized_layers(graph)),
            convolutions=convolutions,
            moved=moved(self.unquantized, self.judge.glance(content, "int8")),
            loss=loss,
            excess=self.limits.excess(loss),
        )


@dataclass
class Search(Trials):
    """One search.

    Attributes:
        graph: the float32 graph.
        calibration: on the calibration frames.
        deadline: time.monotonic() after which nothing new is begun; None never.
        contents: bytes of the files that were tried, by artifact id.
        sensitivity: of the layers of files that were ranked, by artifact id.
    """

    graph: Graph
    calibration: Calibration
    deadline: float | None = None
    contents: dict[str, bytes] = field(default_factory=dict)
    sensitivity: dict[str, tuple[LayerSensitivity, ...]] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        """Whether the time is used up."""
        return self.deadline is not None and time.monotonic() > self.deadline

    def rows(self) -> Iterator[QuantizeRow]:
        """Every recipe that is tried, as it is tried."""
        methods: list[QuantizeRow] = []
        for card in bar(recipes(self.card), "compare calibrations", len(recipes(self.card))):
            methods.append(self._try(insert_qdq(self.graph, self.calibration, card), describe(card)))
            yield methods[-1]
            if self.over:
                return
        if not any(row.kept for row in methods):
            best = min(methods, key=lambda row: (row.excess, row.moved)), min(methods, key=lambda row: row.moved)
            for base in dict.fromkeys(row.artifact_id for row in best):
                yield from self._float_layers(next(row for row in methods if row.artifact_id == base))

    def _float_layers(self, base: QuantizeRow) -> Iterator[QuantizeRow]:
        quantized = Graph(_parsed(self.contents[base.artifact_id]))
        ranked = self.sensitivity[base.artifact_id] = self._rank(quantized, base.artifact_id)
        allowed = int(self.card.maximum_float * base.convolutions) - base.float_convolutions
        most = min(allowed, len(ranked) - 1)  # a file without any INT8 layer is FP32
        tried = {0: False}
        while not self.over and (count := layers_to_try(tried, max(most, 0))) is not None:
            layers = tuple(one.layer for one in ranked[:count])
            row = self._try(serialise(give_back(quantized, self.graph, layers)), base.recipe, layers)
            tried[count] = row.kept
            yield row

    def ranking_of(self, row: QuantizeRow) -> tuple[LayerSensitivity, ...]:
        """The ranking that a row's layers were taken from; none where no layer was floated."""
        return next((one for one in self.sensitivity.values() if _begins(one, row.floated)), ())

    def _try(self, content: bytes, recipe: str, floated: tuple[str, ...] = ()) -> QuantizeRow:
        self.contents[identity_of(content)] = content
        return self.row(content, recipe, floated)

    def _rank(self, quantized: Graph, identity: str) -> tuple[LayerSensitivity, ...]:
        """The quantized layers, the most sensitive first; those that an earlier search looked at are not run again."""
        layers = quantized_layers(quantized)
        kept = self.judge.kept / f"sensitivity-{identity}-{_digest(self.judge.glanced)}.json"
        known: dict[str, float] = json.loads(kept.read_text(encoding="utf-8")) if kept.is_file() else {}
        for layer in bar(layers, "rank layers", len(layers)):
            if layer not in known and not self.over:
                alone = serialise(give_back(quantized, self.graph, set(layers) - {layer}))
                known[layer] = moved(self.unquantized, self.judge.glance(alone, "int8"))
                write_text(kept, json.dumps(known, indent=1))
        ranked = sorted(known.items(), key=lambda item: (-item[1], layers.index(item[0])))
        return tuple(LayerSensitivity(layer=layer, moved=value) for layer, value in ranked)


def search(judge: Judge, images: Sequence[Path], card: QuantizeCard, out: Path) -> tuple[Artifact, QuantizeReport]:
    """Find the recipe, write its file with its record and the report of the search beside it.

    Args:
        judge: with the float32 artifact, and labelled frames that are neither trained nor calibrated on nor scored.
        images: calibration frames, from the training side only; the first `card.frames` are used.
        card: limits, and what stays float.
        out: the .onnx file to write.

    Returns:
        The file and the report; where the limits cannot be kept the nearest that was found, and the report says so.

    Raises:
        BadInput: as `models.quantize.quantize`; or no labelled box to choose by.
        Refused: the graph does not take this recipe.
    """
    if not judge.choosing.boxes:
        raise BadInput(
            f"{judge.choosing.name} has {len(judge.choosing.frames)} frames and no labelled box; expected some to "
            f"choose the recipe on. Label more frames, or quantize without a search."
        )
    graph = open_float(judge.fp32)
    begin = time.monotonic()
    calibration = calibrate(graph, images[: card.frames], judge.fp32.imgsz, judge.fp32.input)
    run = Search(judge, card, graph, calibration, None if card.budget_seconds is None else begin + card.budget_seconds)
    rows = tuple(run.rows())
    best = choose_row(rows)
    artifact = write_int8(judge.fp32, run.contents[best.artifact_id], card, out)
    report = _report(run, rows, best, len(images[: card.frames]))
    report.save(report_path(out))
    return artifact, report


def report_path(artifact: Path) -> Path:
    """Where the report of the search for a file lies."""
    return artifact.with_name(artifact.name + REPORT)


def recipes(card: QuantizeCard) -> list[QuantizeCard]:
    """The calibrations that are tried: the card's, or for "auto" every method, with the card's own percentile."""
    if card.calibration != "auto":
        return [card]
    percentiles = sorted({*PERCENTILES, card.percentile})
    methods: list[dict[str, object]] = [{"calibration": "percentile", "percentile": value} for value in percentiles]
    methods += [{"calibration": name} for name in METHODS]
    return [card.model_copy(update=changes) for changes in methods]


def describe(card: QuantizeCard) -> str:
    """A calibration in words."""
    words = {"minmax": "min-max", "entropy": "entropy", "nncf": "NNCF"}
    return words.get(card.calibration, f"percentile {card.percentile:g}")


def _report(run: Search, rows: tuple[QuantizeRow, ...], best: QuantizeRow, calibrated: int) -> QuantizeReport:
    return QuantizeReport(
        artifact_id=best.artifact_id,
        reference_id=run.judge.fp32.id,
        reached=best.kept,
        reason=_reason(run, best),
        limits=run.limits,
        choosing=run.judge.choosing.name,
        choosing_digest=run.judge.choosing.digest,
        frames=len(run.judge.choosing.frames),
        calibration_frames=calibrated,
        runtime=run.judge.runtime,
        reference_map50_95=run.yardstick.map50_95,
        rows=rows,
        sensitivity=run.ranking_of(best),
    )


def _reason(run: Search, best: QuantizeRow) -> str:
    found = describe_row(best, run.limits)
    if best.kept:
        return f"{found}; {best.float_convolutions} of {best.convolutions} convolutions are float."
    stopped = "the time was used up" if run.over else f"{100 * run.card.maximum_float:g} % of the layers may be float"
    return f"The limits were not kept ({stopped}); the nearest: {found}."


def describe_row(row: QuantizeRow, limits: Limits) -> str:
    """What a file loses, in words."""
    loss, worst = row.loss, row.loss.worst_class(limits.minimum_truths)
    more = f" with {len(row.floated)} more in float" if row.floated else ""
    found = f"{row.recipe.partition(' + ')[0]}{more} loses {100 * loss.relative.value:.2f} % ({loss.points:.2f} points)"
    if worst is not None:
        found += f", {worst.name} {100 * (worst.loss or 0.0):.1f} points"
    return found


def identity_of(content: bytes) -> str:
    """The id of the artifact that these bytes are."""
    return hashlib.sha256(content).hexdigest()[:12]


def _begins(ranked: Sequence[LayerSensitivity], floated: Sequence[str]) -> bool:
    return bool(floated) and [one.layer for one in ranked[: len(floated)]] == list(floated)


def _parsed(content: bytes) -> object:
    import onnx

    return onnx.load_from_string(content)


def _digest(images: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for image in images:
        digest.update(hashlib.sha256(image.read_bytes()).digest())
    return digest.hexdigest()[:12]
