"""The pipeline's commands, which join the device's in a checkout. Heavy imports wait until a command runs."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeloop.output import say, show

app = typer.Typer()
labels = typer.Typer(no_args_is_help=True, help="Fill the labelling queue and bring answers back.")
dataset = typer.Typer(no_args_is_help=True, help="Look at data set versions and lay old ones out.")
app.add_typer(labels, name="labels")
app.add_typer(dataset, name="dataset")

ConfigPath = Annotated[
    Path | None, typer.Option("--config", help="A config.yaml; the one here or in the nearest parent when left out.")
]
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
REVISION = "current, previous, four or more digits of a version's md5, or a git revision whose data.dvc names it."
Since = Annotated[datetime | None, typer.Option(help="From this time on, UTC: 2026-03-01T08:15:00.")]
Until = Annotated[datetime | None, typer.Option(help="Up to this time, UTC.")]


@app.command()
def demo(
    data: Annotated[
        Path | None, typer.Option(help="Your own labelled set, YOLO or Pascal VOC; generated data when left out.")
    ] = None,
    size: Annotated[str, typer.Option(help="Of the generated data: demo (minutes) or tiny (to try things).")] = "demo",
    seed: Annotated[int, typer.Option(help="Of the generated data, or of how yours is divided.")] = 0,
    workspace: Annotated[Path | None, typer.Option(help="Where it runs; var/demo when left out.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew instead of going on.")] = False,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """The whole loop once: train, quantize, gate, deploy, drift, label, retrain. Stopped, it goes on where it was."""
    from edgeloop.config import load_config
    from edgeloop.demo import DemoOptions
    from edgeloop.demo_tables import demo_tables
    from edgeloop.formats import detect
    from edgeloop.lock import exclusive
    from edgeloop.places import require_place
    from edgeloop.reports.demo import write_demo_report
    from tasks.ephemeral import ephemeral
    from tasks.workspace import open_demo

    config = load_config(config_path)
    folder = (workspace or config.workspace.var / "demo").resolve()
    options = DemoOptions.checked(size=size, seed=seed, data=data.resolve() if data else None)
    require_place(folder)
    if options.data:
        detect(options.data)
    with exclusive(folder.with_name(f".{folder.name}.lock"), f"the demo in {folder}"):
        place = open_demo(folder, options, config, fresh=fresh)
        walked = load_config(place)
        with ephemeral(walked, meanwhile=_import_demo):
            from flows.demo import demo as run_demo

            result = run_demo(options, place)
        result.save(folder / "result.json")
        page = write_demo_report(walked.workspace.reports / "demo.html", result, walked.device.stem)
    show(result, demo_tables(result, walked, page), as_json=as_json)


def _import_demo() -> None:
    """The flow and what its stages import, while the private server starts."""
    import flows.demo  # noqa: F401


@app.command()
def ingest(
    sources: Annotated[list[str], typer.Argument(help="Folders, video files, fsspec URLs such as s3://bucket/set.")],
    format: Annotated[  # noqa: A002
        str, typer.Option(help="auto, yolo, voc, coco, images, video or log (a device's folder, another store).")
    ] = "auto",
    split_by: Annotated[
        str | None,
        typer.Option(
            help="What stays on one side of the split, now and later: none, camera, day, clip, clip:SECONDS, or a "
            "regular expression over the path, whose first group names it; the data set's own rule when left out."
        ),
    ] = None,
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what can be mended and list it; files are not changed.")
    ] = False,
    every: Annotated[float, typer.Option(help="Seconds between two frames of a video; sooner where it changes.")] = 1.0,
    camera: Annotated[str | None, typer.Option(help="Names the camera of a video.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and change nothing.")] = False,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Take labelled sets into the data set, a new version, and images, videos and device logs into the store."""
    from edgeloop.arrival import IngestSettings
    from edgeloop.config import load_config
    from edgeloop.ingest_tables import ingest_tables
    from edgeloop.tables import version_table
    from flows.ingest import take_in

    config = load_config(config_path)
    asked = {"format": format, "split_by": split_by, "fix": fix, "camera": camera, "dry_run": dry_run}
    settings = IngestSettings.from_document(asked | {"sampling": {"every_seconds": every}}, "the options")
    reports: list[Any] = []
    for report, version in take_in(sources, config, settings, alone=True):
        reports += [report, version] if version else [report]
        if not as_json:
            show(report, [*ingest_tables(report), *([version_table(version)] if version else [])], as_json=False)
    if as_json:
        show(reports, [], as_json=True)


@dataset.command("show")
def dataset_show(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """Every version, newest first, and of the current one: boxes of each class, cameras and sources, on each side."""
    from edgeloop.config import load_config
    from edgeloop.dataset_tables import versions_tables
    from tasks.version import list_versions

    versions = list_versions(load_config(config_path))
    show(versions, versions_tables(versions), as_json=as_json)


@dataset.command("diff")
def dataset_diff(
    before: Annotated[str, typer.Argument(help=REVISION)] = "previous",
    after: Annotated[str, typer.Argument(help="The same.")] = "current",
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """What changed from one version to another: frames, labels, boxes of each class, cameras and sources."""
    from edgeloop.config import load_config
    from edgeloop.dataset_tables import diff_tables
    from tasks.version import compare_versions

    found = compare_versions(load_config(config_path), before, after)
    show(found, diff_tables(found), as_json=as_json)


@dataset.command("report")
def dataset_report(
    out: Annotated[
        Path | None, typer.Option(help="The HTML file; among the workspace's reports when left out.")
    ] = None,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """The current version as a page: classes, cameras, box sizes, light, near duplicates, labels worth a look."""
    from edgeloop.config import load_config
    from edgeloop.places import refuse_target
    from edgeloop.reports.data import report_on
    from tasks.version import current_version

    refuse_target(out, ".html")
    config = load_config(config_path)
    version, place = current_version(config), config.workspace
    page = report_on(version, (out or place.reports / f"data-{version.md5[:12]}.html").resolve(), place.inspections)
    show({"version": version.md5, "report": str(page)}, [f"{page}"], as_json=as_json)


@dataset.command("checkout")
def dataset_checkout(
    version: Annotated[str, typer.Argument(help=REVISION)],
    out: Annotated[Path, typer.Option(help="An empty or new folder.")],
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Lay an old version out in a folder of its own; the live data set stays as it is."""
    from edgeloop.config import load_config
    from edgeloop.tables import version_table
    from tasks.version import checkout_version

    found = checkout_version(load_config(config_path), version, out)
    show(found, [version_table(found)], as_json=as_json)


@app.command("sample")
def sample_frames(
    budget: Annotated[
        int | None, typer.Option(min=1, help="Frames to label; the configuration's when left out.")
    ] = None,
    since: Since = None,
    until: Until = None,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Choose the frames of the champion's log that are worth labelling and put them into the queue."""
    from edgeloop.tables import selection_table
    from flows.run import in_process
    from flows.sample import sample

    selection = in_process(config_path, lambda config: sample(since, until, budget, config))
    show(selection, [selection_table(selection)] if selection else [], as_json=as_json)


@labels.command("push")
def labels_push(
    budget: Annotated[
        int | None, typer.Option(min=1, help="Frames to label; the configuration's when left out.")
    ] = None,
    since: Since = None,
    until: Until = None,
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Put the frames worth labelling into the queue, pre-labelled, the least certain first. The same as `sample`."""
    sample_frames(budget, since, until, config_path, as_json)


@labels.command("pull")
def labels_pull(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """Bring completed labels into the data set, which becomes a new version."""
    from edgeloop.tables import version_table
    from flows.label_sync import label_sync
    from flows.run import in_process

    version = in_process(config_path, lambda config: label_sync(emit=False, config_path=config))
    if version is None:
        say("Nothing new: no frame was labelled since the last pull.")
    show(version, [version_table(version)] if version else [], as_json=as_json)


@labels.command("status")
def labels_status(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """How far the queue is."""
    from edgeloop.config import load_config
    from edgeloop.tables import queue_table
    from tasks.labels import labels_status as status_of

    status = status_of.fn(load_config(config_path))
    show(status, [queue_table(status)], as_json=as_json)


@app.command()
def drift(since: Since = None, until: Until = None, config_path: ConfigPath = None, as_json: Json = False) -> None:
    """Does the stream still look like the one the champion was accepted on? Report and decision."""
    from edgeloop.tables import drift_table
    from flows.drift import drift as watch_drift
    from flows.run import in_process

    report = in_process(config_path, lambda config: watch_drift(since, until, emit=False, config_path=config))
    if report is None:
        say("Nothing to judge: expected a champion whose log goes on after its reference. Run it on frames first.")
    show(report, [drift_table(report)] if report else [], as_json=as_json)


@app.command()
def retrain(
    reason: Annotated[str, typer.Option(help="Why, in words; it is registered with the result.")] = "by hand",
    config_path: ConfigPath = None,
    as_json: Json = False,
) -> None:
    """Train a challenger on the newest labels and promote it when the gate passes it. Exit 3 when it is refused."""
    from edgeloop.config import load_config
    from edgeloop.inputs import read_card
    from edgeloop.tables import gate_table

    read_card(load_config(config_path))  # a typo is told before a server is started
    from flows.retrain import retrain as run_round
    from flows.run import in_process

    result = in_process(config_path, lambda config: run_round(reason, config_path=config))
    show(result, [gate_table(result.decision)] if result.decision else [], as_json=as_json)
    if result.outcome == "refused":
        raise typer.Exit(3)


@app.command("sample-data")
def sample_data(
    out: Annotated[Path, typer.Argument(help="A new folder.")],
    size: Annotated[str, typer.Option(help="demo or tiny.")] = "demo",
    seed: Annotated[int, typer.Option(help="The same seed gives the same pictures.")] = 0,
) -> None:
    """Generate the demo's inspection line: a labelled set, two production streams and two audit sets."""
    from edgeloop.demo import DemoOptions
    from edgeloop.sample import SIZES, generate

    asked = DemoOptions.checked(size=size, seed=seed)
    scene = generate(out, SIZES[asked.size], asked.seed)
    say(f"{scene.root}: labelled, stream-clean, stream-drifted, audit-clean and audit-drifted.")


@app.command()
def up(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """Start the local stack on loopback: Prefect, its workers, MLflow, Label Studio when it is configured."""
    from edgeloop.config import load_config
    from tasks.stack import up as start

    _show_stack(start(load_config(config_path)), as_json)


@app.command()
def status(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """What of the local stack is running, where, and how it is."""
    from edgeloop.config import load_config
    from tasks.stack import status as look

    _show_stack(look(load_config(config_path)), as_json)


@app.command()
def down(config_path: ConfigPath = None, as_json: Json = False) -> None:
    """Stop the local stack."""
    from edgeloop.config import load_config
    from tasks.stack import down as stop

    _show_stack(stop(load_config(config_path)), as_json)


def _show_stack(report: Any, as_json: bool) -> None:
    from edgeloop.tables import stack_table

    show(report, [stack_table(report)], as_json=as_json)
