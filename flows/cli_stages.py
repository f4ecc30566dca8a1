"""The commands that run one stage on a user's own files: no workspace, no registry, no server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()
SIDES = "train, val, test, audit, all, or auto: the first there is of audit, test, val."
ONE = "CLASS=VALUE for one class; may be repeated."
WEIGHTS = "CSV of what each frame stands for: frame,weight or frame,stratum,population."


@app.command()
def evaluate(
    model: Annotated[Path, typer.Argument(help="An ONNX detector; edgeloop's record beside it is not needed.")],
    data: Annotated[Path, typer.Option(help="A labelled set: YOLO, Pascal VOC or COCO.")],
    side: Annotated[str, typer.Option(help=SIDES)] = "auto",
    weights: Annotated[Path | None, typer.Option(help=WEIGHTS)] = None,
    critical: Annotated[list[str] | None, typer.Option(help="A class whose misses cost most; may be repeated.")] = None,
    runtime: Annotated[str, typer.Option(help="auto, onnxruntime, openvino, tensorrt, …")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    resamples: Annotated[int, typer.Option(min=0, help="Behind the intervals; 0 for none.")] = 1000,
    robustness: Annotated[bool, typer.Option("--robustness", help="Also on corrupted pictures: 50 passes.")] = False,
    corruption: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    severities: Annotated[str | None, typer.Option(help="Of the corruptions, 1 to 5: 1,3,5.")] = None,
    frames: Annotated[int | None, typer.Option(min=1, help="At most so many frames under corruption.")] = None,
    report: Annotated[Path | None, typer.Option(help="An HTML report to write.")] = None,
    out: Annotated[Path, typer.Option(help="Folder for detections and records.")] = Path("var/evaluation"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,
) -> None:
    """Accuracy of your own model on your own labelled set: classes, cameras, sizes, rates, calibration, intervals."""
    from edgeloop.card import EvaluationCard
    from edgeloop.edge.bench import profile_for
    from edgeloop.evaluation_tables import evaluation_tables
    from edgeloop.foreign import refuse_checkpoint
    from edgeloop.output import say, show
    from edgeloop.own_evaluation import OwnEvaluation, evaluate_own, open_side, robustness_of, suite_settings
    from edgeloop.places import refuse_target, require_place
    from edgeloop.reports.evaluation import write_evaluation_report

    refuse_checkpoint(model)
    refuse_target(report, ".html", model)
    require_place(out)
    asked = bool(robustness or corruption or severities or frames)
    settings = suite_settings(corruption or [], severities, frames) if asked else None
    card = EvaluationCard(critical=tuple(critical or ()), resamples=resamples)
    profile = profile_for(None, runtime, threads, None)
    audit, taken = open_side(data, side, weights)
    artifact, accuracy = evaluate_own(model, audit, profile, out, card)
    suite = robustness_of(artifact, audit, out, settings, (accuracy.runtime, card)) if settings else None
    found = OwnEvaluation(artifact=artifact, side=taken, report=accuracy, robustness=suite, page=report)
    if report:
        say(f"{write_evaluation_report(report, found, audit)} is the report.")
    show(found, evaluation_tables(found), as_json=as_json)


@app.command()
def thresholds(
    model: Annotated[Path, typer.Argument(help="An ONNX detector; edgeloop's record beside it is not needed.")],
    data: Annotated[Path, typer.Option(help="A labelled set: YOLO, Pascal VOC or COCO.")],
    side: Annotated[str, typer.Option(help=SIDES)] = "auto",
    weights: Annotated[Path | None, typer.Option(help=WEIGHTS)] = None,
    card: Annotated[
        Path | None, typer.Option(help="A card; its `thresholds:` gives what no option says, also for single classes.")
    ] = None,
    held_out: Annotated[str, typer.Option(help="half of that side, or another side, to judge on.")] = "half",
    objective: Annotated[list[str] | None, typer.Option(help=f"f-beta, recall, cost or risk; {ONE}")] = None,
    beta: Annotated[list[str] | None, typer.Option(help="f-beta: recall weighs so many times as much (1).")] = None,
    minimum_recall: Annotated[list[str] | None, typer.Option(help="recall: the share to find (0.95).")] = None,
    cost_false: Annotated[list[str] | None, typer.Option(help=f"cost: of a false positive (1); {ONE}")] = None,
    cost_miss: Annotated[list[str] | None, typer.Option(help=f"cost: of a missed box (5); {ONE}")] = None,
    maximum_risk: Annotated[list[str] | None, typer.Option(help="risk: guaranteed expected miss rate (0.1).")] = None,
    production: Annotated[
        str | None,
        typer.Option(help="Unlabelled frames of today, or the model's inference log: what became rarer counts so."),
    ] = None,
    runtime: Annotated[str, typer.Option(help="auto, onnxruntime, openvino, tensorrt, …")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    report: Annotated[Path | None, typer.Option(help="An HTML report to write, with precision-recall curves.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the record and its report; beside the model.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,
) -> None:
    """Per-class thresholds of your own model: tuned on half of a labelled set, compared with global ones on the rest.

    They are written into the record beside the model. Exit 3: there was nothing to tune on, and nothing is written.
    """
    from edgeloop.edge.bench import profile_for
    from edgeloop.foreign import refuse_checkpoint
    from edgeloop.output import say, show
    from edgeloop.own_thresholds import Sides, save_thresholds, threshold_settings, tune_own
    from edgeloop.places import refuse_target, require_place
    from edgeloop.reports.thresholds import write_threshold_report
    from edgeloop.threshold_tables import threshold_tables

    refuse_checkpoint(model)
    refuse_target(report, ".html", model)
    require_place(out or model.parent)
    asked = {
        "objective": objective, "beta": beta, "minimum_recall": minimum_recall, "cost_false": cost_false,
        "cost_miss": cost_miss, "maximum_risk": maximum_risk,
    }  # fmt: skip
    settings = threshold_settings(card, {key: values or [] for key, values in asked.items()})
    sides, taken = Sides.of(data, side, weights, held_out)
    found = tune_own(model, sides, profile_for(None, runtime, threads, None), settings, production)
    if found.report.warning:
        say(f"warning: {found.report.warning} No record was written.")
    else:
        say(f"Tuned on {len(sides.tuning.frames)} frames ({taken}).")
    if report:
        say(f"{write_threshold_report(report, found)} is the report.")
    show(found.report, threshold_tables(found.report), as_json=as_json)
    if found.report.warning:
        raise typer.Exit(3)
    record, told = save_thresholds(found.report, out or model.parent)
    say(f"{record} has the thresholds, {told} what they rest on.")


@app.command()
def quantize(
    model: Annotated[Path, typer.Argument(help="A float32 ONNX detector; edgeloop's record beside it is not needed.")],
    calibrate: Annotated[Path, typer.Option(help="A labelled set (its training side) or a folder of frames.")],
    evaluate: Annotated[Path, typer.Option(help="A labelled set, YOLO or Pascal VOC; its training side is left out.")],
    card: Annotated[Path | None, typer.Option(help="A card; its `quantize:` gives what no option says.")] = None,
    limit: Annotated[float | None, typer.Option(min=0, help="Relative mAP50-95 it may lose (0.02).")] = None,
    class_limit: Annotated[
        float | None, typer.Option(min=0, help="AP50-95 a class may lose, absolute (0.05 is 5 points).")
    ] = None,
    method: Annotated[
        str | None, typer.Option(help="auto (compares them), percentile, minmax, entropy or nncf.")
    ] = None,
    judge: Annotated[
        str | None, typer.Option(help="The loss by its estimate, or by the bound of its 95 % interval.")
    ] = None,
    frames: Annotated[int | None, typer.Option(min=8, help="Calibration frames (200).")] = None,
    budget: Annotated[float | None, typer.Option(min=1, help="Seconds after which the best found is taken.")] = None,
    out: Annotated[Path | None, typer.Option(help="The file to write; MODEL-int8.onnx when left out.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,
) -> None:
    """INT8 of your own model that keeps its accuracy: a table of recipes and the file. Exit 3: none kept the limits."""
    from edgeloop.card import quantize_settings
    from edgeloop.output import say, show
    from edgeloop.places import refuse_target
    from edgeloop.quantization import quantize_table
    from models.own_model import quantize_own

    asked = {
        "limit": limit, "class_limit": class_limit, "calibration": method, "judge_loss_by": judge, "frames": frames,
        "budget_seconds": budget,
    }  # fmt: skip
    settings = quantize_settings(card, asked)
    target = out or model.with_name(f"{model.stem}-int8.onnx")
    refuse_target(target, ".onnx", model)
    artifact, report = quantize_own(model, calibrate, evaluate, settings, target)
    show(report, [quantize_table(report)], as_json=as_json)
    say(f"{artifact.path}: {artifact.id}, with its record and the report of the search beside it.")
    if not report.reached:
        say(f"edgeloop: {report.reason}")
        raise typer.Exit(3)
