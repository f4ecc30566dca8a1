"""Which candidates a sweep trains, how far, and why it lets one go, on times and scores that are made up."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.card import Card, DeviceProfile
from edgeloop.errors import BadInput, EdgeloopError
from edgeloop.halving import plan
from edgeloop.registry import curve_metrics, sweep_key
from edgeloop.sweep import Sweep, expand, load_sweep, rung_epochs
from edgeloop.sweep_tables import rows, sweep_table
from edgeloop.sweep_trials import Measured, Standing, SweepResult, Work
from edgeloop.training_curve import Epoch
from tests.registry_samples import make_candidate

PROFILE = DeviceProfile(name="cpu", maximum_p99_ms=30.0)


@dataclass(frozen=True)
class Runner:
    """A made-up candidate: how well it does in the end, how long an epoch takes it, and whether it diverges."""

    quality: float = 0.5
    seconds: float = 1.0
    around: float = 0.0
    p50_ms: float = 10.0
    diverges: bool = False

    def outcome(self, state: SweepResult, work: Work) -> object:
        if self.diverges:
            return BadInput("training diverged: the loss is nan in epoch 1")
        until = work.until or state.rungs[-1]
        trial = next(one for one in state.trials if one.card.name == work.card.name)
        curve = tuple(
            Epoch(epoch=number, losses={"box": 1.0}, learning_rate=0.1, seconds=self.seconds)
            for number in range(1, until + 1)
        )
        return Standing(
            epochs=until,
            map50_95=self.quality * until / state.rungs[-1],
            seconds=self.seconds * (until - trial.epochs) + self.around,
            curve=curve,
            checkpoint=Path(f"{work.card.name}-{until}.pt"),
            p50_ms=self.p50_ms if work.first else None,
        )


def start(count: int, **asked: object) -> SweepResult:
    sweep = Sweep.model_validate(
        {"name": "test", "base": "a.yaml", "architectures": ["a.yaml"], "imgsz": [64], "epochs": 8, **asked}
    )
    cards = [Card(name=f"c{index}", architecture="a", epochs=8) for index in range(count)]
    return SweepResult.begin(sweep, cards, "0" * 32, PROFILE)


def walk(runners: list[Runner], **asked: object) -> tuple[SweepResult, list[Work]]:
    """Run a sweep to its finalists; every piece of work in its order."""
    state, work = plan(start(len(runners), **asked))
    done: list[Work] = []
    while work:
        assert len(work) <= len(state.sweep.devices)
        done += work
        outcomes = [runners[int(one.card.name[1:])].outcome(state, one) for one in work]
        state, work = plan(state.after([one.card for one in work], outcomes))
    return state, done


runners = st.lists(
    st.builds(
        Runner,
        quality=st.floats(0.0, 1.0),
        seconds=st.floats(0.01, 5.0),
        around=st.floats(0.0, 3.0),
        p50_ms=st.floats(1.0, 60.0),
        diverges=st.booleans(),
    ),
    min_size=1,
    max_size=9,
)


@pytest.mark.parametrize(
    ("epochs", "rungs", "eta", "expected"),
    [
        (8, 3, 2, (2, 4, 8)),
        (9, 3, 3, (1, 3, 9)),
        (8, 1, 2, (8,)),
        (3, 4, 2, (1, 3)),
        (1, 3, 2, (1,)),
        (20, 2, 4, (5, 20)),
    ],
)
def test_rungs(epochs: int, rungs: int, eta: int, expected: tuple[int, ...]) -> None:
    """Each rung is an eta-th of the next, at least an epoch, and none twice."""
    assert rung_epochs(epochs, rungs, eta) == expected


@given(runners, st.integers(1, 4), st.integers(2, 4), st.integers(1, 3), st.none() | st.floats(1.0, 100.0))
def test_any_sweep_ends_well(field: list[Runner], rungs: int, eta: int, devices: int, budget: float | None) -> None:
    """Nobody is trained twice to one rung or past its end, everyone out has a reason, and the rest came to the end."""
    state, done = walk(field, rungs=rungs, eta=eta, devices=["cpu"] * devices, budget_seconds=budget)
    steps = [(one.card.name, one.until) for one in done]
    assert len(steps) == len(set(steps))
    for trial in state.trials:
        own = [one.until or state.rungs[-1] for one in done if one.card.name == trial.card.name]
        assert own == list(state.rungs[: len(own)])
        assert (trial.state == "waiting") == (trial.rung == len(state.rungs) and state.keeps_limit(trial))
        assert (trial.reason == "") == (trial.state == "waiting")
    fit = [one for one in field if not one.diverges and one.p50_ms <= PROFILE.maximum_p99_ms]
    if budget is None:
        assert bool(state.finalists) == bool(fit)


@given(runners, st.integers(2, 4))
def test_halving_keeps_the_best(field: list[Runner], eta: int) -> None:
    """Without a budget one in eta goes on at every rung, and whoever goes on is no worse than whoever does not."""
    state, _ = walk(field, eta=eta)
    left = [one for one in state.trials if one.state != "failed" and state.keeps_limit(one)]
    for rung in range(1, len(state.rungs)):
        reached = [one for one in left if one.rung >= rung]
        beyond = [one for one in left if one.rung > rung]
        assert len(beyond) == math.ceil(len(reached) / eta)
        scores = {one.card.name: one.standings[rung - 1].map50_95 for one in reached}
        behind = [scores[one.card.name] for one in reached if one not in beyond]
        assert not behind or min(scores[one.card.name] for one in beyond) >= max(behind)


@given(runners, st.floats(1.0, 100.0))
def test_budget_is_kept(field: list[Runner], budget: float) -> None:
    """With epochs that take what they took before, a budget is passed only by the first step and by the best alone."""
    steady = [Runner(one.quality, one.seconds, 0.0) for one in field]
    state, done = walk(steady, budget_seconds=budget)
    first = max(one.seconds for one in steady) * state.rungs[0]  # nothing is known of a candidate before its first rung
    alone = max(one.seconds for one in steady) * state.rungs[-1]
    assert state.spent <= budget + first + alone
    assert state.finalists
    if state.spent > budget:
        last = done[-1].card.name
        best = max((one for one in state.trials if one.state == "waiting"), key=lambda one: one.score)
        assert last in {best.card.name, *(one.card.name for one in state.trials if one.rung == 1)}


def test_a_small_budget_says_what_it_would_take() -> None:
    """The best so far is trained to its end; the others are told what they need and what is left."""
    state, done = walk([Runner(0.9), Runner(0.5), Runner(0.4), Runner(0.3)], budget_seconds=15)
    assert [one.card.name for one in state.finalists] == ["c0"]
    assert state.spent <= 15
    reasons = [one.reason for one in state.trials if one.reason.startswith("budget")]
    assert reasons == ["budget: the next 2 epochs take about 2 s, 1 s are left, 4 s are kept for c0"]
    assert [one.card.name for one in done] == ["c0", "c1", "c2", "c3", "c0", "c0"]


def test_a_candidate_that_diverges_is_a_row_and_the_sweep_goes_on() -> None:
    """Its reason is what training said; the others are compared without it."""
    state, _ = walk([Runner(0.9), Runner(0.8, diverges=True), Runner(0.2)])
    assert [one.state for one in state.trials] == ["waiting", "failed", "eliminated"]
    failed = next(row for row in rows(state) if row.state == "failed")
    assert (failed.rank, failed.map50_95) == (3, None)
    assert failed.reason.startswith("training diverged")


def test_what_is_nobodys_fault_ends_the_sweep() -> None:
    """A full disk says nothing of a candidate: it is not taken for a failure of one."""
    state, work = plan(start(2))
    with pytest.raises(OSError, match="full"):
        state.after([work[0].card], [OSError("full")])


def test_too_slow_is_out_before_it_is_trained_further() -> None:
    """A candidate of which half of the frames take longer than the limit gets no second rung, however good it is."""
    state, done = walk([Runner(0.9, p50_ms=31.0), Runner(0.1)])
    assert [one.card.name for one in done] == ["c0", "c1", "c1", "c1"]
    assert "half of the frames take 31.0 ms" in state.trials[0].reason
    assert state.ranking[0].card.name == "c1"


def test_two_devices_train_two_at_a_time() -> None:
    """As many pieces of work as devices, and time counts for both at once."""
    state, work = plan(start(5, devices=["0", "1"]))
    assert [one.card.name for one in work] == ["c0", "c1"]
    state, _ = walk([Runner()] * 4, devices=["0", "1"], rungs=1)
    assert state.spent == pytest.approx(4 * 8 / 2)


def test_decisions_follow_from_outcomes_alone() -> None:
    """The same outcomes give the same plan again: what a killed sweep relies on."""
    field = [Runner(0.1 * index, 1.0 + index) for index in range(6)]
    assert walk(field, budget_seconds=60) == walk(field, budget_seconds=60)


def test_rows_of_a_finished_candidate(tmp_path: Path) -> None:
    """A line for each precision and batch with its own figures, the shipped one marked; then those that are out."""
    state, _ = walk([Runner(0.9), Runner(0.1)])
    candidate = make_candidate(tmp_path, "one")
    batch = candidate.benchmarks[0].model_copy(update={"batch": 4})
    candidate = candidate.model_copy(
        update={"benchmarks": (*candidate.benchmarks, batch), "evaluations": candidate.evaluations[::2]}
    )
    state = state.after([state.trials[0].card], [Measured(candidate=candidate, seconds=5.0)])
    assert state.over
    assert state.candidates == (candidate,)
    found = rows(state)
    assert [(one.rank, one.precision, one.batch, one.shipped) for one in found] == [
        (1, "int8", 1, True), (1, "int8", 4, True), (1, "fp32", 1, False), (2, None, None, False),
    ]  # fmt: skip
    assert (found[0].map50_95, found[0].p99_ms, found[0].epochs, found[0].seconds) == (0.4, 8.0, 8, 13.0)
    assert sweep_table(state).row_count == 4


def test_a_sweep_is_expanded_from_cards(tmp_path: Path) -> None:
    """Architecture, start and head are an architecture's own; the rest is the base card's, whatever its card says."""
    (tmp_path / "base.yaml").write_text(
        "name: base\narchitecture: yolov8n.yaml\nepochs: 3\nseed: 7\naugment: {mosaic: 0.5}\nminimum_images: 100\n"
    )
    (tmp_path / "start.pt").touch()
    (tmp_path / "other.yaml").write_text(
        "name: other\narchitecture: yolo26n.yaml\nhead: end-to-end\nstart: start.pt\nseed: 1\nepochs: 99\n"
    )
    (tmp_path / "sweep.yaml").write_text(
        "name: s\nbase: base.yaml\narchitectures: [base.yaml, other.yaml]\nimgsz: [64, 96]\nbatches: [1, 4]\n"
        'devices: ["0", "1"]\n'
    )
    cards = expand(load_sweep(tmp_path / "sweep.yaml", 9.0), 10)
    assert [card.name for card in cards] == ["base-64", "base-96", "other-64", "other-96"]
    assert [card.training_device for card in cards] == ["0", "1", "0", "1"]
    assert {(card.seed, card.epochs, card.minimum_images, card.open_batch) for card in cards} == {(7, 10, 0, True)}
    assert [card.head for card in cards] == ["anchor-free"] * 2 + ["end-to-end"] * 2
    assert cards[0].start is None
    assert cards[2].start == tmp_path / "start.pt"
    assert cards[2].augment == {"mosaic": 0.5}
    assert cards[0].epochs_for(10) == 10


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"precisions": ["int8"]}, "expected fp32"),
        ({"batches": [4]}, "expected 1 among the batches"),
        ({"devices": ["0,1"]}, "on several it cannot pause"),
        ({"imgsz": []}, "imgsz"),
        ({"eta": 1}, "eta"),
        ({"colour": 1}, "colour"),
    ],
)
def test_what_a_sweep_cannot_ask(changes: dict[str, object], expected: str) -> None:
    """One sentence that names the key."""
    document = {"name": "s", "base": "b", "architectures": ["b"], "imgsz": [64], **changes}
    with pytest.raises(BadInput, match=expected):
        Sweep.from_document(document, "sweep.yaml")


def test_a_candidate_needs_a_name_and_a_size_of_its_own(tmp_path: Path) -> None:
    """Twice the same card, and a side that is no multiple of 32, are refused."""
    (tmp_path / "base.yaml").write_text("name: base\narchitecture: yolov8n.yaml\n")
    sweep = Sweep(name="s", base=tmp_path / "base.yaml", architectures=(tmp_path / "base.yaml",) * 2, imgsz=(64,))
    with pytest.raises(BadInput, match="two candidates base-64"):
        expand(sweep, 10)
    with pytest.raises(BadInput, match="imgsz: input should be a multiple of 32"):
        expand(sweep.model_copy(update={"imgsz": (100,)}), 10)


def test_the_sweeps_that_come_with_edgeloop(root: Path) -> None:
    """Every sweep file fits and names cards that exist; the default one holds the architectures that people ask for."""
    files = sorted((root / "models/cards/sweeps").glob("*.yaml"))
    names = [card.name for path in files for card in expand(load_sweep(path), 1000)]
    for word in ("sample-n", "yolov8n", "yolov8s", "yolov9t", "yolov9s", "yolo11n", "yolo26n"):
        assert f"{word}-192" in names


def test_key_leaves_the_budget_out() -> None:
    """More time goes on with the same run; other data or code begins another."""
    one, more = start(2, budget_seconds=5), start(2, budget_seconds=50)
    assert sweep_key(one, "a") == sweep_key(more, "a")
    assert sweep_key(one, "a") != sweep_key(one, "b")
    assert sweep_key(one, "a") != sweep_key(one.model_copy(update={"dataset_md5": "1" * 32}), "a")


def test_curve_is_told_by_epoch() -> None:
    """Losses and rate at every step; accuracy only where it was measured."""
    curve = (
        Epoch(epoch=1, losses={"box": 2.0}, learning_rate=0.1),
        Epoch(epoch=2, losses={"box": 1.0}, learning_rate=0.05, map50=0.5, map50_95=0.25),
    )
    found = curve_metrics(curve)
    assert ("train/box", 2.0, 1) in found
    assert [step for name, _, step in found if name == "val/map50_95"] == [2]


def test_edgeloops_own_errors_are_a_candidates() -> None:
    """Whatever edgeloop says of a candidate on purpose ends that candidate alone."""
    state, work = plan(start(1))
    assert state.after([work[0].card], [EdgeloopError("exit code -9")]).trials[0].reason == "exit code -9"
