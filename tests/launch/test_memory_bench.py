"""The memory bench: what it measures is right, whatever the machine is doing."""

import numpy as np
import pytest

from embodied.errors import ConfigError
from launch.benchmarks import memory, memory_service, memory_size
from launch.benchmarks.memory import MemoryBenchConfig, agreement, judge, percentiles
from launch.benchmarks.memory.baselines import brute_force, passes, truth
from launch.benchmarks.memory.moments import WEEK_S, make_moments, make_queries, moment_events, sighting_events
from launch.benchmarks.memory_service import MemoryLoadConfig
from launch.benchmarks.memory_size import MemorySizeConfig

SMALL = MemoryBenchConfig(
    moments=1500,
    dimensions=16,
    sightings=1200,
    things=10,
    filtered_questions=15,
    unfiltered_questions=5,
    pose_questions=20,
    change_questions=3,
)


def test_every_answer_of_the_bank_is_exact_and_every_figure_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_lance", lambda folder, moments: None)
    result = memory.measure(SMALL, seed=3)
    assert (result["filtered"]["exact"], result["unfiltered"]["exact"]) == (15, 5)
    assert result["filtered"]["ways"]["numpy"]["agreement"] == 1.0
    assert "not installed" in result["versions"]["lancedb"]
    assert result["passes"]["filtered_speedup_over_lancedb"] is None
    assert result["passes"]["filtered_exact"] is True
    assert set(result["reached"]) == set(result["wanted"])
    assert all(value > 0 for name, value in result["reached"].items() if value is not None), result["reached"]


def test_lancedb_gives_the_same_moments_where_it_is_installed() -> None:
    pytest.importorskip("lancedb")
    result = memory.measure(SMALL, seed=3)
    assert result["filtered"]["ways"]["lancedb"]["agreement"] == 1.0
    assert result["unfiltered"]["ways"]["lancedb"]["agreement"] == 1.0


def test_a_filter_lets_through_its_share_of_time_area_and_robots() -> None:
    moments = make_moments(20_000, 8, robots=10, seed=1)
    questions = make_queries(moments, 40, filtered=True, share=0.1, seed=1)
    shares = [passes(moments, question).mean() for question in questions]
    assert np.mean(shares) == pytest.approx(0.1 * 0.1 / 10, rel=0.2)
    for question in questions:
        assert truth(moments, question, 3) == brute_force(moments, question, 3)
        assert len(question.query(3).region or ()) == 4


def test_moments_are_clustered_and_the_same_seed_gives_the_same() -> None:
    moments, again = (make_moments(2000, 64, robots=3, seed=7) for _ in range(2))
    assert np.array_equal(moments.embedding, again.embedding)
    assert not np.array_equal(moments.embedding, make_moments(2000, 64, robots=3, seed=8).embedding)
    similarity = np.sort(moments.embedding @ moments.embedding[0])[::-1]
    assert similarity[5] > 0.6
    assert similarity[100] < 0.5
    assert moments.time_s[0] >= 0.0
    assert moments.time_s[-1] <= WEEK_S


def test_writers_count_upwards_without_going_back_in_time() -> None:
    events = [event for batch in moment_events(make_moments(50, 4, robots=3, seed=0), batch=20) for event in batch]
    events += sighting_events(50, 7, seed=0)
    for writer in {event.writer for event in events}:
        mine = [(event.writer_seq, event.valid_time_s) for event in events if event.writer == writer]
        assert mine == sorted(mine)
        assert len({seq for seq, _ in mine}) == len(mine)


def test_a_figure_passes_only_on_the_right_side_of_what_is_wanted() -> None:
    def result(bank_ms: float, lance_ms: float, exact: int) -> dict[str, object]:
        ways = {"bank": {"p95_ms": bank_ms}, "lancedb": {"p95_ms": lance_ms}}
        recall = {"questions": 9, "exact": exact, "ways": ways}
        reads = {"p99_ms": bank_ms}
        return {
            "filtered": recall, "unfiltered": recall, "last_pose": reads, "as_of_pose": reads, "changes": reads,
        }  # fmt: skip

    quick, slow = judge(result(1.0, 3.0, 9))["passes"], judge(result(61.0, 182.0, 8))["passes"]
    assert all(quick.values())
    assert not any(slow.values())


def test_answers_agree_by_what_they_share() -> None:
    assert agreement([], []) == 1.0
    assert agreement([1, 2], [2, 1]) == 1.0
    assert agreement([1], [1, 2]) == 0.5
    assert agreement([1, 2], [1]) == 0.5
    assert agreement([1], []) == 0.0


def test_percentiles_are_in_milliseconds() -> None:
    assert percentiles(np.arange(0.0, 0.1001, 0.001).tolist()) == {"p50_ms": 50.0, "p95_ms": 95.0, "p99_ms": 99.0}


@pytest.mark.parametrize("wrong", [{"moments": 0}, {"share": 1.0}, {"moments": 5, "top_k": 5}, {"sightings": 999}])
def test_counts_that_measure_nothing_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        memory.measure(MemoryBenchConfig(**wrong), seed=0)  # type: ignore[arg-type]


def test_every_event_of_a_load_is_sent_acknowledged_and_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_service, "START_DELAY_S", 0.0)
    monkeypatch.setattr(memory_service, "BURST_DELAY_S", 0.0)
    config = MemoryLoadConfig(clients=3, events_per_s=20.0, duration_s=0.5, processes=1, burst_events=5)
    result = memory_service.measure(config, seed=0)
    for row in (result, result["socket"]):
        assert row["logged"] == row["acknowledged"] == row["kept"] == 30 + 15
        assert row["problems"] == []
        assert row["acknowledgement"]["p99_ms"] >= row["acknowledgement"]["p50_ms"] > 0.0
        assert min(row["cpu_ms_per_event"].values()) > 0.0
        assert row["burst"]["events"] == 15
        assert row["burst"]["events_per_s"] > 0.0


def test_a_load_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError):
        memory_service.measure(MemoryLoadConfig(clients=0), seed=0)
    with pytest.raises(ConfigError):
        memory_service.measure(MemoryLoadConfig(burst_events=-1), seed=0)


def test_the_size_of_a_bank_and_its_rebuilds_are_measured():
    result = memory_size.measure(MemorySizeConfig(events=2500, robots=5, things=20), seed=0)
    assert result["problems"] == []
    assert result["rebuilt_from"] == {"whole": 0, "snapshot": 2500}
    assert result["passes"]["sound"]
    assert 50.0 < result["reached"]["mib_per_million_events"] < 500.0  # Small banks waste pages.


def test_sizes_of_nothing_are_refused():
    with pytest.raises(ConfigError, match="positive counts"):
        MemorySizeConfig(events=0).check()
