"""Label Studio's JSON: its label configuration, its tasks, and its regions in percent of the image."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from pydantic import ValidationError

from edgeloop.errors import BadInput
from edgeloop.frames import Frame, Label
from edgeloop.labelling import Corners, QueueTask
from edgeloop.record import explain

CONTROL, IMAGE = "label", "image"
# One name for every artifact's proposals: Label Studio orders and pre-fills only tasks whose predictions carry the
# project's model version, so a new name would drop every waiting task out of the order. The artifact is in the data.
MODEL_VERSION = "edgeloop"
FRAME_FACTS = ("camera", "time", "width", "height")
TASK_FACTS = ("stratum", "score", "reason", "artifact_id")
SHAPES = ("x", "points", "vertices", "rle", "format")  # keys of a region that draws something


def label_config(names: Sequence[str]) -> str:
    """The labelling screen for these classes; `category` keeps the class id when people reorder or add labels."""
    view = ElementTree.Element("View")
    ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true", zoomControl="true")
    control = ElementTree.SubElement(view, "RectangleLabels", name=CONTROL, toName=IMAGE, canRotate="false")
    for class_id, name in enumerate(names):
        ElementTree.SubElement(control, "Label", value=name, category=str(class_id))
    return ElementTree.tostring(view, encoding="unicode")


def class_ids(parsed: Mapping[str, Any]) -> dict[str, int]:
    """Label name to class id, from the server's parsed label configuration; labels without an id are not ours."""
    attributes = parsed.get(CONTROL, {}).get("labels_attrs", {})
    return {
        name: int(found["category"]) for name, found in attributes.items() if str(found.get("category", "")).isdigit()
    }


def task_json(task: QueueTask, image: str, names: Sequence[str]) -> dict[str, Any]:
    """A task with its proposals, as the import takes it.

    Args:
        task: the frame and the detector's boxes.
        image: the image's address as Label Studio knows it.
        names: class names, index is the class id.
    """
    frame = task.frame
    regions = [
        {
            "id": f"p{number}",
            "type": "rectanglelabels",
            "from_name": CONTROL,
            "to_name": IMAGE,
            "original_width": frame.width,
            "original_height": frame.height,
            "image_rotation": 0,
            "score": round(prelabel.score, 4),
            "value": {
                **to_percent(prelabel.box, frame.width, frame.height),
                "rotation": 0,
                "rectanglelabels": [names[prelabel.class_id]],
            },
        }
        for number, prelabel in enumerate(task.prelabels)
    ]
    dumped = task.model_dump(mode="json")
    facts = {**{key: dumped["frame"][key] for key in FRAME_FACTS}, **{key: dumped[key] for key in TASK_FACTS}}
    return {
        "data": {IMAGE: image, "frame_id": frame.frame_id, "named": frame.named, **facts},
        "predictions": [{"model_version": MODEL_VERSION, "score": task.score, "result": regions}],
    }


def from_data(data: Mapping[str, Any], folder: Path) -> QueueTask:
    """The task that `task_json` wrote; its image is called after the frame in `folder`, whether it is there or not.

    Raises:
        BadInput: the task was not pushed by edgeloop, or its data were changed.
    """
    missing = [key for key in ("frame_id", *FRAME_FACTS, *TASK_FACTS) if key not in data]
    if missing:
        raise BadInput(f"its data have no {', '.join(missing)}, so edgeloop did not push it; delete it there.")
    if not re.fullmatch(r"[0-9a-f]{16}", str(data["frame_id"])):
        raise BadInput(f"its frame_id is {data['frame_id']!r}; expected 16 hexadecimal digits, restore them there.")
    image = folder / f"{data['frame_id']}{Path(str(data.get(IMAGE))).suffix}"
    named = data.get("named", "content")  # of tasks before devices named frames
    frame = {"frame_id": data["frame_id"], "image": image, "named": named, **{key: data[key] for key in FRAME_FACTS}}
    try:
        return QueueTask.model_validate({"frame": frame, **{key: data[key] for key in TASK_FACTS}})
    except ValidationError as error:
        raise BadInput(f"its data were changed: {explain(error)}; restore them there.") from error


def to_percent(box: Corners, width: int, height: int) -> dict[str, float]:
    """Corners in pixels to left, top, width and height in percent of the image."""
    x1, y1, x2, y2 = box
    return {
        "x": 100 * x1 / width, "y": 100 * y1 / height, "width": 100 * (x2 - x1) / width,
        "height": 100 * (y2 - y1) / height,
    }  # fmt: skip


def from_percent(value: Mapping[str, float], width: int, height: int) -> Corners:
    """Left, top, width, height in percent to corners in pixels, not yet cut to the image.

    A rotated box (degrees clockwise about its left top corner) becomes the upright box around it: the rotation is in
    pixels, not in percent, which matters on images that are not square.
    """
    left, top = value["x"] * width / 100, value["y"] * height / 100
    across, down = value["width"] * width / 100, value["height"] * height / 100
    angle = math.radians(value.get("rotation") or 0)
    xs = [left + u * math.cos(angle) - v * math.sin(angle) for u in (0, across) for v in (0, down)]
    ys = [top + u * math.sin(angle) + v * math.cos(angle) for u in (0, across) for v in (0, down)]
    return min(xs), min(ys), max(xs), max(ys)


def from_regions(regions: Sequence[Mapping[str, Any]], ids: Mapping[str, int], frame: Frame) -> tuple[Label, ...]:
    """The boxes of an annotation in pixels; what draws nothing (a choice, a text) is left out.

    Raises:
        BadInput: a region is not one upright class of ours, with the reason.
    """
    labels = [_label(region, ids, frame) for region in regions if _draws(region)]
    return tuple(labels)


def _draws(region: Mapping[str, Any]) -> bool:
    return any(key in (region.get("value") or {}) for key in SHAPES)


def _label(region: Mapping[str, Any], ids: Mapping[str, int], frame: Frame) -> Label:
    value, kind = region["value"], region.get("type")
    names = value.get("rectanglelabels") or []
    if kind != "rectanglelabels" or len(names) != 1:
        raise BadInput(f"a region is {kind} with the labels {names}; expected a rectangle with one label.")
    if names[0] not in ids:
        raise BadInput(f"a box is labelled {names[0]!r}; expected {', '.join(ids)}.")
    if region.get("image_rotation"):
        raise BadInput(f"the image was turned by {region['image_rotation']} degrees; turn it back and draw again.")
    numbers = [value.get(key) for key in ("x", "y", "width", "height")]
    if not all(isinstance(number, (int, float)) and math.isfinite(number) for number in numbers):
        raise BadInput(f"a box has the place {numbers}; expected four numbers in percent.")
    return Label(ids[names[0]], from_percent(value, frame.width, frame.height))


def standing_annotation(annotations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The annotation that counts: a reviewer's ground truth, else the newest answer, else a skip.

    Label Studio's Skip sends the proposals along, so a skip is known by `was_cancelled` and never by its boxes.
    """
    return max(annotations, key=lambda a: (not a["was_cancelled"], a["ground_truth"], a["updated_at"]), default=None)


def task_filter(field: str, operator: str, kind: str, value: object) -> str:
    """A query for tasks whose field compares so, for example `data.frame_id` `in_list` of `String`."""
    item = {"filter": f"filter:tasks:{field}", "operator": operator, "type": kind, "value": value}
    return json.dumps({"filters": {"conjunction": "and", "items": [item]}})
