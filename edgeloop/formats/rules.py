"""Every kind of finding: what it means, how bad it is, what `--fix` does about it. docs/formats.md shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "notice"]

Kind = Literal[
    "image-without-label",
    "label-without-image",
    "unreadable-image",
    "oversized-image",
    "unreadable-label",
    "unknown-class",
    "class-spelling",
    "unused-class",
    "box-outside",
    "swapped-corners",
    "size-mismatch",
    "turned-annotation",
    "path-traversal",
    "zero-area",
    "duplicate-box",
    "duplicate-frame",
    "crowd-box",
    "unlisted-images",
    "linked-outside",
    "exif-rotation",
    "colour-mode",
    "odd-shape",
    "tiny-box",
    "whole-image-box",
    "near-duplicate-box",
    "odd-size",
    "leak",
    "near-duplicate",
]


@dataclass(frozen=True)
class Rule:
    """One kind of finding.

    Attributes:
        severity: when a labelled set is read. Whoever only collects images leaves bad ones out with a warning.
        phrase: how one reads in a sentence, after its count.
        fix: what `--fix` does; "" when it does nothing.
        depends: `--fix` can do so for some findings of the kind; each says for itself.
    """

    severity: Severity
    phrase: str
    fix: str = ""
    depends: bool = False


RULES: dict[Kind, Rule] = {
    "image-without-label": Rule(
        "error", "image without a label file (a background needs an empty one)", "image left out"
    ),
    "label-without-image": Rule("error", "label without its image", "label left out"),
    "unreadable-image": Rule("error", "unreadable image", "image left out"),
    "oversized-image": Rule("error", "oversized image", "image left out"),
    "unreadable-label": Rule("error", "unreadable label"),
    "unknown-class": Rule("error", "unknown class"),
    "class-spelling": Rule("error", "class names that differ only in case or spaces", "one spelling for all"),
    "box-outside": Rule("error", "box outside the image", "cut at the border, when its centre is inside", depends=True),
    "swapped-corners": Rule("error", "box with swapped corners", "corners put in order"),
    "size-mismatch": Rule(
        "error", "annotation for another image size", "boxes scaled, when the aspect ratio is the same", depends=True
    ),
    "turned-annotation": Rule("error", "annotation drawn before the EXIF rotation", "boxes turned as the image is"),
    "path-traversal": Rule("error", "file name that leaves the folder"),
    "unused-class": Rule("warning", "class in the list that the data set does not have, without a box"),
    "zero-area": Rule("warning", "box without area"),
    "duplicate-box": Rule("warning", "repeated box"),
    "duplicate-frame": Rule("warning", "repeated frame"),
    "crowd-box": Rule("warning", "box around a crowd"),
    "unlisted-images": Rule("warning", "folder of images that nothing lists"),
    "linked-outside": Rule("notice", "link that leads out of the set"),
    "exif-rotation": Rule("notice", "image that is turned by its EXIF orientation"),
    "colour-mode": Rule("notice", "image that is not 8-bit colour"),
    "odd-shape": Rule("notice", "box of an extreme aspect ratio"),
    "tiny-box": Rule("notice", "tiny box"),
    "whole-image-box": Rule("notice", "box around nearly the whole image"),
    "near-duplicate-box": Rule("notice", "two boxes of one class on one object"),
    "odd-size": Rule("notice", "box of an unusual size for its class"),
    "leak": Rule("warning", "frame that would leak between the sides of the split"),
    "near-duplicate": Rule("notice", "frame that nearly shows what another one shows"),
}
