"""The command `bench`. Heavy imports wait until it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def bench(
    model: Annotated[Path, typer.Argument(help="An artifact: its .onnx file, with its record (.onnx.json) beside it.")],
    images: Annotated[
        Path | None, typer.Option(help="A folder of real frames, at most 64 are used; drawn ones when left out.")
    ] = None,
    runtime: Annotated[
        str,
        typer.Option(help="auto (all that run here), onnxruntime, openvino, tensorrt, onnxruntime-cuda, …-tensorrt."),
    ] = "auto",
    batch: Annotated[str, typer.Option(help="Images in a call, several with commas: 1,4,8.")] = "1",
    device: Annotated[
        Path | None, typer.Option(help="A device profile (YAML): its threads, runtimes and number of frames.")
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads, in place of the profile's (1).")] = None,
    frames: Annotated[
        int | None, typer.Option(min=100, help="Timed frames a runtime, in place of the profile's (662).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")] = False,
) -> None:
    """Latency of an artifact on this machine, image to boxes: all runtimes in turns in one run; * is the fastest."""
    from edgeloop.edge import bench as work
    from edgeloop.edge.model import read_artifact
    from edgeloop.output import show

    artifact = read_artifact(model)
    profile = work.profile_for(device, runtime, threads, frames)
    batches = work.read_batches(batch)
    pictures = work.load_images(images) if images else work.draw_images()
    reports = work.bench(artifact, profile, pictures, batches)
    show(reports, [work.bench_table(artifact, profile, reports)], as_json=as_json)
