"""The secret that a line's screen needs to flag frames: from EDGELOOP_TOKEN, or made once in the device folder."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from edgeloop.errors import BadInput

VARIABLE, FILE = "EDGELOOP_TOKEN", "token"
SHORTEST = 16  # characters


def read_token(device: Path) -> str:
    """The token; the file `<device>/token` is made, readable by its owner alone, when there is none.

    Raises:
        BadInput: it is shorter than 16 characters, or others may read the file.
    """
    given = os.environ.get(VARIABLE)
    if given is not None:
        return _long_enough(given, f"the variable {VARIABLE}")
    path = device / FILE
    if not path.exists():
        _make(path)
    if path.stat().st_mode & 0o077:
        raise BadInput(f"{path} can be read by others; run `chmod 600 {path}`, or remove it and a new one is made.")
    return _long_enough(path.read_text(encoding="utf-8").strip(), str(path))


def _make(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as handle:
        handle.write(secrets.token_urlsafe(32) + "\n")


def _long_enough(token: str, source: str) -> str:
    if len(token) < SHORTEST or not token.isascii():
        raise BadInput(f"{source} holds no token; expected at least {SHORTEST} ASCII characters.")
    return token
