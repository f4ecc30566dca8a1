"""What structured pruning saves and loses, beside the unpruned detector and a smaller scale of the same architecture.

    python -m benchmarks.pruning

The sample's card is trained, pruned at several ratios and trained on; the unpruned detector is trained on as long. The
smaller scales are trained for all those epochs together. All are scored in FP32 and INT8 on frames that had no part in
anything. Writes pruning.json and a table in Markdown; a run that was stopped goes on with what is in --work.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
import torch_pruning

from benchmarks.int8_recipes import measure_accuracy, measure_latency, scoring
from benchmarks.int8_sets import SAMPLE, WORK, MeasuredSet, prepare
from benchmarks.writing import RESULTS, keep
from edgeloop.artifact import Artifact
from edgeloop.card import Card, PruneCard, QuantizeCard
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import RuntimeName, open_runtime
from edgeloop.files import sha256, write_text
from models.calibration import choose_frames, describe_frames
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record
from models.prune import prune
from models.quantize import quantize
from models.tuning import Tuning
from models.ultralytics_door import export_onnx, open_checkpoint, train

PRUNINGS = (PruneCard(ratio=0.15, round_to=4), PruneCard(ratio=0.3, round_to=4))
SCALES = {"width 0.125": 0.125}  # of edgeloop-n.yaml, which has 0.1875
FURTHER, LEARNING_RATE = 6, 0.001  # epochs after pruning
RUNTIME: RuntimeName = "openvino"
Row = dict[str, Any]


@dataclass
class Bench:
    """The detectors, in the order of the table."""

    of: MeasuredSet
    work: Path
    rows: list[Row] = field(default_factory=list)
    files: dict[str, tuple[Artifact, Artifact]] = field(default_factory=dict)

    def build(self) -> None:
        """Train and export everything."""
        self._add("unpruned", self.of.checkpoint, self.of.card, None)
        further = Tuning(learning_rate=LEARNING_RATE)
        self._add("unpruned, trained on", *self._trained("further", self.of.card, self._second(further)))
        for asked in PRUNINGS:
            name = f"pruned, ratio {asked.ratio:g}"
            self._add(f"{name}, not trained on", *self._untrained(asked), None)
            tuning = Tuning(learning_rate=LEARNING_RATE, prune=asked)
            self._add(
                f"{name}, trained on", *self._trained(f"pruned-{asked.ratio:g}", self.of.card, self._second(tuning))
            )
        for name, width in SCALES.items():
            self._add(f"smaller scale, {name}", *self._trained(name, self._scaled(width), self._first))

    def _second(self, tuning: Tuning) -> Callable[[Card, Path], Checkpoint]:
        start = self.of.checkpoint.path
        return lambda card, out: train(self.of.data, card, out, start=start, epochs=FURTHER, tuning=tuning)

    def _first(self, card: Card, out: Path) -> Checkpoint:
        return train(self.of.data, card, out, start=None, epochs=self.of.checkpoint.epochs + FURTHER)

    def _trained(
        self, name: str, card: Card, run: Callable[[Card, Path], Checkpoint]
    ) -> tuple[Checkpoint, Card, float]:
        """What an earlier run trained is used again."""
        out = self.work / name.replace(" ", "-")
        took = out / "cpu_seconds.json"
        if not took.is_file():
            begin = time.process_time()
            run(card, out / "run")
            write_text(took, json.dumps(time.process_time() - begin))
        return load_checkpoint_record(out / "run" / CHECKPOINT), card, json.loads(took.read_text())

    def _untrained(self, asked: PruneCard) -> tuple[Checkpoint, Card]:
        """The pruned detector as it is before it is trained on; a card that names the file may open it."""
        model = open_checkpoint(self.of.checkpoint.path, self.of.card)
        prune(model, asked, self.of.card.imgsz)
        path = self.work / f"untrained-{asked.ratio:g}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"model": model, "train_args": {}}, path)
        bare = self.of.checkpoint.model_copy(update={"path": path, "sha256": sha256(path)})
        return bare, self.of.card.model_copy(update={"start": path})

    def _scaled(self, width: float) -> Card:
        """The sample's card on a narrower copy of its architecture, without the base checkpoint, which does not fit."""
        text = Path(self.of.card.architecture).read_text(encoding="utf-8")
        path = self.work / f"edgeloop-{width:g}n.yaml"
        write_text(path, text.replace("n: [0.33, 0.1875, 512]", f"n: [0.33, {width}, 512]"))
        return self.of.card.model_copy(update={"architecture": str(path), "start": None})

    def _add(self, name: str, checkpoint: Checkpoint, card: Card, cpu_seconds: float | None) -> None:
        model = open_checkpoint(checkpoint.path, card)
        macs, parameters = torch_pruning.utils.count_ops_and_params(model, torch.zeros(1, 3, card.imgsz, card.imgsz))
        fp32 = export_onnx(checkpoint, card, checkpoint.names, self.work / f"{len(self.files)}-fp32.onnx")
        images = choose_frames(describe_frames(self.of.train), card.quantize.frames, card.seed)
        int8 = quantize(fp32, images, QuantizeCard(), self.work / f"{len(self.files)}-int8.onnx")
        self.files[name] = fp32, int8
        row = {"detector": name, "parameters": int(parameters), "gmacs": macs / 1e9, "cpu_seconds": cpu_seconds}
        self.rows.append(row | {"int8_bytes": int8.path.stat().st_size})

    def measure(self) -> list[Row]:
        """Accuracy of both precisions against the first detector's FP32, and their latency."""
        files = {(f"{name} {file.precision}", RUNTIME): file for name, both in self.files.items() for file in both}
        opened = {key: open_runtime(file.path, RUNTIME, threads=1) for key, file in files.items()}
        latency = measure_latency(opened, self.of.card.imgsz)
        judge, yardstick = scoring(self.of, RUNTIME, self.work / "kept")
        return [
            row
            | {
                file.precision: {
                    "p50_ms": latency[f"{row['detector']} {file.precision}", RUNTIME],
                    **measure_accuracy(file, judge, yardstick),
                }
                for file in self.files[row["detector"]]
            }
            for row in self.rows
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=WORK)
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    begin = time.monotonic()
    bench = Bench(prepare("sample", SAMPLE, None, asked.work), asked.work / "sample-pruned")
    bench.build()
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "versions": {name: version(name) for name in ("ultralytics", "torch", "torch-pruning", "openvino")},
        "card": bench.of.card.name,
        "imgsz": bench.of.card.imgsz,
        "epochs": {"first": bench.of.checkpoint.epochs, "further": FURTHER},
        "learning_rate": LEARNING_RATE,
        "round_to": PRUNINGS[0].round_to,
        "runtime": RUNTIME,
        "frames": {"train": len(bench.of.train), "scored": len(bench.of.scoring.frames)},
        "rows": bench.measure(),
        "seconds": round(time.monotonic() - begin),
    }
    keep(asked.out, "pruning", document, report(document))


def report(document: Row) -> str:
    """The figures in Markdown."""
    epochs, frames = document["epochs"], document["frames"]
    about = (
        f"`python -m benchmarks.pruning`; {document['machine']}, {', '.join(document['instructions'])}. "
        f"{document['card']} at {document['imgsz']} px, {epochs['first']} epochs on {frames['train']} frames; trained "
        f"on: {epochs['further']} more at learning rate {document['learning_rate']:g}; channels in multiples of "
        f"{document['round_to']}; smaller scales: {epochs['first'] + epochs['further']} epochs, without the base "
        f"checkpoint, which does not fit them. Scored on {frames['scored']} frames; mAP50-95, and points against the "
        f"first row's FP32 with the 95 % interval of a paired bootstrap over frames as a share, which does not hold "
        f"what another seed would change. p50: model alone, {document['runtime']}, one thread, all files taking turns. "
        f"CPU s: processor time of the further training, of the smaller scales of all their training."
    )
    columns = ["detector", "parameters", "GMAC", "FP32 mAP50-95", "against the first", "INT8 mAP50-95"]
    columns += ["FP32 p50 ms", "INT8 p50 ms", "INT8 MB", "CPU s"]
    lines = [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *map(_line, document["rows"])]
    return "\n".join(["# Structured pruning", "", about, "", *lines]) + "\n"


def _line(row: Row) -> str:
    fp32, int8, seconds = row["fp32"], row["int8"], row["cpu_seconds"]
    relative = fp32["loss"]["relative"]
    gain, low, high = (-100 * relative[key] for key in ("value", "high", "low"))
    return (
        f"| {row['detector']} | {row['parameters']:,} | {row['gmacs']:.3f} | {100 * fp32['map50_95']:.1f} "
        f"| {-fp32['loss']['points']:+.1f} ({gain:+.1f} % [{low:+.1f}, {high:+.1f}]) | {100 * int8['map50_95']:.1f} "
        f"| {fp32['p50_ms']:.2f} | {int8['p50_ms']:.2f} | {row['int8_bytes'] / 1e6:.2f} "
        f"| {'' if seconds is None else f'{seconds:.0f}'} |"
    )


if __name__ == "__main__":
    main()
