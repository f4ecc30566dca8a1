"""Any file system by its fsspec URL, and what it refuses in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import fsspec

from edgeloop.errors import BadInput, is_full_disk

CLIENTS = frozenset({"aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google"})  # whose errors are no OSError


def open_store(url: str) -> tuple[Any, str]:
    """The file system of an fsspec URL, and the path in it without a slash at its end.

    Raises:
        BadInput: the URL is of a kind that this installation cannot open.
    """
    try:
        files, root = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise BadInput(f"{url} cannot be opened ({error}); expected a folder or an fsspec URL.") from error
    return files, str(root).rstrip("/")


@contextmanager
def said_plainly(url: str) -> Iterator[None]:
    """Say in one sentence what the file system of a URL refuses.

    Raises:
        BadInput: the sentence with its reason.
        OSError: the disk is full.
    """
    try:
        yield
    except OSError as error:
        if is_full_disk(error):
            raise
        raise _refused(url, error) from error
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in CLIENTS:
            raise
        raise _refused(url, error) from error


def _refused(url: str, error: Exception) -> BadInput:
    return BadInput(f"{url} refused ({' '.join(str(error).split())}); check its address and your rights.")
