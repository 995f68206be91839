"""The settings of the benchmark of serving."""

from dataclasses import dataclass, field

from embodied.errors import ConfigError


@dataclass(kw_only=True)
class ServingBenchConfig:
    """A server of `policy` in its own process, loaded for `seconds` by one session and by many.

    Attributes:
        policy: a policy that sees four cameras, such as sam2act_plus
        sessions: concurrent clients, each of which sends a request as soon as it has its answer
        seconds: how long each number of sessions sends requests
        rounds: requests of the loopback, which a policy answers without computing anything
        camera_px: the sides of the four images of a request
        batches: how many the server computes at once (`threads` of `launch.serve`)
        window_ms: how long a request may wait for others of its batch
        threads: numbers of threads of PyTorch, one server for each
    """

    policy: str = "sam2act_plus"
    sessions: int = 8
    seconds: float = 20.0
    rounds: int = 300
    camera_px: int = 128
    window_ms: float = 10.0
    batches: int = 2
    threads: list[int] = field(default_factory=lambda: [1, 2])

    def check(self) -> None:
        """Raises `ConfigError` for counts and times that are not positive."""
        if (
            min(self.sessions, self.rounds, self.batches, self.camera_px, *self.threads) < 1
            or not 0.0 < self.seconds < 1e6
        ):
            raise ConfigError("serving.sessions, .rounds, .camera_px, .threads and .seconds must be positive.")
