"""How the CPU time of a memory bank's answers, openings and retention grows with its log."""

import os
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from embodied.errors import ConfigError
from embodied.evaluation.provenance import cpu, versions
from embodied.geometry import Pose
from embodied.memory import Bank, EntitySeen, Event, EventFilter, Query, RetentionConfig, open_bank, retain
from launch.benchmark import Benchmark
from launch.benchmarks.memory_growth.site import DIMENSIONS, HOT, MODEL, RARE, fill

MOST_FACTOR = 3.0  # From the smallest to the largest log, for an answer of the same size.
MOST_WAIT_MS = 100.0
MOST_MIB_PER_MILLION = 175.0
MOST_S_PER_MILLION = {"open_thorough": 1.0, "retention": 60.0}
PROBE_PAUSE_S = 0.002
# The cost of these is that of all events, by their nature: only a bound per million events is checked, if any.
OF_THE_WHOLE = ("open_thorough", "retention", "snapshot", "first_recall", "recall")
RARE_FILTER = EventFilter(entities=(RARE,))
ROBOT_FILTER = EventFilter(robot="robot_1", kinds=("robot_state",))


@dataclass(kw_only=True)
class MemoryGrowthConfig:
    """The numbers of events of the logs, of robots and of things, and how often each question is asked."""

    events: list[int] = field(default_factory=lambda: [10_000, 100_000, 1_000_000])
    robots: int = 200
    things: int = 500
    repeats: int = 9

    def check(self) -> None:
        """Raises `ConfigError` for counts that are not positive, and for logs without a growth between them."""
        counts = (*self.events, self.robots, self.things, self.repeats)
        if len(self.events) < 2 or min(counts) < 1 or sorted(set(self.events)) != self.events:
            raise ConfigError("memory_growth needs positive counts, and at least two ascending.", value=asdict(self))
        if self.events[0] < 10 * self.robots:
            raise ConfigError("memory_growth needs at least ten events for each robot.", value=asdict(self))


def measure(config: MemoryGrowthConfig, *, seed: int) -> dict[str, Any]:
    """Returns milliseconds of CPU per row and log, the factors from the smallest to the largest, and the bounds."""
    config.check()
    rows = [_measure_log(config, events, seed) for events in config.events]
    few, many = rows[0], rows[-1]
    factors = {name: round(many["cpu_ms"][name] / max(few["cpu_ms"][name], 1e-3), 2) for name in few["cpu_ms"]}
    return {
        "what": "memory_growth",
        "seed": seed,
        "cpu": cpu(),
        "load_average": os.getloadavg()[0],
        "versions": versions(),
        "settings": asdict(config),
        "logs": rows,
        "factors": factors,
        "wanted": {
            "factor": MOST_FACTOR,
            "wait_ms": MOST_WAIT_MS,
            "mib_per_million_events": MOST_MIB_PER_MILLION,
            "s_per_million_events": MOST_S_PER_MILLION,
        },
        "passes": judge(rows, factors),
    }


def judge(rows: list[dict[str, Any]], factors: Mapping[str, float]) -> dict[str, bool]:
    """Returns for each bound whether the logs `rows`, the largest last, and the `factors` of growth are within it."""
    many = rows[-1]
    millions = many["events"] / 1e6
    grown = {name: factor <= MOST_FACTOR for name, factor in factors.items() if name not in OF_THE_WHOLE}
    whole = {name: many["cpu_ms"][name] / 1e3 <= most * millions for name, most in MOST_S_PER_MILLION.items()}
    waits = {f"wait_during_{name}": wait["p999_ms"] <= MOST_WAIT_MS for name, wait in many["append_waits"].items()}
    return grown | whole | waits | {"size": many["mib"] <= MOST_MIB_PER_MILLION * millions}


def _measure_log(config: MemoryGrowthConfig, events: int, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="memory_growth_") as folder:
        path = Path(folder) / "bank.db"
        url = f"sqlite:///{path}"
        with open_bank(url) as bank:
            written_ms = _cpu_ms(lambda: fill(bank, events, robots=config.robots, things=config.things, seed=seed))
        mib = path.stat().st_size / 2**20
        found = {"append": written_ms / events, "open_thorough": _cpu_ms(lambda: open_bank(url).close())}
        found["open"] = _cpu_ms(lambda: open_bank(url, thorough=False).close())
        with open_bank(url, thorough=False) as bank:
            first_ms, first_wait = _beside_appends(bank, "first", lambda: bank.recall(_alike()))
            for name, question in _questions(bank).items():
                found[name] = statistics.median(_cpu_ms(lambda ask=question: ask(bank)) for _ in range(config.repeats))
            found["first_recall"] = first_ms
            found["snapshot"] = _cpu_ms(bank.write_snapshot)
            keeping = RetentionConfig(fresh_s=0.0, observations=events // 10)
            found["retention"], wait = _beside_appends(bank, "retention", lambda: retain(bank, keeping))
    waits = {"first_recall": first_wait, "retention": wait}
    rounded = {name: round(value, 4) for name, value in found.items()}
    return {"events": events, "mib": round(mib, 1), "cpu_ms": rounded, "append_waits": waits}


def _questions(bank: Bank) -> dict[str, Callable[[Bank], Any]]:
    middle_s = (bank.latest_s() or 0.0) / 2.0
    recent = max(0, bank.head - 1000)
    vector = _alike()
    (first,) = bank.history(kinds=("interaction",), limit=1)
    carried = str(getattr(first.payload, "entity", ""))
    return {
        "where_is": lambda bank: bank.where_is("thing_1"),
        "where_is_hot": lambda bank: bank.where_is(HOT),
        "where_is_carried": lambda bank: bank.where_is(carried),
        "where_is_as_of": lambda bank: bank.where_is("thing_1", as_of_s=middle_s),
        "contents": lambda bank: bank.contents("shelf_0"),
        "contents_as_of": lambda bank: bank.contents("shelf_0", as_of_s=middle_s),
        "changes": lambda bank: bank.changes_since(recent),
        "changes_of_entity": lambda bank: bank.changes_since(0, wanted=RARE_FILTER),
        "changes_of_robot": lambda bank: bank.changes_since(0, wanted=ROBOT_FILTER, limit=20),
        "last_interaction": lambda bank: bank.nth_interaction(-1),
        "last_interaction_of_entity": lambda bank: bank.nth_interaction(-1, entity=carried),
        "history_end": lambda bank: bank.history(HOT, limit=-10),
        "skill_candidates": lambda bank: bank.skill_candidates("pick_place", (0.0, 0.0, 0.0)),
        "latest_s": lambda bank: bank.latest_s(),
        "places": lambda bank: bank.places(),
        "recall": lambda bank: bank.recall(vector),
    }


def _alike() -> Query:
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[0] = 1.0
    return Query(embedding=vector, model_id=MODEL)


def _cpu_ms(call: Callable[[], object]) -> float:
    started_s = time.process_time()
    call()
    return 1e3 * (time.process_time() - started_s)


def _beside_appends(bank: Bank, name: str, call: Callable[[], object]) -> tuple[float, dict[str, Any]]:
    """Returns the CPU milliseconds of `call`, and how long single appends of another thread waited meanwhile."""
    waits_s: list[float] = []
    ended = threading.Event()
    spent_s: list[float] = []

    def append() -> None:
        began_s, number = time.thread_time(), 0
        while not ended.is_set():
            number += 1
            event = Event(f"probe/{name}", number, 1e9, EntitySeen("probe", "box", Pose()))
            started_s = time.perf_counter()
            bank.append(event)
            waits_s.append(time.perf_counter() - started_s)
            ended.wait(PROBE_PAUSE_S)
        spent_s.append(time.thread_time() - began_s)

    thread = threading.Thread(target=append)
    thread.start()
    try:
        spent_ms = _cpu_ms(call)
    finally:
        ended.set()
        thread.join()
    milliseconds = 1e3 * np.array(waits_s)
    p50, p999 = np.percentile(milliseconds, (50.0, 99.9))
    waits = {"count": len(waits_s), "p50_ms": round(float(p50), 2), "p999_ms": round(float(p999), 2)}
    return max(0.0, spent_ms - 1e3 * spent_s[0]), waits | {"max_ms": round(float(milliseconds.max()), 2)}


BENCHMARK = Benchmark(
    configs={"memory_growth": MemoryGrowthConfig},
    measure=lambda run, config: measure(config, seed=run.seed),
)
