"""Measurement of one comparison: ratio of times, its interval, and distance from the machine's limit.

Inputs: a `Case`, two functions that do the same work, and the least work the task needs. Outputs: a `SpeedResult`.

The ratio is the median over repeats of (peer's time / our time), both timed in turn; the interval is that of order
statistics, which assumes nothing about the distribution. The limit is the time that the least arithmetic or the least
memory traffic takes at the rates that this machine reached today on nothing but a matrix product and a triad.
"""

from __future__ import annotations

import json
import math
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results.json"


@dataclass(frozen=True)
class Work:
    """The least that a phase of the task needs."""

    flops: float
    bytes: float = 0.0


@dataclass(frozen=True)
class MachineLimits:
    """What the machine can do."""

    flops: float
    """Per second, in a matrix product, of fp32 unless another type was asked for."""
    bytes: float
    """Per second, in a triad."""

    def seconds(self, phases: Sequence[Work]) -> float:
        """The least time: each phase is bound by arithmetic or by memory."""
        return sum(max(phase.flops / self.flops, phase.bytes / self.bytes) for phase in phases)


@dataclass(frozen=True)
class Case:
    """One comparison."""

    key: str
    """Its name in results.json."""
    peer_name: str
    task: str
    """What is done, in words and numbers."""
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    difference: Callable[[Any, Any], float]
    """How far two results lie apart."""
    tolerance: float
    work: Sequence[Work] = ()
    """Empty where no lower bound is known."""
    takes_minutes: bool = False
    """Then what a first run costs more is lost in the noise, and it counts."""
    peer_parts: int = 1
    """The peer does one of so many equal parts of the work, and its time counts so many times."""


@dataclass(frozen=True)
class SpeedResult:
    """What was measured."""

    ratio: float
    """Peer's time by ours: above 1, ours is faster."""
    lo: float
    hi: float
    limit_ratio: float | None
    """Our time by the least possible."""
    coverage: float
    """Of the interval [lo, hi]."""
    n: int
    ours_s: float
    peer_s: float
    bound_s: float | None
    difference: float
    tolerance: float
    peer: str
    task: str
    quick: bool
    times: list[tuple[float, float]] = field(default_factory=list)
    """(ours, peer) in seconds, in the order they were taken."""


class DifferentResultsError(RuntimeError):
    """Both sides were to do the same and did not."""


def median_interval(values: Sequence[float], wanted: float = 0.95) -> tuple[float, float, float]:
    """(lo, hi, coverage) for the median: the narrowest pair of order statistics that covers `wanted`, else the widest.

    >>> median_interval([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
    (1.0, 6.0, 0.96875)
    """
    ordered, n = sorted(values), len(values)
    best = 0
    for k in range((n + 1) // 2):
        if k and _coverage(n, k) < wanted:
            break
        best = k
    return ordered[best], ordered[n - 1 - best], _coverage(n, best)


def _coverage(n: int, k: int) -> float:
    """That the median lies between the k-th smallest and the k-th largest of n draws, k from 0."""
    return max(0.0, 1 - 2 * sum(math.comb(n, i) for i in range(k + 1)) / float(2**n))


def entry(
    case: Case, times: Sequence[tuple[float, float]], difference: float, limits: MachineLimits, quick: bool
) -> SpeedResult:
    """What these times of (ours, peer) mean."""
    ratios = [peer / ours for ours, peer in times]
    lo, hi, coverage = median_interval(ratios)
    ours = statistics.median(time for time, _ in times)
    bound = limits.seconds(case.work) if case.work else None
    return SpeedResult(
        ratio=statistics.median(ratios),
        lo=lo,
        hi=hi,
        limit_ratio=ours / bound if bound else None,
        coverage=coverage,
        n=len(times),
        ours_s=ours,
        peer_s=statistics.median(time for _, time in times),
        bound_s=bound,
        difference=difference,
        tolerance=case.tolerance,
        peer=case.peer_name,
        task=case.task,
        quick=quick,
        times=list(times),
    )


def compare(case: Case, repeats: int, limits: MachineLimits, quick: bool) -> SpeedResult:
    """The result after the last of `turns`."""
    *_, last = turns(case, repeats, limits, quick)
    return last


def turns(case: Case, repeats: int, limits: MachineLimits, quick: bool) -> Iterator[SpeedResult]:
    """Run both sides in turn; the first turn compares their results and counts only where a turn takes minutes.

    Yields:
        The result after each turn that counts, so that what is stopped early can be kept.

    Raises:
        DifferentResultsError: the results lie further apart than the tolerance.
    """
    difference, times, warm_up = 0.0, [], 0 if case.takes_minutes else 1
    for turn in range(warm_up + repeats):
        # Who goes first changes from turn to turn, so that a drift of the machine favours nobody.
        if turn % 2 == 0:
            (ours_s, ours), (peer_s, peer) = _time(case.ours), _time(case.peer)
        else:
            (peer_s, peer), (ours_s, ours) = _time(case.peer), _time(case.ours)
        if turn == 0:
            difference = _difference(case, ours, peer)
        peer_s *= case.peer_parts
        times.append((ours_s, peer_s))
        if case.takes_minutes:
            print(f"{case.key}, turn {turn + 1} of {repeats}: {ours_s:.1f} s : {peer_s:.1f} s", flush=True)
        if turn >= warm_up:
            yield entry(case, times[warm_up:], difference, limits, quick)


def _difference(case: Case, ours: Any, peer: Any) -> float:
    difference = case.difference(ours, peer)
    if not difference <= case.tolerance:
        raise DifferentResultsError(f"{case.key}: results differ by {difference:.3g}, more than {case.tolerance:.3g}")
    return difference


def _time(work: Callable[[], Any]) -> tuple[float, Any]:
    """(seconds, result)."""
    _wait()
    start = time.perf_counter()
    result = work()
    _wait()
    return time.perf_counter() - start, result


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def limits_now(device: torch.device, quick: bool, dtype: torch.dtype = torch.float32) -> MachineLimits:
    """Measure the machine: best of several shapes of matrix product, best of several triads over 1 GB."""
    rows, seconds, triad = (128, 0.02, 2**20) if quick else (2048, 1.0, 2**28 // 3)
    shapes = [(size, width) for size in (rows // 4, rows) for width in (576, 896, 2048)]
    flops = max(_rate(2.0 * m * d * 4 * d, seconds, *_product(m, d, device, dtype)) for m, d in shapes)
    a, b, c = (torch.ones(triad, device=device) for _ in range(3))
    return MachineLimits(flops, _rate(3.0 * a.nbytes, seconds, lambda: torch.add(b, c, alpha=3.0, out=a)))


def _product(m: int, d: int, device: torch.device, dtype: torch.dtype) -> tuple[Callable[[], Any]]:
    x, w, out = (torch.ones(shape, device=device, dtype=dtype) for shape in ((m, d), (d, 4 * d), (m, 4 * d)))
    return (lambda: torch.mm(x, w, out=out),)


def _rate(amount: float, seconds: float, work: Callable[[], Any]) -> float:
    """The best rate in so many seconds, at least three goes."""
    work()
    best, spent, goes = math.inf, 0.0, 0
    while spent < seconds or goes < 3:
        taken, _ = _time(work)
        best, spent, goes = min(best, taken), spent + taken, goes + 1
    return amount / best


def machine(limits: MachineLimits, device: torch.device) -> dict[str, Any]:
    """What a reader needs to know of the machine."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "device": name,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "matmul_gflops": limits.flops / 1e9,
        "triad_gbytes_per_s": limits.bytes / 1e9,
    }


def line(key: str, result: SpeedResult) -> str:
    """One comparison in one line."""
    limit = f", {result.limit_ratio:.2f} x the limit" if result.limit_ratio is not None else ""
    interval = f"[{result.lo:.2f}, {result.hi:.2f}] ({result.coverage:.0%}, n {result.n})"
    times = f"{result.ours_s:.3g} s : {result.peer_s:.3g} s"
    return f"{key}: {result.ratio:.2f} x {result.peer} {interval}, {times}{limit}"


def write(entries: dict[str, SpeedResult], about: dict[str, Any], path: Path) -> None:
    """Put the entries into the file beside what is there; all of them or none."""
    old = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    new = {**old, **{key: {**asdict(result), "machine": about} for key, result in entries.items()}}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(new, indent=2) + "\n", encoding="utf-8")
    partial.replace(path)


def largest(pairs: Iterable[tuple[float, float]]) -> float:
    """The largest distance of two numbers that should be equal."""
    return max((abs(one - other) for one, other in pairs), default=0.0)
