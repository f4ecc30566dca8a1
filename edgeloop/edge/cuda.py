"""The functions of the CUDA runtime that TensorRT's inputs and outputs need, called in the library itself.

A Jetson has libcudart from JetPack and no Python package for it; a workstation has it from TensorRT's wheels. Its C
functions have kept their names and arguments since CUDA 10, so ctypes reaches all of them with one piece of code.
All of them ran on an H100 with CUDA 13.0 (docs/runtimes.md); on a Jetson they are UNVERIFIED.
"""

from __future__ import annotations

import ctypes
from ctypes.util import find_library
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edgeloop.boxes import Floats
from edgeloop.edge.frame import Image
from edgeloop.errors import BadInput, EdgeloopError

SONAMES = ("libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0", "libcudart.so.10.2")
TO_DEVICE, TO_HOST = 1, 2  # cudaMemcpyHostToDevice, cudaMemcpyDeviceToHost in driver_types.h
PROCESSORS, MAJOR, MINOR = 16, 75, 76  # cudaDevAttrMultiProcessorCount, ComputeCapabilityMajor and Minor
SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaDeviceGetAttribute": (ctypes.POINTER(ctypes.c_int), ctypes.c_int, ctypes.c_int),
    "cudaDriverGetVersion": (ctypes.POINTER(ctypes.c_int),),
    "cudaMalloc": (ctypes.POINTER(ctypes.c_void_p), ctypes.c_size_t),
    "cudaFree": (ctypes.c_void_p,),
    "cudaGetLastError": (),
    "cudaMemcpyAsync": (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p),
    "cudaStreamCreate": (ctypes.POINTER(ctypes.c_void_p),),
    "cudaStreamSynchronize": (ctypes.c_void_p,),
    "cudaStreamDestroy": (ctypes.c_void_p,),
}


class Cuda:
    """The CUDA runtime on device 0, with one stream.

    Attributes:
        stream: its handle, what TensorRT's `execute_async_v3` takes.
    """

    def __init__(self, library: ctypes.CDLL | None = None) -> None:
        """Open the library and create the stream.

        Raises:
            BadInput: there is no CUDA runtime, no driver or no GPU.
        """
        self._library = library or open_library()
        for name, arguments in SIGNATURES.items():
            function = getattr(self._library, name)
            function.argtypes, function.restype = arguments, ctypes.c_int
        self._library.cudaGetErrorString.restype = ctypes.c_char_p
        handle = ctypes.c_void_p()
        try:
            self._call("cudaStreamCreate", ctypes.byref(handle))
        except EdgeloopError as error:
            raise BadInput(f"no GPU can be used here: {error} Choose another runtime.") from error
        self.stream = int(handle.value or 0)

    def describe(self) -> str:
        """Compute capability, multiprocessors and driver: what an engine and a timing cache are bound to."""
        major, minor, processors = (self._attribute(number) for number in (MAJOR, MINOR, PROCESSORS))
        driver = ctypes.c_int()
        self._call("cudaDriverGetVersion", ctypes.byref(driver))
        return f"sm{major}{minor} x{processors} driver {driver.value}"

    def allocate(self, size: int) -> int:
        """The address of `size` bytes on the device."""
        address = ctypes.c_void_p()
        self._call("cudaMalloc", ctypes.byref(address), size)
        return int(address.value or 0)

    def free(self, address: int) -> None:
        self._call("cudaFree", address)

    def copy_in(self, address: int, array: Floats | Image) -> None:
        """Queue the copy of a C-contiguous array to the device."""
        self._call("cudaMemcpyAsync", address, array.ctypes.data, array.nbytes, TO_DEVICE, self.stream)

    def copy_out(self, array: Floats, address: int) -> None:
        """Queue the copy of the device's bytes into a C-contiguous array."""
        self._call("cudaMemcpyAsync", array.ctypes.data, address, array.nbytes, TO_HOST, self.stream)

    def wait(self) -> None:
        """Return when everything that was queued is done."""
        self._call("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        self._call("cudaStreamDestroy", self.stream)

    def _attribute(self, number: int) -> int:
        value = ctypes.c_int()
        self._call("cudaDeviceGetAttribute", ctypes.byref(value), number, 0)
        return value.value

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._library, name)(*arguments)
        if code != 0:
            self._library.cudaGetLastError()  # clears it: whoever shares this library would take it for their own
            reason = self._library.cudaGetErrorString(code).decode()
            raise EdgeloopError(f"{name} failed with CUDA error {code}, {reason}.")


def open_library() -> ctypes.CDLL:
    """The CUDA runtime of JetPack or of the toolkit, else the one that came with a wheel.

    Raises:
        BadInput: there is none.
    """
    opened = (_open(name) for name in (find_library("cudart"), *SONAMES, *_in_wheels()) if name)
    library = next((found for found in opened if found is not None), None)
    if library is None:
        raise BadInput(
            "no CUDA runtime (libcudart) is installed; install JetPack, the CUDA toolkit or TensorRT's wheels."
        )
    return library


def _open(name: str) -> ctypes.CDLL | None:
    try:
        return ctypes.CDLL(name)
    except OSError:
        return None


def _in_wheels() -> list[str]:
    """Where NVIDIA's wheels put it: nvidia/cuda_runtime/lib up to CUDA 12, nvidia/cu13/lib after."""
    nvidia = find_spec("nvidia")
    roots = [Path(place) for place in (nvidia.submodule_search_locations or ())] if nvidia else []
    return sorted(str(found) for root in roots for found in root.glob("cu*/lib/libcudart.so.*"))
