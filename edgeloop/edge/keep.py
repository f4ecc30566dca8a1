"""`--keep`: which images are kept, in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from edgeloop.edge.retention import Retention
from edgeloop.errors import BadInput

NOTHING: dict[str, Any] = {"every": None, "uncertain": False, "audit": 0.0}
NUMBERS: dict[str, type] = {"every": int, "audit": float, "margin": float, "uncertain_seconds": float, "recent": int}
WORDS: dict[str, dict[str, Any]] = {"all": {"keep_all": True}, "none": {}, "uncertain": {"uncertain": True}}


def parse_keep(words: Sequence[str]) -> Retention:
    """The policy that words such as `every=30`, `uncertain`, `audit=0.01` name together; the default without any.

    The first word clears the default, so `--keep every=10` keeps every tenth image and no other.

    Raises:
        BadInput: a word that means nothing, or a number out of range.
    """
    if not words:
        return Retention()
    document = dict(NOTHING)
    for word in (part.strip() for text in words for part in text.split(",")):
        document |= _read(word)
    return Retention.from_document(document, "--keep")


def _read(word: str) -> dict[str, Any]:
    name, given, number = word.partition("=")
    if not given and name in WORDS:
        return WORDS[name]
    if given and name in NUMBERS:
        try:
            return {name: NUMBERS[name](number)}
        except ValueError:
            pass
    raise BadInput(
        f"--keep {word} means nothing; expected all, none, uncertain, or one of {', '.join(NUMBERS)} with a number: "
        f"every=30,uncertain,audit=0.01."
    )
