"""What the feed logs of robots, skills, places and instructions, so that the bank can be queried about them."""

import numpy as np
import pytest

from embodied.geometry import Pose, quaternion_from_euler
from embodied.memory import (
    EpisodeBegun,
    Event,
    MomentStored,
    PlaceDefined,
    Query,
    RelationSet,
    SimulatedClock,
    SkillEnded,
    open_bank,
)
from embodied.rollout.bank_feed.instruction_embedding import MODEL_ID, SLOTS, embed
from embodied.rollout.bank_feed.robot_skills import registration
from embodied.rollout.bank_feed.scene_places import scene_places
from embodied.scenes.scene import Body, Box, Part, RobotPlacement, Scene
from embodied.tasks.memorybench.base import Tier
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
from embodied.types import Decision, MoveTo, Outcome
from tests.fakes import BLOCK_START, DOWN, FakePolicy, FakeTask, carry_to
from tests.memory.writers import unit
from tests.rollout.test_memory_feed import NAME, fed, logged

BACK = "move the block to the centre, press the button, then put the block back where it was"
DRAWER = "shut the open drawer, press the button, then open the same drawer again"


@pytest.fixture
def bank():
    with open_bank(":memory:", clock=SimulatedClock()) as made:
        yield made


# --- Instructions -----------------------------------------------------------------------------------------------------


def test_an_instruction_is_a_unit_vector_of_its_words_whatever_their_order():
    vector = embed(BACK)
    assert vector.dtype == np.float32
    assert vector.shape == (SLOTS,)
    assert np.linalg.norm(vector.astype(float)) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(vector, embed(" ".join(reversed(BACK.upper().split()))))
    assert float(embed("put the block back") @ vector) > float(embed("put the block back") @ embed(DRAWER)) + 0.1
    assert abs(float(embed("zebra") @ embed("quartz"))) < 1e-6


def test_the_embedding_of_a_word_never_changes_since_banks_hold_it():
    assert [(slot, value) for slot, value in enumerate(embed("block").tolist()) if value] == [(4, -1.0)]


def test_an_instruction_without_words_has_none(bank):
    assert embed("") is embed(" ... ") is None
    fed(bank, FakePolicy(privileged=True), task=FakeTask(overrides={"instruction": "?!"}))
    (begun,) = logged(bank, EpisodeBegun)
    assert (begun.payload.model_id, begun.payload.embedding) == ("", b"")


def test_episodes_of_an_instruction_alike_are_found(bank):
    for name, instruction in (("back", BACK), ("drawer", DRAWER)):
        fed(bank, FakePolicy(privileged=True), task=FakeTask(overrides={"instruction": instruction}), name=name)
    (best, similarity), (other, less) = bank.similar_episodes(embed("put the block back"), MODEL_ID)
    assert (best, other) == ("back", "drawer")
    assert similarity > less


# --- Robots and skills ------------------------------------------------------------------------------------------------

HAND = {"pick", "place", "open", "close"}


@pytest.mark.parametrize(
    ("model", "skills", "limits"),
    [
        ("panda", {"move", "press", *HAND}, (0.855, 3.0, 0.0)),
        ("kuka", {"move", "press"}, (0.8, 0.0, 0.0)),
        ("differential_base", {"drive"}, (0.0, 0.0, 1.0)),
        ("mobile_panda", {"move", "press", "drive", *HAND}, (0.855, 3.0, 1.0)),
        ("unicycle", set(), (0.8, 0.0, 0.0)),
    ],
)
def test_a_robot_joins_with_what_its_model_can_do(bank, model, skills, limits):
    payload = registration(RobotPlacement("r", model))
    assert {skill.name for skill in payload.skills} == skills
    assert (payload.reach_m, payload.payload_kg, payload.speed_mps) == limits
    bank.append(Event("r", 1, 0.0, payload, robot="r"))


def runs(bank):
    return [(e.payload.skill, e.payload.success, e.payload.context, e.payload.reason) for e in logged(bank, SkillEnded)]


def test_moves_and_picks_are_logged_and_who_is_able_follows_from_them(bank):
    fed(bank, FakePolicy(privileged=True))
    assert runs(bank) == [("pick", True, "thing", ""), ("move", True, "", "")]
    (robot,) = bank.skill_candidates("pick", BLOCK_START, context="thing")
    assert (robot.robot, robot.success) == ("arm", 2 / 3)
    assert bank.skill_candidates("pick", (9.0, 0.0, 0.0)) == [], "an arm cannot go there"
    durations = [event.payload.duration_s for event in logged(bank, SkillEnded)]
    assert all(duration_s == round(duration_s, 6) > 0 for duration_s in durations)


class Digger(FakePolicy):
    """Takes the block, then reaches below the table."""

    def _decide(self, request):
        take, _ = carry_to(BLOCK_START)
        return Decision((take if request.step == 0 else MoveTo((0.5, 0.0, -0.1), DOWN, gripper_open=False),))


@pytest.mark.parametrize("robots", [("arm",), ("arm", "leg")])
def test_a_move_that_a_controller_gives_up_is_logged_as_a_failure_of_its_robot(bank, robots):
    ending = fed(bank, Digger(privileged=True), task=FakeTask(robots=robots))
    assert ending.progress.outcome is Outcome.FAILURE
    moves = [event for event in logged(bank, SkillEnded) if event.payload.skill == "move"]
    assert [event.payload.success for event in moves] == [True] * len(robots) + [False]
    assert (moves[-1].robot, moves[-1].payload.reason) == ("arm", "below the table"), "the first to fail ended it"


# --- Places -----------------------------------------------------------------------------------------------------------


def tree(scene):
    payload = list(scene_places(scene, "e", lambda name: f"e/{name}"))
    places = {one.place: one for one in payload if isinstance(one, PlaceDefined)}
    fixed = {one.subject: (one.predicate, one.object) for one in payload if isinstance(one, RelationSet)}
    return payload, places, fixed


def test_a_table_carries_and_its_patches_are_slots_that_hold_what_lies_on_them(bank):
    episode = PutBlockBack().sample(3)
    payload, places, fixed = tree(episode.scene)
    levels = {name: (place.level, place.parent) for name, place in places.items()}
    slots = {f"e/{name}": ("slot", "e/table") for name in (*episode.choice_goal.candidates, "centre")}
    assert levels == {"e": ("site", None), "e/table": ("carrier", "e"), **slots}
    assert fixed["e/table"] == ("in", "e")
    assert fixed["e/button_base"] == fixed["e/centre"] == fixed[f"e/{episode.choice_goal.target}"] == ("on", "e/table")
    bank.append([Event("w", number, 0.0, one) for number, one in enumerate(payload, start=1)])
    for name in (*episode.choice_goal.candidates, "centre"):
        x, y, z = episode.scene.body(name).pose.position_m
        (place,) = [one for one in bank.places() if one.name == f"e/{name}"]
        assert place.holds((x, y, z + 0.03))
        assert not place.holds((x, y, z + 0.6))
        assert not place.holds((x, y, z - 0.1))
        corner = episode.scene.body(name).pose.matrix @ (0.049, 0.049, 0.03, 1.0)
        assert place.holds(tuple(corner[:3])), "it is turned as the patch is"
    assert bank.where_is("e/table").place == "e"
    assert bank.contents("e") == ["e/table"]


def test_a_region_of_the_scene_is_a_place_unless_it_watches_over_a_mark():
    scene = ReopenDrawer(tier=Tier.FAITHFUL).sample(0).scene
    (region,) = scene.regions
    _, places, fixed = tree(scene)
    box = places[f"e/{region.name}"]
    assert (box.level, box.parent) == ("slot", "e/table")
    assert (box.bottom_m, box.top_m) == pytest.approx((0.8, 1.1))
    assert np.array(box.polygon).min(axis=0).tolist() == pytest.approx([0.159, -0.2])
    assert fixed["e/cabinet"] == ("on", "e/table")


def test_what_is_small_tilted_or_movable_carries_nothing():
    slab = (Part(Box((1.0, 1.0, 0.1))),)
    tilted = Body("ramp", slab, pose=Pose((5.0, 0.0, 0.0), quaternion_from_euler(0.0, 0.8, 0.0)))
    stool = Body("stool", (Part(Box((0.4, 0.4, 0.4))),))
    _, places, fixed = tree(Scene("odd", (tilted, stool, Body("board", slab, mass_kg=1.0))))
    assert list(places) == ["e"]
    assert fixed == {"e/ramp": ("in", "e"), "e/stool": ("in", "e")}


def test_when_a_world_is_over_its_places_hold_nothing_new_and_what_was_there_is_still_found(bank):
    top = Body("table", (Part(Box((1.4, 1.4, 0.04))),), pose=Pose((0.0, 0.0, -0.02)))
    task = FakeTask()
    scene = task.sample(3).scene
    bodies = (top, *(body for body in scene.bodies if body.name != "table"))
    scene = Scene(scene.name, bodies, scene.joints, (), scene.cameras, scene.robots)
    ending = fed(bank, FakePolicy(privileged=True), task=FakeTask(overrides={"scene": scene}))
    table = f"{NAME}/table"
    extents = [event.payload.polygon for event in logged(bank, PlaceDefined) if event.payload.place == table]
    assert [len(extent) for extent in extents] == [4, 0]
    assert bank.where_is("arm", as_of_s=ending.sim_time_s / 2).place == table
    assert bank.where_is("arm").place == ""
    assert bank.where_is(table).place == NAME
    bank.advance(100.0)
    for number, x in enumerate((0.0, 5.0), start=1):
        bank.append(Event("w", number, 100.0, MomentStored("later", "m", unit(4), (x, 0.0, 0.0)), robot="arm"))
    assert len(bank.recall(Query(region=table))) == 1
