"""Two robots, one bank, real physics: what one has moved, the other finds by asking; its own eyes are out of date."""

import math

import pytest

from embodied.memory import Interaction, open_bank
from embodied.scenes.hall import BLOCK, MOBILE, STANDING
from embodied.types import Outcome
from launch.benchmarks.two_robots.picture import draw
from launch.benchmarks.two_robots.scenario import play_variant


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('site')}/site.db"


@pytest.fixture(scope="module")
def courses(url):
    with open_bank(url) as bank:
        return {asks: play_variant(bank, asks=asks) for asks in (True, False)}


def test_the_robot_that_asks_the_bank_goes_where_the_block_is_now_and_holds_it(courses):
    course = courses[True]
    assert course.ending.progress.outcome is Outcome.SUCCESS, course.ending
    assert course.ending.progress.reached == ("away", "moved", "fetched")
    assert course.miss_m < 0.005
    assert math.dist(course.asked_m[:2], course.spots_m["spot_a"]) < 0.02


def test_the_robot_without_the_bank_goes_where_it_last_saw_it_and_closes_its_gripper_on_nothing(courses):
    course = courses[False]
    assert course.ending.progress.outcome is Outcome.FAILURE
    assert course.ending.progress.reached == ("away", "moved")
    assert math.dist(course.asked_m[:2], course.spots_m["spot_c"]) < 0.002
    assert course.miss_m == pytest.approx(math.dist(course.spots_m["spot_a"], course.spots_m["spot_c"]), abs=0.02)


def test_the_bank_opened_again_knows_who_moved_the_block_and_where_it_was_before(courses, url):
    spots_m = courses[True].spots_m
    with open_bank(url) as bank:
        block = f"hall/asking/0/{BLOCK}"
        moved = bank.nth_interaction(1, entity=block)
        assert isinstance(moved.payload, Interaction)
        assert (moved.robot, moved.payload.source[-6:], moved.payload.target[-6:]) == (STANDING, "spot_c", "spot_a")
        before = bank.where_is(block, as_of_s=moved.payload.pick_start_s)
        assert before.pose.position_m[:2] == pytest.approx(spots_m["spot_c"], abs=0.002)
        assert bank.where_is(block).predicate == "held_by"
        assert bank.contents(MOBILE) == [block]
        assert not bank.verify().problems


def test_both_variants_are_drawn_into_one_small_picture(courses, tmp_path):
    draw({"with the bank": courses[True], "without": courses[False]}, tmp_path / "story.png")
    content = (tmp_path / "story.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000
