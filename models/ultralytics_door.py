"""The one door to Ultralytics: train a card, open a checkpoint, export it. Nothing else imports Ultralytics.

It is used as a library that may not reach out: its settings live in a folder of this process alone, it is told that it
is offline, it may not install packages, report usage or fetch fonts, and its other integrations are off.

A `.pt` is a pickle. Only a checkpoint that this pipeline wrote or that the card names is opened, and even that through
Ultralytics' restricted loader, which rebuilds known layer classes and nothing else.
"""

from __future__ import annotations

import atexit
import io
import os
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from typing import Any

from edgeloop.artifact import DEFAULT_THRESHOLD, Artifact
from edgeloop.card import Card
from edgeloop.errors import BadInput
from edgeloop.files import atomic_directory, atomic_file, sha256
from edgeloop.held_out import HeldOut
from edgeloop.training_curve import Epoch
from models.byte_input import take_bytes
from models.checkpoint import CHECKPOINT, LOG, RECORD, Checkpoint, check_trusted, result_folder
from models.continuation import PROGRESS, Continuation, training_key, working_in
from models.onnx_graph import slim
from models.staging import NOTHING_MORE, Repetition, StagedSet, stage_set
from models.training_watch import TrainingWatch, logged_to, read_curve
from models.tuning import Tuning, settings, share_after, tune

OPSET = 17  # TensorRT 8.x reads up to 17, ONNX Runtime 1.17 up to 20
RAM_CACHE_BYTES = 1 << 30  # decoded images kept in memory; larger sets are decoded again every epoch
AUGMENTATIONS = frozenset([
    "hsv_h", "hsv_s", "hsv_v", "degrees", "translate", "scale", "shear", "perspective", "flipud", "fliplr", "bgr",
    "mosaic", "mixup", "cutmix", "copy_paste", "close_mosaic", "multi_scale",
])  # fmt: skip
PATHS, FOLDERS = frozenset(["model", "data", "pretrained"]), frozenset(["project", "save_dir"])
OFFLINE = {
    "YOLO_OFFLINE": "True",
    "YOLO_AUTOINSTALL": "False",
    "YOLO_VERBOSE": "False",
    "ULTRALYTICS_SAFE_LOAD": "True",
}


def train(
    data_yaml: Path,
    card: Card,
    out: Path,
    *,
    start: Path | None,
    epochs: int,
    dataset_md5: str = "",
    held_out: HeldOut = NOTHING_MORE,
    on_epoch: Callable[[Epoch], None] | None = None,
    tuning: Tuning | None = None,
    until: int | None = None,
) -> Checkpoint:
    """Train `card` on the YOLO-layout set of `data_yaml`; `out` then holds checkpoint.pt, its record and train.log.

    `out` appears whole or not at all. The checkpoint is the last one, not the best: the validation side is looked at
    once, after the last epoch, so that nothing is selected on it and later measurements on it stay honest. Killed, the
    same training goes on from its last finished epoch (`models.continuation`), on one device.

    Args:
        data_yaml: names train, val and names.
        card: what to train and how.
        out: folder to write.
        start: checkpoint to fine-tune from; must be the card's own `start` or one that this pipeline wrote.
        epochs: passes over the training side.
        dataset_md5: the version of the data set, for the record.
        held_out: what may not be trained on, beside the audit side of the data set itself.
        on_epoch: called after every epoch.
        tuning: for a second training of `start`: fewer channels, or fake INT8.
        until: pause after so many of the epochs and look at the validation side there too; the checkpoint goes to
            `result_folder(out, epochs, until)`, and the next call goes on from it.

    Raises:
        BadInput: no images or labels, an unknown architecture or augmentation, a checkpoint that may not be opened or
            does not fit, a training side that holds an audit frame, or a loss that is no longer a number.
    """
    _check_augmentations(card)
    model = None if start is None else open_checkpoint(start, card)  # refused, if at all, before anything is written
    check_pause(card, epochs, until)
    target, pause = result_folder(out, epochs, until), until if until is not None and until < epochs else None
    with working_in(out) as work:
        shutil.rmtree(work / "data", ignore_errors=True)
        if tuning is not None:  # a second training is short: stopped, it begins again
            (work / PROGRESS).unlink(missing_ok=True)
        staged = stage_set(data_yaml, work / "data", held_out, _repetition(card))
        trainer = f"ultralytics {import_ultralytics().__version__}"
        key = training_key(card, (start, epochs), staged, dataset_md5, trainer)
        going_on = Continuation(work, key, card.seed, pause)
        curve = _fit(card, staged, work, (start, epochs, on_epoch), going_on, (tuning, model))
        record = Checkpoint(
            path=target / CHECKPOINT,
            sha256="",
            dataset_md5=dataset_md5,
            card=card.name,
            start_sha256=sha256(start) if start else "",
            names=staged.names,
            epochs=pause or epochs,
            curve=curve,
            pruned=share_after(tuning, model),
        )
        record = _publish(work, record, target)
        if pause is None:
            shutil.rmtree(work)
        else:
            going_on.pause(curve)
    return record


def _publish(work: Path, record: Checkpoint, target: Path) -> Checkpoint:
    """Put the checkpoint of a finished run, its record and its log in place; the run's own files go."""
    with atomic_directory(target) as folder:
        (folder / CHECKPOINT).write_bytes(_portable(work / "run" / "weights" / "last.pt"))
        shutil.copyfile(work / LOG, folder / LOG)
        record = record.model_copy(update={"sha256": sha256(folder / CHECKPOINT)})
        record.save(folder / RECORD)
    for scratch in ("data", "run"):
        shutil.rmtree(work / scratch)
    return record


def _repetition(card: Card) -> Repetition | None:
    return None if card.repeat_threshold is None else Repetition(card.repeat_threshold, card.seed)


def open_checkpoint(path: Path, card: Card) -> Any:
    """The float32 torch model in a checkpoint, in evaluation mode on the CPU.

    Raises:
        BadInput: the file may not be opened (`check_trusted`), or holds no detector.
    """
    check_trusted(path, card)
    import_ultralytics()
    from ultralytics.nn.tasks import DetectionModel, load_checkpoint

    try:
        model, _ = load_checkpoint(str(path))
    except (TypeError, RuntimeError, KeyError, AttributeError, ModuleNotFoundError) as error:
        raise BadInput(f"{path} is not an Ultralytics checkpoint that can be opened ({_first_line(error)}).") from error
    if not isinstance(model, DetectionModel):
        raise BadInput(f"{path} holds a {type(model).__name__}; expected a detector.")
    return model


def import_ultralytics() -> Any:
    """Import Ultralytics shut off from the network and from the user's settings; returns the module.

    On a machine that is busy with something else, torch's threads by default burn their time waiting for each other:
    a training step on 2 cores with 7 other processes took 6.4 s so, 1.1 s with threads that sleep while they wait. The
    waiting policy is read when torch is first loaded.
    """
    os.environ.update(OFFLINE, YOLO_CONFIG_DIR=_private_folder())
    kept = {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")}
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import ultralytics
    from ultralytics import utils

    utils.VERBOSE = False  # the variable above is read once, by whoever imports Ultralytics first
    for name, value in kept.items():  # Ultralytics sets OMP_NUM_THREADS to 1 for the whole process and every child
        if value is None:
            os.environ.pop(name, None)
    switches = {key: False for key, value in ultralytics.settings.items() if isinstance(value, bool)}
    dict.update(ultralytics.settings, switches)  # in memory alone: its own update() writes the file
    return ultralytics


@cache
def _private_folder() -> str:
    """A settings folder for this process and its children, with the fonts that Ultralytics would else download."""
    import matplotlib

    folder = tempfile.mkdtemp(prefix="edgeloop-ultralytics-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    fonts = Path(folder) / "Ultralytics"
    fonts.mkdir()
    for name in ("Arial.ttf", "Arial.Unicode.ttf"):
        (fonts / name).symlink_to(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf")
    return folder


def _fit(
    card: Card,
    staged: StagedSet,
    folder: Path,
    run: tuple[Path | None, int, Any],
    going_on: Continuation,
    second: tuple[Tuning | None, Any],
) -> tuple[Epoch, ...]:
    start, epochs, on_epoch = run
    import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer

    log = folder / LOG
    if going_on.progress is None:
        log.unlink(missing_ok=True)
    watch = TrainingWatch(f"train {card.name}", staged.train, log, on_epoch, going_on.curve)
    with logged_to(log) as ready, watch, _threads_kept():
        run_settings = {"epochs": epochs, "pretrained": str(start) if start else False, **settings(card, second[0])}
        trainer = _construct(DetectionTrainer, _settings(card, staged, folder / "run") | run_settings, card)
        tune(trainer, card, *second)
        trainer.add_callback("on_model_save", _drop_best)
        if not several_devices(card):  # they train in child processes, which take no callbacks
            if start is not None:
                trainer.add_callback("on_pretrain_routine_end", partial(_check_fit, start))
            watch.attach(trainer, ready)
            going_on.attach(trainer, watch)
        trainer.train()
    return tuple(watch.curve) or read_curve(folder / "run" / "results.csv", epochs)


def _construct(trainer: Any, settings: dict[str, Any], card: Card) -> Any:
    """A trainer; a setting that it does not take is the card's fault.

    Raises:
        BadInput: a value is out of the range that Ultralytics takes, or the device is not there.
    """
    try:
        return trainer(overrides=settings)
    except (ValueError, TypeError) as error:
        raise BadInput(f"the card {card.name} cannot be trained: {_first_line(error)}") from error


def _settings(card: Card, staged: StagedSet, run: Path) -> dict[str, Any]:
    """Ultralytics' training arguments for a card."""
    cached = staged.train * card.imgsz**2 * 3 <= RAM_CACHE_BYTES
    return {
        "model": architecture_file(card),
        "data": str(staged.yaml),
        "imgsz": card.imgsz,
        "batch": card.batch,
        "lr0": card.learning_rate,
        "optimizer": card.optimizer,
        "seed": card.seed,
        "device": card.training_device,
        "amp": _mixed_precision(card.training_device),
        "project": str(run.parent),
        "name": run.name,
        "exist_ok": True,
        "deterministic": True,
        "workers": 0,
        "plots": False,
        "val": False,
        "patience": 0,
        "cache": "ram" if cached else False,
        # what Ultralytics' own "auto" sets with AdamW; its SGD defaults start the biases at 50 times the learning rate
        **({"momentum": 0.9, "warmup_bias_lr": 0.0} if card.optimizer == "AdamW" else {}),
        **{key: int(value) if key == "close_mosaic" else value for key, value in card.augment.items()},
    }


def architecture_file(card: Card) -> str:
    """The model YAML of a card: a file of its own, or one that comes with Ultralytics under that name.

    Raises:
        BadInput: there is no such file.
    """
    import_ultralytics()
    from ultralytics.nn.tasks import yaml_model_load

    try:
        yaml_model_load(card.architecture)
    except FileNotFoundError as error:
        raise BadInput(
            f"the card {card.name} asks for the architecture {card.architecture}; expected a model YAML beside the "
            f"card or a name that Ultralytics knows, such as yolov8n.yaml."
        ) from error
    return card.architecture


def several_devices(card: Card) -> bool:
    """Whether the card trains on several devices at once, which Ultralytics does in processes of its own."""
    return "," in card.training_device


def check_pause(card: Card, epochs: int, until: int | None) -> None:
    """Refuse a pause that cannot be made.

    Raises:
        BadInput: before the first epoch, or on several devices.
    """
    if until is not None and until < 1:
        raise BadInput(f"the card {card.name} cannot pause after {until} epochs; expected 1 to {epochs}.")
    if until is not None and until < epochs and several_devices(card):
        raise BadInput(
            f"the card {card.name} trains on the devices {card.training_device}, where it cannot pause. Give each "
            f"candidate one device, or train it in one go."
        )


def _check_augmentations(card: Card) -> None:
    unknown = sorted(set(card.augment) - AUGMENTATIONS)
    if unknown:
        raise BadInput(
            f"the card {card.name} has augment.{unknown[0]}; expected some of {', '.join(sorted(AUGMENTATIONS))}."
        )


def _mixed_precision(device: str) -> bool | str:
    """bfloat16 where the accelerator has it; for float16 Ultralytics would download a model to test it with."""
    import torch

    return "bf16" if device != "cpu" and torch.cuda.is_available() and torch.cuda.is_bf16_supported(False) else False


def _drop_best(trainer: Any) -> None:
    trainer.best.unlink(missing_ok=True)  # nothing is selected on the validation side, so there is no best


def _check_fit(start: Path, trainer: Any) -> None:
    """Refuse a start of which no convolution fits: Ultralytics would train from scratch without saying so."""
    from ultralytics.nn.tasks import load_checkpoint

    shapes = {name: value.shape for name, value in load_checkpoint(str(start))[0].state_dict().items()}
    weights = trainer.model.state_dict()
    if not any(value.ndim == 4 and shapes.get(name) == value.shape for name, value in weights.items()):
        raise BadInput(f"no convolution of {start} fits the architecture {trainer.args.model}. Name the matching one.")


@contextmanager
def _threads_kept() -> Iterator[None]:
    """Leave torch's thread count as it was."""
    import torch

    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _portable(weights: Path) -> bytes:
    """The bytes of a checkpoint without dates, timings and paths of this machine: equal weights, equal bytes."""
    import torch
    from ultralytics.nn.tasks import load_checkpoint

    model, trained = load_checkpoint(str(weights))
    arguments = {key: _bare(key, value) for key, value in trained["train_args"].items()}
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.args, model.pt_path = arguments, CHECKPOINT
    model.yaml["yaml_file"] = Path(model.yaml.get("yaml_file", "")).name
    vars(model).pop("class_weights", None)  # of this training alone
    model.half()
    keys = ("version", "license", "docs")
    document = {"model": model, "train_args": arguments, "epoch": -1, **{key: trained[key] for key in keys}}
    buffer = io.BytesIO()
    torch.save(document, buffer)
    return buffer.getvalue()


def _bare(key: str, value: object) -> object:
    if key in FOLDERS:
        return ""
    return Path(value).name if key in PATHS and isinstance(value, str) else value


def _first_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]


def export_onnx(
    checkpoint: Checkpoint, card: Card, names: tuple[str, ...], out: Path, *, dynamic: bool = False
) -> Artifact:
    """Write the checkpoint as a float32 ONNX file, with its record beside it.

    Input `images`, as the card's `input` says: float32 (1, 3, imgsz, imgsz), RGB in 0..1, or uint8
    (1, imgsz, imgsz, 3), BGR. Output `output0`, float32: for an anchor-free head
    (1, 4 + classes, anchors) with cx, cy, w, h in input pixels and one score in 0..1 a class; for an end-to-end head
    (1, detections, 6) with x1, y1, x2, y2 in input pixels, score, class. No NMS inside. Equal weights give equal bytes.

    Args:
        checkpoint: what `train` returned.
        card: the card it was trained from; its `imgsz` and `head` count.
        names: class names, index is the class id.
        out: the .onnx file to write.
        dynamic: leave the batch size open instead of 1; not every TensorRT device takes such a file.

    Raises:
        BadInput: the checkpoint may not be opened, has another number of classes or lacks the head that is asked for.
    """
    model = open_checkpoint(checkpoint.path, card)
    if model.model[-1].nc != len(names):
        raise BadInput(f"{checkpoint.path} was trained on {model.model[-1].nc} classes; {len(names)} names were given.")
    _prepare_head(model, card, dynamic)
    with atomic_file(out) as temporary:
        content = slim(_traced(model, card.imgsz, dynamic))
        temporary.write_bytes(take_bytes(content) if card.input == "uint8-nhwc" else content)
    artifact = Artifact(
        path=out,
        sha256=sha256(out),
        precision="fp32",
        imgsz=card.imgsz,
        input=card.input,
        names=names,
        thresholds=(DEFAULT_THRESHOLD,) * len(names),
        head=card.head,
        dataset_md5=checkpoint.dataset_md5,
        card=card.name,
        checkpoint_sha256=checkpoint.sha256,
    )
    artifact.save_sidecar()
    return artifact


def fused_weights(checkpoint: Path, card: Card) -> dict[str, Any]:
    """The weights (out, in, height, width) of every convolution as `export_onnx` writes them, by its module's name."""
    model = open_checkpoint(checkpoint, card)
    _prepare_head(model, card, dynamic=False)
    named = {name: module for name, module in model.named_modules() if type(module).__name__ == "Conv2d"}
    return {name: module.weight.detach().numpy() for name, module in named.items()}


def _prepare_head(model: Any, card: Card, dynamic: bool) -> None:
    """Fuse the model and set its head for export: which branch is kept is decided before fusing drops the other."""
    head = model.model[-1]
    if card.head == "end-to-end" and getattr(head, "one2one_cv2", None) is None:
        raise BadInput(f"the card {card.name} asks for an end-to-end head; {card.architecture} has none.")
    if hasattr(model, "end2end"):
        model.end2end = card.head == "end-to-end"
    model.fuse(verbose=False)
    head.export, head.format, head.dynamic, head.shape = True, "onnx", dynamic, None
    anchors = sum((card.imgsz // int(stride)) ** 2 for stride in model.stride.tolist())
    head.max_det = min(head.max_det, anchors)
    for module in model.modules():
        if hasattr(module, "forward_split"):
            module.forward = module.forward_split  # `Split` instead of strided slices: a cleaner graph


def _traced(model: Any, imgsz: int, dynamic: bool) -> bytes:
    """The ONNX bytes of a prepared model."""
    import torch

    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer warns of shapes that are constant here on purpose
        torch.onnx.export(
            model,
            (torch.zeros(1, 3, imgsz, imgsz),),
            buffer,
            opset_version=OPSET,
            input_names=["images"],
            output_names=["output0"],
            dynamic_axes={"images": {0: "batch"}, "output0": {0: "batch"}} if dynamic else None,
            dynamo=False,
        )
    return buffer.getvalue()
