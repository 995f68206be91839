"""Inspects memory banks: `python -m launch.memory summary|query|timeline|export|verify|backup url=sqlite:///run.db`."""

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from pathlib import Path

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING

from embodied.errors import ConfigError, PathError, StorageError
from embodied.memory import (
    Bank,
    BankView,
    OwnedError,
    ReadOnlyBank,
    RetentionConfig,
    StoppedClock,
    back_up,
    bank_path,
    close_past,
    describe,
    open_bank,
    open_read_only,
    reopen_past,
    require_openable,
    restore,
    withdraw,
)
from embodied.paths import written_atomically
from launch import cli, memory_json, memory_text
from launch.arguments import Arguments
from launch.memory_check import checked
from launch.memory_outbox import laid_aside
from launch.memory_output import CommandAnswer, OutputFormat, path_text, show_lazily
from launch.memory_query import QuerySettings
from launch.memory_status import outbox_path, serve_metrics, status

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
        format: text for people, or json: one document for programs
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
    format: OutputFormat = OutputFormat.text
    retention: RetentionConfig = field(default_factory=RetentionConfig)


def memory(composed: cli.Composed) -> None:
    """Runs one command on an existing bank. Raises `EmbodiedError`; exits with 1 where the bank is damaged."""
    config: MemoryCommandConfig = composed.config
    root = Path(config.root) if config.root else None
    path = bank_path(config.url, root=root)
    if config.what is What.restore:
        _restore(config, path).show(config.format)
        return
    if path is None or not path.is_file():
        raise PathError(
            "A bank must be a file that exists.", value=config.url, remedy="Check the path after sqlite:///."
        )
    if config.what in BESIDE:
        BESIDE[config.what](config, path).show(config.format)
        return
    if config.what not in (*READING, What.export):
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
            lines, document = READING[config.what]
            show_lazily(config.format, partial(lines, view, config), partial(document, view, config))
        return
    if config.what is What.export:
        with _opened(config.url, root) as view:
            _export(view, config)
        return
    # Its clock stands where that of the last owner stood: a command is not a part of the site's time.
    with open_bank(config.url, root=root, clock=StoppedClock(), thorough=config.what is not What.rebuild) as bank:
        WRITING[config.what](bank, config).show(config.format)


def _opened(url: str, root: Path | None) -> Bank | ReadOnlyBank:
    """Returns the bank, checked; beside its owner, or where nothing can be written, what it holds now."""
    try:
        require_openable(url, root=root)
        return open_bank(url, root=root, clock=StoppedClock())
    except OwnedError:
        bank = open_read_only(url, root=root)
        _log.info("Another process has the bank open: the answer is as of event %d.", bank.head)
        return bank
    except (PathError, StorageError) as error:
        _log.info("The bank is only read, since its folder cannot be written (%s).", error)
        return open_read_only(url, root=root)


def _verify(config: MemoryCommandConfig, path: Path) -> None:
    """Prints the damage of the file, and writes or offers its longest intact prefix."""
    root = Path(config.root) if config.root else None
    found = checked(path, config.url, root=root, output=Path(config.output) if config.output else None)
    found.show(config.format)
    if not found.document["sound"]:
        raise SystemExit(DAMAGED)


def _back_up(config: MemoryCommandConfig, path: Path) -> CommandAnswer:
    """Writes a checked copy to the new file `output`, also while another process writes the bank."""
    if not config.output:
        raise ConfigError("A backup needs a new file.", value="output=''", remedy="Write output=FILE.")
    head = back_up(path, Path(config.output))
    return CommandAnswer(
        [f"{config.output} holds events 1 to {head}, checked."], {"output": path_text(config.output), "head": head}
    )


def _list_refused(config: MemoryCommandConfig, path: Path) -> CommandAnswer:
    """Lists what is laid aside in the outbox at `path`, or sends one parcel of it again."""
    root = Path(config.root) if config.root else None
    return laid_aside(path, again=config.again, bank=config.bank, root=root)


def _show_status(config: MemoryCommandConfig, path: Path) -> CommandAnswer:
    """Returns the state of the bank or outbox at `path` and of the other outboxes, or serves it as metrics."""
    root = Path(config.root) if config.root else None
    files = [path, *(outbox_path(name, root) for name in config.outboxes)]
    if config.metrics_port is not None:
        serve_metrics(files, config.metrics_port)
    return status(files, limit=config.limit)


def _restore(config: MemoryCommandConfig, path: Path | None) -> CommandAnswer:
    """Writes the bank of `backup` to the new file of the URL."""
    if path is None or not config.backup:
        raise ConfigError(
            "restore needs a backup, and the URL of a new file.",
            value=f"url={config.url} backup={config.backup!r}",
            remedy="Write url=sqlite:///NEW.db backup=FILE.",
        )
    head = restore(Path(config.backup), path)
    line = f"{path.name} holds events 1 to {head}. Robots send again what their outboxes hold since the backup."
    return CommandAnswer([line], {"output": path_text(path), "head": head})


def _export(bank: BankView, config: MemoryCommandConfig) -> None:
    """Writes events as lines of JSON to the new file `output`, or to the terminal."""
    lines = memory_text.json_lines(bank, config)
    if not config.output:
        for line in lines:
            cli.print_text(line)
        return
    target = Path(config.output)
    count = 0
    with written_atomically(target) as file:
        for line in lines:
            file.write(f"{line}\n".encode())
            count += 1
    CommandAnswer([f"{count} events: {target}"], {"output": path_text(target), "events": count}).show(config.format)


def _retain(bank: Bank, config: MemoryCommandConfig) -> CommandAnswer:
    done = config.retention.build().apply(bank)
    lines = [f"{count:>9}  {reason}" for reason, count in done.forgotten.items()]
    return CommandAnswer([*lines, f"{done.left:>9}  events are left"], {"removed": done.forgotten, "left": done.left})


def _withdraw(bank: Bank, config: MemoryCommandConfig) -> CommandAnswer:
    by_seq = withdraw(bank, config.seqs, config.reason)
    lines = [f"Event {by_seq} withdraws {len(config.seqs)} events. From it on no belief counts them:"]
    for seq in config.seqs:
        event = bank.event(seq)
        lines.append(f"{seq:>9}  {describe(event) if event else ''}")
    return CommandAnswer(lines, {"seq": by_seq, "withdrawn": list(config.seqs)})


def _rebuild(bank: Bank, config: MemoryCommandConfig) -> CommandAnswer:
    del config
    start = bank.rebuild()
    line = f"The projections are made again, from {f'the snapshot at {start}' if start else 'the first event'} on."
    return CommandAnswer([line], {"from_snapshot": start or None, "head": bank.head})


def _close_past(bank: Bank, config: MemoryCommandConfig) -> CommandAnswer:
    number = close_past(bank, config.before_s)
    line = f"Event {number} closes the past: what is earlier is refused from now on. `reopen_past` opens it again."
    return CommandAnswer([line], {"seq": number})


def _reopen_past(bank: Bank, config: MemoryCommandConfig) -> CommandAnswer:
    number = reopen_past(bank, config.before_s)
    left = "nothing of it is" if config.before_s is None else f"at most what is before {config.before_s} s is still"
    line = f"Event {number} opens the past again: {left} closed. What was laid aside meanwhile can be sent again."
    return CommandAnswer([line], {"seq": number})


BESIDE: Mapping[What, Callable[[MemoryCommandConfig, Path], CommandAnswer]] = {
    What.backup: _back_up,
    What.refused: _list_refused,
    What.status: _show_status,
}
READING: Mapping[
    What,
    tuple[
        Callable[[BankView, MemoryCommandConfig], Iterator[str]],
        Callable[[BankView, MemoryCommandConfig], memory_json.Document],
    ],
] = {
    What.summary: (memory_text.summary, memory_json.summary),
    What.query: (memory_text.answer, memory_json.answer),
    What.timeline: (memory_text.timeline, memory_json.timeline),
}
WRITING: Mapping[What, Callable[[Bank, MemoryCommandConfig], CommandAnswer]] = {
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
