"""COCO's average precision from faster-coco-eval: the numbers that a report states, and what our own are held to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgeloop.bootstrap import Doubles
from edgeloop.boxes import Detections
from edgeloop.errors import BadInput
from edgeloop.matching import MAXIMUM_DETECTIONS, Truths

AREAS = ("all", "small", "medium", "large")  # COCO's, in the order of its evaluators


def coco_average_precision(detections: Sequence[Detections], truths: Sequence[Truths], class_count: int) -> Doubles:
    """COCO's average precision: (classes, 10) float64 in 0..1, NaN for a class without truth.

    Raises:
        BadInput: faster-coco-eval is not installed.
    """
    everything: Doubles = coco_by_area(detections, truths, class_count)[0]
    return everything


def coco_by_area(detections: Sequence[Detections], truths: Sequence[Truths], class_count: int) -> Doubles:
    """The same for each of `AREAS`: (4, classes, 10). COCO's evaluators always compute all four.

    Raises:
        BadInput: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise BadInput("evaluation needs faster-coco-eval: pip install faster-coco-eval.") from error
    dataset, results = coco_documents(detections, truths, class_count)
    labelled = COCO(dataset)
    judge = COCOeval_faster(labelled, labelled.loadRes(results), "bbox", print_function=_quiet)
    judge.params.maxDets = [MAXIMUM_DETECTIONS]
    judge.evaluate()
    judge.accumulate()
    return mean_over_recalls(judge.eval["precision"])


def mean_over_recalls(precision: Doubles) -> Doubles:
    """(areas, classes, IoU limits) from an evaluator's (IoU limit, recall, class, area, detections) table."""
    last = precision[..., -1]
    mean: Doubles = np.where(last.min(axis=1) < 0, np.nan, last.mean(axis=1)).transpose(2, 1, 0)
    return mean


def coco_documents(
    detections: Sequence[Detections], truths: Sequence[Truths], class_count: int
) -> tuple[dict[str, object], list[dict[str, object]]]:
    """Labels and detections as COCO's own structures: the data set and the list of results."""
    annotations: list[dict[str, object]] = []
    for index, truth in enumerate(truths):
        annotations += [
            box | {"id": len(annotations) + row, "area": size, "iscrowd": 0}
            for row, (box, size) in enumerate(_boxes(index, truth), start=1)
        ]
    results = [
        box | {"score": score, "segmentation": []}  # the evaluators build a polygon for what has no segmentation
        for index, seen in enumerate(detections)
        for (box, _), score in zip(_boxes(index, seen), seen.scores.tolist(), strict=True)
    ]
    images: list[dict[str, object]] = [{"id": index} for index in range(len(truths))]
    categories = [{"id": index, "name": str(index)} for index in range(class_count)]
    return {"images": images, "annotations": annotations, "categories": categories, "info": {}}, results


def _boxes(index: int, of_frame: Detections | Truths) -> list[tuple[dict[str, object], float]]:
    """COCO's xywh in double precision, as it computes, with the area of each."""
    corners = of_frame.boxes.astype(np.float64)
    xywh = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
    sizes = (xywh[:, 2] * xywh[:, 3]).tolist()
    return [
        ({"image_id": index, "category_id": class_id, "bbox": box}, size)
        for box, class_id, size in zip(xywh.tolist(), of_frame.classes.tolist(), sizes, strict=True)
    ]


def _quiet(*_: object) -> None:
    """faster-coco-eval reports its progress here."""
