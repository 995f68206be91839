"""The metrics of a server, in the format of Prometheus."""

from collections import Counter
from collections.abc import Callable

from embodied.prometheus import SECONDS, Histogram, counter_lines, gauge_lines

PREFIX = "embodied_serving"
SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0)


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
            lines += counter_lines(f"{PREFIX}_{name}", label, counts)
        for name, value in self._gauges.items():
            lines += gauge_lines(f"{PREFIX}_{name}", [({}, value())])
        for name, histogram in (
            ("wait_seconds", self.wait_s),
            ("infer_seconds", self.infer_s),
            ("batch_size", self.batch),
        ):
            lines += histogram.lines(f"{PREFIX}_{name}")
        return "\n".join(lines) + "\n"
