"""Training with INT8 simulated computes what the INT8 file computes."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from edgeloop.card import Card
from edgeloop.errors import BadInput
from edgeloop.qdq import check_graph, load_graph, name_of
from models.checkpoint import Checkpoint
from models.fake_quant import FakeQuantConv2d, freeze_statistics, insert, round_weights
from models.float_layers import quantized_layers
from models.onnx_graph import serialise
from models.qat import module_ranges, requantize
from models.quantize import place_qdq
from models.tuning import Tuning
from models.ultralytics_door import export_onnx, fused_weights, open_checkpoint, train
from tests.training_sets import SIDE, toy_card, write_set


@pytest.fixture(scope="module")
def card(tmp_path_factory: pytest.TempPathFactory) -> Card:
    return toy_card(tmp_path_factory.mktemp("card"))


@pytest.fixture(scope="module")
def data_yaml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("set") / "set", train=8, val=4)


@pytest.fixture(scope="module")
def trained(card: Card, data_yaml: Path, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return train(data_yaml, card, tmp_path_factory.mktemp("run") / "toy", start=None, epochs=2)


def test_weights_are_rounded_as_the_file_stores_them() -> None:
    """Each output channel to 127 steps of its own largest weight; gradients pass as if nothing had been rounded."""
    import torch

    weights = torch.tensor([[1.0, 0.5, -0.2], [0.001, -0.004, 0.0], [0.0, 0.0, 0.0]]).reshape(3, 3, 1, 1)
    weights.requires_grad = True
    rounded = round_weights(weights)
    steps = weights.detach().abs().amax(dim=(1, 2, 3)) / 127
    wanted = (weights.detach()[:2] / steps[:2, None, None, None]).round() * steps[:2, None, None, None]
    torch.testing.assert_close(rounded[:2].detach(), wanted)
    assert (rounded[2] == 0).all()
    rounded.sum().backward()
    assert (weights.grad == 1).all()


def test_a_name_that_is_no_convolution() -> None:
    """Ranges of another detector are refused."""
    import torch

    with pytest.raises(BadInput, match="no convolution 7"):
        insert(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1)), {"7": 1.0})


@pytest.mark.integration
@pytest.mark.parametrize("kind", ["float32-nchw", "uint8-nhwc"])
def test_training_sees_what_the_file_computes(trained: Checkpoint, card: Card, tmp_path: Path, kind: str) -> None:
    """The model with fake INT8, unfused, gives the INT8 file's own output, while FP32's is further off.

    Every INT8 convolution of the file is found among the modules, and no other.
    """
    import torch

    asked = card.model_copy(update={"input": kind})
    fp32 = load_graph(export_onnx(trained, asked, trained.names, tmp_path / "toy.onnx").path)
    convolutions = [node for node in fp32.nodes if node.op_type == "Conv"]
    kept = [name_of(node) for node in convolutions[-3:]]
    limits = {node.input[0]: 1.0 + index for index, node in enumerate(convolutions)}
    int8 = place_qdq(fp32, limits, kept)
    ranges = module_ranges(int8, fp32, fused_weights(trained.path, asked))
    assert len(ranges) == len(quantized_layers(int8)) == len(convolutions) - 3

    model = open_checkpoint(trained.path, card)
    plain = copy.deepcopy(model)
    insert(model, ranges)
    model.train()
    freeze_statistics(model)
    model.model[-1].eval()
    frame = np.random.default_rng(0).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8)
    images = np.ascontiguousarray(frame[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32) / 255
    feed = frame if kind == "uint8-nhwc" else images
    (tmp_path / "int8.onnx").write_bytes(serialise(int8.model))
    got = onnxruntime.InferenceSession(tmp_path / "int8.onnx").run(None, {"images": feed})[0]
    with torch.no_grad():
        seen, float_seen = (one(torch.from_numpy(images))[0].numpy() for one in (model, plain))
    away = np.abs(got - seen).mean()
    assert away < 0.05 * np.abs(got - float_seen).mean()


@pytest.mark.integration
def test_the_checkpoint_is_a_plain_one(trained: Checkpoint, card: Card, data_yaml: Path, tmp_path: Path) -> None:
    """Trained with fake INT8 on the way: its weights differ, its statistics do not, its classes are Ultralytics' own.

    Quantized again, the graph is the same node by node. The same training gives the same bytes, and coarser steps give
    other weights: what is rounded away in the forward pass has a part in the gradients.
    """
    import torch

    fp32 = load_graph(export_onnx(trained, card, trained.names, tmp_path / "toy.onnx").path)
    limits = {node.input[0]: 4.0 for node in fp32.nodes if node.op_type == "Conv"}
    int8 = place_qdq(fp32, limits, [name_of(node) for node in fp32.nodes if node.op_type == "Conv"][-3:])
    tuning = Tuning(learning_rate=0.01, ranges=module_ranges(int8, fp32, fused_weights(trained.path, card)))
    named = {"start": trained.path, "epochs": 1, "tuning": tuning}
    first, again = (train(data_yaml, card, tmp_path / name, **named) for name in ("a", "b"))  # type: ignore[arg-type]
    assert first.path.read_bytes() == again.path.read_bytes()
    coarse = tuning.model_copy(update={"ranges": {name: 100 * reach for name, reach in tuning.ranges.items()}})
    other = train(data_yaml, card, tmp_path / "c", start=trained.path, epochs=1, tuning=coarse)
    assert other.sha256 != first.sha256
    before, after = (open_checkpoint(one.path, card).state_dict() for one in (trained, first))
    assert not any(isinstance(module, FakeQuantConv2d) for module in open_checkpoint(first.path, card).modules())
    statistics = {name for name in before if "running" in name}
    assert statistics
    assert all(torch.equal(before[name], after[name]) for name in statistics)
    assert not torch.equal(before["model.0.conv.weight"], after["model.0.conv.weight"])

    export = load_graph(export_onnx(first, card, first.names, tmp_path / "first.onnx").path)
    (tmp_path / "qat.onnx").write_bytes(requantize(export, int8, fp32))
    quantized = load_graph(tmp_path / "qat.onnx")
    assert check_graph(quantized, float_head=False) == ()
    shape = [[(node.op_type, *node.input, *node.output) for node in graph.nodes] for graph in (int8, quantized)]
    assert shape[0] == shape[1]
    with pytest.raises(BadInput, match="expected the checkpoint that it was made from"):
        module_ranges(int8, fp32, fused_weights(first.path, card))
