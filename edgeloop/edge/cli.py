"""The device's commands: run the agent, record an operator's flag. Heavy imports wait until a command runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgeloop.output import show

app = typer.Typer()

DEVICE = Path("var/device")
Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout and nothing else.")]
Device = Annotated[Path, typer.Option(help="Folder for what must outlive the process: log, images, spool.")]
KEEP = "Images to keep: all, none, every=30, uncertain, audit=0.01; several with commas. Flagged ones are kept always."


@app.command()
def run(
    source: Annotated[str, typer.Argument(help="Folder of images, video file, camera number, or URL (rtsp://…).")],
    model: Annotated[Path, typer.Option(help="An artifact's .onnx or its record; or a folder of artifacts.")],
    store: Annotated[str | None, typer.Option(help="Where log and images go: a folder or any fsspec URL.")] = None,
    device_folder: Device = DEVICE,
    runtime: Annotated[str, typer.Option(help="auto, onnxruntime, openvino or tensorrt.")] = "auto",
    threads: Annotated[int, typer.Option(min=1, help="CPU threads for the detector.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Frames in a call; the artifact must take it.")] = 1,
    keep: Annotated[list[str] | None, typer.Option(help=KEEP)] = None,
    budget_gb: Annotated[float, typer.Option(min=0.01, max=1e6, help="How much may wait for the store.")] = 2.0,
    camera: Annotated[str | None, typer.Option(help="The camera's name in the log.")] = None,
    endpoint: Annotated[str | None, typer.Option(help="Flags and metrics on loopback: 127.0.0.1:8765.")] = None,
    max_p99_ms: Annotated[float | None, typer.Option(min=0.1, help="Image to boxes, of a new artifact.")] = None,
    max_frames: Annotated[int | None, typer.Option(min=1, help="End after so many frames.")] = None,
    show_window: Annotated[bool, typer.Option("--show", help="An annotated window.")] = False,
    save_video: Annotated[Path | None, typer.Option(help="An annotated MP4, 30 frames a second.")] = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Detect on a source, log every frame, and bring log and images to the store. SIGTERM drains."""
    from edgeloop.edge.keep import parse_keep
    from edgeloop.edge.run import AgentSettings, run_agent
    from edgeloop.edge.tables import status_table

    settings = AgentSettings.from_document(
        {
            "source": source, "model": model, "device": device_folder, "store": store, "runtime": runtime,
            "threads": threads, "batch": batch, "retention": parse_keep(keep or []),
            "budget_bytes": int(budget_gb * 2**30), "camera": camera, "endpoint": endpoint, "max_frames": max_frames,
            "health": {"maximum_p99_ms": max_p99_ms},
            "show": show_window, "save_video": save_video,
        },
        "the command line",
    )  # fmt: skip
    status = run_agent(settings)
    show(status, [status_table(status)], as_json=as_json)


@app.command()
def flag(
    frame: Annotated[str, typer.Argument(help="The frame's id, 16 hexadecimal digits.")],
    kind: Annotated[str, typer.Option(help="false-positive: shown but not there; missed: there but not shown.")],
    device_folder: Device = DEVICE,
    as_json: Json = False,
) -> None:
    """Record that the detector was wrong about a frame; its image is kept when the device still has it."""
    from edgeloop.edge.flags import flag_now, write_flag

    word = flag_now(frame, kind)
    key = write_flag(device_folder, word)
    show(word, [f"{key} waits for the store."], as_json=as_json)
