"""Production played on a user's own set: nobody is on two sides, labels stay true, the drifted side drifts."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeloop.edge.statistics import measure
from edgeloop.errors import BadInput
from edgeloop.formats import read
from edgeloop.formats.names import camera_and_time
from edgeloop.frames import Frame, Label, LabelledFrame, Split
from edgeloop.sample import Scene, hold_back
from edgeloop.sample.hold_back import STREAM_FRAMES, divide
from edgeloop.sample.scene import SUBSETS, Subset

WIDTH, HEIGHT, BITS = 96, 64, 8
NAMES = ("bolt", "nut")
HELD_BACK: tuple[Subset, ...] = ("stream-clean", "stream-drifted", "audit-clean", "audit-drifted")


def frame(number: int, image: Path = Path(), split: Split | None = None, group: str = "") -> LabelledFrame:
    labels = (Label(int(number % 5 == 0), (20.0 + number % 8, 30.0, 50.0, 60.0)),) if number % 6 else ()
    taken = datetime(2026, 1, 1, tzinfo=timezone.utc)
    photo = Frame(f"{number:016x}", image, WIDTH, HEIGHT, "unknown", taken)
    return LabelledFrame(photo, labels, split=split, group=group)


def write_numbered(folder: Path, number: int, suffix: str = ".png") -> Path:
    """A picture with its number as light and dark blocks along the top, which survive blur, dimming and noise."""
    picture = np.full((HEIGHT, WIDTH, 3), 120, np.uint8)
    for bit in range(BITS):
        picture[:16, bit * 12 : bit * 12 + 12] = 200 if number >> bit & 1 else 60
    path = folder / f"source{number}{suffix}"
    cv2.imwrite(str(path), picture)
    return path


def number_of(path: Path) -> int:
    picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(float)
    ground = picture[36:60, 84:].mean()
    return sum((picture[4:10, bit * 12 + 4 : bit * 12 + 8].mean() > ground) << bit for bit in range(BITS))


def ids(frames: list[LabelledFrame]) -> set[str]:
    return {labelled.frame.frame_id for labelled in frames}


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> list[LabelledFrame]:
    folder = tmp_path_factory.mktemp("sources")
    return [frame(number, write_numbered(folder, number)) for number in range(72)]


@pytest.fixture(scope="module")
def scene(sources: list[LabelledFrame], tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return hold_back(sources, NAMES, tmp_path_factory.mktemp("held") / "scene", seed=1)


def pictures(scene: Scene, subset: Subset) -> list[Path]:
    return sorted((scene.folder(subset) / "images").rglob("*.png"))


def test_no_source_is_in_two_subsets_and_none_is_lost(scene: Scene) -> None:
    """Every written picture tells which source it shows: the five sub-sets have disjoint sources and together all."""
    shown = [{number_of(path) for path in pictures(scene, subset)} for subset in SUBSETS]
    assert sum(map(len, shown)) == 72
    assert set().union(*shown) == set(range(72))


def test_labels_stay_those_of_the_source(scene: Scene, sources: list[LabelledFrame]) -> None:
    """Replays carry the boxes of the source they show, and the image keeps its size."""
    for subset in SUBSETS:
        for written in read(scene.folder(subset)).frames:
            true = sources[number_of(written.frame.image)]
            assert [label.class_id for label in written.labels] == [label.class_id for label in true.labels]
            for one, other in zip(written.labels, true.labels, strict=True):
                assert one.box == pytest.approx(other.box, abs=0.01)
            assert (written.frame.width, written.frame.height) == (WIDTH, HEIGHT)


def test_labelled_and_clean_audit_frames_keep_their_bytes(scene: Scene, sources: list[LabelledFrame]) -> None:
    """What is trained on and what judges it in order is the user's own picture, not a copy encoded again."""
    for subset in ("labelled", "audit-clean"):
        for path in pictures(scene, subset):
            assert path.read_bytes() == sources[number_of(path)].frame.image.read_bytes()


def test_streams_are_long_and_their_names_parse(scene: Scene) -> None:
    """A stream of few sources is replayed, never twice with the same picture, in the order of its times."""
    for subset in ("stream-clean", "stream-drifted"):
        paths = pictures(scene, subset)
        assert len(paths) == STREAM_FRAMES
        assert len({path.read_bytes() for path in paths}) == STREAM_FRAMES
        assert len({camera_and_time(path) for path in paths}) == STREAM_FRAMES


def test_the_drifted_side_is_darker_and_less_sharp(scene: Scene) -> None:
    """Light and sharpness fall on the drifted audit set and late in the drifted stream, and nowhere else."""

    def looks(paths: list[Path]) -> tuple[float, float]:
        seen = [measure(cv2.imread(str(path))) for path in paths]
        return float(np.mean([s.brightness for s in seen])), float(np.mean([s.sharpness for s in seen]))

    clean, drifted = looks(pictures(scene, "audit-clean")), looks(pictures(scene, "audit-drifted"))
    stream = pictures(scene, "stream-drifted")
    assert drifted[0] < 0.7 * clean[0]
    assert drifted[1] < 0.7 * clean[1]
    assert looks(stream[:60])[0] == pytest.approx(clean[0], rel=0.1)
    assert looks(stream[-60:])[0] == pytest.approx(drifted[0], rel=0.1)
    assert looks(pictures(scene, "stream-clean")[::10])[0] == pytest.approx(clean[0], rel=0.1)


def test_same_seed_same_division(sources: list[LabelledFrame]) -> None:
    """The division follows from frames and seed, not from the order in which they come."""
    one, two, other = divide(sources, 2, 5), divide(sources[::-1], 2, 5), divide(sources, 2, 6)
    assert {subset: ids(one[subset]) for subset in SUBSETS} == {subset: ids(two[subset]) for subset in SUBSETS}
    assert any(ids(one[subset]) != ids(other[subset]) for subset in SUBSETS)


@given(groups=st.integers(15, 60), frames=st.integers(60, 200), seed=st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_group_is_on_one_side(groups: int, frames: int, seed: int) -> None:
    """Frames of one group are never on two sides, every frame is on one, and every side has boxes."""
    labelled = [frame(number, group=f"g{number % groups}") for number in range(frames)]
    dealt = divide(labelled, 2, seed)
    sides: dict[str, set[Subset]] = {}
    for subset, members in dealt.items():
        assert any(member.labels for member in members)
        for member in members:
            sides.setdefault(member.group, set()).add(subset)
    assert all(len(side) == 1 for side in sides.values())
    assert sum(map(len, dealt.values())) == frames


def test_a_rare_class_reaches_every_side() -> None:
    """Classes are dealt evenly: one in nine of the boxes is enough to be on every side."""
    dealt = divide([frame(number) for number in range(200)], 2, 0)
    for members in dealt.values():
        assert {label.class_id for member in members for label in member.labels} == {0, 1}


def test_frames_marked_for_audit_are_never_trained_on() -> None:
    """A user's test side only goes to the held-back sub-sets."""
    dealt = divide([frame(n, split="audit" if n % 4 == 0 else None) for n in range(120)], 2, 0)
    assert all(member.split != "audit" for member in dealt["labelled"])
    assert any(member.split == "audit" for subset in HELD_BACK for member in dealt[subset])


def test_the_users_own_split_is_kept(sources: list[LabelledFrame], tmp_path: Path) -> None:
    """Where the set says train or val for every frame, the labelled part says the same."""
    marked = [frame(n, s.frame.image, "val" if n % 3 == 0 else "train") for n, s in enumerate(sources)]
    made = hold_back(marked, NAMES, tmp_path / "scene", seed=0)
    for written in read(made.labelled).frames:
        assert written.split == marked[number_of(written.frame.image)].split


@pytest.mark.parametrize(
    ("labelled", "came"),
    [
        ([frame(n) for n in range(59)], "came 59 frames"),
        ([frame(n, group=str(n % 14)) for n in range(100)], "in 14 groups"),
        ([LabelledFrame(frame(n).frame) for n in range(100)], "with 0 boxes"),
        ([], "came 0 frames"),
    ],
)
def test_too_little_is_refused(labelled: list[LabelledFrame], came: str, tmp_path: Path) -> None:
    """Too few frames, groups or boxes: one sentence with what was expected and what came, and nothing is written."""
    with pytest.raises(BadInput, match=came):
        hold_back(labelled, NAMES, tmp_path / "scene", seed=0)
    assert not list(tmp_path.iterdir())


def test_uneven_groups_are_refused() -> None:
    """Boxes in one group only cannot be on five sides."""
    labelled = [frame(1 + 5 * (n % 2), group="all") for n in range(60)]
    labelled += [LabelledFrame(frame(n).frame, group=f"g{n}") for n in range(100, 130)]
    with pytest.raises(BadInput, match="no box is left for"):
        divide(labelled, 2, 0)


def test_a_broken_source_is_named(sources: list[LabelledFrame], tmp_path: Path) -> None:
    """An image that can no longer be decoded is a sentence with its path, and nothing half-written stays."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not a picture")
    damaged = [frame(n, broken if n >= 0 else s.frame.image) for n, s in enumerate(sources)]
    with pytest.raises(BadInput, match=r"broken\.png"):
        hold_back(damaged, NAMES, tmp_path / "scene", seed=0)
    assert [path.name for path in tmp_path.iterdir()] == ["broken.png"]


def test_real_sets_divide(shared: Path) -> None:
    """Both real data sets give five sides on which every class occurs."""
    for name in ("bccd", "neu-det"):
        report = read(shared / "data" / name)
        dealt = divide(report.frames, len(report.names), 0)
        for members in dealt.values():
            counts = Counter(label.class_id for member in members for label in member.labels)
            assert len(counts) == len(report.names)
