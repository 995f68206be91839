"""Two robots, one bank, real physics: what one has moved, the other finds by asking; its own eyes are out of date."""

import math

import msgspec
import pytest

from embodied.memory import EventFilter, Interaction, SimulatedClock, open_bank
from embodied.scenes.hall import BLOCK, MOBILE, STANDING
from embodied.types import Outcome
from launch.benchmarks.two_robots.picture import draw
from launch.benchmarks.two_robots.scenario import play_variant


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    return f"sqlite:///{tmp_path_factory.mktemp('site')}/site.db"


@pytest.fixture(scope="module")
def courses(url):
    with open_bank(url, clock=SimulatedClock()) as bank:
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
    spots_m, block = courses[True].spots_m, courses[True].entity
    assert block.startswith(f"hall/asking/0/{STANDING}/object-"), "a name of the bank's own"
    with open_bank(url, clock=SimulatedClock()) as bank:
        moved = bank.nth_interaction(1, entity=block)
        assert isinstance(moved.payload, Interaction)
        assert moved.robot == STANDING
        for place, spot in ((moved.payload.source, "spot_c"), (moved.payload.target, "spot_a")):
            assert bank.where_is(place).pose.position_m[:2] == pytest.approx(spots_m[spot], abs=0.01)
        before = bank.where_is(block, as_of_s=moved.payload.pick_start_s)
        assert before.pose.position_m[:2] == pytest.approx(spots_m["spot_c"], abs=0.002)
        assert bank.where_is(block).predicate == "held_by"
        assert bank.contents(MOBILE) == [block]
        assert not bank.verify().problems


def test_the_robots_share_what_they_perceive_and_nothing_of_the_truth(courses, url):
    with open_bank(url, clock=SimulatedClock()) as bank:
        content = b"".join(msgspec.json.encode(event.payload) for event in bank.changes_since(0, limit=10_000))
        seen = bank.changes_since(0, wanted=EventFilter(kinds=("entity_seen",)), limit=10_000)
    for body in ("table", "floor", "spot_a", "spot_c"):
        assert f"/{body}".encode() not in content
        assert f'"{body}"'.encode() not in content
    assert f"/{BLOCK}".encode() not in content
    objects = {event.payload.entity for event in seen if event.payload.category == "object"}
    assert len(objects) == 2 * 6, "the block, four spots and the stand in each variant, and no robot"
    assert courses[False].entity == ""


def test_both_variants_are_drawn_into_one_small_picture(courses, tmp_path):
    draw({"with the bank": courses[True], "without": courses[False]}, tmp_path / "story.png")
    content = (tmp_path / "story.png").read_bytes()
    assert content.startswith(b"\x89PNG")
    assert len(content) < 200_000
