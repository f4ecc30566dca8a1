"""Which candidates of a sweep go on: successive halving (Jamieson and Talwalkar, 2016) under a limit of time.

All candidates are trained for a few epochs, one in `eta` goes on for `eta` times as many, until the last are trained to
their end. A candidate that goes on is the same training, continued. What is decided here follows from what was measured
alone, so that a sweep that was killed decides the same again.
"""

from __future__ import annotations

import math

from edgeloop.sweep_trials import SweepResult, Trial, Work


def plan(state: SweepResult) -> tuple[SweepResult, tuple[Work, ...]]:
    """What is decided now, and what is to be done next: one piece of work for each device; none when all is trained."""
    state = _drop_slow(state)
    state = _compare(state)
    work: list[Trial] = []
    planned = 0.0
    while len(work) < len(state.sweep.devices):
        queue = [one for one in _queue(state) if one.card.name not in {chosen.card.name for chosen in work}]
        if not queue:
            break
        short = _short_of(state, queue[0], planned)
        if short is None:
            work.append(queue[0])
            planned += _cost(state, queue[0]) / len(state.sweep.devices)
        else:
            state = _end(state, {queue[0].card.name: short})
    if not work and _queue(state) == [] and _uncompared(state):
        return plan(state)
    return state, tuple(_work(state, one) for one in work)


def _work(state: SweepResult, trial: Trial) -> Work:
    last = trial.rung + 1 == len(state.rungs)
    return Work(card=trial.card, until=None if last else state.rungs[trial.rung], first=not trial.rung)


def _drop_slow(state: SweepResult) -> SweepResult:
    """End those that are too slow for the device: no training makes them faster."""
    slow = {
        one.card.name: f"too slow: half of the frames take {one.standings[0].p50_ms:.1f} ms or more, the device allows "
        f"{state.limit_ms:g} ms for 99 of 100"
        for one in state.waiting
        if one.standings and not state.keeps_limit(one)
    }
    return _end(state, slow)


def _uncompared(state: SweepResult) -> bool:
    """Whether all that may go on stand at a rung at which nobody was eliminated yet, and which is not the last."""
    reached = {one.rung for one in state.waiting}
    return len(reached) == 1 and state.compared < max(reached) < len(state.rungs)


def _compare(state: SweepResult) -> SweepResult:
    """At a rung that all have reached, end all but the best: one in `eta`, at least one."""
    if not _uncompared(state):
        return state
    ranked = sorted(state.waiting, key=lambda one: -one.score)
    kept = ranked[: math.ceil(len(ranked) / state.sweep.eta)]
    rung = ranked[0].rung
    least = kept[-1].score
    behind = {
        one.card.name: f"rung {rung} of {len(state.rungs)}: {one.score:.1%}, the last to go on has {least:.1%}"
        for one in ranked[len(kept) :]
    }
    return _end(state, behind, rung)


def _end(state: SweepResult, reasons: dict[str, str], compared: int | None = None) -> SweepResult:
    names = reasons.keys()
    ended = [one.ended("eliminated", reasons[one.card.name]) if one.card.name in names else one for one in state.trials]
    return state.replacing(ended, compared)


def _queue(state: SweepResult) -> list[Trial]:
    """Who is due at the rung that is being walked, the best first; before the first rung, in the grid's order."""
    waiting = state.waiting
    rung = min((one.rung for one in waiting), default=len(state.rungs))
    return sorted((one for one in waiting if one.rung == rung < len(state.rungs)), key=lambda one: -one.score)


def _short_of(state: SweepResult, trial: Trial, planned: float) -> str | None:
    """Why the budget has no room for the next rung of a trial; None when it has.

    The best so far always goes on, and what it takes to train it to its end is kept free of the others: however small
    the budget, once somebody stands at a rung, somebody arrives.
    """
    budget = state.sweep.budget_seconds
    standing = [one for one in state.waiting if one.standings]
    leader = max(standing, key=lambda one: (one.score, one.rung), default=None)
    if budget is None or trial is leader or (leader is None and not planned and not state.spent):
        return None
    reserved = _cost(state, leader, to_its_end=True) if leader else 0.0
    needed = _cost(state, trial) / len(state.sweep.devices)
    left = max(budget - state.spent - planned - reserved, 0.0)
    if needed <= left and left > 0:
        return None
    kept = f", {reserved:.0f} s are kept for {leader.card.name}" if leader and reserved else ""
    return f"budget: the next {_epochs(state, trial)} epochs take about {needed:.0f} s, {left:.0f} s are left{kept}"


def _epochs(state: SweepResult, trial: Trial, *, to_its_end: bool = False) -> int:
    return state.rungs[-1 if to_its_end else min(trial.rung, len(state.rungs) - 1)] - trial.epochs


def _cost(state: SweepResult, trial: Trial, *, to_its_end: bool = False) -> float:
    """Seconds that the next rung of a trial takes, or all that are left.

    As many for an epoch as so far, and as many around the training as at the rung before. Before the first rung, what
    that took the others in the mean.
    """
    if trial.standings:
        around = trial.standings[-1].seconds - sum(one.seconds for one in trial.trained[-1])
        rungs = len(state.rungs) - trial.rung if to_its_end else 1
        spent = sum(point.seconds for point in trial.standings[-1].curve)
        return spent / trial.epochs * _epochs(state, trial, to_its_end=to_its_end) + max(around, 0.0) * rungs
    firsts = [one.standings[0].seconds for one in state.trials if one.standings]
    return sum(firsts) / len(firsts) if firsts else 0.0
