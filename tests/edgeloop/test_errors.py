"""What the operating system's errors mean."""

from __future__ import annotations

import errno

import pytest

from edgeloop.errors import is_full_disk


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_raised_again_while_it_is_answered_is_looked_at_once(number: int) -> None:
    """It is then the context of the one that it caused, round and round."""
    first = OSError(number, "disk")
    try:
        try:
            try:
                raise first
            except OSError as error:
                raise ValueError("refused") from error
        finally:
            raise first  # noqa: B012  # as leaving a context does that waits for the same work
    except OSError as error:
        assert error.__context__ is not None
        assert error.__context__.__cause__ is error
        assert is_full_disk(error) == (number == errno.ENOSPC)
        assert not is_full_disk(ValueError())
