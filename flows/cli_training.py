"""The commands that train: one card, or a sweep of them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()

ConfigPath = Annotated[
    Path | None, typer.Option("--config", help="A config.yaml; the one here or in the nearest parent when left out.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]


@app.command()
def train(
    card: Annotated[Path | None, typer.Option(help="A card; the configuration's when left out.")] = None,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Train a card on the current version, export and measure it. Killed, it goes on from its last finished epoch."""
    from edgeloop.config import load_config
    from edgeloop.inputs import read_card
    from edgeloop.output import show
    from edgeloop.sweep_tables import candidate_table

    path = card.resolve() if card else None
    read_card(load_config(config_path), path)  # a typo is told before a server is started
    from flows.run import in_process
    from flows.train import train_card

    candidate = in_process(config_path, lambda config: train_card(path, config))
    show(candidate, [candidate_table(candidate)], as_json=as_json)


@app.command()
def sweep(
    sweep_path: Annotated[
        Path | None, typer.Option("--sweep", help="A sweep in YAML; the configuration's when left out.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(min=1, help="Seconds for training and probing; the sweep's own when left out.")
    ] = None,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Compare cards: architectures at input sizes, halved at every rung. Exit 3 when none came to its end."""
    from edgeloop.config import load_config
    from edgeloop.inputs import read_sweep
    from edgeloop.output import say, show
    from edgeloop.sweep_tables import sweep_table

    path = sweep_path.resolve() if sweep_path else None
    read_sweep(load_config(config_path), path, budget)  # a typo is told before a server is started
    from flows.run import in_process
    from flows.sweep import sweep as run_sweep

    result = in_process(config_path, lambda config: run_sweep(path, budget, config))
    if result.page:
        say(f"{result.page} compares the finalists.")
    show(result, [sweep_table(result)], as_json=as_json)
    if not result.candidates:
        raise typer.Exit(3)
