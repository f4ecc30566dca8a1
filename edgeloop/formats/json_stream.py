"""A large JSON document, one array element at a time: COCO's train set is 450 MB of text and 4 GB as Python objects.

The standard library's decoder does the parsing, on a window of the text that moves on. The alternative, ijson, would be
one more package on every device, needs a pass over the file for each array, and has no limit on depth or length.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

MAXIMUM_BYTES = 4 * 1000**3  # of a document
MAXIMUM_ELEMENT = 32 * 1000 * 1000  # characters of one element; the longest in COCO has 0.2 million
_WINDOW = 1 << 20
_CLOSING = frozenset('}]"')  # a value that ends so is whole
_DELIMITERS = frozenset(",]}: \t\n\r")  # what stands behind a value


class BadJson(ValueError):
    """A document that cannot be used; the message says why."""


def elements(path: Path) -> Iterator[tuple[str, object]]:
    """The members of a document `{"key": [element, …], …}`: key and element, in the order of the file.

    A value that is no array is one element of its key. Memory is bounded by the longest element.

    Raises:
        BadJson: no such document, too long, or nested too deeply.
    """
    try:
        size = path.stat().st_size
        with path.open(encoding="utf-8-sig") as handle:
            yield from _Window(handle).members() if size <= MAXIMUM_BYTES else _refuse(size)
    except RecursionError as problem:
        raise BadJson("nested too deeply") from problem
    except (OSError, ValueError) as problem:  # not UTF-8, or numbers of thousands of digits
        raise problem if isinstance(problem, BadJson) else BadJson(f"not JSON: {problem}") from problem


def _refuse(size: int) -> Iterator[tuple[str, object]]:
    raise BadJson(f"{size / 1e9:.1f} GB of JSON, at most {MAXIMUM_BYTES / 1e9:.0f} GB")


class _Window:
    """A part of the text, and how far it was read."""

    def __init__(self, handle: TextIO) -> None:
        self._handle = handle
        self._text, self._at, self._ended = "", 0, False
        self._decode = json.JSONDecoder().raw_decode

    def members(self) -> Iterator[tuple[str, object]]:
        self._expect("{")
        if self._next() == "}":
            return
        while True:
            key = self._value()
            if not isinstance(key, str):
                raise BadJson(f"expected a key, came {key!r:.40}")
            self._expect(":")
            if self._next() == "[":
                for element in self._array():
                    yield key, element
            else:
                yield key, self._value()
            if self._next() == "}":
                return
            self._expect(",")

    def _array(self) -> Iterator[object]:
        self._expect("[")
        if self._next() != "]":
            yield self._value()
            while self._next() == ",":
                self._at += 1
                yield self._value()
        self._expect("]")

    def _next(self) -> str:
        """The next character that is no space, which stays; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\n\r":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more(_WINDOW):
                return ""

    def _expect(self, char: str) -> None:
        came = self._next()
        if came != char:
            raise BadJson(f"expected {char!r}, came {came!r}")
        self._at += 1

    def _value(self) -> object:
        """The next value. A number that ends with the window may go on behind it: it is believed at its delimiter."""
        self._next()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except json.JSONDecodeError:
                if not self._more(max(_WINDOW, len(self._text) - self._at)):
                    raise
                continue
            closed = self._text[end - 1] in _CLOSING or self._text[end : end + 1] in _DELIMITERS
            if closed or not self._more(_WINDOW):
                self._at = end
                return value

    def _more(self, count: int) -> bool:
        """Read on; False at the end of the file."""
        if len(self._text) - self._at > MAXIMUM_ELEMENT:
            raise BadJson(f"an element is no JSON, or longer than {MAXIMUM_ELEMENT / 1e6:.0f} million characters")
        read = "" if self._ended else self._handle.read(count)
        self._ended = not read
        self._text, self._at = self._text[self._at :] + read, 0
        return bool(read)
