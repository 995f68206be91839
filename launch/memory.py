"""Inspects memory banks: `python -m launch.memory summary|query|timeline|export|verify|backup url=sqlite:///run.db`."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError, PathError, StorageError
from embodied.memory import (
    Bank,
    BankView,
    OwnedError,
    Ownership,
    ReadOnlyBank,
    RetentionConfig,
    SimulatedClock,
    back_up,
    bank_path,
    close_past,
    describe,
    inspect_file,
    open_bank,
    open_read_only,
    reopen_past,
    require_openable,
    rescue,
    restore,
    withdraw,
)
from embodied.paths import written_atomically
from launch import cli, memory_text
from launch.arguments import Arguments
from launch.memory_outbox import laid_aside
from launch.memory_query import QuerySettings
from launch.memory_status import outbox_path, serve_metrics, status_lines
from launch.printing import one_line

DAMAGED = 1

_log = logging.getLogger("launch.memory")  # This module runs as `__main__`.


class What(Enum):
    """The commands."""

    summary = "summary"
    query = "query"
    timeline = "timeline"
    export = "export"
    verify = "verify"
    retain = "retain"
    rebuild = "rebuild"
    withdraw = "withdraw"
    backup = "backup"
    restore = "restore"
    refused = "refused"
    status = "status"
    close_past = "close_past"
    reopen_past = "reopen_past"


@dataclass(kw_only=True)
class MemoryCommandConfig(QuerySettings):
    """All settings of `python -m launch.memory`. `root` confines the file; `output` is a new file.

    Attributes:
        root: a folder that confines the file; empty for any
        backup: the file that restore reads
        before_s: with close_past and reopen_past, the time before which the past is closed
        again: with refused, the parcel to send again
        bank: with refused, the URL of the bank that gets it
        outboxes: with status, the files of robots' outboxes
        seqs: with withdraw, the numbers of the wrong events
        reason: with withdraw, why they are wrong
        metrics_port: with status, a port of loopback that Prometheus reads until an interrupt
    """

    what: What = MISSING
    url: str = MISSING
    root: str = ""
    output: str = ""
    backup: str = ""
    before_s: float | None = None
    again: int | None = None
    bank: str = ""
    seqs: list[int] = field(default_factory=list)
    reason: str = ""
    outboxes: list[str] = field(default_factory=list)
    metrics_port: int | None = None
    retention: RetentionConfig = field(default_factory=RetentionConfig)


def memory(composed: cli.Composed) -> None:
    """Runs one command on an existing bank. Raises `EmbodiedError`; exits with 1 where the bank is damaged."""
    config: MemoryCommandConfig = composed.config
    root = Path(config.root) if config.root else None
    path = bank_path(config.url, root=root)
    if config.what is What.restore:
        _restore(config, path)
        return
    if path is None or not path.is_file():
        raise PathError(
            "A bank must be a file that exists.", value=config.url, remedy="Check the path after sqlite:///."
        )
    if config.what in BESIDE:
        BESIDE[config.what](config, path)
        return
    if config.what not in READING:
        require_openable(config.url, root=root)
    if config.limit < 1:
        raise ConfigError("limit must be at least 1.", value=config.limit)
    if config.output and config.what not in (What.export, What.verify):
        raise ConfigError("output belongs to export, verify and backup.", value=config.output)
    if config.output and Path(config.output).exists():
        raise PathError("output must be a new file.", value=config.output, remedy="Choose another name.")
    if config.what is What.verify:
        _verify(config, path)
        return
    if config.what in READING:
        with _opened(config.url, root) as view:
            for line in READING[config.what](view, config):
                cli.print_text(one_line(line))
        return
    # Its clock stands where that of the last owner stood: a command is not a part of the site's time.
    with open_bank(config.url, root=root, clock=SimulatedClock(), thorough=config.what is not What.rebuild) as bank:
        for line in WRITING[config.what](bank, config):
            cli.print_text(line)


def _opened(url: str, root: Path | None) -> Bank | ReadOnlyBank:
    """Returns the bank, checked; beside its owner, or where nothing can be written, what it holds now."""
    try:
        require_openable(url, root=root)
        return open_bank(url, root=root, clock=SimulatedClock())
    except OwnedError:
        bank = open_read_only(url, root=root)
        _log.info("Another process has the bank open: the answer is as of event %d.", bank.head)
        return bank
    except (PathError, StorageError) as error:
        _log.info("The bank is only read, since its folder cannot be written (%s).", error)
        return open_read_only(url, root=root)


def _verify(config: MemoryCommandConfig, path: Path) -> None:
    """Prints the damage of the file, and writes or offers its longest intact prefix."""
    owner = Ownership(path)
    try:
        damage = inspect_file(path)
    finally:
        owner.release()
    if not damage.problems:
        with open_bank(config.url, root=Path(config.root) if config.root else None, thorough=False) as bank:
            problems = bank.verify().problems
            head = bank.head
        if not problems:
            cli.print_text(
                f"{path.name} is sound: {head} events, chained digests, and projections as the log gives them."
            )
            return
        cli.print_text("\n".join(problems))
        cli.print_text(
            f"The log is sound. `python -m launch.memory rebuild url={config.url}` makes the projections again."
        )
        raise SystemExit(DAMAGED)
    cli.print_text(f"{path.name} is damaged:")
    for problem in damage.problems:
        cli.print_text(f"  {problem}")
    _offer_prefix(config, path, damage.sound_seq)
    raise SystemExit(DAMAGED)


def _offer_prefix(config: MemoryCommandConfig, path: Path, sound_seq: int) -> None:
    if not sound_seq:
        cli.print_text("No event before the damage can be read.")
    elif config.output:
        rescue(path, Path(config.output))
        cli.print_text(f"Events 1 to {sound_seq} are sound; they are in {config.output} now.")
    else:
        target = path.with_name(f"{path.stem}-sound{path.suffix}")
        again = f"python -m launch.memory verify url={config.url} output={target}"
        cli.print_text(f"Events 1 to {sound_seq} are sound. To save them into a new file:\n  {again}")


def _back_up(config: MemoryCommandConfig, path: Path) -> None:
    """Writes a checked copy to the new file `output`, also while another process writes the bank."""
    if not config.output:
        raise ConfigError("A backup needs a new file.", value="output=''", remedy="Write output=FILE.")
    head = back_up(path, Path(config.output))
    cli.print_text(f"{config.output} holds events 1 to {head}, checked.")


def _list_refused(config: MemoryCommandConfig, path: Path) -> None:
    """Prints what is laid aside in the outbox at `path`, or sends one parcel of it again."""
    root = Path(config.root) if config.root else None
    for line in laid_aside(path, again=config.again, bank=config.bank, root=root):
        cli.print_text(line)


def _show_status(config: MemoryCommandConfig, path: Path) -> None:
    """Prints the state of the bank or outbox at `path` and of the other outboxes, or serves it as metrics."""
    root = Path(config.root) if config.root else None
    files = [path, *(outbox_path(name, root) for name in config.outboxes)]
    if config.metrics_port is not None:
        serve_metrics(files, config.metrics_port)
    for line in status_lines(files, limit=config.limit):
        cli.print_text(line)


def _restore(config: MemoryCommandConfig, path: Path | None) -> None:
    """Writes the bank of `backup` to the new file of the URL."""
    if path is None or not config.backup:
        raise ConfigError(
            "restore needs a backup, and the URL of a new file.",
            value=f"url={config.url} backup={config.backup!r}",
            remedy="Write url=sqlite:///NEW.db backup=FILE.",
        )
    head = restore(Path(config.backup), path)
    cli.print_text(
        f"{path.name} holds events 1 to {head}. Robots send again what their outboxes hold since the backup."
    )


def _export(bank: BankView, config: MemoryCommandConfig) -> Iterator[str]:
    if not config.output:
        yield from memory_text.json_lines(bank, config)
        return
    target = Path(config.output)
    count = 0
    with written_atomically(target) as file:
        for line in memory_text.json_lines(bank, config):
            file.write(f"{line}\n".encode())
            count += 1
    yield f"{count} events: {target}"


def _retain(bank: Bank, config: MemoryCommandConfig) -> Iterator[str]:
    done = config.retention.build().apply(bank)
    for reason, count in done.forgotten.items():
        yield f"{count:>9}  {reason}"
    yield f"{done.left:>9}  events are left"


def _withdraw(bank: Bank, config: MemoryCommandConfig) -> Iterator[str]:
    by_seq = withdraw(bank, config.seqs, config.reason)
    yield f"Event {by_seq} withdraws {len(config.seqs)} events. From it on no belief counts them:"
    for seq in config.seqs:
        event = bank.event(seq)
        yield f"{seq:>9}  {describe(event) if event else ''}"


def _rebuild(bank: Bank, config: MemoryCommandConfig) -> Iterator[str]:
    del config
    start = bank.rebuild()
    yield f"The projections are made again, from {f'the snapshot at {start}' if start else 'the first event'} on."


def _close_past(bank: Bank, config: MemoryCommandConfig) -> Iterator[str]:
    number = close_past(bank, config.before_s)
    yield f"Event {number} closes the past: what is earlier is refused from now on. `reopen_past` opens it again."


def _reopen_past(bank: Bank, config: MemoryCommandConfig) -> Iterator[str]:
    number = reopen_past(bank, config.before_s)
    left = "nothing of it is" if config.before_s is None else f"only what is earlier than {config.before_s} s is still"
    yield f"Event {number} opens the past again: {left} closed. What was laid aside meanwhile can be sent again."


BESIDE: Mapping[What, Callable[[MemoryCommandConfig, Path], None]] = {
    What.backup: _back_up,
    What.refused: _list_refused,
    What.status: _show_status,
}
READING: Mapping[What, Callable[[BankView, MemoryCommandConfig], Iterator[str]]] = {
    What.summary: memory_text.summary,
    What.query: memory_text.answer,
    What.timeline: memory_text.timeline,
    What.export: _export,
}
WRITING: Mapping[What, Callable[[Bank, MemoryCommandConfig], Iterator[str]]] = {
    What.retain: _retain,
    What.rebuild: _rebuild,
    What.close_past: _close_past,
    What.reopen_past: _reopen_past,
    What.withdraw: _withdraw,
}


def register(arguments: Arguments) -> None:
    """Registers with Hydra the schema to which sim_configs/memory.yaml refers."""
    del arguments
    ConfigStore.instance().store(name="memory_schema", node=MemoryCommandConfig)


def main() -> None:
    """Starts the command line with the settings of sim_configs/memory.yaml; `what=` may be left out."""
    cli.enter_command(memory, config_name="memory", register=register)


if __name__ == "__main__":
    main()
