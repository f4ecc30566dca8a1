"""Class names: those of a set, matched by name with those that are wanted."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgeloop.errors import BadInput
from edgeloop.formats.findings import Finding, error, printable, warning

MAXIMUM_NAME = 200  # characters; longer is no name
_UNNAMEABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control characters, half characters, line and paragraph separators
_NO_CHARACTERS = frozenset("\ufffe\uffff")  # XML has no way to write them


@dataclass(frozen=True)
class Classes:
    """The classes that labels are given in.

    Attributes:
        names: index is the class id.
        ids: class id by each spelling that the set uses; a spelling that is missing is an unknown class.
        findings: spellings that were taken for one, and names that are none of the wanted.
    """

    names: tuple[str, ...]
    ids: Mapping[str, int]
    findings: tuple[Finding, ...] = ()

    def unknown(self, name: str) -> str:
        """Why a name is refused."""
        return f"class {name[:40]!r}, expected one of {', '.join(self.names)}"


def match_names(path: Path, spellings: Sequence[str], wanted: Sequence[str] | None = None) -> Classes:
    """Give each spelling of a set its class id.

    Names that differ only in case, in spaces or in how Unicode composes a letter are one class, and an error that
    `--fix` mends: the wanted name stays, or the first of the spellings.

    Args:
        path: what the names stand in.
        spellings: every name in the set, in its order.
        wanted: the names that labels shall be given in; a spelling that is none of them gets no id. None takes the
            set's own names.

    Raises:
        BadInput: a name that is empty, longer than 200 characters, or breaks a line.
    """
    refuse_unusable(path, spellings if wanted is None else wanted)
    names: dict[str, str] = {}
    for name in spellings if wanted is None else wanted:
        names.setdefault(name if wanted is not None else folded(name), name)
    order = {name: index for index, name in enumerate(names.values())}
    by_folded = {folded(name): name for name in reversed(order)}
    meant = {name: name if name in order else by_folded.get(folded(name)) for name in spellings}
    findings = [_respelled(path, name, known) for name, known in meant.items() if known not in (None, name)]
    findings += [_unused(path, name) for name, known in meant.items() if known is None]
    return Classes(tuple(order), {name: order[known] for name, known in meant.items() if known}, tuple(findings))


def _respelled(path: Path, name: str, known: str | None) -> Finding:
    return error("class-spelling", path, f"{name!r} and {known!r}", fix=f"{name!r} becomes {known!r}")


def _unused(path: Path, name: str) -> Finding:
    return warning("unused-class", path, f"{name[:40]!r}: the data set has no such class, and no box here is one")


def folded(name: str) -> str:
    """What two spellings of one class share."""
    return " ".join(unicodedata.normalize("NFC", name).casefold().split())


def refuse_unusable(path: Path, names: Sequence[str]) -> None:
    """Raise for a name that could not stand in a line of a class list.

    Raises:
        BadInput: which name, and why.
    """
    for name in names:
        broken = any(char in _NO_CHARACTERS or unicodedata.category(char) in _UNNAMEABLE for char in name)
        if broken or not name.strip() or len(name) > MAXIMUM_NAME:
            raise BadInput(
                f"{printable(path)}: expected class names of 1 to {MAXIMUM_NAME} characters in one line, "
                f"came '{printable(name[:60])}'."
            )
