"""What quantization-aware training wins back where post-training quantization loses, and what it costs.

    python -m benchmarks.qat
    python -m benchmarks.qat --neu-det DIR --start CHECKPOINT.pt

Two recipes are quantized after training, and trained on with INT8 simulated: ranges by entropy, which cut too much of a
small network, and every convolution with min-max ranges, the head's outputs among them. Beside them is the float
detector trained on as long without INT8, and the same recipes on that one: what is left over those is what INT8 in the
training wins. Scored on a side that nothing was trained, calibrated or chosen on. Writes qat.json and a table in
Markdown.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import onnx

from benchmarks.int8_recipes import float_convolutions, measure_accuracy, measure_latency, scoring
from benchmarks.int8_sets import MeasuredSet, ask_for_sets, command, sets_of
from benchmarks.writing import RESULTS, keep
from edgeloop.artifact import Artifact
from edgeloop.card import QuantizeCard
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import RuntimeName, open_runtime
from edgeloop.files import write_text
from edgeloop.qdq import Graph, check_qdq
from edgeloop.yardstick import Yardstick
from models.calibration import choose_frames, describe_frames
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record
from models.qat import module_ranges, requantize
from models.quantize import Calibration, calibrate, insert_qdq, open_float, write_int8
from models.tuning import Tuning
from models.ultralytics_door import export_onnx, fused_weights, train

RECIPES = {
    "entropy, as TensorRT's, head in float": QuantizeCard(calibration="entropy"),
    "min-max, every Conv": QuantizeCard(calibration="minmax", float_head=False),
}
EPOCHS, LEARNING_RATE = 4, 0.001  # settled on while frames of the sample's line were in view
RUNTIME: RuntimeName = "openvino"  # it runs INT8; ONNX Runtime's CPU provider does not
LONGER = "FP32, trained on"
Row = dict[str, Any]


@dataclass
class Bench:
    """One detector: its files, in the order of the table, and what training each of them took."""

    of: MeasuredSet
    work: Path
    artifacts: dict[str, Artifact] = field(default_factory=dict)
    cpu_seconds: dict[str, float] = field(default_factory=dict)
    float_head: dict[str, bool] = field(default_factory=dict)

    def build(self) -> None:
        """Every file that is compared."""
        images = choose_frames(describe_frames(self.of.train), self.of.card.quantize.frames, self.of.card.seed)
        weights = fused_weights(self.of.checkpoint.path, self.of.card)
        self.artifacts["FP32"] = self.of.fp32
        longer = self._trained(LONGER, {})
        self.artifacts[LONGER] = longer
        for name, card in RECIPES.items():
            graph, other = open_float(self.of.fp32), open_float(longer)
            content = insert_qdq(graph, self._calibration(graph, images), card)
            self._add(name, self.of.fp32, content, card)
            self._add(f"{name}; trained on", longer, insert_qdq(other, self._calibration(other, images), card), card)
            int8 = Graph(onnx.load_from_string(content))
            trained = self._trained(f"{name}; QAT", module_ranges(int8, graph, weights))
            self._add(f"{name}; QAT", trained, requantize(open_float(trained), int8, graph), card)

    def _calibration(self, graph: Graph, images: tuple[Path, ...]) -> Calibration:
        return calibrate(graph, images, self.of.card.imgsz, self.of.card.input)

    def _add(self, name: str, fp32: Artifact, content: bytes, card: QuantizeCard) -> None:
        self.artifacts[name] = write_int8(fp32, content, card, self.work / f"{len(self.artifacts)}-int8.onnx")
        self.float_head[name] = card.float_head

    def _trained(self, name: str, ranges: dict[str, float]) -> Artifact:
        """The float32 export after training; what an earlier run trained is used again."""
        tuning = Tuning(learning_rate=LEARNING_RATE, ranges=ranges)
        out = self.work / f"trained-{len(self.cpu_seconds)}"
        took = out / "cpu_seconds.json"
        if not took.is_file():
            begin = time.process_time()
            self._train(out / "run", tuning)
            write_text(took, json.dumps(time.process_time() - begin))
        self.cpu_seconds[name] = json.loads(took.read_text())
        checkpoint = load_checkpoint_record(out / "run" / CHECKPOINT)
        return export_onnx(checkpoint, self.of.card, checkpoint.names, out / "fp32.onnx")

    def _train(self, out: Path, tuning: Tuning) -> Checkpoint:
        start = self.of.checkpoint.path
        return train(self.of.data, self.of.card, out, start=start, epochs=EPOCHS, tuning=tuning)

    def rows(self) -> list[Row]:
        """One row a file: accuracy on the scoring side, and latency."""
        opened = {(name, RUNTIME): open_runtime(file.path, RUNTIME, threads=1) for name, file in self.artifacts.items()}
        latency = measure_latency(opened, self.of.card.imgsz)
        judge, yardstick = scoring(self.of, RUNTIME, self.work / "kept")
        longer = judge.matches(self.artifacts[LONGER].path.read_bytes(), "fp32")
        further = Yardstick.of(longer, self.of.scoring.names, self.of.scoring.groups)
        return [
            {
                "recipe": name,
                "precision": artifact.precision,
                "cpu_seconds": self.cpu_seconds.get(name),
                "p50_ms": latency[name, RUNTIME],
                **float_convolutions(artifact),
                "rules_broken": self._broken(name, artifact),
                **measure_accuracy(artifact, judge, yardstick),
                "loss_against_longer": measure_accuracy(artifact, judge, further)["loss"],
            }
            for name, artifact in self.artifacts.items()
        ]

    def _broken(self, name: str, artifact: Artifact) -> int | None:
        if artifact.precision != "int8":
            return None
        return len(check_qdq(artifact.path, float_head=self.float_head[name]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_sets(parser)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    begin = time.monotonic()
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "versions": {name: version(name) for name in ("ultralytics", "torch", "onnxruntime", "openvino")},
        "epochs": EPOCHS,
        "learning_rate": LEARNING_RATE,
        "runtime": RUNTIME,
        "sets": [measure(of, asked.work) for of in sets_of(parser, asked)],
        "seconds": round(time.monotonic() - begin),
    }
    keep(asked.out, "qat", document, report(document))


def measure(of: MeasuredSet, work: Path) -> Row:
    """One set."""
    bench = Bench(of, work / f"{of.name}-qat")
    bench.build()
    return {
        "set": of.name,
        "card": bench.of.card.name,
        "imgsz": bench.of.card.imgsz,
        "frames": {"train": len(bench.of.train), "scored": len(bench.of.scoring.frames)},
        "trained_epochs": bench.of.checkpoint.epochs,
        "rows": bench.rows(),
    }


def report(document: Row) -> str:
    """The figures in Markdown."""
    about = (
        f"`{command('qat', (one['set'] for one in document['sets']))}`; {document['machine']}, "
        f"{', '.join(document['instructions'])}. Trained on: {document['epochs']} more epochs at learning rate "
        f"{document['learning_rate']:g}; QAT: the same with INT8 simulated. Loss: relative mAP50-95 on the same "
        f"frames, against the first row and against the float detector that was trained as long, each with the 95 % "
        f"interval of a paired bootstrap; below zero is a gain. CPU s: processor time of the further training, all "
        f"threads together. p50: model alone, {document['runtime']}, one thread, all files taking turns."
    )
    return "\n".join(["# Quantization-aware training", "", about, "", *map(_table, document["sets"])])


def _table(measured: Row) -> str:
    frames = measured["frames"]
    columns = [
        "recipe",
        "mAP50-95",
        "loss against FP32",
        "against FP32, trained on",
        "Conv in float",
        "p50 ms",
        "CPU s",
    ]
    lines = [
        f"## {measured['set']}: {measured['card']}, {measured['imgsz']} px, {measured['trained_epochs']} epochs",
        "",
        f"{frames['train']} training frames, {frames['scored']} scored.",
        "",
        f"| {' | '.join(columns)} |",
        "|---" * len(columns) + "|",
    ]
    return "\n".join([*lines, *map(_line, measured["rows"]), "", ""])


def _line(row: Row) -> str:
    seconds = row["cpu_seconds"]
    return (
        f"| {row['recipe']} | {row['map50_95']:.4f} | {_loss(row['loss'])} | {_loss(row['loss_against_longer'])} "
        f"| {row['float_convolutions']} of {row['convolutions']} | {row['p50_ms']:.2f} "
        f"| {'' if seconds is None else f'{seconds:.0f}'} |"
    )


def _loss(loss: Row) -> str:
    value, low, high = (100 * loss["relative"][key] for key in ("value", "low", "high"))
    return "" if low == high else f"{value:.2f} % ({low:.1f} to {high:.1f})"


if __name__ == "__main__":
    main()
