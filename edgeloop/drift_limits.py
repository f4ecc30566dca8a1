"""How large an effect chance alone makes: normed Wasserstein distances under a block bootstrap of the reference.

Frames of a video resemble their neighbours, so 200 frames hold far less than 200 frames' worth of news, and a limit
made for independent rows alarms all day. Resampling whole runs of consecutive frames keeps the resemblance in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

MINIMUM_NORM = 0.001  # Evidently 0.7: the standard deviation it divides by is at least this
DRAWS_PER_TAIL = 4  # bootstrap draws expected beyond the quantile that becomes the limit
MINIMUM_DRAWS = 1000
CELLS_AT_ONCE = 2_000_000  # bounds the memory of one chunk of draws to some 50 MB


def effect(reference: Values, current: Values) -> float:
    """First Wasserstein distance of two samples, in standard deviations of the reference (at least 0.001).

    This is what Evidently 0.7 calls `wasserstein`; 0.1 is its default limit. Values are (N,) and (M,), finite.
    """
    grid = np.sort(np.concatenate([reference, current]))
    shares = [np.searchsorted(np.sort(side), grid[:-1], side="right") / side.size for side in (reference, current)]
    distance = float(np.abs(shares[0] - shares[1]) @ np.diff(grid))
    return distance / max(float(np.std(reference)), MINIMUM_NORM)


@dataclass(frozen=True)
class Runs:
    """The reference as runs of consecutive frames, one per camera, and what a window takes of each.

    Attributes:
        frames: per camera, the (N_c,) rows of the reference in order of time.
        window: per camera, how many frames the window holds.
    """

    frames: tuple[Indices, ...]
    window: tuple[int, ...]

    def draw(self, random: np.random.Generator, draws: int, sizes: tuple[int, ...], block: int) -> Indices:
        """Rows of `draws` resamples with `sizes` frames of each camera, in circular blocks: (draws, sum(sizes))."""
        parts = []
        for frames, size in zip(self.frames, sizes, strict=True):
            starts = random.integers(0, frames.size, (draws, -(-size // block)))
            steps = (starts[:, :, None] + np.arange(block)) % frames.size
            parts.append(frames[steps.reshape(draws, -1)[:, :size]])
        return np.concatenate(parts, axis=1)


def chance_limits(
    columns: Mapping[str, Values], blocks: Mapping[str, int], runs: Runs, rate: float, seed: int
) -> dict[str, float]:
    """Per column, the effect that a window from the reference's own process exceeds with probability `rate`.

    Both sides are resampled, since the reference is a sample too. NaN are left out, as Evidently leaves them out.

    Args:
        columns: (N,) values of the reference.
        blocks: per column, frames resampled together.
        runs: the reference's cameras and the window's share of each.
        rate: false alarms per column and window, 0..0.5.
        seed: of the resampling; equal seeds give equal limits.
    """
    sizes = tuple(frames.size for frames in runs.frames)
    draws = max(MINIMUM_DRAWS, int(np.ceil(DRAWS_PER_TAIL / rate)))
    chunk = max(1, CELLS_AT_ONCE // (sum(sizes) + sum(runs.window)))
    effects: dict[str, list[Values]] = {name: [] for name in columns}
    for block in sorted(set(blocks.values())):
        random = np.random.default_rng([seed, block])
        alike = [name for name in columns if blocks[name] == block]
        for start in range(0, draws, chunk):
            count = min(chunk, draws - start)
            reference, window = (runs.draw(random, count, side, block) for side in (sizes, runs.window))
            for name in alike:
                effects[name].append(resampled_effects(columns[name], reference, window))
    return {name: float(np.quantile(np.concatenate(found), 1 - rate)) for name, found in effects.items()}


def resampled_effects(values: Values, reference: Indices, window: Indices) -> Values:
    """`effect` of each resample: rows (D, N) against rows (D, n) of the same `values` (rows,); (D,).

    Both sides take their values from one set, so a resample is a count per distinct value and needs no sorting.
    """
    finite = np.isfinite(values)
    grid, ranks = np.unique(values[finite], return_inverse=True)
    codes = np.full(values.size, grid.size)
    codes[finite] = ranks
    shares = [_shares(codes[rows], grid.size) for rows in (reference, window)]
    mean = shares[0] @ grid
    spread = np.sqrt(np.maximum(shares[0] @ np.square(grid) - np.square(mean), 0))
    gaps = np.abs(np.cumsum(shares[0] - shares[1], axis=1)[:, :-1])
    distances: Values = gaps @ np.diff(grid) / np.maximum(spread, MINIMUM_NORM)
    return distances


def _shares(codes: Indices, size: int) -> Values:
    """The share of each of `size` values per row of `codes` (D, n); the code `size` stands for a missing value."""
    flat = codes + (size + 1) * np.arange(len(codes))[:, None]
    counts = np.bincount(flat.ravel(), minlength=len(codes) * (size + 1)).reshape(len(codes), size + 1)[:, :size]
    shares: Values = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    return shares


def block_length(series: Values) -> int:
    """How many consecutive values to resample together, for one (N,) series.

    The automatic choice for the circular block bootstrap of Politis & White (2004), corrected by Patton, Politis &
    White (2009): short for independent values, longer the more neighbours resemble each other. Where values swing back
    (materials that take turns), their estimate of the long-run variance nears 0 and its block explodes; the reach of
    the correlation is taken instead.
    """
    size = series.size
    centred = series - series.mean() if size else series
    variance = float(centred @ centred) / max(size, 1)
    if size < 8 or variance <= np.finfo(float).eps * max(1.0, float(np.abs(series).max()) ** 2):
        return 1
    longest = int(np.ceil(min(3 * np.sqrt(size), size / 3)))
    quiet = max(5, int(np.ceil(np.sqrt(np.log10(size)))))
    covariance = np.array([float(centred[: size - lag] @ centred[lag:]) / size for lag in range(longest + quiet + 1)])
    loud = np.abs(covariance[1:] / variance) >= 2 * np.sqrt(np.log10(size) / size)
    last = next((lag for lag in range(longest) if not loud[lag : lag + quiet].any()), longest)
    lags = np.arange(-min(2 * max(last, 1), longest), min(2 * max(last, 1), longest) + 1)
    taper = np.clip(2 * (1 - np.abs(lags) / max(lags[-1], 1)), 0, 1)  # flat-top lag window
    weighted = taper * covariance[np.abs(lags)]
    if weighted.sum() <= variance:
        return last + 1  # neighbours shun each other: short blocks give limits that are too wide, never too tight
    density = 4 / 3 * float(weighted.sum()) ** 2
    curvature = 2 * float((np.abs(lags) * weighted).sum()) ** 2
    return int(np.clip(np.ceil((curvature / density * size) ** (1 / 3)), 1, longest))
