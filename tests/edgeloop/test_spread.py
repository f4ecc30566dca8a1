"""Chunks of work on all cores: every item once, in order, a share for every core."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop import spread
from edgeloop.spread import CHUNK, bounded, chunked


def doubled(items: Sequence[int]) -> list[int]:
    return [2 * item for item in items]


@given(st.integers(0, 20_000))
def test_chunks_hold_every_item_once_in_order(count: int) -> None:
    """None is empty or larger than is said."""
    chunks = chunked(range(count))
    assert [item for chunk in chunks for item in chunk] == list(range(count))
    assert all(1 <= len(chunk) <= CHUNK for chunk in chunks)


@pytest.mark.parametrize("cores", [1, 2, 64])
def test_every_core_has_some_of_few_items(monkeypatch: pytest.MonkeyPatch, cores: int) -> None:
    """A chunk of hundreds would leave all others idle."""
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    for count in (5, 33, 100, 1000, 5000):
        assert len(chunked(range(count))) >= min(count, spread.SHARES * cores)
    assert len(chunked(range(1_000_000))[0]) == CHUNK


@pytest.mark.parametrize("worth", [1, 10_000])
def test_answers_come_in_order(monkeypatch: pytest.MonkeyPatch, worth: int) -> None:
    """From processes as from threads."""
    monkeypatch.setattr(spread, "WORTH_PROCESSES", worth)
    answers = spread.spread(doubled, chunked(range(100)))
    assert [number for answer in answers for number in answer] == list(range(0, 200, 2))


def test_nothing_to_do() -> None:
    """No chunk, no answer."""
    assert list(spread.spread(doubled, chunked([]))) == []


@given(st.lists(st.integers(0, 9)), st.integers(1, 30))
def test_groups_end_where_they_reach_the_limit(sizes: list[int], limit: int) -> None:
    """Every item once, in order; none but the last group is smaller, and none goes on after it is full."""
    groups = list(bounded(sizes, int, limit))
    assert [size for group in groups for size in group] == sizes
    assert all(group and sum(group[:-1]) < limit for group in groups)
    assert all(sum(group) >= limit for group in groups[:-1])


def test_nothing_is_asked_for_before_its_group() -> None:
    """What is asked for takes memory."""
    items = iter(range(10))
    assert next(bounded(items, lambda _: 1, 3)) == [0, 1, 2]
    assert next(items) == 3
