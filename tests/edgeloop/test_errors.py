"""What the operating system's errors mean."""

from __future__ import annotations

import errno

import pytest

from edgeloop.errors import causes, is_full_disk


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC])
def test_an_error_raised_again_while_it_is_answered_is_looked_at_once(number: int) -> None:
    """It is then the context of the one that it caused, round and round."""
    first = OSError(number, "disk")
    with pytest.raises(OSError, match="disk") as caught:
        answer_and_raise_again(first)
    assert caught.value.__context__ is not None
    assert caught.value.__context__.__cause__ is first
    assert list(causes(first)) == [first, caught.value.__context__]
    assert is_full_disk(first) == (number == errno.ENOSPC)
    assert not is_full_disk(ValueError())


def answer_and_raise_again(error: OSError) -> None:
    """As leaving a context does that waits for the work that failed."""
    try:
        try:
            raise error
        except OSError as caught:
            raise ValueError("refused") from caught
    except ValueError:
        raise error  # noqa: B904  # no cause: that it has another context is what is tested
