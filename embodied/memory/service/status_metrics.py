"""The state of a bank and of outboxes as metrics, in the text format of Prometheus."""

from collections.abc import Sequence

from embodied.memory.service.bank_status import BankStatus
from embodied.memory.service.outbox_status import OutboxStatus
from embodied.prometheus import gauge_lines

PREFIX = "embodied_memory"
OUTBOX_PREFIX = "embodied_memory_outbox"
MOST_SERIES = 100  # Of leases, and of writers: each is one time series of the monitoring.


def metrics_text(bank: BankStatus | None, outboxes: Sequence[OutboxStatus] = ()) -> str:
    """Returns gauges of a bank (None: of outboxes alone) and of outboxes, those of an outbox with its name."""
    lines: list[str] = []
    if bank is not None:
        lines += _bank_lines(bank)
    for name in (
        "events", "parcels", "waiting_bytes", "oldest_age_seconds", "laid_aside", "laid_aside_bytes",
    ):  # fmt: skip
        field = name.replace("seconds", "s")
        values = [({"outbox": one.name}, getattr(one, field)) for one in outboxes if getattr(one, field) is not None]
        lines += gauge_lines(f"{OUTBOX_PREFIX}_{name}", values)
    return "\n".join(lines) + "\n"


def _bank_lines(bank: BankStatus) -> list[str]:
    values: dict[str, float | None] = {
        "head": bank.head,
        "events": bank.events,
        "lag_seconds": bank.lag_s,
        "events_last_hour": bank.last_hour,
        "events_last_day": bank.last_day,
        "file_bytes": bank.file_bytes,
        "wal_bytes": bank.wal_bytes,
        "bytes_last_hour": bank.bytes_last_hour,
        "leases_running": bank.running,
        "leases_stale": bank.stale,
        "writers": bank.writer_count,
        "snapshots": len(bank.snapshots),
        "waiting_commits": bank.waiting,
        "sealed": bank.sealed,
    }
    lines: list[str] = []
    for name, value in values.items():
        lines += gauge_lines(f"{PREFIX}_{name}", [] if value is None else [({}, value)])
    leases = [*bank.running_leases[:MOST_SERIES], *bank.stale_leases[:MOST_SERIES]]
    left = [({"subtask": one.subtask, "robot": one.robot}, one.left_s) for one in leases]
    lines += gauge_lines(f"{PREFIX}_lease_seconds_left", left)
    for name, field in (
        ("writer_last_number", "last_number"),
        ("writer_last_time_seconds", "last_time_s"),
        ("writer_age_seconds", "age_s"),
    ):
        found = [(one.writer, getattr(one, field)) for one in bank.writers[:MOST_SERIES]]
        lines += gauge_lines(
            f"{PREFIX}_{name}", [({"writer": name}, value) for name, value in found if value is not None]
        )
    return lines
