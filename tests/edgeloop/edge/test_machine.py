"""What the machine says is read from the kernel's own files."""

from __future__ import annotations

from pathlib import Path

from edgeloop.edge.machine import instructions, machine, peak_memory_mb, throttle_count

XEON = "processor\t: 0\nmodel name\t: Intel(R) Xeon(R) Processor\nflags\t\t: fpu avx avx2 avx512f avx512_vnni\n\n"


def test_instructions_are_the_flags_that_matter(tmp_path: Path) -> None:
    """Whole words only: avx is not avx2."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text(XEON)
    assert instructions(cpuinfo) == ("avx2", "avx512f", "avx512_vnni")
    cpuinfo.write_text(XEON.replace("avx2 ", "").replace("avx512_vnni", "").replace("avx512f", ""))
    assert instructions(cpuinfo) == ()


def test_machine_without_flags_has_none(tmp_path: Path) -> None:
    """ARM writes no flags line and some systems no cpuinfo at all."""
    assert instructions(tmp_path / "none") == ()


def test_board_name_wins_over_processor_name(tmp_path: Path) -> None:
    """A Jetson names its board in the device tree."""
    cpuinfo, board = tmp_path / "cpuinfo", tmp_path / "model"
    cpuinfo.write_text(XEON)
    assert machine(cpuinfo, board) == "Intel(R) Xeon(R) Processor"
    board.write_bytes(b"NVIDIA Jetson Orin Nano\0")
    assert machine(cpuinfo, board) == "NVIDIA Jetson Orin Nano"


def test_peak_memory_is_of_this_process() -> None:
    """Touching 64 MB raises the peak to at least that."""
    block = bytearray(b"x") * (64 << 20)
    assert peak_memory_mb() >= len(block) >> 20


def test_throttling_is_counted_or_unknown(tmp_path: Path) -> None:
    """Unknown is None, never zero."""
    assert throttle_count(tmp_path) is None
    for core in (0, 1):
        folder = tmp_path / f"devices/system/cpu/cpu{core}/thermal_throttle"
        folder.mkdir(parents=True)
        (folder / "core_throttle_count").write_text("3\n")
    assert throttle_count(tmp_path) == 6
