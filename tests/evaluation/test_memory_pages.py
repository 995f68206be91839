"""What the report shows of a bank: the right things, at the right times, whatever they are called."""

import re
from dataclasses import replace

import pytest

from embodied.evaluation.memory_pages import MOST_MAPS, episode_page
from embodied.evaluation.memory_plots import maps_figure, timeline_figure
from embodied.evaluation.plan import Evaluation
from embodied.geometry import Pose
from embodied.memory import (
    EntitySeen,
    EpisodeBegun,
    EpisodeEnded,
    Interaction,
    RelationEnded,
    RelationSet,
    RobotReported,
    SubtaskEnded,
    open_bank,
)
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.run_memory import RunMemory
from tests.evaluation.fakes import evaluation
from tests.memory.writers import EventFactory

CUP = "e/a_$cup$<b>"


def story(moves=1):
    """A robot carries the cup 1 m per move, each taking 4 seconds of ten."""
    factory = EventFactory()

    def log_event(payload, time_s):
        return factory.event(payload, time_s, robot="panda", task="e")

    def seen(x, time_s):
        return log_event(EntitySeen(CUP, "cup", Pose((x, 0.0, 0.8)), size_m=(0.1, 0.1, 0.1)), time_s)

    yield log_event(EpisodeBegun("e", "carry"), 0.0)
    yield log_event(RobotReported(Pose((-0.5, 0.0, 0.0))), 0.0)
    yield seen(0.0, 0.0)
    for move in range(moves):
        start_s = 10.0 * move
        yield log_event(RelationSet(CUP, "held_by", "panda", expected_version=2 * move), start_s + 2.0)
        yield log_event(EntitySeen("e/panda/tool", "tool", Pose((0.3, 0.4, 1.0))), start_s + 3.0)
        yield log_event(RelationEnded(CUP, "held_by", "panda", expected_version=2 * move + 1), start_s + 5.0)
        yield seen(move + 1.0, start_s + 5.0)
        times_s = (start_s + 1.0, start_s + 2.0, start_s + 4.0, start_s + 5.0)
        yield log_event(Interaction("pick_place", CUP, *times_s), start_s + 5.0)
    yield log_event(SubtaskEnded("e/carried", "success"), 10.0 * moves)
    yield log_event(EpisodeEnded("e", "success"), 10.0 * moves)


@pytest.fixture
def bank():
    with open_bank(":memory:") as bank:
        yield bank


def test_a_page_shows_where_things_were_before_during_and_after(bank):
    bank.append(list(story()))
    page = episode_page(bank, "e")
    assert [one.time_s for one in page.maps] == [1.0, 5.0, 10.0]
    assert [one.things[0].pose.position_m[0] for one in page.maps] == [0.0, 1.0, 1.0]
    assert [thing.name for thing in page.maps[0].things] == ["a_$cup$<b>"], "tools are no things"
    assert page.maps[1].trail == (((0.3, 0.4),),)
    assert page.maps[0].robots["panda"].position_m == (-0.5, 0.0, 0.0)
    intervals = {(interval.lane, interval.begin_s, interval.end_s, interval.text) for interval in page.intervals}
    assert ("a_$cup$<b>", 2.0, 5.0, "held by panda") in intervals
    assert ("panda", 1.0, 5.0, "pick and place a_$cup$<b>") in intervals
    assert ("phases", 10.0, 10.0, "carried") in intervals
    assert page.rows[0].text == "episode begins: carry"
    words = " ".join(row.text for row in page.rows)
    assert "pick place: a_$cup$<b>" in words
    assert "seen at" not in words


def test_of_a_long_episode_a_few_times_are_shown_the_first_and_the_last_among_them(bank):
    bank.append(list(story(moves=9)))
    times_s = [one.time_s for one in episode_page(bank, "e").maps]
    assert len(times_s) == MOST_MAPS
    assert (times_s[0], times_s[-1]) == (1.0, 90.0)


def test_figures_hold_any_name_and_keep_it_as_text(bank):
    bank.append(list(story()))
    page = episode_page(bank, "e")
    for figure in (timeline_figure(page), maps_figure(page)):
        assert "a $cup$&lt;b&gt;</text>" in figure
        assert not re.search(r"<b>|<script", figure)
    assert maps_figure(page).count("panda") >= len(page.maps)


def test_an_episode_that_was_not_logged_has_no_page(bank):
    bank.append(list(story()))
    assert episode_page(bank, "f") is None


def test_settings_of_recalled_moments_belong_to_the_run_and_the_url_of_the_bank_does_not():
    plain = evaluation(episodes=2)

    def run(**settings):
        return Evaluation(
            suite=plain.suite, tier=plain.tier, episodes=plain.episodes, seed=plain.seed,
            worker=replace(plain.worker, memory=RunMemory(link=object(), **settings)),
        ).run  # fmt: skip

    assert run() == run()
    feed = MemoryFeedConfig(pose_rate_hz=5.0)
    assert len({plain.run, run(), run(capacity=3), run(feed=feed)}) == 4
