"""The one console script. A device install has the device commands; from a checkout the pipeline's commands join in.

Results go to stdout (`--json`: one JSON document and nothing else), progress and logs to stderr.
Exit 0 done, 1 internal error, 2 bad input or usage, 3 refused by a gate or a check.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
from functools import cache
from importlib.metadata import entry_points
from typing import Annotated, Any

import typer
from rich.console import Console

from edgeloop import __version__
from edgeloop.edge import bench_cli
from edgeloop.edge.cli import app as device
from edgeloop.errors import EdgeloopError, causes, is_full_disk, wrong_place

COMMANDS = "edgeloop.commands"
# Typer raised click's exceptions and later its own copies of them; what a public one of them derives from is both.
UsageProblem: Any = typer.BadParameter.__mro__[2]
EXIT_INTERRUPTED = 130  # 128 + SIGINT, what a shell reports

app = typer.Typer(
    name="edgeloop", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Takes a YOLO detector from notebook accuracy to production on edge hardware, and keeps it there.",
    epilog="Start with `edgeloop demo`: it runs the whole loop once on generated data, in a few minutes.",
)  # fmt: skip

app.registered_commands.extend([*device.registered_commands, *bench_cli.app.registered_commands])


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"edgeloop {__version__}")
        raise typer.Exit


@app.callback()
def edgeloop(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Takes a YOLO detector from notebook accuracy to production on edge hardware, and keeps it there."""


@cache
def join_pipeline_commands() -> None:
    """Add the commands of every installed command package, once; a device install lacks the pipeline."""
    for entry in entry_points(group=COMMANDS):
        try:
            commands: typer.Typer = entry.load()
        except ModuleNotFoundError as error:
            if error.name == entry.module.split(".", maxsplit=1)[0]:
                continue  # the wheel of the device side holds `edgeloop` alone
            raise
        app.registered_commands.extend(commands.registered_commands)
        app.registered_groups.extend(commands.registered_groups)


def main() -> None:
    """Run the command line and turn every error into one sentence and an exit code."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code. Errors are one sentence on stderr, never a traceback for bad input."""
    join_pipeline_commands()
    try:
        outcome = app(arguments, standalone_mode=False)
    except UsageProblem as error:
        error.show(sys.stderr)
        return int(error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return _say("Stopped. What was finished is kept; run the same command again to continue.", EXIT_INTERRUPTED)
    except EdgeloopError as error:
        return _say(str(error), error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    except Exception as error:
        if is_full_disk(error):
            return _say(_full_disk(error), 2)
        if place := wrong_place(error):
            return _say(_wrong_place(error, place), 2)
        raise
    return outcome if isinstance(outcome, int) else 0


def _full_disk(error: BaseException) -> str:
    named = next((name for one in causes(error) if (name := getattr(one, "filename", None)) is not None), None)
    where = f" while writing {named}" if named else ""
    reason = os.strerror(errno.ENOSPC).lower()
    return f"The disk is full{where} ({reason}). Nothing half-written was kept; free some space and run again."


def _wrong_place(error: Exception, place: str) -> str:
    from edgeloop.formats.findings import printable

    number = getattr(error, "errno", None)
    reason = "it is no folder" if number == errno.EEXIST else os.strerror(number or 0).lower()
    return f"{printable(place)} cannot be used ({reason}). Name another place, or change what is there or its rights."


def _say(sentence: str, code: int) -> int:
    Console(stderr=True, soft_wrap=True, highlight=False).print(f"edgeloop: {sentence}", markup=False)
    return code
