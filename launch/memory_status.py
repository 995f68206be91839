"""Shows how a bank and the outboxes of robots are doing, and serves the same as metrics."""

import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

from embodied.errors import PathError
from embodied.memory import (
    SCHEME,
    BankStatus,
    LeaseStatus,
    OutboxStatus,
    bank_path,
    is_outbox,
    metrics_text,
    open_read_only,
    outbox_status,
)
from embodied.prometheus import metrics_served
from launch import cli
from launch.memory_output import CommandAnswer

MEBIBYTE = 2**20
MINUTE_S, HOUR_S, DAY_S = 60.0, 3600.0, 86_400.0


def outbox_path(name: str, root: Path | None) -> Path:
    """Returns the file of an outbox, by its path or its URL. Raises `PathError` where there is none."""
    path = bank_path(name if name.startswith(SCHEME) else f"{SCHEME}{name}", root=root)
    if path is None or not path.is_file():
        raise PathError("An outbox must be a file that exists.", value=name, remedy="Check outboxes=[...].")
    return path


def status(files: Sequence[Path], *, limit: int) -> CommandAnswer:
    """Returns the state of banks and outboxes, in text with at most `limit` leases and writers of each."""
    lines: list[str] = []
    found: dict[str, list[BankStatus | OutboxStatus]] = {"banks": [], "outboxes": []}
    for path in files:
        if is_outbox(path):
            outbox = outbox_status(path)
            found["outboxes"].append(outbox)
            lines += _outbox_lines(outbox)
        else:
            bank = _bank_status(path)
            found["banks"].append(bank)
            lines += _bank_lines(bank, limit)
    return CommandAnswer(lines, found)


def serve_metrics(files: Sequence[Path], port: int) -> NoReturn:
    """Serves the state of one bank and any outboxes on loopback until the process is interrupted."""
    with metrics_served(lambda: _metrics(files), port) as url:
        cli.print_text(f"Metrics for Prometheus: {url}")
        while True:
            threading.Event().wait()


def _metrics(files: Sequence[Path]) -> str:
    banks = [path for path in files if not is_outbox(path)]
    outboxes = [outbox_status(path) for path in files if path not in banks]
    return metrics_text(_bank_status(banks[0]) if banks else None, outboxes)


def _bank_status(path: Path) -> BankStatus:
    with open_read_only(f"{SCHEME}{path}") as bank:
        return bank.status()


def _bank_lines(bank: BankStatus, limit: int) -> Iterator[str]:
    yield f"{bank.name}: {_owner(bank)}"
    yield "  newest     " + (
        "no event yet" if bank.lag_s is None else f"event {bank.head}, received {_duration(bank.lag_s)} ago"
    )
    yield f"  events     {bank.events}, and {bank.head - bank.events} that were removed"
    yield (
        f"  growth     {bank.last_hour} events in the last hour (about {_size(bank.bytes_last_hour)}), "
        f"{bank.last_day} in the last day"
    )
    yield f"  size       {_size(bank.file_bytes)}, and {_size(bank.wal_bytes)} in its write-ahead log"
    snapshots = ", ".join(f"event {one.seq} ({_size(one.size_bytes)})" for one in bank.snapshots)
    yield f"  snapshots  {snapshots or 'none'}"
    yield from _lease_lines(f"{bank.running} leases run", bank.running_leases, limit)
    yield from _lease_lines(f"{bank.stale} leases have run out", bank.stale_leases, limit)
    yield f"  {bank.writer_count} writers"
    for writer in bank.writers[:limit]:
        received = "" if writer.age_s is None else f", received {_duration(writer.age_s)} ago"
        yield f"    {writer.writer}: number {writer.last_number}, at {writer.last_time_s:.3f} s{received}"
    if bank.writer_count > limit:
        yield f"    and {bank.writer_count - limit} more; limit={bank.writer_count} shows them"


def _owner(bank: BankStatus) -> str:
    process = "another process" if bank.owner_pid is None else f"process {bank.owner_pid}"
    if bank.state == "running":
        return f"{process} has it open"
    if bank.state == "left open":
        return f"{process} did not close it, so the next opening checks every event"
    sound = "closed sound" if bank.sealed else "closed; the next opening checks every event"
    return f"{sound}, last by {process}"


def _lease_lines(title: str, leases: Sequence[LeaseStatus], limit: int) -> Iterator[str]:
    yield f"  {title}"
    for lease in leases[:limit]:
        end = f"{_duration(lease.left_s)} left" if lease.left_s > 0.0 else f"ran out {_duration(-lease.left_s)} ago"
        yield f"    {lease.subtask}: {lease.robot}, epoch {lease.epoch}, {end}"


def _outbox_lines(outbox: OutboxStatus) -> Iterator[str]:
    yield f"{outbox.name}: an outbox"
    if outbox.oldest is None:
        yield "  waiting    nothing"
    else:
        age = "of unknown age" if outbox.oldest_age_s is None else f"stored {_duration(outbox.oldest_age_s)} ago"
        yield (
            f"  waiting    {outbox.events} events in {outbox.parcels} parcels, {_size(outbox.waiting_bytes)}; "
            f"the oldest is parcel {outbox.oldest}, {age}"
        )
    listed = f"; `python -m launch.memory refused url={SCHEME}...` lists them" if outbox.laid_aside else ""
    yield f"  refused    {outbox.laid_aside} parcels, {_size(outbox.laid_aside_bytes)}{listed}"


def _duration(time_s: float) -> str:
    for unit_s, unit in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        if abs(time_s) >= 2 * unit_s:
            return f"{time_s / unit_s:.1f} {unit}"
    return f"{time_s:.1f} s"


def _size(size_bytes: float) -> str:
    return f"{size_bytes / MEBIBYTE:.2f} MiB"
