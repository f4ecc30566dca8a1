"""Readers and writers of label formats: YOLO, Pascal VOC, COCO. `read` is the way in."""

from edgeloop.formats.detect import Format, detect, read
from edgeloop.formats.findings import Finding, ReadReport

__all__ = ["Finding", "Format", "ReadReport", "detect", "read"]
