"""What INT8 costs and brings on NEU-DET: our recipe against naive quantization and NNCF, in both runtimes.

    python -m benchmarks.int8_neu_det --data DIR --start CHECKPOINT.pt

Fine-tunes the card's YOLOv5n on the training side, exports it, quantizes it in several ways with calibration frames
from the training side alone, and measures every file on the validation side through the device's own frame path.
Validation frames whose content is also on the training side are left out. Writes int8_neu_det.json and a table in
Markdown. A checkpoint of an earlier run with the same card, start and length in --work is used again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static

from edgeloop.artifact import Artifact
from edgeloop.audit import AuditFrames
from edgeloop.card import Card, QuantizeCard, load_card
from edgeloop.coco import coco_average_precision
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import CPU_RUNTIMES, Runtime, RuntimeName, open_runtime
from edgeloop.evaluation import predict
from edgeloop.files import sha256, write_text
from edgeloop.formats.detect import read
from edgeloop.frames import LabelledFrame, frame_id
from edgeloop.progress import bar
from edgeloop.qdq import Graph, check_qdq, float_tail, load_graph, name_of
from models.calibration import choose_frames, describe_frames, read_inputs
from models.checkpoint import Checkpoint, load_checkpoint_record
from models.quantize import quantize
from models.ultralytics_door import export_onnx, train

ROOT = Path(__file__).resolve().parents[1]
ROUNDS, WARM_UP = 300, 10
Row = dict[str, Any]
Key = tuple[str, RuntimeName]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="NEU-DET in YOLO layout, with data.yaml")
    parser.add_argument("--start", type=Path, required=True, help="checkpoint to fine-tune; a .pt you trust")
    parser.add_argument("--card", type=Path, default=ROOT / "models/cards/neu-det.yaml")
    parser.add_argument("--epochs", type=int, help="instead of the card's")
    parser.add_argument("--work", type=Path, default=ROOT / "var/benchmarks/int8_neu_det")
    parser.add_argument("--out", type=Path, default=ROOT / "benchmarks/results")
    asked = parser.parse_args()
    card = load_card(asked.card).model_copy(update={"start": asked.start})
    begin = time.monotonic()
    checkpoint = trained(card, asked.data, asked.work / "checkpoint", asked.epochs or card.epochs)
    training_seconds = time.monotonic() - begin
    train_side, audit = sides(asked.data)
    frames = choose_frames(describe_frames(train_side), card.quantize.frames, card.seed)
    files = build(checkpoint, card, frames, asked.work)
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "versions": {name: version(name) for name in ("onnxruntime", "openvino", "nncf", "ultralytics", "torch")},
        "card": card.model_dump(mode="json", exclude={"start"}),
        "start_sha256": checkpoint.start_sha256,
        "checkpoint_sha256": checkpoint.sha256,
        "epochs": checkpoint.epochs,
        "training_seconds": round(training_seconds),
        "calibration_frames": len(frames),
        "validation_frames": len(audit.frames),
        "rows": rows(files, audit),
        "seconds": round(time.monotonic() - begin),
    }
    write_text(asked.out / "int8_neu_det.json", json.dumps(document, indent=2) + "\n")
    write_text(asked.out / "int8_neu_det.md", table(document))
    print(table(document))


def trained(card: Card, data: Path, folder: Path, epochs: int) -> Checkpoint:
    """The checkpoint of an earlier run with the same start, card and length, else a new one."""
    assert card.start is not None
    asked = folder / "card.json"
    wanted = card.model_copy(update={"start": None, "epochs": epochs}).to_json()
    if asked.is_file() and asked.read_text(encoding="utf-8") == wanted:
        found = load_checkpoint_record(folder / "checkpoint.pt")
        if found.start_sha256 == sha256(card.start):
            return found
    made = train(data / "data.yaml", card, folder, start=card.start, epochs=epochs)
    write_text(asked, wanted)
    return made


def sides(data: Path) -> tuple[list[LabelledFrame], AuditFrames]:
    """The training side, and the validation side without frames that the training side holds too."""
    report = read(data)
    seen = {frame_id(path.read_bytes()) for path in (data / "images/train").iterdir()}
    kept = [frame for frame in report.frames if frame.split == "val" and frame.frame.frame_id not in seen]
    ordered = tuple(sorted(kept, key=lambda frame: frame.frame.frame_id))
    side = [frame for frame in report.frames if frame.split == "train"]
    return side, AuditFrames("neu-det-val", report.names, ordered)


def build(checkpoint: Checkpoint, card: Card, frames: tuple[Path, ...], work: Path) -> dict[str, Artifact]:
    """Every file that is compared, by the name of its row; the first is FP32, the second what the card ships."""
    fp32 = export_onnx(checkpoint, card, checkpoint.names, work / "fp32.onnx")
    recipes = {
        f"INT8, float head, percentile {card.quantize.percentile:g} (the card's)": card.quantize,
        "INT8, float head, entropy": QuantizeCard(calibration="entropy", frames=card.quantize.frames),
        "INT8, float head, min-max": QuantizeCard(calibration="minmax", frames=card.quantize.frames),
    }
    files = {"FP32": fp32}
    for index, (name, recipe) in enumerate(recipes.items()):
        files[name] = quantize(fp32, frames, recipe, work / f"int8-{index}.onnx")
    files["INT8, NNCF, symmetric, float head"] = from_file(
        fp32, work / "nncf.onnx", lambda out: nncf(fp32, frames, out)
    )
    files["INT8, naive: every Conv, min-max"] = from_file(
        fp32, work / "naive.onnx", lambda out: naive(fp32, frames, out)
    )
    return files


def from_file(fp32: Artifact, out: Path, write: Callable[[Path], None]) -> Artifact:
    write(out)
    return fp32.model_copy(update={"path": out, "sha256": sha256(out), "precision": "int8"})


def naive(fp32: Artifact, frames: tuple[Path, ...], out: Path) -> None:
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


def nncf(fp32: Artifact, frames: tuple[Path, ...], out: Path) -> None:
    """NNCF's post-training quantization with fast bias correction, the same convolutions in float as ours."""
    import nncf as library

    graph = load_graph(fp32.path)
    kept = [name_of(node) for node in {id(node): node for node in [*float_tail(graph), *graph.tail]}.values()]
    dataset = library.Dataset([{"images": array.copy()} for array in read_inputs(frames, fp32.imgsz)])
    model = library.quantize(
        graph.model,
        dataset,
        preset=library.QuantizationPreset.PERFORMANCE,
        subset_size=len(frames),
        ignored_scope=library.IgnoredScope(names=kept, validate=False),
    )
    onnx.save(model, str(out))


def rows(files: dict[str, Artifact], audit: AuditFrames) -> list[Row]:
    """One row a file: accuracy and latency in every runtime."""
    runtimes = {
        (name, runtime): open_runtime(artifact.path, runtime, threads=1)
        for name, artifact in files.items()
        for runtime in CPU_RUNTIMES
    }
    accuracy = {key: measure_accuracy(files[key[0]], audit, runtime) for key, runtime in runtimes.items()}
    latency = measure_latency(runtimes, next(iter(files.values())).imgsz)
    fastest = min(latency["FP32", runtime] for runtime in CPU_RUNTIMES)
    return [
        {
            "recipe": name,
            "precision": artifact.precision,
            "megabytes": round(artifact.path.stat().st_size / 1e6, 2),
            "float_convolutions": float_convolutions(artifact),
            "rules_broken": len(check_qdq(artifact.path)) if artifact.precision == "int8" else None,
            "map50": {runtime: accuracy[name, runtime][0] for runtime in CPU_RUNTIMES},
            "map50_95": {runtime: accuracy[name, runtime][1] for runtime in CPU_RUNTIMES},
            "relative_loss": {
                runtime: 1 - accuracy[name, runtime][1] / accuracy["FP32", runtime][1] for runtime in CPU_RUNTIMES
            },
            "p50_ms": {runtime: latency[name, runtime] for runtime in CPU_RUNTIMES},
            "speedup": {runtime: fastest / latency[name, runtime] for runtime in CPU_RUNTIMES},
        }
        for name, artifact in files.items()
    ]


def float_convolutions(artifact: Artifact) -> str:
    graph = Graph(onnx.load(str(artifact.path)))
    sources = [graph.producers.get(node.input[1]) for node in graph.nodes if node.op_type == "Conv"]
    quantized = sum(source is not None and source.op_type == "DequantizeLinear" for source in sources)
    return f"{len(sources) - quantized} of {len(sources)}"


def measure_accuracy(artifact: Artifact, audit: AuditFrames, runtime: Runtime) -> tuple[float, float]:
    """mAP50 and mAP50-95 as in COCO."""
    seen = predict(artifact, audit, runtime)
    precision = coco_average_precision(seen, audit.truths(audit.names), len(audit.names))
    return float(np.nanmean(precision[:, 0])), float(np.nanmean(precision))


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


def table(document: Row) -> str:
    """The figures in Markdown."""
    about = (
        f"`python -m benchmarks.int8_neu_det --data DIR --start CHECKPOINT.pt`; {document['machine']}, "
        f"{', '.join(document['instructions'])}; {document['epochs']} epochs in {document['training_seconds']} s, "
        f"{document['calibration_frames']} calibration frames of the training side, {document['validation_frames']} "
        f"validation frames, {document['seconds']} s altogether. Latency: median of {ROUNDS} runs of the model alone, "
        f"one thread, all files and runtimes taking turns. Speed-up against the faster FP32 runtime. Relative loss of "
        f"mAP50-95 against FP32 in the same runtime."
    )
    lines = [
        "# INT8 on NEU-DET",
        "",
        about,
        "",
        "| recipe | runtime | mAP50 | mAP50-95 | relative loss | p50 ms | speed-up | Conv in float | rules broken |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in document["rows"]:
        for runtime in CPU_RUNTIMES:
            broken = "" if row["rules_broken"] is None else row["rules_broken"]
            lines.append(
                f"| {row['recipe']} | {runtime} | {row['map50'][runtime]:.4f} | {row['map50_95'][runtime]:.4f} "
                f"| {100 * row['relative_loss'][runtime]:.2f} % | {row['p50_ms'][runtime]:.2f} "
                f"| {row['speedup'][runtime]:.2f} | {row['float_convolutions']} | {broken} |"
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
