"""Train the base checkpoint that the sample's card starts from: `python -m models.pretrain`.

It learns plain shapes on plain noise (`edgeloop.sample.primitives`), never a frame of the inspection line, so that what
the demo's champion knows about the line it learned from the line's labelled frames.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import cv2
import numpy as np
import typer
import yaml
from rich.console import Console
from rich.progress import track

from edgeloop.boxes import xyxy_to_yolo
from edgeloop.card import Card
from edgeloop.files import atomic_directory, atomic_file, write_text
from edgeloop.sample.primitives import SHAPES, draw_scene
from models.ultralytics_door import train

HERE = Path(__file__).resolve().parent
WEIGHTS = HERE / "weights" / "edgeloop-n.pt"
ARCHITECTURE = HERE / "cards" / "architectures" / "edgeloop-n.yaml"
VALIDATION_SHARE = 0.04
console = Console(stderr=True)

CARD = Card(
    name="edgeloop-n-base",
    architecture=str(ARCHITECTURE),
    imgsz=192,
    epochs=9,
    batch=32,
    learning_rate=0.003,
    optimizer="AdamW",
    seed=0,
    # The scenes bring their own variety; mirroring is free, and a mosaic would cost a quarter of the time.
    augment={
        "mosaic": 0.0,
        "fliplr": 0.5,
        "flipud": 0.5,
        "scale": 0.25,
        "translate": 0.05,
        "hsv_h": 0.0,
        "hsv_s": 0.2,
        "hsv_v": 0.1,
    },
)


def draw_scenes(out: Path, scenes: int, seed: int, size: int) -> Path:
    """Write `scenes` pretraining scenes of `size` pixels as a YOLO-layout set; returns its data.yaml.

    Scene i of a seed is the same whatever the number of scenes.
    """
    validation = max(round(scenes * VALIDATION_SHARE), 1)
    with atomic_directory(out) as folder:
        for side in ("train", "val"):
            (folder / "images" / side).mkdir(parents=True)
            (folder / "labels" / side).mkdir(parents=True)
        for index in track(range(scenes), "draw scenes", console=console, disable=not console.is_terminal):
            _write_scene(folder, "val" if index < validation else "train", index, (seed, size))
        document = {"train": "images/train", "val": "images/val", "names": dict(enumerate(SHAPES))}
        write_text(folder / "data.yaml", yaml.safe_dump(document, sort_keys=False))
    return out / "data.yaml"


def _write_scene(folder: Path, side: str, index: int, looks: tuple[int, int]) -> None:
    seed, size = looks
    picture, found = draw_scene(np.random.default_rng([seed, index]), size)
    name = f"scene{index:06d}"
    cv2.imwrite(str(folder / "images" / side / f"{name}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    boxes = xyxy_to_yolo([box for _, box in found], size, size)
    lines = [f"{shape} " + " ".join(f"{v:.6f}" for v in box) for (shape, _), box in zip(found, boxes, strict=True)]
    (folder / "labels" / side / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def pretrain(
    out: Annotated[Path, typer.Option(help="Where the checkpoint goes.")] = WEIGHTS,
    scenes: Annotated[int, typer.Option(min=32, help="Pretraining scenes to draw.")] = 8000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over them.")] = CARD.epochs,
    work: Annotated[Path, typer.Option(help="Folder for the scenes and the run; kept.")] = Path("var/pretrain"),
    seed: Annotated[int, typer.Option(help="Of the scenes and of the training.")] = CARD.seed,
) -> None:
    """Draw the scenes, train the base checkpoint on them and put it in place."""
    data = draw_scenes(work / "scenes", scenes, seed, CARD.imgsz)
    card = CARD.model_copy(update={"seed": seed, "epochs": epochs})
    trained = train(
        data, card, work / "run", start=None, epochs=epochs, on_epoch=lambda point: console.print(str(point))
    )
    with atomic_file(out) as temporary:
        shutil.copyfile(trained.path, temporary)
    console.print(f"{out} {trained.sha256}")


if __name__ == "__main__":
    typer.run(pretrain)
