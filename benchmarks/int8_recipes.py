"""What INT8 and FP16 cost and bring, recipe by recipe, on NEU-DET, BCCD and the generated line.

    python -m benchmarks.int8_recipes --neu-det DIR --bccd DIR --start CHECKPOINT.pt

Fine-tunes each set's card on its training side, exports it, makes every version from calibration frames of that side,
chooses on the validation side, and measures all of them on a third side that had no part in anything, through the
device's own frame path. Writes int8_recipes.json and tables in Markdown. What was trained and found before, in --work,
is used again. Without a set's folder, that set is left out; the sample needs no data.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from benchmarks.int8_sets import MeasuredSet, ask_for_sets, command, sets_of
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact
from edgeloop.bootstrap import mean_average_precision
from edgeloop.card import QuantizeCard
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import CPU_RUNTIMES, Runtime, RuntimeName, open_runtime
from edgeloop.files import sha256
from edgeloop.progress import bar
from edgeloop.qdq import Graph, check_qdq
from edgeloop.yardstick import Yardstick
from models.calibration import choose_frames, describe_frames, read_inputs
from models.float_layers import quantized_layers
from models.half import halve
from models.judge import GLANCED, Judge
from models.precision_search import describe, recipes, search
from models.quantize import calibrate, insert_qdq, open_float, write_int8

ROUNDS, WARM_UP = 300, 10
LIMIT = 0.005  # relative mAP50-95, asked of the search
CHOSEN = f"INT8, searched: at most {100 * LIMIT:g} %, 15 % in float"
Row = dict[str, Any]
Key = tuple[str, RuntimeName]


@dataclass(frozen=True)
class Files:
    """Every version of one detector, by the name of its row; the first is FP32."""

    of: MeasuredSet
    artifacts: dict[str, Artifact]
    reason: str


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_sets(parser)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    begin = time.monotonic()
    measured = [measure(of, asked.work) for of in sets_of(parser, asked)]
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "versions": {name: version(name) for name in ("onnxruntime", "openvino", "nncf", "ultralytics", "torch")},
        "sets": measured,
        "seconds": round(time.monotonic() - begin),
    }
    keep(asked.out, "int8_recipes", document, report(document))


def measure(of: MeasuredSet, work: Path) -> Row:
    """One set: what was made of it and every row."""
    files = build(of, work / f"{of.name}-files")
    return {
        "set": of.name,
        "card": of.card.name,
        "imgsz": of.card.imgsz,
        "epochs": of.checkpoint.epochs,
        "start_sha256": of.checkpoint.start_sha256,
        "frames": {"train": len(of.train), "choosing": len(of.choosing.frames), "scoring": len(of.scoring.frames)},
        "search": files.reason,
        "rows": rows(files, work / f"{of.name}-kept"),
    }


def build(of: MeasuredSet, work: Path) -> Files:
    """Every file that is compared."""
    images = choose_frames(describe_frames(of.train), of.card.quantize.frames, of.card.seed)
    graph = open_float(of.fp32)
    calibration = calibrate(graph, images, of.fp32.imgsz, of.fp32.input)
    card = QuantizeCard(
        calibration="auto", search=True, limit=LIMIT, judge_loss_by="bound", class_limit=0.02, frames=len(images)
    )
    made = {"FP32": of.fp32, "FP16": halve(of.fp32, images, work / "fp16.onnx")}
    for number, recipe in enumerate(recipes(card)):
        content = insert_qdq(graph, calibration, recipe)
        made[f"INT8, {describe(recipe)}"] = write_int8(of.fp32, content, recipe, work / f"int8-{number}.onnx")
    judge = Judge(of.fp32, of.choosing, images[:GLANCED], "openvino", work / "search")
    made[CHOSEN], found = search(judge, images, card, work / "searched.onnx")
    made["naive: every Conv, min-max"] = from_file(of.fp32, work / "naive.onnx", lambda to: naive(of.fp32, images, to))
    return Files(of, made, found.reason)


def from_file(fp32: Artifact, out: Path, write: Callable[[Path], None]) -> Artifact:
    write(out)
    return fp32.model_copy(update={"path": out, "sha256": sha256(out), "precision": "int8"})


def naive(fp32: Artifact, frames: Iterable[Path], out: Path) -> None:
    """ONNX Runtime's quantize_static with every convolution, inputs and outputs, and its own min-max calibration."""

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # onnxruntime carries no types
        def __init__(self) -> None:
            self.inputs = read_inputs(frames, fp32.imgsz)

        def get_next(self) -> dict[str, np.ndarray] | None:
            array = next(self.inputs, None)
            return None if array is None else {"images": array}

    quantize_static(
        fp32.path,
        out,
        Reader(),
        op_types_to_quantize=["Conv"],
        per_channel=True,
        activation_type=QuantType.QInt8,
        weight_type=QuantType.QInt8,
        extra_options={"ActivationSymmetric": True, "WeightSymmetric": True, "QuantizeBias": False},
    )


def rows(files: Files, kept: Path) -> list[Row]:
    """One row a file: accuracy on the scoring side, and latency, in every runtime."""
    runtimes = {
        (name, runtime): open_runtime(artifact.path, runtime, threads=1)
        for name, artifact in files.artifacts.items()
        for runtime in CPU_RUNTIMES
    }
    latency = measure_latency(runtimes, files.of.fp32.imgsz)
    fastest = min(latency["FP32", runtime] for runtime in CPU_RUNTIMES)
    judges = {runtime: scoring(files.of, runtime, kept) for runtime in CPU_RUNTIMES}
    return [
        {
            "recipe": name,
            "precision": artifact.precision,
            "megabytes": round(artifact.path.stat().st_size / 1e6, 2),
            **float_convolutions(artifact),
            "rules_broken": len(check_qdq(artifact.path)) if artifact.precision == "int8" else None,
            "p50_ms": {runtime: latency[name, runtime] for runtime in CPU_RUNTIMES},
            "speedup": {runtime: fastest / latency[name, runtime] for runtime in CPU_RUNTIMES},
            "accuracy": {runtime: measure_accuracy(artifact, *judges[runtime]) for runtime in CPU_RUNTIMES},
        }
        for name, artifact in bar(files.artifacts.items(), f"score {files.of.name}", len(files.artifacts))
    ]


def scoring(of: MeasuredSet, runtime: RuntimeName, kept: Path) -> tuple[Judge, Yardstick]:
    """FP32 in this runtime on the scoring side."""
    judge = Judge(of.fp32, of.scoring, (), runtime, kept)
    matches = judge.matches(of.fp32.path.read_bytes(), "fp32")
    return judge, Yardstick.of(matches, of.scoring.names, of.scoring.groups)


def measure_accuracy(artifact: Artifact, judge: Judge, yardstick: Yardstick) -> Row:
    """mAP, and what is lost against FP32 in the same runtime."""
    matches = judge.matches(artifact.path.read_bytes(), artifact.precision)
    loss = yardstick.loss(matches)
    return {
        "map50": float(mean_average_precision(matches, yardstick.draws[:1], "map50")[0]),
        "map50_95": loss.map50_95,
        "loss": loss.model_dump(mode="json"),
    }


def float_convolutions(artifact: Artifact) -> Row:
    graph = Graph(onnx.load(str(artifact.path)))
    convolutions = sum(node.op_type == "Conv" for node in graph.nodes)
    return {"float_convolutions": convolutions - len(quantized_layers(graph)), "convolutions": convolutions}


def measure_latency(runtimes: dict[Key, Runtime], side: int) -> dict[Key, float]:
    """Median milliseconds of one image through the model alone; all take turns, in a new order every round."""
    random = np.random.default_rng(0)
    array = random.random((1, 3, side, side), np.float32)
    taken: dict[Key, list[int]] = {key: [] for key in runtimes}
    keys = list(runtimes)
    for number in bar(range(WARM_UP + ROUNDS), "latency", WARM_UP + ROUNDS):
        for index in random.permutation(len(keys)):
            begin = time.perf_counter_ns()
            runtimes[keys[index]](array)
            if number >= WARM_UP:
                taken[keys[index]].append(time.perf_counter_ns() - begin)
    return {key: float(np.median(times)) / 1e6 for key, times in taken.items()}


def report(document: Row) -> str:
    """The figures in Markdown."""
    about = (
        f"`{command('int8_recipes', (one['set'] for one in document['sets']))}`; {document['machine']}, "
        f"{', '.join(document['instructions'])}; {document['seconds']} s without training. Latency: median of {ROUNDS} "
        f"runs of the model alone, one thread, all files and runtimes taking turns; speed-up against the faster FP32 "
        f"runtime. Loss: relative mAP50-95 on the scoring side against FP32 in the same runtime, with the 95 % "
        f"interval of a paired bootstrap over frames; worst class: AP50-95 points, of classes with 20 boxes or more."
    )
    return "\n".join(["# INT8 and FP16, recipe by recipe", "", about, "", *map(table, document["sets"])])


def table(measured: Row) -> str:
    """One set."""
    frames = measured["frames"]
    about = (
        f"{frames['train']} training frames, {frames['choosing']} to choose on, {frames['scoring']} scored, "
        f"{measured['epochs']} epochs. The search: {measured['search']}"
    )
    columns = ["recipe", "runtime", "mAP50", "mAP50-95", "loss", "interval", "points", "worst class", "p50 ms"]
    columns += ["speed-up", "Conv in float", "rules broken"]
    figures = markdown(columns, (_cells(row, runtime) for row in measured["rows"] for runtime in CPU_RUNTIMES))
    return f"## {measured['set']}: {measured['card']}, {measured['imgsz']} px\n\n{about}\n\n{figures}\n"


def _cells(row: Row, runtime: str) -> list[str]:
    accuracy = row["accuracy"][runtime]
    loss = accuracy["loss"]
    judged = [one for one in loss["classes"] if one["loss"] is not None and one["truths"] >= 20]
    worst = max(judged, key=lambda one: float(one["loss"]))
    relative = loss["relative"]
    broken = "" if row["rules_broken"] is None else row["rules_broken"]
    return [
        row["recipe"], runtime, f"{accuracy['map50']:.4f}", f"{accuracy['map50_95']:.4f}",
        f"{100 * relative['value']:.2f} %", f"{100 * relative['low']:.1f} to {100 * relative['high']:.1f} %",
        f"{loss['points']:.2f}", f"{worst['name']} {100 * worst['loss']:.1f}", f"{row['p50_ms'][runtime]:.2f}",
        f"{row['speedup'][runtime]:.2f}", f"{row['float_convolutions']} of {row['convolutions']}", broken,
    ]  # fmt: skip


if __name__ == "__main__":
    main()
