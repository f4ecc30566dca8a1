"""The sets that the benchmarks of candidates measure on: three sides each, and a detector trained on the first.

train: what is trained on and calibrated with. val: what recipes are chosen on. test: what is scored, seen once.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from edgeloop.artifact import Artifact, load_artifact, sidecar_of
from edgeloop.audit import AuditFrames
from edgeloop.card import Card, load_card
from edgeloop.files import atomic_directory, sha256
from edgeloop.formats import yolo
from edgeloop.formats.detect import read
from edgeloop.frames import LabelledFrame, Split
from edgeloop.sample import SIZES, SampleSize, generate
from edgeloop.shares import Shares
from edgeloop.splits import group_of, side_of
from models.checkpoint import CHECKPOINT, Checkpoint, load_checkpoint_record
from models.ultralytics_door import export_onnx, train

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "var/benchmarks/sets"  # what is trained for one benchmark serves the others
CARDS = {"neu-det": "neu-det.yaml", "bccd": "bccd.yaml", "sample": "sample.yaml"}
# The demo's line with more frames to choose and to score on: a loss of half a per cent does not show on its 80.
SAMPLE = SIZES["demo"].model_copy(update={"val": 400, "stream": 20, "audit": 1000})
HELD_OUT = Shares(train=0.85, val=0.15)  # of a set that comes with two sides: its second one is scored
NO_CHANGES: Mapping[str, Mapping[str, object]] = MappingProxyType({})


@dataclass(frozen=True)
class MeasuredSet:
    """A labelled set with its three sides and what was trained on it.

    Attributes:
        name: of the set.
        card: what was trained.
        data: data.yaml of the sides that are trained on and chosen on.
        fp32: the float32 artifact.
        train: the frames of the training side.
        choosing: the frames that recipes are chosen on.
        scoring: the frames that numbers come from.
    """

    name: str
    card: Card
    data: Path
    fp32: Artifact
    checkpoint: Checkpoint
    train: tuple[LabelledFrame, ...]
    choosing: AuditFrames
    scoring: AuditFrames


def ask_for_sets(parser: argparse.ArgumentParser) -> None:
    """Options that say which sets are measured and where they are."""
    parser.add_argument("--neu-det", type=Path, metavar="DIR", help="NEU-DET in YOLO layout, with data.yaml")
    parser.add_argument("--bccd", type=Path, metavar="DIR", help="BCCD in Pascal VOC layout")
    parser.add_argument(
        "--start", type=Path, metavar="CHECKPOINT.pt", help="what both are fine-tuned from; a .pt you trust"
    )
    parser.add_argument(
        "--sets", help=f"some of {','.join(CARDS)}; by default those whose folder is given, and the sample"
    )
    parser.add_argument("--work", type=Path, default=WORK, help="what is trained and made; there, it is used again")


def sets_of(
    parser: argparse.ArgumentParser, asked: argparse.Namespace, changes: Mapping[str, Mapping[str, object]] = NO_CHANGES
) -> list[MeasuredSet]:
    """The sets that were asked for, prepared; ends the program with a sentence when something of them is missing.

    Args:
        parser, asked: which `ask_for_sets` told what to ask.
        changes: of each set's card, by the set's name.
    """
    folders = {"neu-det": asked.neu_det, "bccd": asked.bccd}
    given = [name for name in CARDS if name not in folders or folders[name]]
    names = asked.sets.split(",") if asked.sets else given
    for name in names:
        if name not in CARDS:
            parser.error(f"expected sets of {', '.join(CARDS)}; came {name}")
        if name in folders and not (folders[name] and asked.start):
            parser.error(f"{name} needs --{name} DIR and --start CHECKPOINT.pt")
    return [prepare(name, folders.get(name, SAMPLE), asked.start, asked.work, changes.get(name)) for name in names]


def command(benchmark: str, sets: Iterable[str]) -> str:
    """The command line that measures these sets."""
    chosen = tuple(sets)
    real = [name for name in chosen if name != "sample"]
    words = [f"--{name} DIR" for name in real] + ["--start CHECKPOINT.pt"] * bool(real)
    words += [] if "sample" in chosen else [f"--sets {','.join(chosen)}"]
    return " ".join([f"python -m benchmarks.{benchmark}", *words])


def prepare(
    name: str, source: Path | SampleSize, start: Path | None, work: Path, changes: Mapping[str, object] | None = None
) -> MeasuredSet:
    """Divide a set, train its card and export it; what an earlier run left in `work` is used again.

    Args:
        name: a key of `CARDS`.
        source: folder of the set, or how much of the sample is generated.
        start: checkpoint that the cards of real sets are fine-tuned from; a .pt you trust.
        work: folder for everything that is made.
        changes: keys of the card that are trained with instead.
    """
    card = load_card(ROOT / "models/cards" / CARDS[name]).model_copy(update=dict(changes or {}))
    if name != "sample":
        card = card.model_copy(update={"start": start})
    frames, names = _real(source) if isinstance(source, Path) else sample(source, work)
    sides = {side: side_of_set(frames, side) for side in ("train", "val", "test")}
    folder = work / _digest(card, frames)
    _lay_out(folder / "data", (*sides["train"], *sides["val"]), names)
    checkpoint = _trained(card, folder, len(sides["train"]))
    choosing, scoring = (AuditFrames(f"{name}-{side}", names, sides[side]) for side in ("val", "test"))
    data, fp32 = folder / "data" / "data.yaml", _exported(checkpoint, card, folder)
    return MeasuredSet(name, card, data, fp32, checkpoint, sides["train"], choosing, scoring)


def sample(size: SampleSize, work: Path) -> tuple[list[LabelledFrame], tuple[str, ...]]:
    """The generated line: what it labels, and the clean audit set at production prevalence, which is the test side."""
    folder = work / "-".join(map(str, ("sample", size.train, size.val, size.audit, size.side)))
    if not folder.is_dir():
        with atomic_directory(folder) as made:
            generate(made, size, seed=0)
    labelled, audit = (read(folder / part) for part in ("labelled", "audit-clean"))
    return [*labelled.frames, *(replace(frame, split="test") for frame in audit.frames)], labelled.names


def _real(source: Path) -> tuple[list[LabelledFrame], tuple[str, ...]]:
    """A set with its own three sides; one with two keeps its second for scoring and divides the first by a hash."""
    report = read(source)
    if any(frame.split == "test" for frame in report.frames):
        return list(report.frames), report.names
    return [replace(frame, split=_third(frame)) for frame in report.frames], report.names


def _third(frame: LabelledFrame) -> Split:
    return "test" if frame.split == "val" else side_of(group_of(frame), HELD_OUT)


def side_of_set(frames: Iterable[LabelledFrame], side: str) -> tuple[LabelledFrame, ...]:
    """The frames of one side, by frame id."""
    return tuple(sorted((f for f in frames if f.split == side), key=lambda frame: frame.frame.frame_id))


def _digest(card: Card, frames: Iterable[LabelledFrame]) -> str:
    """What a trained detector follows from: the card, the start's bytes, the frames and their sides."""
    start = sha256(card.start) if card.start else ""
    made = card.model_dump_json(
        exclude={"start", "architecture", "quantize", "thresholds", "gate", "precisions", "evaluation"}
    )
    held = sorted(f"{frame.frame.frame_id} {frame.split} {len(frame.labels)}" for frame in frames)
    parts = [made, Path(card.architecture).name, start, *held]
    return f"{card.name}-{hashlib.sha256(' '.join(parts).encode()).hexdigest()[:12]}"


def _lay_out(folder: Path, frames: tuple[LabelledFrame, ...], names: tuple[str, ...]) -> None:
    if not folder.is_dir():
        with atomic_directory(folder) as made:
            yolo.write_set(made, frames, names)


def _trained(card: Card, folder: Path, frames: int) -> Checkpoint:
    path = folder / "checkpoint" / CHECKPOINT
    if path.is_file():
        return load_checkpoint_record(path)
    data = folder / "data" / "data.yaml"
    return train(data, card, path.parent, start=card.start, epochs=card.epochs_for(frames))


def _exported(checkpoint: Checkpoint, card: Card, folder: Path) -> Artifact:
    path = folder / "fp32.onnx"
    if sidecar_of(path).is_file():
        return load_artifact(path)
    return export_onnx(checkpoint, card, checkpoint.names, path)
