"""The stage export: files of one checkpoint that take different inputs do not overwrite each other."""

from __future__ import annotations

from itertools import product

from edgeloop.card import Card
from tasks.export import variant


def test_every_input_has_a_name_of_its_own() -> None:
    """Bytes or floats, one frame or an open batch: four files; the plain one keeps the name it always had."""
    cards = [
        Card(name="x", architecture="y", input=kind, open_batch=opened)
        for kind, opened in product(("float32-nchw", "uint8-nhwc"), (False, True))
    ]
    names = [variant(card) for card in cards]
    assert names[0] == ""
    assert len(set(names)) == len(cards)
