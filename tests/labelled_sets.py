"""Small labelled sets in each layout, written by hand so that they can be wrong in any way."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import cv2
import numpy as np

from edgeloop.formats import yolo

NAMES = ("scratch", "dent")


def picture(path: Path, width: int = 64, height: int = 48, seed: int = 0) -> Path:
    """A small image of noise, so that no two seeds share their bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    assert cv2.imwrite(str(path), pixels)
    return path


def smooth(seed: int, width: int = 64, height: int = 64) -> np.ndarray:
    """Coarse noise enlarged, (height, width, 3) uint8: no two seeds look alike to a perceptual hash."""
    noise = np.random.default_rng(seed).integers(0, 256, (9, 9, 3)).astype(np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


def yolo_set(folder: Path, lines: dict[str, str], side: str = "train") -> Path:
    """A YOLO set with one image per key and the value as its label file."""
    for seed, (stem, text) in enumerate(sorted(lines.items())):
        picture(folder / "images" / side / f"{stem}.jpg", seed=seed)
        label = folder / "labels" / side / f"{stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    (folder / "data.yaml").write_text(yolo.yaml_text(NAMES, [side] if side else []))
    return folder


def voc_set(folder: Path, body: str, filename: str = "a.jpg", size: tuple[int, int] = (64, 48)) -> Path:
    """A VOC set of one image; `body` is what stands behind <size>."""
    picture(folder / "JPEGImages" / "a.jpg")
    (folder / "Annotations").mkdir()
    (folder / "Annotations" / "a.xml").write_text(
        f"<annotation><filename>{filename}</filename><size><width>{size[0]}</width><height>{size[1]}</height></size>"
        f"{body}</annotation>"
    )
    return folder


def voc_object(name: str, *corners: object) -> str:
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=True)
    box = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{name}</name><bndbox>{box}</bndbox></object>"


def coco_set(folder: Path, *annotations: dict[str, object], **image: object) -> Path:
    """A COCO set of one image of 64 x 48 pixels, `image` overrides what the document says of it."""
    picture(folder / "images" / "a.jpg")
    document = coco_document(*annotations, **image)
    (folder / "annotations.json").write_text(json.dumps(document))
    return folder


def coco_document(*annotations: dict[str, object], **image: object) -> dict[str, object]:
    """A document of one image; annotations without an id, an image or a category get 1, 7 and 3."""
    return {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 64, "height": 48, **image}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 3, **annotation} for annotation in annotations],
        "categories": [{"id": 9, "name": "dent"}, {"id": 3, "name": "scratch"}],
    }


def with_orientation(content: bytes, orientation: int, order: str = "<") -> bytes:
    """The JPEG with an EXIF segment that says how the camera was held."""
    mark = b"II*\0" if order == "<" else b"MM\0*"
    tiff = mark + struct.pack(order + "IHHHIHHI", 8, 1, 0x112, 3, 1, orientation, 0, 0)
    segment = b"Exif\0\0" + tiff
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + content[2:]


def encoded(suffix: str, pixels: np.ndarray) -> bytes:
    """A picture as the bytes of a file."""
    done, content = cv2.imencode(suffix, pixels)
    assert done
    return content.tobytes()
