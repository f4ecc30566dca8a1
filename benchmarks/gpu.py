"""What an NVIDIA GPU does here: training on it, ONNX Runtime's CUDA provider, and the CUDA calls that TensorRT needs.

    python -m benchmarks.gpu --bccd DIR --start CHECKPOINT.pt

Trains BCCD's card on the GPU, twice with the same seed and once with a pause, goes on from the result with fewer
channels and with INT8 simulated, and trains the first epoch on the CPU for comparison. Its FP32, FP16 and INT8 files
then run in ONNX Runtime on the CPU and on the GPU: accuracy on a side that had no part in anything, how far the
outputs are apart, latency at batch 1 and 8. Writes gpu.json and gpu.md. Needs torch with CUDA, and onnxruntime-gpu
in place of onnxruntime for the second half; without them it says so. What was trained in --work is used again.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from benchmarks.gpu_training import Trainings, prepared
from benchmarks.int8_recipes import measure_accuracy, scoring
from benchmarks.int8_sets import WORK, MeasuredSet
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact, load_artifact, sidecar_of
from edgeloop.card import DeviceProfile
from edgeloop.edge.bench import bench
from edgeloop.edge.cuda import Cuda
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.machine import machine
from edgeloop.edge.runtime import RUNTIMES, RuntimeName, is_installed, open_runtime
from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.evaluation import predict
from edgeloop.measures import BenchmarkReport
from edgeloop.output import say
from edgeloop.predictions import predictions_path, save_predictions
from models.calibration import choose_frames, describe_frames, read_inputs
from models.half import halve
from models.quantize import quantize
from models.ultralytics_door import export_onnx

HERE: RuntimeName = "onnxruntime"
BATCHES = (1, 8)
QUANTIZED_ON = 24  # frames, of the training side
AFTER_TRAINING = "INT8, trained for it"  # the same graph as INT8, so the same latency
COMPARED = 16  # frames that raw outputs are compared on
SEEN = 0.25  # boxes of a lower score are left out of the comparison: nobody shows them
BLOCK_BYTES = 64 << 20
TOO_MUCH = 1 << 50  # a pebibyte, which no GPU has
HIDDEN = {"CUDA_VISIBLE_DEVICES": ""}  # a GPU that CUDA does not show is one that is not there
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bccd", type=Path, required=True, metavar="DIR", help="BCCD in Pascal VOC layout")
    parser.add_argument("--start", type=Path, required=True, metavar="CHECKPOINT.pt", help="a .pt you trust")
    parser.add_argument("--device", default="0", help="Ultralytics' own setting; cpu tries the benchmark itself")
    parser.add_argument("--runtime", choices=RUNTIMES, default="onnxruntime-cuda", help="compared with onnxruntime")
    parser.add_argument("--imgsz", type=int, default=640)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=400, help="timed frames a file, runtime and batch")
    parser.add_argument("--work", type=Path, default=WORK, help="what is trained and made; there, it is used again")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    if asked.device != "cpu" and not torch.cuda.is_available():
        return say("left out: torch sees no GPU here; install its build for CUDA on a machine that has one.")
    changes = {"imgsz": asked.imgsz, "epochs": asked.epochs, "training_device": asked.device}
    of = prepared(asked.bccd, asked.start, asked.work, changes)
    document: Row = {**about(asked), "set": told(of), "cuda": cuda_calls(), "files": []}
    for part in measure(of, asked):
        document |= part
        keep(asked.out, "gpu", document, report(document))
    return None


def about(asked: argparse.Namespace) -> Row:
    names = ("torch", "torchvision", "ultralytics", "numpy")
    return {
        "gpu": torch.cuda.get_device_name(0) if torch.cuda.is_available() else None,
        "cuda_of_torch": torch.version.cuda,
        "machine": machine(),
        "cores": cores(),
        "python": sys.version.split()[0],
        "versions": {name: version(name) for name in names} | {"onnxruntime": onnxruntime.__version__},
        "runtime": asked.runtime,
        "timed_frames": asked.frames,
    }


def told(of: MeasuredSet) -> Row:
    frames = {"train": len(of.train), "choosing": len(of.choosing.frames), "scored": len(of.scoring.frames)}
    return {"card": of.card.name, "imgsz": of.card.imgsz, "batch": of.card.batch, "frames": frames}


def measure(of: MeasuredSet, asked: argparse.Namespace) -> Iterator[Row]:
    """The trainings, then one file after the other in the runtime that is asked for, where it is installed."""
    folder = of.data.parents[1] / "gpu"
    made = Trainings(of, folder, max(1, asked.epochs // 2))
    files = exported(of, folder)
    second, files[AFTER_TRAINING] = made.quantized_in_training(files["FP32"], files["INT8"])
    trained = [*made.rows(), second]
    yield {"trainings": trained}
    if is_installed(asked.runtime):
        rows: list[Row] = []
        for row in file_rows(replace(of, fp32=files["FP32"]), files, asked, folder / "kept"):
            rows.append(row)
            yield {"files": rows}
        yield {"refusals": refusals(files["FP32"], asked.runtime)}
    else:
        say(f"left out: {asked.runtime} is not installed; pip install 'onnxruntime-gpu[cuda,cudnn]'.")
    yield {"trainings": [*trained, made.on_cpu()]}


def exported(of: MeasuredSet, folder: Path) -> dict[str, Artifact]:
    """FP32 with an open batch, and what is made of it."""
    images = choose_frames(describe_frames(of.train), QUANTIZED_ON, of.card.seed)
    paths = {name: folder / f"{name}.onnx" for name in ("fp32", "fp16", "int8")}
    if not sidecar_of(paths["int8"]).is_file():
        fp32 = export_onnx(of.checkpoint, of.card, of.checkpoint.names, paths["fp32"], dynamic=True)
        halve(fp32, images, paths["fp16"])
        quantize(fp32, images, of.card.quantize, paths["int8"])
    return {name.upper(): load_artifact(path) for name, path in paths.items()}


def file_rows(of: MeasuredSet, files: Mapping[str, Artifact], asked: argparse.Namespace, kept: Path) -> Iterator[Row]:
    """A row a file: both runtimes' accuracy, what lies between their outputs, latency."""
    frames = [frame.frame.image for frame in of.scoring.frames]
    images = [decode_image(path.read_bytes(), str(path)) for path in frames[:COMPARED]]
    for file, name in product(files.values(), (HERE, asked.runtime)):
        see(of, file, name, kept)
    judges = {name: scoring(of, name, kept) for name in (HERE, asked.runtime)}
    for name, file in files.items():
        timed = [] if name == AFTER_TRAINING else latency(file, images, asked)
        yield {
            "file": name,
            "precision": file.precision,
            "megabytes": round(file.path.stat().st_size / 1e6, 2),
            "accuracy": {runtime: measure_accuracy(file, *judge) for runtime, judge in judges.items()},
            "apart": apart(file, asked.runtime, frames[:COMPARED]),
            "latency": [
                {
                    "runtime": one.runtime,
                    "batch": one.batch,
                    "p50_ms": one.total.p50,
                    "p99_ms": one.total.p99,
                    "model_p50_ms": one.inference.p50,
                    "frames_per_second": one.frames_per_second,
                    "memory_mb": one.memory_mb,
                }
                for one in timed
            ],
        }


def latency(file: Artifact, images: Sequence[Image], asked: argparse.Namespace) -> list[BenchmarkReport]:
    """What `edgeloop bench` says: of FP32 on all cores of the CPU, and of each file in the other runtime."""
    on_cpu = DeviceProfile(name="here", runtimes=(HERE,), threads=cores(), timed_frames=100)
    other = DeviceProfile(name="here", runtimes=(asked.runtime,), timed_frames=asked.frames)
    reference = bench(file, on_cpu, images, (1,)) if file.precision == "fp32" else ()
    return [*reference, *bench(file, other, images, BATCHES)]


def see(of: MeasuredSet, file: Artifact, runtime: RuntimeName, kept: Path) -> None:
    """Keep what a file sees on the scored frames where the judge looks for it, computed on every core."""
    path = predictions_path(file, of.scoring, kept / runtime)
    if not path.is_file():
        opened = open_runtime(file.path, runtime, cores())
        save_predictions(path, file, of.scoring, predict(file, of.scoring, opened))
        opened.close()


def cores() -> int:
    return len(os.sched_getaffinity(0))


def apart(file: Artifact, runtime: RuntimeName, frames: Sequence[Path]) -> Row:
    """The largest difference of the raw outputs (1, 4 + classes, anchors) on real frames: scores, and pixels of boxes.

    Boxes are compared where the CPU's score reaches 0.25.
    """
    one, other = (open_runtime(file.path, name, cores()) for name in (HERE, runtime))
    scores, pixels = [0.0], [0.0]
    for image in read_inputs(frames, file.imgsz, file.input):
        wanted, came = one(image)[0].copy(), other(image)[0]
        shown = wanted[4:].max(axis=0) >= SEEN
        scores.append(float(np.abs(wanted[4:] - came[4:]).max()))
        pixels.append(float(np.abs(wanted[:4, shown] - came[:4, shown]).max(initial=0)))
    one.close()
    other.close()
    return {"scores": max(scores), "pixels": max(pixels), "frames": len(frames)}


def refusals(file: Artifact, runtime: RuntimeName) -> Row:
    """What is said where the GPU cannot be used: without one, and without TensorRT behind ONNX Runtime's provider."""
    trt: RuntimeName = "onnxruntime-tensorrt"
    return {
        f"{runtime} without a GPU": said_by(file, runtime, HIDDEN),
        **({f"{trt} without TensorRT": said_by(file, trt, {})} if is_installed(trt) else {}),
    }


def said_by(file: Artifact, runtime: RuntimeName, environment: Mapping[str, str]) -> str:
    """Exit code and last line of `edgeloop bench` in a process of its own."""
    words = ["bench", str(file.path), "--runtime", runtime, "--frames", "100"]
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from edgeloop.cli import main; sys.exit(main())", *words],
        env={**os.environ, **environment}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    line = (done.stderr.strip().splitlines() or [""])[-1].replace(str(file.path), file.path.name)
    return f"exit code {done.returncode}: {line}"


def cuda_calls() -> Row:
    """The calls of `edgeloop.edge.cuda` on the GPU: bytes there and back, before and after a failing allocation."""
    try:
        cuda = Cuda()
    except BadInput as error:
        return {"refused": str(error)}
    before = there_and_back(cuda)
    try:
        cuda.allocate(TOO_MUCH)
        too_much = "no error"
    except EdgeloopError as error:
        too_much = str(error)
    found = {
        "device": cuda.describe(),
        "same_bytes": before,
        "too_much": too_much,
        "same_bytes_afterwards": there_and_back(cuda),
    }
    cuda.close()
    return found


def there_and_back(cuda: Cuda) -> bool:
    """Whether noise comes back from the device as it went, in one copy and in a part of it."""
    data = np.random.default_rng(0).integers(0, 256, BLOCK_BYTES, np.uint8)
    back = np.zeros(BLOCK_BYTES // 4, np.float32)
    part = np.zeros(1000, np.float32)
    address = cuda.allocate(BLOCK_BYTES)
    cuda.copy_in(address, data)
    cuda.copy_out(back, address)
    cuda.copy_out(part, address + 4096)
    cuda.wait()
    cuda.free(address)
    same = back.tobytes() == data.tobytes() and part.tobytes() == data[4096 : 4096 + part.nbytes].tobytes()
    return bool(same)


def report(document: Row) -> str:
    """The figures in Markdown."""
    made, frames = document["set"], document["set"]["frames"]
    versions = ", ".join(f"{name} {number}" for name, number in document["versions"].items())
    head = (
        f"`python -m benchmarks.gpu --bccd DIR --start CHECKPOINT.pt`; {document['gpu'] or 'no GPU'}, "
        f"{document['cores']} cores of {document['machine']}; Python {document['python']}, CUDA "
        f"{document['cuda_of_torch']}, {versions}. {made['card']} at {made['imgsz']} pixels, batch {made['batch']}: "
        f"{frames['train']} training frames, {frames['scored']} scored that had no part in anything."
    )
    parts = ["# On a GPU", head, "## Training", TRAINING, training_table(document["trainings"])]
    if document["files"]:
        refused = "\n".join(f"- {name}: {line}" for name, line in document.get("refusals", {}).items())
        parts += [
            "## Files",
            FILES.format(compared=COMPARED, **document),
            file_table(document),
            latency_table(document),
        ]
        parts += ["## Where it cannot run", refused]
    calls = "\n".join(f"- {name.replace('_', ' ')}: {value}" for name, value in document["cuda"].items())
    return "\n\n".join([*parts, "## The CUDA calls of the TensorRT runtime", calls, ""])


TRAINING = (
    "Every training has the card's seed. mAP is of the validation side after the last epoch. Batches: whether the "
    "pictures came in the same order as in the first row, pixel by pixel. Weights apart: distance of the checkpoints' "
    "weights over the length of the first's."
)
FILES = (
    "mAP50-95 on the scored frames, and what is lost against FP32 in the same runtime, relative, with the 95 % "
    "interval of a paired bootstrap. Apart: largest difference of the raw outputs in {runtime} and onnxruntime on "
    "{compared} frames, boxes where the score reaches 0.25."
)
LATENCY = (
    "Image to boxes; onnxruntime on all cores, the other with one thread; percentiles of whole batches, memory of the "
    "host process."
)


def training_table(trainings: Sequence[Row]) -> str:
    heads = ["training", "epochs", "s an epoch", "first epoch, s", "loss, first to last", "mAP50", "mAP50-95"]
    heads += ["same batches", "same bytes", "weights apart"]
    return markdown(heads, map(training_cells, trainings)).rstrip()


def training_cells(row: Row) -> list[str]:
    answer = {None: "", True: "yes", False: "no"}
    distance = row["weights_apart"]
    return [
        row["training"], str(row["epochs"]), f"{row['seconds_an_epoch']:.1f}", f"{row['seconds_of_the_first']:.1f}",
        " to ".join(f"{value:.3f}" for value in row["loss"]), f"{100 * row['map50']:.1f} %",
        f"{100 * row['map50_95']:.1f} %", answer[row["same_batches"]], answer[row["same_bytes"]],
        "other shapes" if distance is None else f"{distance:.2g}",
    ]  # fmt: skip


def file_table(document: Row) -> str:
    names = (HERE, document["runtime"])
    heads = ["file", *(f"{part}, {name}" for name in names for part in ("mAP50-95", "lost")), "scores apart"]
    return markdown([*heads, "boxes apart, px"], (file_cells(row, names) for row in document["files"])).rstrip()


def file_cells(row: Row, names: Sequence[str]) -> list[str]:
    cells = [row["file"]]
    for name in names:
        found = row["accuracy"][name]
        value, low, high = (100 * found["loss"]["relative"][end] for end in ("value", "low", "high"))
        cells += [
            f"{100 * found['map50_95']:.2f} %",
            "" if row["file"] == "FP32" else f"{value:.2f} % [{low:+.1f}, {high:+.1f}]",
        ]
    return [*cells, f"{row['apart']['scores']:.2g}", f"{row['apart']['pixels']:.2g}"]


def latency_table(document: Row) -> str:
    heads = ["file", "runtime", "batch", "p50 ms", "p99 ms", "model alone, p50 ms", "frames a second", "memory MB"]
    rows = (latency_cells(row["file"], one) for row in document["files"] for one in row["latency"])
    return LATENCY + "\n\n" + markdown(heads, rows).rstrip()


def latency_cells(file: str, row: Row) -> list[str]:
    times = (f"{row[key]:.2f}" for key in ("p50_ms", "p99_ms", "model_p50_ms"))
    rest = (f"{row[key]:.0f}" for key in ("frames_per_second", "memory_mb"))
    return [file, row["runtime"], str(row["batch"]), *times, *rest]


if __name__ == "__main__":
    main()
