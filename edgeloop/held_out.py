"""What is held out: test and audit frames judge, so nothing is trained or calibrated on them or on pictures like them.

Everything that learns from images asks here first: the trainer's staged copy (`models.staging`) and the calibration of
INT8 (`models.quantize`, `tasks.quantize`). Thresholds are another matter: they are tuned on the tuning half of an audit
set and judged on the other half (`edgeloop.audit`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.formats.assemble import images_below
from edgeloop.formats.findings import printable
from edgeloop.formats.images import ImageFacts, inspect_all, measure_all
from edgeloop.frames import HELD_OUT
from edgeloop.manifest import Row, has_manifest, read_manifest
from edgeloop.near_duplicates import pairs_between


@dataclass(frozen=True)
class HeldOut:
    """Frames that nothing may learn from.

    Attributes:
        images: the file of each, by the first 16 digits of its SHA-256, which is its id unless a device named it.
        looks: the perceptual hashes that are known already, by the same.
    """

    images: Mapping[str, Path] = field(default_factory=dict)
    looks: Mapping[str, int | None] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Path | None, audits: Iterable[Path] = ()) -> HeldOut:
        """The test and audit sides of a data set, and every frame of further audit sets.

        Args:
            data: a data set or a snapshot; one without a manifest holds nothing out.
            audits: folders of images.
        """
        rows = [row for row in _rows(data) if row.split in HELD_OUT] if data else []
        images = {row.sha256[:16]: Path(data or "", row.file) for row in rows}
        for folder in audits:
            files = list(images_below(folder))
            found = zip(files, measure_all(files), strict=True)
            images |= {facts.frame_id: file for file, facts in found if isinstance(facts, ImageFacts)}
        return cls(images, {row.sha256[:16]: row.perceptual_hash for row in rows if row.perceptual_hash is not None})

    def refuse(self, images: Sequence[Path], use: str) -> None:
        """Stop before anything is learned from a frame that is held out.

        An image of a data set is known by its manifest, which has no near duplicates on two sides. Any other is looked
        at, and may not nearly show what a held-out frame shows either.

        Args:
            images: files that are about to be used.
            use: for what, as a participle: "trained on".

        Raises:
            BadInput: one of them is held out; the first is named.
        """
        listed = _listed(images)
        for image, row in listed.items():
            if row.split in HELD_OUT or row.sha256[:16] in self.images:
                raise _refusal(image, row.frame_id, use)
        strangers = [image for image in images if image not in listed]
        if self.images and strangers:
            self._refuse_strangers(strangers, use)

    def _refuse_strangers(self, images: Sequence[Path], use: str) -> None:
        facts = inspect_all(images, "looking for held-out frames")
        readable = [(image, one) for image, one in zip(images, facts, strict=True) if isinstance(one, ImageFacts)]
        for image, one in readable:
            if one.frame_id in self.images:
                raise _refusal(image, one.frame_id, use)
        seen = [(image, one.perceptual_hash) for image, one in readable if one.perceptual_hash is not None]
        known = self._all_looks()
        near = pairs_between([look for _, look in seen], [look for _, look in known])
        if near:
            raise _refusal(seen[near[0][0]][0], known[near[0][1]][0], use, "looks like")

    def _all_looks(self) -> list[tuple[str, int]]:
        """Every held-out frame that is not flat, and its perceptual hash."""
        missing = [frame_id for frame_id in self.images if frame_id not in self.looks]
        facts = inspect_all([self.images[frame_id] for frame_id in missing], "looking at held-out frames")
        looked = ((name, one) for name, one in zip(missing, facts, strict=True) if isinstance(one, ImageFacts))
        looks = {**self.looks, **{name: one.perceptual_hash for name, one in looked}}
        return [(name, look) for name, look in looks.items() if look is not None]


def _refusal(image: Path, frame_id: str, use: str, how: str = "is") -> BadInput:
    return BadInput(
        f"{printable(image)} {how} the held-out frame {frame_id} and would be {use}; expected only frames that nothing "
        f"is judged by. Take it out, or name a set without test and audit frames."
    )


def _rows(folder: Path) -> list[Row]:
    return read_manifest(folder) if has_manifest(folder) else []


def _listed(images: Iterable[Path]) -> dict[Path, Row]:
    """The rows of those images that lie in a data set, `<data set>/images/<side>/<name>`."""
    rows: dict[Path, dict[str, Row]] = {}
    found: dict[Path, Row] = {}
    for image in images:
        root = image.parent.parent.parent
        if root not in rows:
            rows[root] = {row.file: row for row in _rows(root)}
        row = rows[root].get(f"{image.parent.parent.name}/{image.parent.name}/{image.name}")
        if row is not None:
            found[image] = row
    return found
