"""The commands that run one stage on a user's own files: no workspace, no registry, no server."""

from __future__ import annotations

import typer

app = typer.Typer()
