"""What `edgeloop bench` does: an artifact in the runtimes of this machine, on real frames or drawn ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.table import Table

from edgeloop.artifact import Artifact
from edgeloop.card import DeviceProfile, load_profile
from edgeloop.edge.benchmark import benchmark
from edgeloop.edge.frame import Image, decode_image
from edgeloop.edge.runtime import RUNTIMES, RuntimeName, Settings, installed, load
from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.formats.paths import require_images
from edgeloop.measures import BenchmarkReport
from edgeloop.output import say
from edgeloop.tables import table

IMAGES = 64  # decoded ones are kept in memory; more would not change the percentiles
DRAWN, SIDE = 12, 640  # frames of the generated line, pixels
LARGEST_BATCH = 64
HERE = "here"  # the profile's name when none is given


def bench(
    artifact: Artifact, profile: DeviceProfile, images: Sequence[Image], batches: Sequence[int]
) -> tuple[BenchmarkReport, ...]:
    """Measure an artifact at each batch in every runtime of the profile that runs it here.

    Runtimes that are installed but do not run it are told on stderr and left out.

    Raises:
        BadInput: none runs it, or it takes another batch.
    """
    reports: list[BenchmarkReport] = []
    for batch in batches:
        named = runnable(artifact, profile, batch)
        reports += benchmark(artifact, profile.model_copy(update={"runtimes": named}), images, batch)
    return tuple(reports)


def runnable(artifact: Artifact, profile: DeviceProfile, batch: int) -> tuple[RuntimeName, ...]:
    """The profile's runtimes that load the artifact here.

    Raises:
        BadInput: none does.
    """
    reasons = {name: _reason(artifact, name, Settings(profile.threads, batch)) for name in installed(profile.runtimes)}
    working = tuple(name for name, reason in reasons.items() if reason is None)
    if not working:
        raise BadInput(next(reason for reason in reasons.values() if reason is not None))
    say(*(f"{name} is left out: {reason}" for name, reason in reasons.items() if reason is not None))
    return working


def _reason(artifact: Artifact, name: RuntimeName, settings: Settings) -> str | None:
    """Why a runtime does not run the artifact; None when it does."""
    try:
        load(artifact.path, name, settings).close()
    except EdgeloopError as error:
        return str(error)
    return None


def profile_for(named: Path | None, runtime: str, threads: int | None, frames: int | None) -> DeviceProfile:
    """The device profile of a file, or one of this machine, with what was asked for instead.

    Args:
        named: YAML of a device profile; None is this machine.
        runtime: "auto" for all of them, else one.
        threads, frames: in place of the profile's.

    Raises:
        BadInput: the profile does not fit, or there is no such runtime.
    """
    profile = load_profile(named) if named else DeviceProfile(name=HERE, runtimes=installed())
    asked: dict[str, object] = {"threads": threads, "timed_frames": frames}
    if runtime != "auto":
        if runtime not in RUNTIMES:
            raise BadInput(f"expected a runtime of auto, {', '.join(RUNTIMES)}; came {runtime!r}.")
        asked["runtimes"] = (runtime,)
    changed = {**profile.model_dump(), **{key: value for key, value in asked.items() if value is not None}}
    return DeviceProfile.from_document(changed, "the options")


def read_batches(text: str) -> tuple[int, ...]:
    """(1, 4, 8) of "1,4,8".

    Raises:
        BadInput: anything that is not a number from 1 to 64.
    """
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and 1 <= int(part) <= LARGEST_BATCH for part in parts):
        raise BadInput(f"expected batches such as 1,4,8, each from 1 to {LARGEST_BATCH}; came {text!r}.")
    return tuple(int(part) for part in parts)


def load_images(folder: Path) -> list[Image]:
    """At most 64 images of a folder, evenly chosen over its sorted names.

    Raises:
        BadInput: no such folder, no image in it, or a chosen one cannot be read.
    """
    paths = require_images(folder)
    step = max(len(paths) / IMAGES, 1)
    chosen = [paths[int(index * step)] for index in range(min(len(paths), IMAGES))]
    return [decode_image(path.read_bytes(), str(path)) for path in chosen]


def draw_images() -> list[Image]:
    """Twelve 640x640 frames of the generated line, always the same, for when there are none of the user's."""
    from edgeloop.sample.camera import CAMERAS
    from edgeloop.sample.generate import plan_subset
    from edgeloop.sample.line import photograph_part
    from edgeloop.sample.scene import TINY

    plan = list(plan_subset(np.random.default_rng(0), "audit-clean", TINY))[:DRAWN]
    return [
        photograph_part(np.random.default_rng(index), one.part, CAMERAS[one.camera], SIDE, one.severity)[0]
        for index, one in enumerate(plan)
    ]


def bench_table(artifact: Artifact, profile: DeviceProfile, reports: Sequence[BenchmarkReport]) -> Table:
    """Milliseconds per call, decoded image to final boxes; the fastest runtime of each batch is what `auto` runs."""
    made = table(
        f"{artifact.path.name}, {artifact.precision}, {artifact.imgsz} px, {profile.threads} thread(s), "
        f"{reports[0].machine}",
        "runtime",
        *("batch", "p50 ms", "p90 ms", "p99 ms", "before", "model", "after", "frames/s", "MB"),
    )
    for one in reports:
        best = min((other for other in reports if other.batch == one.batch), key=lambda other: other.total.p50)
        parts = (
            one.total.p50,
            one.total.p90,
            one.total.p99,
            one.preprocess.p50,
            one.inference.p50,
            one.postprocess.p50,
        )
        made.add_row(
            f"{one.runtime} *" if one is best else one.runtime,
            str(one.batch),
            *(f"{value:.2f}" for value in parts),
            f"{one.frames_per_second:.1f}",
            f"{one.memory_mb:.0f}",
        )
    slow = [one for one in reports if one.batch == 1 and one.total.p99 > profile.maximum_p99_ms]
    if profile.name != HERE and len(slow) == sum(one.batch == 1 for one in reports) > 0:
        made.caption = f"No runtime keeps the profile's p99 of {profile.maximum_p99_ms} ms."
    return made
