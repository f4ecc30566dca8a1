"""The gate's truth table: a good challenger passes, and each row can fail alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgeloop.artifact import Artifact, Precision
from edgeloop.audit import Scored
from edgeloop.bootstrap import mean_average_precision
from edgeloop.card import DeviceProfile, GateCard
from edgeloop.errors import BadInput
from edgeloop.evidence import Evidence
from edgeloop.gate import Option, choose_precision, decide
from edgeloop.matching import Matches
from edgeloop.measures import (
    BenchmarkReport,
    Candidate,
    ClassThreshold,
    EvaluationReport,
    GateDecision,
    Latency,
    ThresholdReport,
)
from tests import scenes

SEEDS = {"clean": 0, "drifted": 7}  # of the labelled boxes
NAMES = ("a", "b", "c", "d")
FRAMES = 120
SCORED = [
    Scored(name, digest, NAMES, tuple(f"{name}{i}" for i in range(FRAMES)))
    for name, digest in (("clean", "c" * 16), ("drifted", "d" * 16))
]
PROFILE = DeviceProfile(name="cpu", minimum_fps=30)
CARD = GateCard(minimum_map50=0.3)
WEAK, STRONG = 0.6, 0.85  # share of the boxes that champion and challenger see


def artifact(letter: str, precision: Precision) -> Artifact:
    return Artifact(
        path=Path(f"{letter}.onnx"), sha256=letter * 64, precision=precision, imgsz=192, names=NAMES,
        thresholds=(0.4, 0.4, 0.4, 0.4),
    )  # fmt: skip


def matches(found: float, jitter: float = 2.0) -> dict[str, Matches]:
    return {one.name: scenes.matches(FRAMES, SEEDS[one.name], found=found, jitter=jitter) for one in SCORED}


def evaluation(of: Artifact, scored: Scored) -> EvaluationReport:
    return EvaluationReport(
        artifact_id=of.id, precision=of.precision, audit=scored.name, audit_digest=scored.digest, runtime="onnxruntime",
        frames=FRAMES, map50=0.5, map50_95=0.3, classes=(), false_positives_per_1000_frames=0,
        missed_per_1000_frames=0, predictions=Path("p.parquet"),
    )  # fmt: skip


def benchmark(of: Artifact, p50: float = 5.0, **changes: object) -> BenchmarkReport:
    part = Latency(p50=1, p90=1, p99=1, maximum=1)
    report = BenchmarkReport(
        artifact_id=of.id, precision=of.precision, device="cpu", machine="a processor", instructions=(),
        runtime="onnxruntime", threads=1, batch=1, timed_frames=662,
        total=Latency(p50=p50, p90=p50 + 1, p99=p50 + 2, maximum=p50 + 9),
        preprocess=part, inference=part, postprocess=part,
        frames_per_second=1000 / p50, memory_mb=200, size_mb=3, throttled=False,
    )  # fmt: skip
    return report.model_copy(update=changes)


def tuned(of: Artifact, warning: str | None = None) -> ThresholdReport:
    classes = [
        ClassThreshold(name=name, threshold=0.4, own=0.4, low=0.3, high=0.5, truths=40, basis="shrunk")
        for name in NAMES
    ]
    return ThresholdReport(
        tuned=of, audit_digests=("t" * 16,), frames=100, truths=160, beta=1, global_threshold=0.4,
        classes=tuple(classes), comparison=(), warning=warning,
    )  # fmt: skip


def evidence(letter: str, found: float, jitter: float = 2.0) -> Evidence:
    """A candidate that ships INT8, with an FP32 file that places its boxes slightly better."""
    shipped, reference = artifact(letter, "int8"), artifact("9", "fp32")
    candidate = Candidate(
        shipped=shipped,
        reference=reference,
        checkpoint=Path("c.pt"),
        evaluations=tuple(evaluation(one, scored) for one in (shipped, reference) for scored in SCORED),
        benchmarks=(benchmark(shipped), benchmark(reference, p50=7.0)),
        thresholds=tuned(shipped),
    )
    return Evidence(candidate, matches(found, jitter), matches(found, jitter - 0.01))


CHALLENGER, CHAMPION = evidence("1", STRONG), evidence("2", WEAK)


def failed(decision: GateDecision) -> list[str]:
    return [row.check for row in decision.rows if not row.passed]


def changed(**changes: object) -> Evidence:
    return replace(CHALLENGER, candidate=CHALLENGER.candidate.model_copy(update=changes))


def benched(**changes: object) -> Evidence:
    """The challenger with another benchmark of its shipped file."""
    shipped = CHALLENGER.candidate.shipped
    return changed(benchmarks=(benchmark(shipped).model_copy(update=changes),))


def test_a_better_challenger_passes_every_row() -> None:
    """Better beyond chance, nowhere worse, measured on its target: promoted."""
    decision = decide(CHALLENGER, CHAMPION, SCORED, PROFILE, CARD)
    assert failed(decision) == []
    assert decision.passed
    assert (decision.artifact_id, decision.champion_id) == ("1" * 12, "2" * 12)


def test_the_first_artifact_is_judged_by_absolute_limits() -> None:
    """Without a champion nothing is compared, and a row says so."""
    decision = decide(CHALLENGER, None, SCORED, PROFILE, CARD)
    assert decision.passed
    assert decision.champion_id is None
    assert [row.value for row in decision.rows if row.check == "against the champion"] == ["no champion yet"]


def test_the_same_evidence_gives_the_same_decision() -> None:
    """No clock, no global random state."""
    first, second = (decide(CHALLENGER, CHAMPION, SCORED, PROFILE, CARD) for _ in range(2))
    assert first == second


ALONE: list[tuple[str, Callable[[], tuple[Evidence, GateCard]]]] = [
    ("thresholds tuned on audit labels", lambda: (changed(thresholds=None), CARD)),
    (
        "thresholds tuned on audit labels",
        lambda: (changed(thresholds=tuned(CHALLENGER.candidate.shipped, "not tuned")), CARD),
    ),
    ("thresholds tuned on audit labels", lambda: (changed(thresholds=tuned(artifact("3", "int8"))), CARD)),
    ("mAP50 on all audit frames", lambda: (CHALLENGER, GateCard(minimum_map50=0.99))),
    ("mAP50-95 lost to quantization", lambda: (replace(CHALLENGER, reference=matches(STRONG, 1.0)), CARD)),
    ("measured on its target", lambda: (benched(throttled=True), CARD)),
    ("measured on its target", lambda: (benched(timed_frames=300), CARD)),
    ("measured on its target", lambda: (benched(runtime="tensorrt"), CARD)),
    (
        "latency p99, image to boxes",
        lambda: (benched(total=Latency(p50=5, p90=9, p99=33.4, maximum=40)), CARD),
    ),
    ("memory", lambda: (benched(memory_mb=1025.0), CARD)),
    ("file size", lambda: (benched(size_mb=65.0), CARD)),
    ("frame rate", lambda: (benched(frames_per_second=29.0), CARD)),
]


@pytest.mark.parametrize(("check", "case"), ALONE)
def test_each_row_can_fail_alone(check: str, case: Callable[[], tuple[Evidence, GateCard]]) -> None:
    """One thing wrong is one row failed, and one row failed is a refusal."""
    challenger, card = case()
    decision = decide(challenger, CHAMPION, SCORED, PROFILE, card)
    assert failed(decision) == [check]
    assert not decision.passed


def test_a_loss_on_one_set_is_not_paid_for_by_another() -> None:
    """Much better on drifted frames, worse on clean ones: the pooled gain passes, the clean set refuses."""
    torn = replace(CHALLENGER, shipped=matches(0.95) | {"clean": matches(0.5)["clean"]})
    torn = replace(torn, reference=torn.shipped)
    decision = decide(torn, CHAMPION, SCORED, PROFILE, CARD)
    assert failed(decision) == ["mAP50 against the champion on clean"]


def test_frames_count_as_what_they_stand_for() -> None:
    """Blind on a sixth of one set: it passes where frames weigh alike, and is refused where those weigh most.

    Weights that are all the same decide nothing else, whatever their unit.
    """
    rare, sighted = 20, matches(STRONG)
    lost = replace(sighted["clean"], hits=sighted["clean"].hits & (sighted["clean"].frames >= rare)[:, None])
    torn = replace(CHALLENGER, shipped=sighted | {"clean": lost}, reference=sighted | {"clean": lost})
    heavy = [
        replace(one, weights=tuple(50.0 if one.name == "clean" and i < rare else 1.0 for i in range(FRAMES)))
        for one in SCORED
    ]
    alike = [replace(one, weights=(7.0,) * FRAMES) for one in SCORED]
    by = [decide(torn, CHAMPION, scored, PROFILE, CARD) for scored in (SCORED, alike, heavy)]
    assert failed(by[0]) == failed(by[1]) == []
    stated = [float(one.rows[2].value.split()[0]) for one in by]
    assert stated[1] == pytest.approx(stated[0], abs=0.005)
    assert stated[2] < stated[0] - 0.1
    assert {"mAP50 against the champion on clean", "AP50 of each class against the champion"} <= set(failed(by[2]))
    assert "mAP50 against the champion on drifted" not in failed(by[2])


def test_a_gain_within_chance_is_no_gain() -> None:
    """A hair better on every set and class is refused by the pooled interval alone."""
    hair = replace(CHALLENGER, shipped=matches(WEAK, 1.98), reference=matches(WEAK, 1.97))
    assert failed(decide(hair, CHAMPION, SCORED, PROFILE, CARD)) == ["mAP50 gained over the champion, all audit frames"]


def test_the_champion_does_not_replace_itself() -> None:
    """The same file gains nothing."""
    decision = decide(CHAMPION, CHAMPION, SCORED, PROFILE, CARD)
    assert failed(decision) == ["mAP50 gained over the champion, all audit frames"]
    assert "champion's own file" in next(row.reason for row in decision.rows if not row.passed)


def blind(sets: dict[str, Matches], class_id: int) -> dict[str, Matches]:
    """The same detections, none of which finds anything of one class."""
    return {name: replace(one, hits=one.hits & (one.classes != class_id)[:, None]) for name, one in sets.items()}


def test_a_class_that_goes_blind_refuses() -> None:
    """Better on the mean, blind for one class: the class row says which."""
    lost = replace(CHALLENGER, shipped=blind(matches(1.0), 1), reference=blind(matches(1.0), 1))
    champion = replace(CHAMPION, shipped=matches(0.25))
    decision = decide(lost, champion, SCORED, PROFILE, CARD)
    assert failed(decision) == ["AP50 of each class against the champion"]
    assert next(row for row in decision.rows if not row.passed).value.startswith("b -")


def test_a_class_with_too_few_labels_is_not_judged() -> None:
    """Fewer boxes than the card asks for: chance does not refuse."""
    lost = replace(CHALLENGER, shipped=blind(matches(1.0), 1), reference=blind(matches(1.0), 1))
    champion = replace(CHAMPION, shipped=matches(0.25))
    card = CARD.model_copy(update={"minimum_class_truths": 10_000})
    assert failed(decide(lost, champion, SCORED, PROFILE, card)) == []


def test_other_frames_are_not_compared() -> None:
    """The champion was measured when the audit set held something else: refused, with the sets named."""
    old = [one.model_copy(update={"audit_digest": "e" * 16}) for one in CHAMPION.candidate.evaluations]
    stale = Evidence(CHAMPION.candidate.model_copy(update={"evaluations": tuple(old)}), {}, {})
    decision = decide(CHALLENGER, stale, SCORED, PROFILE, CARD)
    row = next(row for row in decision.rows if row.check == "same frozen audit sets")
    assert not row.passed
    assert "which is another content" in row.reason


@pytest.mark.parametrize("scored", [[], SCORED])
def test_unmeasured_accuracy_refuses(scored: list[Scored]) -> None:
    """No audit set, or no evaluation on it: every accuracy row fails instead of passing for want of numbers."""
    bare = Evidence(CHALLENGER.candidate.model_copy(update={"evaluations": ()}), {}, {})
    decision = decide(bare, CHAMPION, scored, PROFILE, CARD)
    assert {"same frozen audit sets", "mAP50 on all audit frames", "mAP50-95 lost to quantization"} <= set(
        failed(decision)
    )


def test_another_device_is_not_the_target() -> None:
    """A benchmark of another profile, or of the FP32 file, measures nothing here: every device row fails."""
    shipped, reference = CHALLENGER.candidate.shipped, CHALLENGER.candidate.reference
    elsewhere = changed(benchmarks=(benchmark(shipped, device="jetson"), benchmark(reference)))
    assert failed(decide(elsewhere, CHAMPION, SCORED, PROFILE, CARD)) == [
        "measured on its target", "latency p99, image to boxes", "memory", "file size", "frame rate",
    ]  # fmt: skip


def test_the_fastest_runtime_is_judged() -> None:
    """A benchmark has one report a runtime; the device runs the fastest, so that one must keep the limits."""
    shipped = CHALLENGER.candidate.shipped
    quick, slow = benchmark(shipped, p50=5.0, runtime="openvino"), benchmark(shipped, p50=50.0)
    decision = decide(changed(benchmarks=(quick, slow)), CHAMPION, SCORED, PROFILE, CARD)
    assert decision.passed
    assert "openvino" in next(row.value for row in decision.rows if row.check == "measured on its target")


def test_slower_int8_is_told_but_does_not_refuse() -> None:
    """INT8 may be slower than FP32 on a processor without int8 dot products: information, not a verdict."""
    shipped, reference = CHALLENGER.candidate.shipped, CHALLENGER.candidate.reference
    slow = changed(benchmarks=(benchmark(shipped, p50=9.0), benchmark(reference, p50=6.0)))
    decision = decide(slow, CHAMPION, SCORED, PROFILE, CARD)
    row = next(row for row in decision.rows if not row.judged)
    assert decision.passed
    assert "0.67x" in row.value
    assert "slower than FP32" in row.reason


def test_the_strict_card_judges_by_the_bad_end() -> None:
    """With `judge_loss_by: bound` a set too small to exclude the drop refuses what the estimate lets pass."""
    other = {one.name: scenes.matches(FRAMES, SEEDS[one.name], found=0.7, seed=2) for one in SCORED}  # misses others
    near = replace(CHALLENGER, shipped=other, reference=other)
    loose = decide(near, CHAMPION, SCORED, PROFILE, CARD)
    strict = decide(near, CHAMPION, SCORED, PROFILE, CARD.model_copy(update={"judge_loss_by": "bound"}))
    assert not any("on clean" in check or "on drifted" in check for check in failed(loose))
    assert any("on clean" in check or "on drifted" in check for check in failed(strict))


def test_rows_state_value_limit_and_one_sentence() -> None:
    """Every row can be read alone."""
    for row in decide(CHALLENGER, CHAMPION, SCORED, PROFILE, CARD).rows:
        assert row.value
        assert row.limit
        assert row.reason.endswith(".")
        assert row.reason[0].isupper()


def test_pooled_value_is_map_on_all_frames() -> None:
    """The minimum is asked of the mAP over the frames of all sets together."""
    value = next(
        row for row in decide(CHALLENGER, None, SCORED, PROFILE, CARD).rows if row.check == "mAP50 on all audit frames"
    ).value
    clean = mean_average_precision(CHALLENGER.shipped["clean"], np.ones((1, FRAMES), np.int64), "map50")[0]
    drifted = mean_average_precision(CHALLENGER.shipped["drifted"], np.ones((1, FRAMES), np.int64), "map50")[0]
    assert min(clean, drifted) - 0.05 < float(value.split()[0]) < max(clean, drifted) + 0.05


FP32, INT8 = artifact("3", "fp32"), artifact("4", "int8")


@pytest.mark.parametrize(
    ("fp32", "int8", "loss", "expected", "fits"),
    [
        ({"p50": 7.0}, {"p50": 5.0}, 0.01, "int8", True),  # faster and accurate enough
        ({"p50": 5.0}, {"p50": 7.0}, 0.01, "fp32", True),  # INT8 is slower on this processor
        ({"p50": 5.0, "size_mb": 9.0}, {"p50": 5.0, "size_mb": 3.0}, 0.01, "int8", True),  # a tie goes to the smaller
        ({"p50": 7.0}, {"p50": 5.0}, 0.05, "fp32", True),  # INT8 loses too much
        ({"p50": 40.0}, {"p50": 5.0}, 0.01, "int8", True),  # FP32 misses the latency limit
        ({"p50": 5.0}, {"p50": 4.0, "throttled": True}, 0.01, "fp32", True),  # a throttled run is no measurement
        ({"p50": 60.0}, {"p50": 40.0}, 0.01, "int8", False),  # none fits: the gate judges the fastest
    ],
)  # fmt: skip
def test_precision_is_the_fastest_that_keeps_the_limits(
    fp32: dict[str, float], int8: dict[str, float], loss: float, expected: str, fits: bool
) -> None:
    """Measured end-to-end p50 decides among those within the limits."""
    options = [Option(FP32, benchmark(FP32, **fp32), 0.0), Option(INT8, benchmark(INT8, **int8), loss)]
    choice = choose_precision(options, PROFILE, CARD)
    assert (choice.artifact.precision, choice.fits) == (expected, fits)
    assert expected.upper() in choice.reason


def test_nothing_to_choose_from_is_refused() -> None:
    """An empty choice is an input error, not a crash."""
    with pytest.raises(BadInput, match="at least one artifact"):
        choose_precision([], PROFILE, CARD)
