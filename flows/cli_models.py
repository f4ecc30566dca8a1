"""The commands about registered versions: look, compare, judge again, promote, return."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.output import say, show

app = typer.Typer()
models = typer.Typer(no_args_is_help=True, help="Look at the registry and compare versions; promote and roll back.")
app.add_typer(models, name="models")

ConfigPath = Annotated[
    Path | None, typer.Option("--config", help="A config.yaml; the one here or in the nearest parent when left out.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
VERSION = "A number, or champion, challenger or previous."


@app.command("gate")
def gate_again(
    version: Annotated[
        str | None, typer.Argument(help=f"{VERSION} The challenger, else the newest other, when left out.")
    ] = None,
    audit: Annotated[
        list[Path] | None,
        typer.Option(help="A labelled set to judge by; may be repeated. The configuration's and the data set's own."),
    ] = None,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Judge a registered version again: on today's audit sets, on this machine, against the champion. Exit 3: refused.

    What it decides is recorded with the version, and `models promote` goes by it.
    """
    from edgeloop.config import load_config
    from edgeloop.inputs import read_card
    from edgeloop.tables import gate_table

    sets = [folder.resolve() for folder in audit] if audit else None
    read_card(load_config(config_path), audits=sets)  # a typo is told before a server is started
    from flows.gate import gate
    from flows.run import in_process

    decision = in_process(config_path, lambda config: gate(version, sets, config_path=config))
    show(decision, [gate_table(decision)], as_json=as_json)
    say(f"{decision.report} is the report, {decision.candidates} shows both side by side.")
    if not decision.passed:
        raise typer.Exit(3)


@models.command("list")
def models_list(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """Every registered version, newest first, with its aliases."""
    from edgeloop.config import load_config
    from edgeloop.tables import registry_table
    from tasks.register import list_versions

    versions = list_versions(load_config(config_path))
    show(list(versions), [registry_table(versions)], as_json=as_json)


@models.command("compare")
def models_compare(
    versions: Annotated[
        list[str] | None,
        typer.Argument(help=f"{VERSION} Those with an alias, or the newest three, when left out."),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Each class, camera and size too.")] = False,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Versions side by side: what each was measured at, the best in bold."""
    from edgeloop.comparison import compare, comparison_table, to_compare
    from edgeloop.config import load_config
    from tasks.register import list_versions

    found = compare(to_compare(list_versions(load_config(config_path)), versions or []), parts=everything)
    show(found, [comparison_table(found)], as_json=as_json)


@models.command("promote")
def models_promote(
    version: Annotated[str, typer.Argument(help=VERSION)], config_path: ConfigPath = None, as_json: Json = False
) -> None:
    """Make a version the champion, when the gate passed it against today's champion. Exit 3: it did not."""
    from edgeloop.comparison import pick
    from edgeloop.config import load_config
    from edgeloop.tables import registry_table
    from tasks.register import decision_about, list_versions, promote

    config = load_config(config_path)
    chosen = pick(list_versions(config), version)
    promoted = promote.fn(chosen, decision_about(chosen, config), config)
    show(promoted, [registry_table([promoted])], as_json=as_json)


@models.command("rollback")
def models_rollback(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """Make the previous champion the champion again."""
    from edgeloop.config import load_config
    from edgeloop.tables import registry_table
    from tasks.register import rollback

    version = rollback(load_config(config_path))
    show(version, [registry_table([version])], as_json=as_json)
