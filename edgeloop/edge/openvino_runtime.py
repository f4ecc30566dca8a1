"""OpenVINO on the CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeloop.boxes import Floats
from edgeloop.edge.openvino_qdq import fold_pairs
from edgeloop.edge.runtime import Batch, RuntimeName, Settings, Shape, kind_of, refuse_misfit, shape_of, sides_of


class OpenVino:
    """One file in OpenVINO, in float32 where it does not say INT8: no silent bfloat16 on processors with AMX."""

    name: RuntimeName = "openvino"

    def __init__(self, path: Path, settings: Settings) -> None:
        import openvino

        self._core = openvino.Core()
        self._model = self._core.read_model(path)
        fold_pairs(self._model)
        self._partial = openvino.PartialShape
        self._settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": str(settings.threads),
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": "NO",  # two processes that pin both take core 0
        }
        feed = self._model.inputs[0]
        self.input = kind_of(path, feed.get_element_type().get_type_name())
        sides = (None if side.is_dynamic else len(side) for side in feed.get_partial_shape())
        self.shape: Shape = shape_of(self.input, sides)
        # A file with open sides is compiled for each shape that comes: fixed shapes run faster, and a camera has one.
        self._compiled: dict[tuple[int, ...], Any] = {}
        if None not in self.shape:
            self._request(sides_of(self.input, self.shape))

    def __call__(self, batch: Batch) -> Floats:
        refuse_misfit(self, batch)
        request = self._compiled.get(batch.shape) or self._request(batch.shape)
        request.infer([batch], share_inputs=True, share_outputs=True)
        output: Floats = request.get_output_tensor(0).data
        return output

    def _request(self, sides: tuple[int, ...]) -> Any:
        if None in self.shape:
            self._model.reshape(self._partial(list(sides)))
        compiled = self._core.compile_model(self._model, "CPU", self._settings)
        return self._compiled.setdefault(sides, compiled.create_infer_request())

    def close(self) -> None:
        self._compiled.clear()
        del self._model
