"""Does `auto` pick the fastest runtime? Ten fresh choices a file against a long measurement before and after them.

    python -m benchmarks.auto_trials [--checkpoint CHECKPOINT.pt] [--trials N] [--threads N]

Ultralytics exports the checkpoint at 64, 96, 192 and 640 pixels; an INT8 file is made from each. Which runtime is the
fastest is what up to 800 interleaved rounds say, half of them before the trials and half after. A trial starts with
an empty memory, loads every runtime anew and measures as a device does at its first start; it is right when it chose
that runtime. Rounds and seconds are what a trial took. Writes auto_trials.json and a table.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.frame_loop import ROOT, export, sample
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact
from edgeloop.card import QuantizeCard
from edgeloop.edge.auto import MAXIMUM_ROUNDS, RuntimeChoice, Times, measure, open_fastest
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import RuntimeName, Settings, installed, load
from edgeloop.files import sha256
from edgeloop.formats.paths import images_below
from edgeloop.progress import bar
from models.quantize import quantize

SIZES = (64, 96, 192, 640)  # the small ones are close, or ONNX Runtime's: a picker that knew one answer would fail
FRAMES = 48  # that INT8 is calibrated on


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--checkpoint", type=Path, default=ROOT / "models/weights/edgeloop-n.pt", help="a .pt you trust"
    )
    parser.add_argument("--trials", type=int, default=10, help="choices a file")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=MAXIMUM_ROUNDS, help="before and again after the trials")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        paths = list(images_below(sample(Path(work))))[:FRAMES]
        files = [one for side in SIZES for one in artifacts(asked.checkpoint, side, paths, Path(work))]
        rows = [row(one, asked.trials, Settings(asked.threads), asked.rounds) for one in files]
    document = {
        "machine": machine(),
        "instructions": instructions(),
        "threads": asked.threads,
        "trials": asked.trials,
        "versions": {name: version(name) for name in installed()},
        "checkpoint_sha256": sha256(asked.checkpoint),
        "rows": rows,
    }
    keep(asked.out, "auto_trials", document, table(document))


def artifacts(checkpoint: Path, side: int, paths: list[Path], work: Path) -> list[Artifact]:
    """FP32 as Ultralytics writes it, and INT8 made from it."""
    folder = work / str(side)
    folder.mkdir()
    fp32 = export(checkpoint, side, folder)
    return [fp32, quantize(fp32, paths, QuantizeCard(frames=len(paths)), folder / "int8.onnx")]


def row(artifact: Artifact, trials: int, settings: Settings, rounds: int) -> dict[str, Any]:
    """The trials of one file between the two halves of the long measurement."""
    before = long_run(artifact, settings, rounds)
    chosen = [trial(artifact, settings) for _ in bar(range(trials), f"{artifact.precision} {artifact.imgsz}", trials)]
    after = long_run(artifact, settings, rounds)
    medians = {name: float(np.median(np.concatenate([before[name], after[name]]))) for name in before}
    first, second = sorted(medians.values())[:2]
    fastest = min(medians, key=lambda name: medians[name])
    return {
        "input": artifact.imgsz,
        "precision": artifact.precision,
        "median_ms": {name: round(value, 3) for name, value in medians.items()},
        "fastest": fastest,
        "lead": round(second / first - 1, 4),
        "right": sum(choice.runtime == fastest for choice, _ in chosen),
        "trials": trials,
        "sure": sum(choice.sure for choice, _ in chosen),
        "rounds": float(np.median([choice.rounds for choice, _ in chosen])),
        "seconds": round(float(np.median([seconds for _, seconds in chosen])), 2),
        "loss_of_wrong": round(max(medians[choice.runtime] / first - 1 for choice, _ in chosen), 4),
    }


def long_run(artifact: Artifact, settings: Settings, rounds: int) -> dict[RuntimeName, Times]:
    loaded = {name: load(artifact.path, name, settings) for name in installed()}
    taken = measure(loaded, rounds=rounds, sure=math.inf)
    for runtime in loaded.values():
        runtime.close()
    return taken


def trial(artifact: Artifact, settings: Settings) -> tuple[RuntimeChoice, float]:
    """A first start: what was chosen and the seconds it took."""
    with tempfile.TemporaryDirectory() as cache:
        begin = time.monotonic()
        open_fastest(artifact.path, installed(), Settings(settings.threads, cache=Path(cache))).close()
        seconds = time.monotonic() - begin
        (remembered,) = Path(cache).glob("runtime-*.json")
        return RuntimeChoice.load(remembered), seconds


def table(document: dict[str, Any]) -> str:
    right, trials = (sum(row[key] for row in document["rows"]) for key in ("right", "trials"))
    command = f"python -m benchmarks.auto_trials --trials {document['trials']} --threads {document['threads']}"
    run = f"`{command}`; {document['machine']} ({', '.join(document['instructions'])}), {document['threads']} thread"
    columns = "input|file|medians, ms|fastest|its lead|right|sure|rounds|seconds|worst choice loses"
    figures = markdown(columns.split("|"), map(cells, document["rows"]))
    return f"{run}: `auto` chose the fastest runtime in {right} of {trials} trials.\n\n{figures}"


def cells(row: dict[str, Any]) -> list[str]:
    medians = ", ".join(f"{name} {value:.2f}" for name, value in row["median_ms"].items())
    figures = [f"{row['right']} of {row['trials']}", f"{row['sure']}", f"{row['rounds']:.0f}", f"{row['seconds']:.1f}"]
    return [
        str(row["input"]),
        row["precision"].upper(),
        medians,
        row["fastest"],
        f"{row['lead']:.1%}",
        *figures,
        f"{row['loss_of_wrong']:.1%}",
    ]


if __name__ == "__main__":
    main()
