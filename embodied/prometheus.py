"""The text format of Prometheus, version 0.0.4, and an endpoint on loopback that serves it."""

import logging
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from embodied.errors import ConfigError, EmbodiedError

LOOPBACK = "127.0.0.1"
PATH = "/metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LONGEST_REQUEST_S = 5.0
LARGEST_PORT = 65_535
SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_ESCAPED = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})
_log = logging.getLogger(__name__)


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
        found, total = [f"# TYPE {name} histogram"], 0
        for bound, count in zip((*map("{:g}".format, self.bounds), "+Inf"), self._counts, strict=True):
            total += count
            found.append(f'{name}_bucket{{le="{bound}"}} {total}')
        return [*found, f"{name}_sum {self._sum:.6f}", f"{name}_count {total}"]


def counter_lines(name: str, label: str, counts: Mapping[str, float]) -> list[str]:
    """Returns a counter as text, with the `counts` by the values of its `label`; `name` is without `_total`."""
    lines = [f"# TYPE {name}_total counter"]
    return lines + [f"{name}_total{_labels({label: key})} {count}" for key, count in sorted(counts.items())]


def gauge_lines(name: str, values: Iterable[tuple[Mapping[str, str], float]]) -> list[str]:
    """Returns a gauge as text, with a value for each set of labels; nothing where there are no values."""
    lines = [f"{name}{_labels(labels)} {float(value):.15g}" for labels, value in values]
    return [f"# TYPE {name} gauge", *lines] if lines else []


def _labels(labels: Mapping[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPED)}"' for name, value in labels.items()) + "}"


@contextmanager
def metrics_served(text: Callable[[], str], port: int) -> Iterator[str]:
    """Answers `GET /metrics` with `text()` from a thread of this process until the end; yields the address.

    Only this machine reaches it, since it listens on loopback alone. `text` is called in other threads, at each
    request; where it raises one of this project's errors the answer is 503 with its message. `port` 0 takes a free
    one. Raises `ConfigError` for a port that cannot be used.
    """
    if type(port) is not int or not 0 <= port <= LARGEST_PORT:
        raise ConfigError(f"A port must be a whole number from 0 to {LARGEST_PORT}.", value=port)
    try:
        server = _Server((LOOPBACK, port), _handler(text))
    except OSError as error:
        raise ConfigError(
            "The metrics must be served at a free port of this machine.",
            value=f"{LOOPBACK}:{port}",
            remedy=f"{error.strerror or error}. Choose another port.",
        ) from error
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}{PATH}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    """Does not wait for its clients at the end, and logs their errors instead of printing them."""

    daemon_threads = True
    block_on_close = False

    def handle_error(self, request: object, client_address: object) -> None:
        del request, client_address
        _log.warning("A request for metrics has failed.", exc_info=True)


def _handler(text: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = LONGEST_REQUEST_S

        def do_GET(self) -> None:
            """Answers a request for the metrics."""
            if self.path.partition("?")[0] != PATH:
                self.send_error(HTTPStatus.NOT_FOUND)
                return
            try:
                status, content = HTTPStatus.OK, text()
            except EmbodiedError as error:
                status, content = HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n"
            encoded = content.encode(errors="replace")
            self.send_response(status)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(encoded)))
            self.end_headers()
            self.wfile.write(encoded)

        def log_message(self, format: str, *values: object) -> None:  # noqa: A002 - named so in the base
            _log.debug(format, *values)

    return Handler
