"""The metrics of a server, in the format of Prometheus."""

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable

PREFIX = "embodied_serving"
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


class Histogram:
    """Counts of values up to each of its bounds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Counts one value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def lines(self, name: str) -> list[str]:
        """Returns the histogram as text, cumulative as Prometheus requires."""
        found, total = [], 0
        for bound, count in zip((*map("{:g}".format, self.bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*found, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


class Metrics:
    """The counters of one server. `gauges` are evaluated when the text is requested."""

    def __init__(self, gauges: dict[str, Callable[[], float]]) -> None:
        self.requests: Counter[str] = Counter(ok=0, refused=0, failed=0)
        self.refused_connections: Counter[str] = Counter(token=0, full=0)
        self.bytes: Counter[str] = Counter({"in": 0, "out": 0})
        self.wait_s = Histogram(SECONDS)
        self.infer_s = Histogram(SECONDS)
        self.batch = Histogram(SIZES)
        self._gauges = gauges

    def text(self) -> str:
        """Returns all metrics in the text format of Prometheus, version 0.0.4."""
        lines: list[str] = []
        for name, label, counts in (
            ("requests", "outcome", self.requests),
            ("refused_connections", "reason", self.refused_connections),
            ("bytes", "direction", self.bytes),
        ):
            lines.append(f"# TYPE {PREFIX}_{name}_total counter")
            lines += [f'{PREFIX}_{name}_total{{{label}="{key}"}} {count}' for key, count in sorted(counts.items())]
        for name, value in self._gauges.items():
            lines += [f"# TYPE {PREFIX}_{name} gauge", f"{PREFIX}_{name} {value():g}"]
        for name, histogram in (
            ("wait_seconds", self.wait_s),
            ("infer_seconds", self.infer_s),
            ("batch_size", self.batch),
        ):
            lines += [f"# TYPE {PREFIX}_{name} histogram", *histogram.lines(f"{PREFIX}_{name}")]
        return "\n".join(lines) + "\n"
