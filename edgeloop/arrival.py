"""What a source is: a labelled set, images, videos, or what a device saw. And what taking it in came to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator

from edgeloop.errors import BadInput
from edgeloop.formats import Finding, detect
from edgeloop.formats.detect import Layout, NoLayout
from edgeloop.formats.findings import printable
from edgeloop.formats.images import SUFFIXES
from edgeloop.formats.paths import files_below, images_below, names_below
from edgeloop.log_intake import is_log
from edgeloop.record import Record
from edgeloop.splits import GroupRule
from edgeloop.video_frames import SUFFIXES as VIDEO_SUFFIXES
from edgeloop.video_frames import VideoSampling

Kind = Literal["labelled", "images", "video", "log"]
SourceFormat = Literal["auto", "yolo", "voc", "coco", "images", "video", "log"]
LAYOUTS: tuple[Layout, ...] = ("yolo", "voc", "coco")
LABEL_SUFFIXES = frozenset({".txt", ".xml", ".json"})


class IngestSettings(Record):
    """How sources are taken in.

    Attributes:
        format: what they are; "auto" looks.
        split_by: what belongs together on one side of the split (`edgeloop.splits.GroupRule`); None keeps the rule.
        fix: mend what can be mended in a labelled set; `edgeloop.formats.rules`.
        sampling: which frames of a video.
        camera: names the camera of a video; None takes what the file says.
        dry_run: say what would change, and change nothing.
    """

    format: SourceFormat = "auto"
    split_by: str | None = None
    fix: bool = False
    sampling: VideoSampling = VideoSampling()
    camera: str | None = None
    dry_run: bool = False

    @field_validator("split_by")
    @classmethod
    def _is_a_rule(cls, text: str | None) -> str | None:
        return None if text is None else GroupRule.parse(text).text


class Arrival(Record):
    """One thing to take in.

    Attributes:
        source: as it was named; a URL, where it is remote.
        place: the folder or file on this machine; None for a log, which is read where it is.
        kind: a labelled set goes into the data set, everything else into the store.
        layout: of a labelled set.
    """

    source: str
    place: Path | None
    kind: Kind
    layout: Layout | None = None


class IngestReport(Record):
    """What taking in one source found and changed.

    Attributes:
        source: as it was named.
        kind: what it was.
        files: image files in a labelled set.
        added: frames that are new, in the data set or in the store.
        updated, unchanged, kept, stayed: of a labelled set, as in `edgeloop.merge.MergeReport`.
        present: frames of anything else that the store had, or that came twice.
        duplicates: files of a labelled set whose bytes repeat in it.
        near_duplicates: frames that nearly show what another one shows, of a labelled set or of the data set; of frames
            for the store those that are new. A labelled set's are named in `notices`, or in `rejected` as leaks.
        names, boxes: classes of a labelled set, and the boxes of each that it gave.
        rows, flags: of a log, those that are new.
        rejected: what was left out, each with its path in the source and the reason.
        fixed: what was mended, because that was asked for.
        notices: what is worth a look; nothing was left out for it.
        warnings: what else people should know.
        state: what the data set holds now; hand it to `commit_version`. "" where the data set has no part in it.
        dry_run: nothing was changed.
    """

    source: str
    kind: Kind
    files: int = 0
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    kept: int = 0
    stayed: tuple[str, ...] = ()
    present: int = 0
    duplicates: int = 0
    near_duplicates: int = 0
    names: tuple[str, ...] = ()
    boxes: dict[str, int] = Field(default_factory=dict)
    rows: int = 0
    flags: int = 0
    rejected: tuple[Finding, ...] = ()
    fixed: tuple[Finding, ...] = ()
    notices: tuple[Finding, ...] = ()
    warnings: tuple[str, ...] = ()
    state: str = ""
    dry_run: bool = False


def makes_version(arrivals: Iterable[Arrival], settings: IngestSettings | None) -> bool:
    """Whether taking these in may change the data set, and so asks for a remote that takes its new version."""
    return not (settings and settings.dry_run) and any(arrival.kind == "labelled" for arrival in arrivals)


def recognise(source: str, place: Path, format: SourceFormat) -> list[Arrival]:  # noqa: A002
    """What a folder or file on this machine holds; several videos are several arrivals.

    Raises:
        BadInput: there is nothing, nothing that can be taken in, or several kinds at once; the sentence names the
            choices.
    """
    if not place.exists():
        raise BadInput(
            f"{printable(source)} does not exist; expected a labelled set, images, videos or a device's log."
        )
    if format in LAYOUTS:
        return [Arrival(source=source, place=_folder(place, source), kind="labelled", layout=format)]
    if format == "log" or (format == "auto" and place.is_dir() and is_log(str(place))):
        return [Arrival(source=source, place=None, kind="log")]
    if format == "auto" and place.is_dir() and (layout := _layout(place)):
        return [Arrival(source=source, place=place, kind="labelled", layout=layout)]
    return _frames(source, place, format)


def _frames(source: str, place: Path, format: SourceFormat) -> list[Arrival]:  # noqa: A002
    videos = _videos(place) if format in ("auto", "video") else []
    images = format != "video" and _has_image(place)
    if videos and images:
        raise BadInput(f"{printable(source)} holds images and videos: say --format images or --format video.")
    if videos:
        return [Arrival(source=source, place=video, kind="video") for video in videos]
    if images and format == "auto":
        _refuse_labels(source, place)
    if images:
        return [Arrival(source=source, place=place, kind="images")]
    wanted = {"images": "images (.jpg, .png, .bmp, .webp, .tif)", "video": "videos (.mp4, .avi, .mkv, …)"}
    looked_for = wanted.get(format, "a labelled set (YOLO, VOC or COCO), images, videos or a device's log")
    raise BadInput(f"{printable(source)} holds nothing to take in: expected {looked_for}.")


def _refuse_labels(source: str, place: Path) -> None:
    """Images with labels of their names, in no layout that is known, would lose them without anybody noticing.

    Wherever in the source they lie: KITTI keeps them in label_2/ beside image_2/.
    """
    found = {Path(name).stem: name for name in names_below(place, LABEL_SUFFIXES)} if place.is_dir() else {}
    image = next((path for path in images_below(place) if path.stem in found), None) if found else None
    if image is not None:
        label = found[image.stem]
        raise BadInput(
            f"{printable(source)} holds images and what may be their labels, such as {printable(label)}, in no "
            f"layout that edgeloop reads: lay them out as YOLO, VOC or COCO, or say --format images to leave them out."
        )


def _folder(place: Path, source: str) -> Path:
    if place.is_dir():
        return place
    raise BadInput(f"{printable(source)} is a file; expected the folder of a labelled set.")


def _layout(folder: Path) -> Layout | None:
    """A folder that is laid out like no labelled set is something else; a damaged set is refused."""
    try:
        return detect(folder)
    except NoLayout:
        return None


def _videos(place: Path) -> list[Path]:
    if place.is_file():
        return [place] if place.suffix.lower() in VIDEO_SUFFIXES else []
    return list(files_below(place, VIDEO_SUFFIXES))


def _has_image(place: Path) -> bool:
    return place.suffix.lower() in SUFFIXES if place.is_file() else any(images_below(place))
