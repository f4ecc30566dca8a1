"""Whether an INT8 ONNX file keeps the rules that TensorRT sets for explicit quantization, checked without a GPU.

Sources: NVIDIA's "Working with Quantized Types" (symmetric int8 with zero point 0, activations per tensor, weights per
tensor or per channel on axis 0 of a convolution, constant scales) and its "explicit quantization" notes on where Q/DQ
pairs go; the float tail is this project's own rule, from its measurements of what a quantized detection head loses.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from edgeloop.errors import BadInput

Rule = Literal[
    "quantized",  # there is a Q/DQ pair at all
    "form",  # Q/DQ around float operators, in the standard domain, at opset 13 or later
    "int8",  # signed 8 bit
    "symmetric",  # zero point 0
    "scale",  # constant, finite, above zero
    "per-tensor",  # activations have one scale
    "per-channel",  # a convolution's weights have one scale for each output channel
    "pair",  # every QuantizeLinear is read by DequantizeLinear alone
    "both-inputs",  # a convolution has its data and its weights quantized, or neither
    "bias",  # biases stay float
    "nms",  # no suppression inside
    "tail",  # nothing between the head's output convolutions and the outputs is quantized
    "head",  # the head's output convolutions are float
]
QDQ = ("QuantizeLinear", "DequantizeLinear")
OPERATOR_FORM = ("QLinear", "ConvInteger", "MatMulInteger", "DynamicQuantizeLinear")
PASSING = frozenset({"Transpose", "Reshape", "Identity", "Cast", "Squeeze", "Unsqueeze", *QDQ})


@dataclass(frozen=True)
class Violation:
    """One broken rule.

    Attributes:
        rule: which.
        node: the node's name, or its first output where it has none.
        message: what was found and what is expected.
    """

    rule: Rule
    node: str
    message: str


class Graph:
    """An ONNX graph with its edges by name.

    Attributes:
        model: the onnx.ModelProto.
        nodes: in the file's order.
        producers: tensor name to the node that makes it.
        consumers: tensor name to the nodes that read it.
    """

    def __init__(self, model: Any) -> None:
        self.model = model
        self.nodes: list[Any] = list(model.graph.node)
        self.producers: dict[str, Any] = {out: node for node in self.nodes for out in node.output}
        self.consumers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.consumers.setdefault(name, []).append(node)

    @cached_property
    def constants(self) -> dict[str, npt.NDArray[Any]]:
        """Initializers and the values of Constant nodes, by tensor name."""
        from onnx import numpy_helper

        found = {tensor.name: numpy_helper.to_array(tensor) for tensor in self.model.graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant" and node.attribute and node.attribute[0].HasField("t"):
                found[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
        return found

    @cached_property
    def tail(self) -> list[Any]:
        """Every node between the head's output convolutions and the graph's outputs: the decode, with its DFL."""
        return self._walk()[0]

    @cached_property
    def head(self) -> list[Any]:
        """The head's output convolutions: the first ones met going back from the outputs, past those of the DFL."""
        return self._walk()[1]

    def is_dequantized(self, tensor: str) -> bool:
        """Whether a tensor is what a DequantizeLinear node gives."""
        node = self.producers.get(tensor)
        return node is not None and node.op_type == "DequantizeLinear"

    def opset(self) -> int:
        return max(
            (int(entry.version) for entry in self.model.opset_import if entry.domain in ("", "ai.onnx")), default=0
        )

    def _walk(self) -> tuple[list[Any], list[Any]]:
        tail, head, seen = [], [], set()
        pending = [output.name for output in self.model.graph.output]
        while pending:
            node = self.producers.get(pending.pop())
            if node is None or id(node) in seen:
                continue
            seen.add(id(node))
            if node.op_type == "Conv" and not self._is_dfl(node):
                head.append(node)
                continue
            tail.append(node)
            # a convolution's weights and bias are not part of the way
            pending += node.input[:1] if node.op_type == "Conv" else node.input
        return tail, head

    def _is_dfl(self, node: Any) -> bool:
        """DFL is a convolution over a softmax: the mean of the distribution over distances."""
        source = self.producers.get(node.input[0])
        while source is not None and source.op_type in PASSING:
            source = self.producers.get(source.input[0])
        return source is not None and source.op_type == "Softmax"


def name_of(node: Any) -> str:
    """A node's name, or its first output where it has none."""
    return str(node.name or node.output[0])


def float_tail(graph: Graph) -> list[Any]:
    """The convolutions that stay float: the head's output convolutions and those of the DFL behind them."""
    return [*graph.head, *(node for node in graph.tail if node.op_type == "Conv")]


def check_qdq(path: Path, *, float_head: bool = True) -> tuple[Violation, ...]:
    """The rules that the ONNX file at `path` breaks; none when TensorRT can build INT8 from it as it stands.

    Args:
        path: the ONNX file.
        float_head: whether the head's output convolutions must be float, which is this project's rule, not TensorRT's.

    Raises:
        BadInput: the file is missing or is not ONNX.
    """
    return check_graph(load_graph(path), float_head=float_head)


def load_graph(path: Path) -> Graph:
    """Read an ONNX file.

    Raises:
        BadInput: the file is missing or is not ONNX.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise BadInput(f"{path} does not exist; expected an ONNX file.") from error
    except (DecodeError, onnx.checker.ValidationError, IsADirectoryError) as error:
        raise BadInput(
            f"{path} is not an ONNX file that can be read ({' '.join(str(error).split())[:160]})."
        ) from error
    return Graph(model)


def check_graph(graph: Graph, *, float_head: bool = True) -> tuple[Violation, ...]:
    """`check_qdq` on a graph that is already in memory."""
    found = [*_check_form(graph), *_check_tail(graph, float_head)]
    for node in graph.nodes:
        if node.op_type in QDQ:
            found += [*_check_parameters(graph, node), *_check_pair(graph, node)]
        elif node.op_type == "Conv":
            found += _check_convolution(graph, node)
    return tuple(found)


def _check_form(graph: Graph) -> Iterator[Violation]:
    kinds = {node.op_type for node in graph.nodes}
    if not kinds.issuperset(QDQ):
        yield Violation("quantized", "graph", "expected QuantizeLinear and DequantizeLinear nodes, there are none")
    if graph.opset() < 13:
        yield Violation("form", "graph", f"opset is {graph.opset()}; per-channel Q/DQ needs 13 or later")
    for node in graph.nodes:
        if node.op_type.startswith(OPERATOR_FORM) or (node.op_type in QDQ and node.domain not in ("", "ai.onnx")):
            kind = f"{node.domain or 'ai.onnx'}.{node.op_type}"
            yield Violation("form", name_of(node), f"is {kind}; expected standard Q/DQ around float operators")
        if node.op_type.lower().removesuffix("_trt").endswith(("nms", "nonmaxsuppression")):
            yield Violation("nms", name_of(node), f"{node.op_type} inside the graph; suppression belongs after it")


def _check_parameters(graph: Graph, node: Any) -> Iterator[Violation]:
    scale = graph.constants.get(node.input[1])
    if scale is None or not (np.isfinite(scale).all() and (scale > 0).all()):
        came = "computed" if scale is None else f"{np.min(scale)}"
        yield Violation("scale", name_of(node), f"the scale is {came}; expected a finite constant above 0")
    zero = graph.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    if zero is not None and zero.dtype == np.int32:
        return  # a quantized bias, which has a rule of its own
    if zero is None or zero.dtype != np.int8:
        came = "uint8 (no zero point given)" if zero is None else str(zero.dtype)
        yield Violation("int8", name_of(node), f"the type is {came}; expected int8")
    elif zero.any():
        yield Violation("symmetric", name_of(node), f"the zero point is {zero.flat[0]}; expected 0")
    if scale is not None and scale.size > 1 and not _feeds_weights(graph, node):
        yield Violation("per-tensor", name_of(node), f"an activation has {scale.size} scales; expected one")


def _feeds_weights(graph: Graph, node: Any) -> bool:
    """Whether a Q or DQ node works on constant data, as a weight's does."""
    source = node.input[0]
    while source in graph.producers and graph.producers[source].op_type in QDQ:
        source = graph.producers[source].input[0]
    return source in graph.constants


def _check_pair(graph: Graph, node: Any) -> Iterator[Violation]:
    if node.op_type == "QuantizeLinear":
        readers = {reader.op_type for reader in graph.consumers.get(node.output[0], [])}
        if readers != {"DequantizeLinear"}:
            came = ", ".join(sorted(readers)) or "nothing"
            yield Violation("pair", name_of(node), f"is read by {came}; expected DequantizeLinear alone")
    elif node.input[0] not in graph.constants:
        source = graph.producers.get(node.input[0])
        if source is None or source.op_type != "QuantizeLinear":
            came = source.op_type if source is not None else "a graph input"
            yield Violation("pair", name_of(node), f"reads {came}; expected QuantizeLinear or a constant")


def _check_convolution(graph: Graph, node: Any) -> Iterator[Violation]:
    data, weights, *bias = node.input
    data_quantized, weights_quantized = graph.is_dequantized(data), graph.is_dequantized(weights)
    if data_quantized != weights_quantized:
        which = "data" if data_quantized else "weights"
        yield Violation("both-inputs", name_of(node), f"only the {which} are quantized; expected both or neither")
    if weights_quantized and not _per_channel(graph, graph.producers[weights]):
        yield Violation("per-channel", name_of(node), "weights need one scale for each output channel, on axis 0")
    if any(map(graph.is_dequantized, bias)):
        yield Violation("bias", name_of(node), "the bias is dequantized; expected a float bias")


def _per_channel(graph: Graph, dequantize: Any) -> bool:
    scale = graph.constants.get(dequantize.input[1])
    source = dequantize.input[0]
    if source in graph.producers:  # float weights with a Q/DQ pair of their own
        source = graph.producers[source].input[0]
    weights = graph.constants.get(source)
    axis = next((int(entry.i) for entry in dequantize.attribute if entry.name == "axis"), 1)  # ONNX: 1 when not given
    if scale is None or weights is None:
        return False
    return scale.shape == weights.shape[:1] and (axis in (0, -weights.ndim) or scale.size == 1)


def _check_tail(graph: Graph, float_head: bool) -> Iterator[Violation]:
    for node in graph.tail:
        if node.op_type == "QuantizeLinear" and not _feeds_convolutions(graph, node):
            yield Violation(
                "tail", name_of(node), "quantizes the decode; boxes (0..imgsz) and scores (0..1) must stay float"
            )
    if float_head:
        for node in float_tail(graph):
            if graph.is_dequantized(node.input[1]):
                yield Violation("head", name_of(node), "is an output convolution of the head; expected float weights")


def _feeds_convolutions(graph: Graph, quantize: Any) -> bool:
    """Whether nothing but convolutions, here the DFL's, read what a Q/DQ pair gives."""
    pairs = graph.consumers.get(quantize.output[0], [])
    readers = [reader for pair in pairs for reader in graph.consumers.get(pair.output[0], [])]
    return bool(readers) and all(reader.op_type == "Conv" for reader in readers)
