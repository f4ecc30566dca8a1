"""What this machine says about itself. Linux; elsewhere the answers are what Python's platform module knows."""

from __future__ import annotations

import platform
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
DEVICE_TREE = Path("/proc/device-tree/model")  # "NVIDIA Jetson Orin Nano …" on a Jetson
STATUS = Path("/proc/self/status")
THROTTLE_COUNTS = "devices/system/cpu/cpu*/thermal_throttle/core_throttle_count"

# What decides whether INT8 is fast on x86: 32 multiply-adds in three instructions with AVX2, in one with VNNI.
INSTRUCTIONS = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "amx_int8")


def instructions(cpuinfo: Path = CPUINFO) -> tuple[str, ...]:
    """Which of avx2, avx512f, avx512_vnni, avx_vnni and amx_int8 the processor has."""
    flags = set(_field(cpuinfo, "flags").split())
    return tuple(name for name in INSTRUCTIONS if name in flags)


def machine(cpuinfo: Path = CPUINFO, device_tree: Path = DEVICE_TREE) -> str:
    """The processor or board as the machine reports it."""
    if device_tree.is_file():
        return device_tree.read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    return _field(cpuinfo, "model name") or platform.processor() or platform.machine()


def peak_memory_mb(status: Path = STATUS) -> float:
    """The largest resident set of this process so far, MB of 2**20 bytes.

    VmHWM, not getrusage: ru_maxrss of a child starts at the peak of the process that forked it.
    """
    return float(_field(status, "VmHWM").split()[0]) / 1024


def throttle_count(sys: Path = Path("/sys")) -> int | None:
    """How often the cores were slowed down because of heat since boot; None where the machine cannot tell."""
    counts = [int(path.read_text()) for path in sys.glob(THROTTLE_COUNTS)]
    return sum(counts) if counts else None


def _field(path: Path, name: str) -> str:
    """The first `name : value` line of a /proc file, or "" when there is none."""
    if not path.is_file():
        return ""
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == name:
            return value.strip()
    return ""
