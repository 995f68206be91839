"""The benchmark of growth: its site, its figures and its bounds."""

import pytest

from embodied.errors import ConfigError
from embodied.memory import EventFilter, open_bank
from launch.benchmarks import memory_growth
from launch.benchmarks.memory_growth import MemoryGrowthConfig, judge
from launch.benchmarks.memory_growth.site import RARE, RARE_SIGHTINGS, fill


def test_it_measures_every_row_at_every_size():
    config = MemoryGrowthConfig(events=[400, 800], robots=8, things=20, repeats=1)
    result = memory_growth.measure(config, seed=1)
    assert [row["events"] for row in result["logs"]] == [400, 800]
    names = set(result["logs"][0]["cpu_ms"])
    assert names == set(result["factors"])
    assert set(result["passes"]) >= names - set(memory_growth.OF_THE_WHOLE) | {"size", "retention", "open_thorough"}
    assert all(row["append_waits"]["retention"]["count"] > 0 for row in result["logs"])


def test_logs_have_their_length_and_the_same_rare_thing():
    for events in (500, 1000):
        with open_bank(":memory:") as bank:
            fill(bank, events, robots=8, things=20, seed=3)
            assert bank.head == events
            assert len(bank.changes_since(0, wanted=EventFilter(entities=(RARE,)))) == RARE_SIGHTINGS


def test_what_grows_too_much_takes_too_long_or_is_too_large_does_not_pass():
    row = {
        "events": 1_000_000,
        "mib": 176.0,
        "cpu_ms": {"open_thorough": 1100.0, "retention": 59_000.0},
        "append_waits": {"retention": {"p999_ms": 101.0}},
    }
    assert judge([row], {"where_is": 3.1, "contents": 2.9, "recall": 100.0}) == {
        "where_is": False, "contents": True, "open_thorough": False, "retention": True,
        "wait_during_retention": False, "size": False,
    }  # fmt: skip


@pytest.mark.parametrize("wrong", [{"events": [10]}, {"events": [20, 10]}, {"robots": 0}, {"events": [100, 1000]}])
def test_settings_that_show_no_growth_are_refused(wrong):
    with pytest.raises(ConfigError, match="memory_growth"):
        MemoryGrowthConfig(**wrong).check()
