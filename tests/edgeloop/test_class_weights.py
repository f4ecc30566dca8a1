"""Class weights as Cui et al. define them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.card import Card
from edgeloop.class_weights import BETA, class_weights
from edgeloop.errors import BadInput

counts = st.lists(st.integers(0, 5000), min_size=1, max_size=8).filter(any)


def names(number: int) -> list[str]:
    return [f"class {index}" for index in range(number)]


def test_balanced_is_inverse_frequency() -> None:
    """A class with a tenth of the boxes weighs ten times as much; one without any weighs what the mean class weighs."""
    found = class_weights([1000, 100, 0], names(3), "balanced")
    assert found == pytest.approx((2 / 11, 20 / 11, 1.0))


def test_the_papers_formula() -> None:
    """E(n) = 1 + b + b^2 + …, n terms; the weight of a class is its inverse."""
    found = class_weights([3, 50], names(2), "effective")
    assert found is not None
    effective = [sum(BETA**power for power in range(number)) for number in (3, 50)]
    assert found[0] / found[1] == pytest.approx(effective[1] / effective[0])


@given(counts)
def test_the_mean_is_one_and_rare_weighs_more(boxes: list[int]) -> None:
    """Whatever the counts: the classes that occur weigh 1 on average, and a rarer one never less than another.

    The effective number lies between: it tells classes apart less than their frequencies do.
    """
    spread = {}
    for scheme in ("balanced", "effective"):
        found = class_weights(boxes, names(len(boxes)), scheme)  # type: ignore[arg-type]
        assert found is not None
        there = sorted((count, -weight) for count, weight in zip(boxes, found, strict=True) if count)
        assert sum(-weight for _, weight in there) / len(there) == pytest.approx(1.0)
        assert [weight for _, weight in there] == sorted(weight for _, weight in there)
        spread[scheme] = there[-1][1] / there[0][1]
    assert spread["effective"] >= spread["balanced"] - 1e-12


def test_explicit_weights_are_taken_as_they_are() -> None:
    """Named classes weigh what is written, others 1; a class that the set lacks is an error with those it has."""
    assert class_weights([5, 5], ["pit", "crack"], {"crack": 3}) == (1.0, 3.0)
    with pytest.raises(BadInput, match=r"weighs the class rust; expected some of pit, crack"):
        class_weights([5, 5], ["pit", "crack"], {"rust": 3})


def test_nothing_asked_or_nothing_labelled_is_no_weight() -> None:
    """The loss is left alone."""
    assert class_weights([5, 5], ["pit", "crack"], "none") is None
    assert class_weights([0, 0], ["pit", "crack"], "balanced") is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class_weights": "inverse"}, "class_weights"),
        ({"class_weights": {"crack": 0}}, "class_weights"),
        ({"class_weights": "balanced", "training_device": "0,1"}, "one training_device"),
    ],
)
def test_cards_that_cannot_be(changes: dict[str, object], message: str) -> None:
    """An unknown scheme, a weight that is not above 0, and several devices, which train without our hooks."""
    with pytest.raises(BadInput, match=message):
        Card.from_document({"name": "toy", "architecture": "toyn.yaml", **changes}, "card.yaml")
