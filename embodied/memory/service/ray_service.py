"""The service of a bank as a Ray actor that is restarted when it dies, and the link to it from any process."""

import asyncio
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import ray
from ray.actor import ActorHandle
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import embodied
from embodied.access import Access
from embodied.errors import ConfigError, EmbodiedError, MemoryBankError
from embodied.memory.queries.read_call import ReadCall
from embodied.memory.retention.retention import RetentionConfig, RetentionResult
from embodied.memory.schema.event import Event
from embodied.memory.schema.query import EventFilter
from embodied.memory.service.bank import Bank, open_bank
from embodied.memory.service.commit_queue import Result
from embodied.memory.service.credentials import ANYONE, DRIVER, ClientRights, Credentials
from embodied.memory.service.leases import Lease
from embodied.memory.service.owner_process import prepare_owner_process
from embodied.memory.service.service import LONGEST_WAIT_S, BankService, UnreachableError
from embodied.memory.service.shared_commits import SharedCommits
from embodied.memory.service.socket_settings import SocketSettings
from embodied.memory.service.take_over import opened_when_free
from embodied.memory.storage.clock import AHEAD_S, ClockReading, SimulatedClock, WallClock
from embodied.memory.storage.lock import OwnedError
from embodied.memory.storage.url import bank_path
from embodied.prometheus import metrics_served

NAMESPACE = "stem"
READERS = 32
CALLS_AT_ONCE = 1_000
TAKE_OVER_S = 20.0
RETAINING_S = 600.0
Answer = TypeVar("Answer")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Host:
    """A bank that an actor called `name` owns; `url` and `root` as in `open_bank`.

    Its metrics are served at `metrics_port` of the actor's machine, on loopback; None serves none.
    Its clock is the wall clock of the actor's machine, or, where it is `simulated`, one that the driver of the run
    advances through its link. Events further than `ahead_s` beyond it are refused.
    With a `socket` it is served over websockets as well, as `launch.serve_memory` does, to the clients that `access`
    and `credentials` (a file, "" for none) admit: a robot's program that is a Ray driver ends with Ray's head, while
    one with a `SocketLink` waits for it to come back.
    """

    url: str
    name: str = "stem"
    root: str = ""
    metrics_port: int | None = None
    simulated: bool = False
    ahead_s: float = AHEAD_S
    socket: SocketSettings | None = None
    access: Access = field(default_factory=Access)
    credentials: str = ""


class BankActor:
    """A `BankService` whose calls wait without threads, so that hundreds of clients can write at once."""

    def __init__(self, host: Host) -> None:
        self._service = BankService(_take_over(host))
        self._served = ExitStack()
        if host.metrics_port is not None:
            self._serve_metrics(host.metrics_port)
        if host.socket is not None:
            self._served.enter_context(_socket_of(host, self._service))
        prepare_owner_process()
        self._readers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="reader")
        self._watchers = ThreadPoolExecutor(max_workers=READERS, thread_name_prefix="watcher")  # Their calls may wait.

    async def commit(self, groups: Sequence[bytes], client: ClientRights) -> list[Result]:
        """As `BankService.commit`."""
        return await asyncio.wrap_future(self._service.submit(groups, client))

    async def read(self, call: ReadCall) -> Any:
        """As `BankService.read`."""
        return await self._read(lambda: self._service.read(call))

    async def head(self) -> int:
        """As `BankService.head`."""
        return self._service.head()

    async def clock(self) -> ClockReading:
        """As `BankService.clock`."""
        return self._service.clock()

    async def advance(self, to_s: float, client: ClientRights) -> float:
        """As `BankService.advance`, for a client that may."""
        client.check_clock()
        return self._service.advance(to_s)

    async def last_of_writer(self, writer: str) -> tuple[int, float]:
        """As `BankService.last_of_writer`."""
        return await self._read(lambda: self._service.last_of_writer(writer))

    async def changes(self, wanted: EventFilter, *, after_seq: int, wait_s: float) -> tuple[list[Event], int]:
        """As `BankService.changes` for `wanted`, `after_seq` and `wait_s`."""
        poll = partial(self._service.changes, wanted, after_seq=after_seq, wait_s=wait_s)
        return await asyncio.get_running_loop().run_in_executor(self._watchers, poll)

    async def lease(self, subtask: str, robot: str, *, duration_s: float, epoch: int, client: ClientRights) -> Lease:
        """As `BankService.lease` for `subtask`, `robot`, `duration_s` and `epoch`, if `client` may have it."""
        client.check_lease(robot)
        return await self._read(lambda: self._service.lease(subtask, robot, duration_s=duration_s, epoch=epoch))

    async def retain(self, config: RetentionConfig, client: ClientRights) -> RetentionResult:
        """As `BankService.retain`, if `client` may ask for it."""
        client.check_retention()
        return await asyncio.get_running_loop().run_in_executor(self._watchers, partial(self._service.retain, config))

    async def pid(self) -> int:
        """Returns the process that owns the bank now."""
        return os.getpid()

    def _serve_metrics(self, port: int) -> None:
        """Serves the metrics; a bank that is replaced goes on without them where its port is taken meanwhile."""
        try:
            self._served.enter_context(metrics_served(self._service.metrics, port))
        except ConfigError as error:
            if not _is_replaced():
                self._service.close()
                raise
            _log.error("The metrics of a memory bank are not served: %s", error)

    async def close(self) -> None:
        """Commits waiting events and closes the bank."""
        await self._read(self._served.close)
        await self._read(self._service.close)

    async def _read(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._readers, call)


class RayLink:
    """Reaches the owner of a bank by the name of its actor; it can be sent to other processes of the same cluster.

    Threads that commit during a call share the next call, since a call costs more than its events. `client` binds it to
    the writers and robots of one client. That guards against mistakes alone: a program that can connect to Ray can run
    code in the process of the owner. Programs that are not trusted use a `SocketLink`.
    """

    def __init__(self, name: str, *, timeout_s: float = 10.0, client: ClientRights = ANYONE) -> None:
        self._client = client
        self._name = name
        self._timeout_s = timeout_s
        self._actor: ActorHandle | None = None
        self._commits = SharedCommits(partial(self._call, "commit", client=client))

    def __reduce__(self) -> tuple[Any, ...]:
        return partial(RayLink, self._name, timeout_s=self._timeout_s, client=self._client), ()

    def commit(self, groups: Sequence[bytes]) -> list[Result]:
        """As `Link.commit`."""
        return self._commits.commit(groups)

    def read(self, call: ReadCall) -> Any:
        """As `Link.read`."""
        return self._call("read", call)

    def head(self) -> int:
        """As `Link.head`."""
        return self._call("head")

    def clock(self) -> ClockReading:
        """As `Link.clock`."""
        return self._call("clock")

    def advance(self, to_s: float) -> float:
        """As `Link.advance`."""
        return self._call("advance", to_s, client=self._client)

    def last_of_writer(self, writer: str) -> tuple[int, float]:
        """As `Link.last_of_writer`."""
        return self._call("last_of_writer", writer)

    def changes(self, wanted: EventFilter, *, after_seq: int, wait_s: float) -> tuple[list[Event], int]:
        """As `Link.changes` for `wanted`, `after_seq` and `wait_s`."""
        return self._call("changes", wanted, after_seq=after_seq, wait_s=min(wait_s, LONGEST_WAIT_S / 2))

    def lease(self, subtask: str, robot: str, *, duration_s: float, epoch: int) -> Lease:
        """As `Link.lease` for `subtask`, `robot`, `duration_s` and `epoch`."""
        return self._call("lease", subtask, robot, duration_s=duration_s, epoch=epoch, client=self._client)

    def retain(self, config: RetentionConfig) -> RetentionResult:
        """As `Link.retain`; waits for up to ten minutes, since the owner reads all of its log."""
        return self._call("retain", config, timeout_s=RETAINING_S, client=self._client)

    def pid(self) -> int:
        """Returns the process that owns the bank now."""
        return self._call("pid")

    def _call(self, method: str, *arguments: Any, timeout_s: float | None = None, **options: Any) -> Any:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        if not ray.is_initialized():  # `ray.get_actor` would start a cluster of its own.
            raise UnreachableError(
                "The process of a link must be connected to Ray.", value="it is not, or not any more"
            )
        try:
            if self._actor is None:
                self._actor = ray.get_actor(self._name, namespace=NAMESPACE)
            return ray.get(getattr(self._actor, method).remote(*arguments, **options), timeout=timeout_s)
        except RayTaskError as error:
            if isinstance(error.cause, EmbodiedError):
                raise error.cause from error
            raise
        except (RayError, OSError, ValueError) as error:  # ValueError: no actor has this name (yet).
            if isinstance(error, RayActorError):
                self._actor = None  # Another actor may have its name later.
            raise UnreachableError(
                "The owner of the bank must answer.", value=type(error).__name__, remedy=str(error).split("\n")[0]
            ) from error


@contextmanager
def hosted(host: Host) -> Iterator[RayLink]:
    """Runs the owner of a bank on the Ray to which this process is connected, on this machine, until the end.

    It is replaced whenever it dies, and opens the file again; clients keep unanswered events. The link may advance a
    simulated clock, unlike a `RayLink` of the owner's name. Raises `ConfigError` for
    a bank in memory, which would be lost with its owner, and whatever opening the bank raises.
    """
    if bank_path(host.url, root=_root(host)) is None:
        raise ConfigError(
            "A bank with an owner on Ray must lie in a file.", value=host.url, remedy="Write sqlite:///file.db."
        )
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    remote_class: Any = ray.remote(BankActor)
    actor = remote_class.options(
        name=host.name,
        namespace=NAMESPACE,
        num_cpus=0,
        max_restarts=-1,
        max_task_retries=0,
        max_concurrency=CALLS_AT_ONCE,
        scheduling_strategy=here,
        runtime_env={"env_vars": {"PYTHONPATH": _python_path()}},
    ).remote(host)
    link = RayLink(host.name, client=DRIVER)
    try:
        try:
            ray.get(actor.pid.remote())
        except RayActorError as error:
            raise MemoryBankError(
                "The owner of a bank must be able to open it.", value=host.url, remedy=_last_line(error)
            ) from error
        yield link
        ray.get(actor.close.remote())
    finally:
        ray.kill(actor, no_restart=True)


def _socket_of(host: Host, service: BankService) -> AbstractContextManager[Any]:
    """Returns a server of the bank, at work while its context is open."""
    from embodied.memory.service.socket_server import listening  # Needs the extra `serving`.

    credentials = Credentials(Path(host.credentials)) if host.credentials else None
    return listening(service, host.socket or SocketSettings(), host.access, credentials)


def _take_over(host: Host) -> Bank:
    """Opens the bank, waiting until a dying owner releases the file."""
    replaced = _is_replaced()

    def opened() -> Bank:
        clock = SimulatedClock(ahead_s=host.ahead_s) if host.simulated else WallClock(ahead_s=host.ahead_s)
        return open_bank(host.url, root=_root(host), clock=clock, thorough=not replaced)

    def waiting(error: OwnedError) -> None:
        _log.info("Waiting for the bank %s: %s", host.url, error)

    return opened_when_free(opened, wait_s=TAKE_OVER_S, on_wait=waiting)


def _is_replaced() -> bool:
    """Returns whether this actor stands for one that has died."""
    return bool(ray.get_runtime_context().was_current_actor_reconstructed)


def _last_line(error: RayActorError) -> str:
    """Returns the error that the owner raised, without the traceback that Ray puts above it."""
    return str(error).strip().rpartition("\n")[2].strip()


def _root(host: Host) -> Path | None:
    return Path(host.root) if host.root else None


def _python_path() -> str:
    root = str(Path(embodied.__file__).parents[1])
    return os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
