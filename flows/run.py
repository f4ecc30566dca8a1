"""Run a flow from the command line: in this process, on the workspace's private server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from edgeloop.config import load_config
from tasks.ephemeral import ephemeral

T = TypeVar("T")


def in_process(config_path: Path | None, work: Callable[[Path | None], T]) -> T:
    """Call `work` with the path of the configuration while the private server runs."""
    with ephemeral(load_config(config_path)):
        return work(config_path)
