"""The generated inspection line: deterministic, truthful labels, exact shares, a drift that shows."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from edgeloop.edge.statistics import measure
from edgeloop.errors import BadInput
from edgeloop.files import sha256
from edgeloop.formats import read
from edgeloop.formats.names import camera_and_time
from edgeloop.sample import DEMO, SIZES, TINY, SampleSize, Scene, generate, load_scene
from edgeloop.sample.camera import CAMERAS
from edgeloop.sample.defects import NAMES, RARE, Defect, apply, box_of, draw
from edgeloop.sample.generate import plan_subset
from edgeloop.sample.line import Part, photograph_part
from edgeloop.sample.marks import VISIBLE, overlap
from edgeloop.sample.scene import SUBSETS, Subset
from edgeloop.sample.texture import MATERIALS
from edgeloop.sample.timetable import severity_at

SMALL = SampleSize(train=20, val=8, stream=48, audit=20)
SIDE = 192


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return generate(tmp_path_factory.mktemp("sample") / "scene", SMALL, seed=3)


def images(scene: Scene, *subsets: Subset) -> list[Path]:
    return sorted(path for subset in subsets for path in (scene.folder(subset) / "images").rglob("*.jpg"))


def mean_statistics(paths: list[Path]) -> tuple[float, float]:
    seen = [measure(cv2.imread(str(path))) for path in paths]
    return float(np.mean([s.brightness for s in seen])), float(np.mean([s.sharpness for s in seen]))


@pytest.mark.integration
def test_same_seed_same_bytes_another_seed_others(scene: Scene, tmp_path: Path) -> None:
    """Everything follows from size and seed: names, pictures, labels and counts."""
    again = generate(tmp_path / "again", SMALL, seed=3)
    other = generate(tmp_path / "other", SMALL, seed=4)
    files = sorted(path.relative_to(scene.root) for path in scene.root.rglob("*.*") if path.name != "scene.json")
    assert [sha256(scene.root / f) for f in files] == [sha256(again.root / f) for f in files]
    assert again.counts == scene.counts
    assert not {sha256(p) for p in images(other, *SUBSETS)} & {sha256(p) for p in images(scene, *SUBSETS)}


def test_every_subset_reads_as_a_clean_yolo_set(scene: Scene) -> None:
    """What is written has a label file an image, boxes inside the image, no repeated frame, and the counts it says."""
    for subset in SUBSETS:
        report = read(scene.folder(subset))
        assert report.names == NAMES
        assert not report.findings
        found = Counter(NAMES[label.class_id] for frame in report.frames for label in frame.labels)
        counts = scene.counts[subset]
        assert counts.frames == len(report.frames)
        assert counts.empty == sum(not frame.labels for frame in report.frames)
        assert counts.boxes == {name: found[name] for name in NAMES}


def test_labelled_frames_have_their_side(scene: Scene) -> None:
    """The labelled set comes with as many training and validation frames as were asked for."""
    assert Counter(frame.split for frame in read(scene.labelled).frames) == {"train": SMALL.train, "val": SMALL.val}


def test_names_carry_a_known_camera_and_a_time_of_their_own(scene: Scene) -> None:
    """File names parse, cameras are the line's, and no two frames of a camera have one time, across all sub-sets."""
    taken = [camera_and_time(path) for path in images(scene, *SUBSETS)]
    assert {camera for camera, _ in taken} == {camera.name for camera in CAMERAS}
    assert len(set(taken)) == len(taken)


def test_no_two_frames_share_surface(scene: Scene) -> None:
    """Between any two frames the fine structure is unrelated: a detector cannot know an audit frame from training."""
    fine = []
    for path in images(scene, *SUBSETS):
        grey = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).astype(np.float32)
        high = cv2.resize(grey - cv2.GaussianBlur(grey, (0, 0), 3), (96, 96), interpolation=cv2.INTER_AREA)
        fine.append(((high - high.mean()) / high.std()).ravel())
    stack = np.stack(fine)
    alike = stack @ stack.T / stack.shape[1]
    np.fill_diagonal(alike, 0)
    assert alike.max() < 0.5


def test_drift_takes_light_and_sharpness(scene: Scene) -> None:
    """On the drifted side pictures are darker and less sharp; the stream drifts part-way, not from its first frame."""
    clean = mean_statistics(images(scene, "audit-clean", "stream-clean"))
    drifted = mean_statistics(images(scene, "audit-drifted"))
    stream = images(scene, "stream-drifted")
    stream.sort(key=lambda path: camera_and_time(path)[1])
    first, last = mean_statistics(stream[:6]), mean_statistics(stream[-12:])
    assert drifted[0] < 0.65 * clean[0]
    assert drifted[1] < 0.5 * clean[1]
    assert first[0] > 0.85 * clean[0]
    assert last[0] < 0.65 * clean[0]


def test_only_the_drifted_side_has_the_variant() -> None:
    """A stain in order only darkens; a drifted one is mostly a pale film, which brightens."""
    rng = np.random.default_rng(0)
    centre = np.array([SIDE / 2, SIDE / 2], np.float32)
    for variant, brightens in ((False, False), (True, True)):
        surface = np.ones((SIDE, SIDE, 3), np.float32)
        apply(surface, draw(rng, "stain", centre, SIDE, variant))
        assert bool(surface.mean() > 1) is brightens


@pytest.mark.parametrize("subset", SUBSETS)
@pytest.mark.parametrize("seed", [0, 1])
def test_rare_class_is_rare_and_still_reportable(subset: Subset, seed: int) -> None:
    """At the demo's size the rare class has under 3 % of the boxes of every sub-set, and at least ten of them."""
    plan = list(plan_subset(np.random.default_rng(seed), subset, DEMO))
    kinds = Counter(kind for planned in plan for kind in planned.part.defects)
    assert kinds[RARE] / kinds.total() < 0.03
    assert kinds[RARE] >= 10
    assert len(kinds) == 4


def test_production_is_often_empty_and_sometimes_crowded() -> None:
    """Streams and audit sets have the same share of empty frames, far above the labelled set's; some are crowded."""
    counts = {s: [len(p.part.defects) for p in plan_subset(np.random.default_rng(0), s, DEMO)] for s in SUBSETS}
    empty = {subset: numbers.count(0) / len(numbers) for subset, numbers in counts.items()}
    assert empty["stream-clean"] == pytest.approx(empty["audit-clean"], abs=0.01)
    assert empty["audit-drifted"] == pytest.approx(0.42, abs=0.01)
    assert empty["labelled"] < 0.15
    assert all(max(numbers) >= 3 for numbers in counts.values())


def test_drift_begins_after_the_first_windows_frames() -> None:
    """Severity rises from 0 to 1 and stays; sides in order have none."""
    along = [severity_at("stream-drifted", p) for p in np.linspace(0, 1, 101)]
    assert along == sorted(along)
    assert along[0] == along[14] == 0
    assert along[25] == along[-1] == 1
    assert {severity_at(s, 0.9) for s in ("labelled", "stream-clean", "audit-clean")} == {0.0}


@given(seed=st.integers(0, 2**32 - 1), kind=st.sampled_from(NAMES), variant=st.booleans())
@settings(max_examples=60, deadline=None)
def test_boxes_are_tight_around_what_is_drawn(seed: int, kind: Defect, variant: bool) -> None:
    """Visible change fills the box to its four sides, and outside of it there is at most a faint edge."""
    rng = np.random.default_rng(seed)
    layers = draw(rng, kind, rng.uniform(30, SIDE - 30, 2).astype(np.float32), SIDE, variant)
    box = box_of(layers)
    assert box is not None
    x1, y1, x2, y2 = map(int, box)
    assert 0 <= x1 < x2 <= SIDE
    assert 0 <= y1 < y2 <= SIDE
    touched = np.maximum.reduce([layer.mask for layer in layers]) >= VISIBLE
    inside = touched[y1:y2, x1:x2]
    assert touched.sum() == inside.sum()
    assert inside[0].any()
    assert inside[-1].any()
    assert inside[:, 0].any()
    assert inside[:, -1].any()
    surface = np.ones((SIDE, SIDE, 3), np.float32)
    apply(surface, layers)
    change = np.abs(surface - 1).max(axis=2)
    outside = change.copy()
    outside[y1:y2, x1:x2] = 0
    assert outside.max() <= 0.75 * change.max()


@given(seed=st.integers(0, 2**32 - 1), severity=st.floats(0, 1), camera=st.sampled_from(CAMERAS))
@settings(max_examples=25, deadline=None)
def test_labels_are_in_the_picture_and_apart(seed: int, severity: float, camera: object) -> None:
    """Boxes of a frame lie in it with some area and do not overlap; each label is of a defect that was asked for."""
    rng = np.random.default_rng(seed)
    kinds = tuple(NAMES[index] for index in rng.integers(0, 4, 4))
    picture, labels = photograph_part(rng, Part(MATERIALS[seed % 4], kinds), camera, SIDE, severity)  # type: ignore[arg-type]
    assert picture.shape == (SIDE, SIDE, 3)
    assert picture.dtype == np.uint8
    assert not Counter(label.class_id for label in labels) - Counter(NAMES.index(kind) for kind in kinds)
    for label in labels:
        x1, y1, x2, y2 = label.box
        assert 0 <= x1 < x2 <= SIDE
        assert 0 <= y1 < y2 <= SIDE
    assert not any(overlap(one.box, [other.box], margin=0) for one, other in combinations(labels, 2))


def test_scene_is_found_again_after_it_moved(scene: Scene, tmp_path: Path) -> None:
    """scene.json describes the folder it lies in, wherever that is."""
    (tmp_path / "moved").mkdir()
    (tmp_path / "moved" / "scene.json").write_bytes((scene.root / "scene.json").read_bytes())
    assert load_scene(tmp_path / "moved") == scene.model_copy(update={"root": tmp_path / "moved"})
    with pytest.raises(BadInput, match="does not exist"):
        load_scene(tmp_path)


def test_generate_replaces_whole_or_leaves_alone(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A failure half-way leaves the old scene as it was and nothing half-written beside it."""
    out = tmp_path / "scene"
    out.mkdir()
    (out / "scene.json").touch()
    size = SMALL.model_copy(update={"side": 0})  # no picture has this size: drawing the first frame fails
    with pytest.raises((ValueError, ZeroDivisionError, cv2.error)):
        generate(out, size, seed=0)
    assert [path.name for path in tmp_path.rglob("*")] == ["scene", "scene.json"]


def test_sizes() -> None:
    """The presets go by name, and a size too small to play the loop on is refused."""
    assert SIZES == {"demo": DEMO, "tiny": TINY}
    with pytest.raises(ValidationError):
        SampleSize(train=1, val=0, stream=5, audit=1)


def test_needs_no_torch() -> None:
    """A device install has the sample: importing it loads neither torch nor a service."""
    code = (
        "import edgeloop.sample, sys; print([m for m in ('torch', 'prefect', 'mlflow', 'pandas') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
