"""The door to Ultralytics: equal bytes for equal work, no reach outside, and errors where it would keep silent."""

from __future__ import annotations

import pickle
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from edgeloop.artifact import load_artifact
from edgeloop.card import Card
from edgeloop.edge.detector import Detector
from edgeloop.edge.runtime import CPU_RUNTIMES, RuntimeName, open_runtime
from edgeloop.errors import BadInput
from edgeloop.held_out import HeldOut
from edgeloop.training_curve import Epoch
from models.checkpoint import Checkpoint, check_trusted, load_checkpoint_record
from models.ultralytics_door import _check_fit, export_onnx, import_ultralytics, open_checkpoint, train
from tests.training_sets import SIDE, toy_card, write_set


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return toy_card(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set") / "set", train=8, val=4)


@pytest.fixture(scope="module")
def trained(card: Card, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    """Two epochs of the toy."""
    return train(data_yaml, card, tmp_path_factory.mktemp("run") / "toy", start=None, epochs=2, dataset_md5="0" * 32)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to leave this machine or to look up a name fails and is recorded.

    Loopback is let through: a thread that another test's Prefect client left behind knocks there.
    """
    attempts: list[object] = []
    connect, getaddrinfo = socket.socket.connect, socket.getaddrinfo
    here = {"127.0.0.1", "::1", "localhost"}

    def connect_here(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX and address[0] not in here:
            attempts.append(address)
            raise OSError("no network in this test")
        connect(self, address)

    def look_up_here(host: Any, *arguments: Any, **named: Any) -> Any:
        if host not in here:
            attempts.append(host)
            raise OSError("no network in this test")
        return getaddrinfo(host, *arguments, **named)

    monkeypatch.setattr(socket.socket, "connect", connect_here)
    monkeypatch.setattr(socket, "getaddrinfo", look_up_here)
    return attempts


class Bomb:
    """Unpickling this is noticed."""

    def __reduce__(self) -> tuple[Any, ...]:
        return (exec, ("import sys; sys.exploded = True",))


@pytest.mark.integration
def test_folder_holds_checkpoint_record_and_log(trained: Checkpoint) -> None:
    """Exactly the checkpoint, its record and the log are left; the record knows where the weights come from."""
    folder = trained.path.parent
    assert {path.name for path in folder.iterdir()} == {"checkpoint.pt", "checkpoint.json", "train.log"}
    assert load_checkpoint_record(trained.path) == trained
    assert (trained.names, trained.dataset_md5, trained.epochs) == (("dark", "light"), "0" * 32, 2)
    assert [point.epoch for point in trained.curve] == [1, 2]
    assert trained.curve[0].map50 is None
    assert trained.curve[1].map50 is not None
    assert not [path for path in folder.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.integration
def test_training_sees_the_repeated_frames(card: Card, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In an epoch the trainer is given a frame of a rare class as often as its repeat factor says, others once."""
    data_yaml = write_set(tmp_path / "set", train=9, val=2)
    labels = sorted((tmp_path / "set/labels/train").iterdir())
    for class_id, label in zip("011111111", labels, strict=True):
        label.write_text(class_id + label.read_text()[1:])
    import_ultralytics()
    from ultralytics.models.yolo.detect import DetectionTrainer

    seen: list[str] = []
    taken = DetectionTrainer.preprocess_batch

    def looked(self: Any, batch: dict[str, Any]) -> Any:
        seen.extend(Path(name).resolve().stem for name in batch["im_file"])
        return taken(self, batch)

    monkeypatch.setattr(DetectionTrainer, "preprocess_batch", looked)
    repeated = card.model_copy(update={"repeat_threshold": 1.0})
    train(data_yaml, repeated, tmp_path / "run", start=None, epochs=2)
    assert seen.count(labels[0].stem) == 3 * 2  # sqrt(1 / (1 / 9)), two epochs
    assert {seen.count(label.stem) for label in labels[1:]} <= {2, 4}  # sqrt(9 / 8), rounded down or up
    assert {*seen} == {label.stem for label in labels}


@pytest.mark.integration
def test_training_refuses_audit_frames(card: Card, tmp_path: Path) -> None:
    """With a frame on the training side that judges, nothing is trained and nothing is written."""
    data_yaml = write_set(tmp_path / "set", train=4, val=2)
    (tmp_path / "audit").mkdir()
    (tmp_path / "audit/a.jpg").write_bytes((tmp_path / "set/images/train/train2.jpg").read_bytes())
    with pytest.raises(BadInput, match="held-out frame"):
        train(data_yaml, card, tmp_path / "run", start=None, epochs=1, held_out=HeldOut.of(None, [tmp_path / "audit"]))
    assert not (tmp_path / "run").exists()


@pytest.mark.integration
def test_same_seed_same_bytes_and_no_network(
    trained: Checkpoint, card: Card, data_yaml: Path, tmp_path: Path, no_network: list[object]
) -> None:
    """Training again elsewhere gives the same file, another seed another one, and nothing asks for the network."""
    again = train(data_yaml, card, tmp_path / "again", start=None, epochs=2)
    assert again.path.read_bytes() == trained.path.read_bytes()
    other = train(data_yaml, card.model_copy(update={"seed": 1}), tmp_path / "other", start=None, epochs=2)
    assert other.sha256 != trained.sha256
    assert no_network == []


@pytest.mark.integration
def test_data_set_is_left_as_it_was(trained: Checkpoint, data_yaml: Path) -> None:
    """No label cache and nothing else is written into the data set."""
    assert {path.suffix for path in data_yaml.parent.rglob("*") if path.is_file()} == {".yaml", ".jpg", ".txt"}


@pytest.mark.integration
def test_checkpoint_names_no_place(trained: Checkpoint, data_yaml: Path, card: Card) -> None:
    """Neither the folders of this machine nor the user's home are in the checkpoint."""
    content = trained.path.read_bytes()
    for place in (data_yaml.parent, trained.path.parent, Path(card.architecture).parent, Path.home(), Path.cwd()):
        if len(str(place)) > 1:
            assert str(place).encode() not in content


@pytest.mark.integration
def test_standard_output_stays_clean(
    card: Card, data_yaml: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Results go to stdout, so training prints nothing there, and its progress goes to stderr."""
    train(data_yaml, card, tmp_path / "run", start=None, epochs=1)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "train toy" in captured.err


@pytest.mark.integration
def test_continuing_tells_every_epoch(trained: Checkpoint, card: Card, data_yaml: Path, tmp_path: Path) -> None:
    """A checkpoint of this pipeline may be continued from; the record names it and each epoch is passed on once."""
    seen: list[Epoch] = []
    more = train(data_yaml, card, tmp_path / "more", start=trained.path, epochs=2, on_epoch=seen.append)
    assert more.start_sha256 == trained.sha256
    assert tuple(seen) == more.curve


@pytest.mark.integration
def test_divergence_is_bad_input(trained: Checkpoint, card: Card, data_yaml: Path, tmp_path: Path) -> None:
    """A loss that is no longer a number stops the training with the learning rate, and no folder is left."""
    import torch

    model = open_checkpoint(trained.path, card)
    torch.nn.init.constant_(next(model.parameters()), float("nan"))
    start = tmp_path / "broken.pt"
    torch.save({"model": model, "train_args": {}}, start)
    broken = card.model_copy(update={"start": start})
    with pytest.raises(BadInput, match=r"training diverged: the loss is nan in epoch 1 at learning rate 0\.01"):
        train(data_yaml, broken, tmp_path / "run", start=start, epochs=2)
    assert list(tmp_path.iterdir()) == [start]


@pytest.mark.integration
def test_images_that_are_refused_are_an_error(card: Card, tmp_path: Path) -> None:
    """An image with a broken label is an error with its name; Ultralytics would train without it."""
    data_yaml = write_set(tmp_path / "set", train=4, val=2)
    (tmp_path / "set/labels/train/train2.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    with pytest.raises(BadInput, match=r"1 of 4 training images.*train2.*class 7"):
        train(data_yaml, card, tmp_path / "run", start=None, epochs=1)


@pytest.mark.integration
def test_export_computes_what_torch_computes(trained: Checkpoint, card: Card, tmp_path: Path) -> None:
    """The ONNX file gives torch's own output for the same input, in the shape that is promised."""
    import torch

    artifact = export_onnx(trained, card, trained.names, tmp_path / "toy.onnx")
    assert load_artifact(artifact.path) == artifact
    array = np.random.default_rng(0).random((1, 3, SIDE, SIDE), np.float32)
    got = onnxruntime.InferenceSession(artifact.path).run(None, {"images": array})[0]
    with torch.no_grad():
        wanted = open_checkpoint(trained.path, card)(torch.from_numpy(array))[0].numpy()
    assert got.shape == (1, 4 + 2, (SIDE // 8) ** 2)
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.integration
def test_export_is_reproducible_and_anonymous(trained: Checkpoint, card: Card, tmp_path: Path) -> None:
    """Two exports are equal byte for byte and carry no metadata, so an artifact's id follows from its weights."""
    first, second = (export_onnx(trained, card, trained.names, tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert first.path.read_bytes() == second.path.read_bytes()
    model = onnx.load(str(first.path))
    assert (model.producer_name, model.ir_version, len(model.metadata_props)) == ("edgeloop", 8, 0)
    assert not any(node.doc_string for node in model.graph.node)


@pytest.mark.integration
def test_export_with_an_open_batch(trained: Checkpoint, card: Card, tmp_path: Path) -> None:
    """With `dynamic` the same file takes one image and three, with equal results for each."""
    path = export_onnx(trained, card, trained.names, tmp_path / "toy.onnx", dynamic=True).path
    session = onnxruntime.InferenceSession(path)
    array = np.random.default_rng(0).random((3, 3, SIDE, SIDE), np.float32)
    together = session.run(None, {"images": array})[0]
    np.testing.assert_allclose(together[1:2], session.run(None, {"images": array[1:2]})[0], rtol=1e-4, atol=1e-4)


@pytest.mark.integration
@pytest.mark.parametrize("runtime", CPU_RUNTIMES)
def test_export_of_bytes_in_batches_finds_the_same(
    trained: Checkpoint, card: Card, tmp_path: Path, runtime: RuntimeName
) -> None:
    """One file that takes bytes, 1, 4 or 8 frames a call, finds what the float file finds frame by frame."""
    asked = card.model_copy(update={"input": "uint8-nhwc", "open_batch": True})
    plain = export_onnx(trained, card, trained.names, tmp_path / "plain.onnx")
    stream = export_onnx(trained, asked, trained.names, tmp_path / "stream.onnx", dynamic=True)
    assert (plain.input, stream.input) == ("float32-nchw", "uint8-nhwc")
    frames = [np.random.default_rng(index).integers(0, 256, (90, 70 + index, 3), np.uint8) for index in range(8)]
    alone = Detector(plain, open_runtime(plain.path, runtime), 0.0001)
    wanted = [alone.detect(frame).detections for frame in frames]
    for batch in (1, 4, 8):
        together = Detector(stream, open_runtime(stream.path, runtime, batch=batch), 0.0001, batch=batch)
        found = [one for start in range(0, 8, batch) for one in together.detect_batch(frames[start : start + batch])]
        for one, other in zip(found, wanted, strict=True):
            np.testing.assert_allclose(one.detections.scores, other.scores, atol=1e-4)
            np.testing.assert_allclose(one.detections.boxes, other.boxes, atol=0.05)


@pytest.mark.integration
def test_export_refuses_what_does_not_fit(trained: Checkpoint, card: Card, tmp_path: Path) -> None:
    """Another number of names and a head that the architecture lacks are refused; nothing is written."""
    with pytest.raises(BadInput, match="3 names"):
        export_onnx(trained, card, ("a", "b", "c"), tmp_path / "toy.onnx")
    with pytest.raises(BadInput, match="end-to-end"):
        export_onnx(trained, card.model_copy(update={"head": "end-to-end"}), trained.names, tmp_path / "toy.onnx")
    assert list(tmp_path.iterdir()) == []


def test_a_stranger_is_not_unpickled(card: Card, tmp_path: Path) -> None:
    """A .pt that neither the card names nor this pipeline wrote is refused before anything in it runs."""
    path = tmp_path / "stranger.pt"
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(BadInput, match="pickle"):
        open_checkpoint(path, card)
    assert not hasattr(sys, "exploded")


def test_a_named_file_with_code_in_it_does_not_run(card: Card, tmp_path: Path) -> None:
    """Even a file that the card names runs no code: it goes through the restricted loader."""
    import torch

    path = tmp_path / "named.pt"
    torch.save({"model": Bomb()}, path)
    with pytest.raises(BadInput, match=r"named\.pt"):
        open_checkpoint(path, card.model_copy(update={"start": path}))
    assert not hasattr(sys, "exploded")


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_a_broken_start_is_bad_input(card: Card, data_yaml: Path, tmp_path: Path, content: bytes) -> None:
    """A named start that is empty, no checkpoint or cut short is refused by its name before anything is written."""
    start = tmp_path / "start.pt"
    start.write_bytes(content)
    with pytest.raises(BadInput, match=r"start\.pt"):
        train(data_yaml, card.model_copy(update={"start": start}), tmp_path / "run", start=start, epochs=1)
    assert list(tmp_path.iterdir()) == [start]


@pytest.mark.integration
def test_a_start_that_fits_nowhere_is_bad_input(trained: Checkpoint) -> None:
    """A start of which no convolution fits is refused; Ultralytics would train from scratch without saying so."""
    import torch

    wider = torch.nn.ModuleDict({"model": torch.nn.Sequential(torch.nn.Conv2d(3, 99, 3))})
    with pytest.raises(BadInput, match="no convolution of"):
        _check_fit(trained.path, SimpleNamespace(model=wider, args=SimpleNamespace(model="wider.yaml")))


def test_a_changed_checkpoint_is_not_trusted(card: Card, tmp_path: Path) -> None:
    """A checkpoint whose bytes are no longer those of its record is refused; a missing one is named."""
    path = tmp_path / "checkpoint.pt"
    with pytest.raises(BadInput, match="does not exist"):
        check_trusted(path, card)
    path.write_bytes(b"weights")
    Checkpoint(path=path, sha256="0" * 64, names=("a",), epochs=1, curve=()).save(tmp_path / "checkpoint.json")
    with pytest.raises(BadInput, match="is not the checkpoint"):
        check_trusted(path, card)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"augment": {"blur": 1.0}}, r"augment\.blur.*mosaic"),
        ({"architecture": "yolov99n.yaml"}, "yolov99"),
        ({"learning_rate": 3.0}, "lr0"),
        ({"augment": {"fliplr": 3.0}}, "fliplr"),
        ({"training_device": "7"}, "device"),
    ],
)
def test_unusable_card_is_bad_input(
    card: Card, data_yaml: Path, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    """A setting that does not exist, is out of range or asks for absent hardware is refused by its name."""
    with pytest.raises(BadInput, match=message):
        train(data_yaml, card.model_copy(update=changes), tmp_path / "run", start=None, epochs=1)
    assert list(tmp_path.iterdir()) == []


def test_ultralytics_is_shut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its settings are not the user's, every integration is off, it is offline and may install nothing."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    module = import_ultralytics()
    from ultralytics.utils import AUTOINSTALL, ONLINE, USER_CONFIG_DIR

    assert not any(module.settings[key] for key in ("sync", "mlflow", "dvc", "comet", "wandb", "tensorboard"))
    assert (AUTOINSTALL, ONLINE) == (False, False)
    assert not USER_CONFIG_DIR.is_relative_to(Path.home() / ".config")
