"""What a smaller input and a larger batch bring and cost: 640, 416 and 320 pixels, batch 1, 4 and 8, FP32 and INT8.

    python -m benchmarks.sizes --neu-det DIR --bccd DIR --start CHECKPOINT.pt

Trains each set's detector once and exports the same weights at every size, and at the side that they were trained at:
what changes is the input alone, not the training. INT8 is calibrated at each size on the training side; accuracy is of
a side that had no part in anything. BCCD's pictures have 640 x 480 pixels; it is trained at 416. NEU-DET's have
200 x 200, so that more than 192 is enlarged and can show nothing new. The sample is photographed at 640 x 640 for this,
at the scale at which its card is trained on cut-outs of 192 x 192. Latency is of the device's whole frame path, all
files and runtimes of a set taking turns. Writes sizes.json, sizes.md and sizes.svg after every set. What was trained,
exported and scored before, in --work, is used again; the sample needs no data: --sets sample.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.int8_sets import SAMPLE, MeasuredSet, ask_for_sets, command, sample, sets_of, side_of_set
from benchmarks.writing import RESULTS, keep, markdown
from edgeloop.artifact import Artifact, Precision, load_artifact, sidecar_of
from edgeloop.audit import AuditFrames
from edgeloop.bootstrap import paired_interval, relative_loss
from edgeloop.card import DeviceProfile, EvaluationCard
from edgeloop.edge.benchmark import compare
from edgeloop.edge.frame import decode_image
from edgeloop.edge.machine import instructions, machine
from edgeloop.edge.runtime import CPU_RUNTIMES, RuntimeName
from edgeloop.evaluation import evaluate, match_audit
from edgeloop.measures import BenchmarkReport, EvaluationReport, Interval
from edgeloop.predictions import load_predictions
from models.calibration import choose_frames, describe_frames
from models.quantize import quantize
from models.ultralytics_door import export_onnx

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SIDES, BATCHES = (640, 416, 320), (1, 4, 8)
PRECISIONS: tuple[Precision, ...] = ("fp32", "int8")
RESAMPLES = 1000
TRAINED = {"bccd": {"imgsz": 416, "epochs": 6}}  # changes of the set's card
LARGE = SAMPLE.model_copy(update={"train": 200, "val": 4, "audit": 300, "side": 640})
Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ask_for_sets(parser)
    parser.add_argument("--frames", type=int, default=160, help="timed frames a file, runtime and batch")
    parser.add_argument("--out", type=Path, default=RESULTS)
    asked = parser.parse_args()
    begin = time.monotonic()
    about = {"machine": machine(), "instructions": instructions(), "timed_frames": asked.frames}
    sets: list[Row] = []
    for of in sets_of(parser, asked, TRAINED):
        sets.append(measure(large(of, asked.work), asked.work, asked.frames))
        document = {**about, "sets": sets, "seconds": round(time.monotonic() - begin)}
        plot(sets, asked.out / "sizes.svg")
        keep(asked.out, "sizes", document, report(document))


def large(of: MeasuredSet, work: Path) -> MeasuredSet:
    """The sample on pictures of 640 pixels; the other sets as they are."""
    if of.name != "sample":
        return of
    frames, names = sample(LARGE, work)
    scoring = AuditFrames(f"sample-{LARGE.side}", names, side_of_set(frames, "test"))
    return replace(of, train=side_of_set(frames, "train"), scoring=scoring)


def measure(of: MeasuredSet, work: Path, frames: int) -> Row:
    """One set: what was trained, and its rows."""
    sides = sorted({*SIDES, of.card.imgsz}, reverse=True)
    files = {(side, kind): file for side in sides for kind, file in export(of, side, work).items()}
    first = of.scoring.frames[0].frame
    return {
        "set": of.name,
        "card": of.card.name,
        "train_side": of.card.imgsz,
        "epochs": of.checkpoint.epochs,
        "picture": f"{first.width} x {first.height}",
        "frames": {"train": len(of.train), "scored": len(of.scoring.frames)},
        "rows": [*rows(of, files, work / "sizes", frames)],
    }


def export(of: MeasuredSet, side: int, work: Path) -> dict[Precision, Artifact]:
    """The weights at one input size, with an open batch, and INT8 made from that file."""
    card = of.card.model_copy(update={"imgsz": side})
    folder = work / "sizes" / f"{of.checkpoint.sha256[:12]}-{side}"
    whole, small = folder / "fp32.onnx", folder / "int8.onnx"
    if not sidecar_of(whole).is_file():
        export_onnx(of.checkpoint, card, of.checkpoint.names, whole, dynamic=True)
    if not sidecar_of(small).is_file():
        images = choose_frames(describe_frames(of.train), card.quantize.frames, card.seed)
        quantize(load_artifact(whole), images, card.quantize, small)
    return {"fp32": load_artifact(whole), "int8": load_artifact(small)}


def rows(of: MeasuredSet, files: dict[tuple[int, Precision], Artifact], work: Path, frames: int) -> Iterator[Row]:
    """A row for each file and runtime: accuracy against 640 pixels in FP32, and latency at each batch."""
    profile = DeviceProfile(name="here", runtimes=CPU_RUNTIMES, threads=1, timed_frames=frames)
    shown = [frame.frame.image for frame in of.scoring.frames[:32]]
    images = [decode_image(path.read_bytes(), str(path)) for path in shown]
    timed = {
        (one.artifact_id, one.runtime, batch): one
        for batch in BATCHES
        for one in compare(list(files.values()), profile, images, batch)
    }
    for runtime, ((side, kind), file) in product(CPU_RUNTIMES, files.items()):
        found = accuracy(of, file, runtime, work)
        base = accuracy(of, files[SIDES[0], "fp32"], runtime, work)
        yield {
            "side": side,
            "precision": kind,
            "runtime": runtime,
            "map50": found.map50,
            "map50_95": json.loads(found.intervals["map50_95"].to_json()),
            "lost": json.loads(lost(of, file, found, (files[SIDES[0], "fp32"], base)).to_json()),
            "size_mb": timed[file.id, runtime, 1].size_mb,
            "batches": [timing(timed[file.id, runtime, batch]) for batch in BATCHES],
            "speedup": timed[files[SIDES[0], kind].id, runtime, 1].total.p50 / timed[file.id, runtime, 1].total.p50,
        }


def accuracy(of: MeasuredSet, file: Artifact, runtime: RuntimeName, work: Path) -> EvaluationReport:
    """On the scoring side in one runtime; measured once."""
    folder = work / f"scored-{runtime}-{of.scoring.digest}"
    path = folder / f"{file.id}.json"
    if not path.is_file():
        profile = DeviceProfile(name="here", runtimes=(runtime,), threads=1)
        evaluate(file, of.scoring, profile, folder, EvaluationCard(resamples=RESAMPLES)).save(path)
    return EvaluationReport.load(path)


def lost(of: MeasuredSet, file: Artifact, found: EvaluationReport, base: tuple[Artifact, EvaluationReport]) -> Interval:
    """mAP50-95 lost against the largest FP32 input, relative, with the paired interval over frames."""
    mine, theirs = (
        match_audit(one, of.scoring, load_predictions(report.predictions, one.id, of.scoring))
        for one, report in ((file, found), base)
    )
    return paired_interval(mine, theirs, "map50_95", relative_loss)


def timing(found: BenchmarkReport) -> Row:
    """Of one image, in milliseconds: percentiles are of whole batches."""
    return {
        "batch": found.batch,
        "p50_ms": found.total.p50,
        "p99_ms": found.total.p99,
        "ms_an_image": found.total.p50 / found.batch,
        "memory_mb": found.memory_mb,
    }


def report(document: Row) -> str:
    """The figures in Markdown."""
    sets = document["sets"]
    about = (
        f"`{command('sizes', (one['set'] for one in sets))}`; {document['machine']}, "
        f"{', '.join(document['instructions'])}; one thread. The same weights at each size, open batch. "
        f"Lost: of mAP50-95 against {SIDES[0]} pixels in FP32 in the same runtime, relative, with the 95 % paired "
        f"interval; below zero is a gain. Latency: median from decoded image to boxes, {document['timed_frames']} "
        f"frames; speed-up against {SIDES[0]} pixels in the same precision and runtime, batch 1. Memory: peak of a "
        f"process that runs the file."
    )
    tables = [f"## {one['set']}\n\n{told(one)}\n\n{table(one)}" for one in sets]
    return "\n".join(["# Input size and batch", "", about, "", *tables, "![Accuracy and latency](sizes.svg)", ""])


def told(of: Row) -> str:
    """What was trained and scored."""
    return (
        f"{of['card']}, trained once at {of['train_side']} pixels for {of['epochs']} epochs; scored on "
        f"{of['frames']['scored']} other frames of {of['picture']} pixels."
    )


def table(of: Row) -> str:
    """One set."""
    heads = ["runtime", "file", "input", "mAP50-95", "lost", "size MB", "p50 ms", "p99 ms", "speed-up"]
    heads += [*(f"ms an image, batch {batch}" for batch in BATCHES[1:]), *(f"MB, batch {batch}" for batch in BATCHES)]
    return markdown(heads, map(cells, of["rows"]))


def cells(row: Row) -> list[str]:
    one, *more = row["batches"]
    low, value, high = (100 * row["map50_95"][end] for end in ("low", "value", "high"))
    lost_low, lost_value, lost_high = (100 * row["lost"][end] for end in ("low", "value", "high"))
    return [
        row["runtime"], row["precision"].upper(), str(row["side"]), f"{value:.1f} % [{low:.1f}, {high:.1f}]",
        f"{lost_value:.1f} % [{lost_low:+.1f}, {lost_high:+.1f}]", f"{row['size_mb']:.2f}", f"{one['p50_ms']:.2f}",
        f"{one['p99_ms']:.2f}", f"{row['speedup']:.2f}x", *(f"{other['ms_an_image']:.2f}" for other in more),
        *(f"{other['memory_mb']:.0f}" for other in row["batches"]),
    ]  # fmt: skip


def plot(sets: list[Row], out: Path) -> None:
    """A row for each set: accuracy against latency, and what a batch brings, side by side."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "sizes", "font.size": 9})
    figure = Figure(figsize=(10, 4.2 * len(sets)), layout="constrained")
    for of, (left, right) in zip(sets, figure.subplots(len(sets), 2, squeeze=False), strict=True):
        draw(of, left, right)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, metadata={"Date": None})


def draw(of: Row, left: Axes, right: Axes) -> None:
    """One set."""
    styles = {"fp32": ("#2563eb", "o"), "int8": ("#d97706", "s")}
    dashes = dict(zip(CPU_RUNTIMES, ("-", "--"), strict=True))
    for runtime, kind in product(CPU_RUNTIMES, PRECISIONS):
        rows = [row for row in of["rows"] if (row["runtime"], row["precision"]) == (runtime, kind)]
        colour, marker = styles[kind]
        times, values = ([pick(row) for row in rows] for pick in (_p50, _map))
        ends = [[100 * abs(row["map50_95"][end] - row["map50_95"]["value"]) for row in rows] for end in ("low", "high")]
        left.errorbar(
            times, values, ends, color=colour, marker=marker, linestyle=dashes[runtime], elinewidth=0.6,
            label=f"{kind.upper()}, {runtime}",
        )  # fmt: skip
        for row, time_taken, value in zip(rows, times, values, strict=True):
            left.annotate(str(row["side"]), (time_taken, value), xytext=(5, 5), textcoords="offset points", fontsize=7)
            each = [one["ms_an_image"] for one in row["batches"]]
            right.plot(BATCHES, each, color=colour, marker=marker, linestyle=dashes[runtime], linewidth=1)
            if runtime == CPU_RUNTIMES[-1]:
                right.annotate(
                    str(row["side"]), (BATCHES[-1], each[-1]), xytext=(6, -3), textcoords="offset points", fontsize=7
                )
    trained = f"{of['set']}, trained at {of['train_side']}; input side in pixels"
    left.set(xscale="log", xlabel="p50, ms a frame, batch 1", ylabel="mAP50-95, %", title=trained)
    right.set(yscale="log", xticks=BATCHES, xlabel="batch", ylabel="ms an image", title="What a batch brings")
    for axes, axis in ((left, left.xaxis), (right, right.yaxis)):
        axes.grid(alpha=0.3, which="both")
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("{x:g}")
        axis.set_tick_params(which="both", labelsize=7)
    left.legend(fontsize=7)


def _p50(row: Row) -> float:
    return float(row["batches"][0]["p50_ms"])


def _map(row: Row) -> float:
    return 100 * float(row["map50_95"]["value"])


if __name__ == "__main__":
    main()
