"""`auto`: turns, certainty, and what happens when a runtime does not run."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeloop.artifact import Artifact
from edgeloop.edge import auto as module
from edgeloop.edge import runtime as runtime_module
from edgeloop.edge.auto import BLOCK, RuntimeChoice, is_sure, measure, open_fastest, rank
from edgeloop.edge.runtime import CPU_RUNTIMES, Batch, RuntimeName, Settings
from edgeloop.errors import BadInput

Make = Callable[..., Artifact]


class CountedRuntime:
    """Answers at once and writes down that it was called."""

    shape = (1, 3, 8, 8)
    input = "float32-nchw"

    def __init__(self, name: RuntimeName, calls: list[str]) -> None:
        self.name, self.calls = name, calls

    def __call__(self, batch: Batch) -> np.ndarray:
        self.calls.append(self.name)
        return batch

    def close(self) -> None: ...


def test_every_runtime_runs_equally_often_and_first_in_turn() -> None:
    """A slow second of the machine meets all runtimes, and nobody always comes after the same one."""
    calls: list[str] = []
    taken = measure({name: CountedRuntime(name, calls) for name in CPU_RUNTIMES}, rounds=10)
    pairs = [tuple(calls[start : start + 2]) for start in range(0, len(calls), 2)]
    assert {len(times) for times in taken.values()} == {10}
    assert set(pairs) == {CPU_RUNTIMES, CPU_RUNTIMES[::-1]}
    assert abs(pairs.count(CPU_RUNTIMES) - pairs.count(CPU_RUNTIMES[::-1])) <= 1


def test_a_clear_winner_ends_the_measurement_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runtime that loses every round costs one block of rounds, not all of them."""
    calls: list[str] = []
    slow = CountedRuntime("openvino", calls)
    quick = CountedRuntime("onnxruntime", calls)
    ticks = iter(range(10**9))
    # Simulated clock: every reading is one tick later, and the slow runtime burns a thousand of them
    monkeypatch.setattr(
        module.time, "perf_counter_ns", lambda: next(ticks) * (1000 if calls[-1:] == ["openvino"] else 1)
    )
    taken = measure({"onnxruntime": quick, "openvino": slow}, rounds=400)
    assert len(taken["openvino"]) == BLOCK


def test_sure_needs_more_than_luck() -> None:
    """Half of the rounds won says nothing; all of 20 does; 13 of 20 happens by chance."""
    one = np.ones(20)
    assert is_sure({"onnxruntime": one, "openvino": one + 1})
    assert not is_sure({"onnxruntime": one, "openvino": one.copy()})
    mixed = np.where(np.arange(20) < 13, 1.1, 0.9)
    assert not is_sure({"onnxruntime": one, "openvino": mixed})


@given(st.lists(st.floats(5, 5.4), min_size=BLOCK, max_size=60), st.floats(50, 1000))
def test_one_interrupted_round_changes_nothing(times: list[float], burst: float) -> None:
    """The machine doing something else in one round moves neither the choice nor its certainty."""
    quick = np.asarray(times)
    disturbed = {"onnxruntime": quick.copy(), "openvino": quick + 1.0}
    disturbed["onnxruntime"][0] += burst
    assert rank(disturbed) == ["onnxruntime", "openvino"]
    assert is_sure(disturbed)


def test_runtime_that_does_not_load_is_left_out_and_said(colour_artifact: Make, tmp_path: Path) -> None:
    """A GPU runtime without a GPU does not keep the camera from running; the memory holds the reason."""
    path = colour_artifact(64).path
    opened = open_fastest(path, ("onnxruntime-cuda", "onnxruntime"), Settings(cache=tmp_path))
    assert opened.name == "onnxruntime"
    (remembered,) = tmp_path.glob("runtime-*.json")
    choice = RuntimeChoice.load(remembered)
    assert "onnxruntime-gpu" in choice.failed["onnxruntime-cuda"]
    assert choice.median_ms.keys() == {"onnxruntime"}


def test_bindings_without_their_library_do_not_stop_the_device(
    colour_artifact: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module that is found and cannot be imported is left out like any other runtime that does not run."""
    find_spec = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, "tensorrt", None)  # what makes an import fail
    monkeypatch.setattr(runtime_module, "find_spec", lambda name: find_spec(name) if name != "tensorrt" else object())
    opened = open_fastest(colour_artifact(64).path, ("tensorrt", "onnxruntime"), Settings(cache=tmp_path))
    assert opened.name == "onnxruntime"
    (remembered,) = tmp_path.glob("runtime-*.json")
    assert "does not load in tensorrt" in RuntimeChoice.load(remembered).failed["tensorrt"]


def test_no_runtime_that_loads_is_refused(tmp_path: Path) -> None:
    """The first one's sentence is what the user reads."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"hello")
    with pytest.raises(BadInput, match="does not load in onnxruntime"):
        open_fastest(broken, CPU_RUNTIMES, Settings(cache=tmp_path))
