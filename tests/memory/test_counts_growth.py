"""Interactions, histories, success rates and leases: found without reading all of them, and equal to counting."""

import random

import pytest

from embodied.memory import (
    EntityMerged,
    Forgotten,
    Interaction,
    LeaseGranted,
    RobotRegistered,
    SkillEnded,
    SkillSpec,
    open_bank,
)
from tests.memory.work import work_of
from tests.memory.writers import EventFactory, contents_of

ORIGIN = (0.0, 0.0, 0.0)


def filled(count):
    """Interactions and runs of two robots whose times are out of order, and leases that are renewed."""
    draw, factory = random.Random(5), EventFactory()
    bank = open_bank(":memory:")
    for robot in ("a", "b"):
        bank.append(factory.event(RobotRegistered(robot, "arm", (SkillSpec("pick"),)), robot=robot))
        bank.append(factory.state(robot))
    for number in range(count):
        robot, time_s = draw.choice("ab"), float(number - draw.choice((0, 0, 0, 30)))
        payload = draw.choice(
            (
                Interaction(draw.choice(("press", "open")), draw.choice(("cup", "mug", "pen")), 0.0, 0.0, 0.0, 0.0),
                SkillEnded("pick", success=draw.random() < 0.7, context=draw.choice(("", "cup", "pen"))),
            )
        )
        bank.append(factory.event(payload, time_s, f"{robot}/{number}", robot=robot))
        lease = LeaseGranted("wash", number + 1, float(number) + 10.0)
        bank.append(factory.event(lease, float(number), "leases", robot="a"), as_site=True)
    return bank


def test_the_nth_interaction_is_that_which_counting_finds():
    with filled(150) as bank:
        bank.append(EventFactory().event(EntityMerged("mug", "cup"), 200.0, "clerk"))
        interactions = bank.history(kinds=("interaction",))
        for view in (bank, bank.snapshot(120)):
            for entity in ("", "cup", "pen", "fork"):
                for robot in ("", "a", "nobody"):
                    for action in ("", "press", "wave"):
                        for between_s in ((-100.0, 1000.0), (20.0, 60.0)):
                            same = {"cup", "mug"} if entity == "cup" and view is bank else {entity}
                            fits = [
                                one for one in interactions
                                if one.seq <= view.head and (not entity or one.payload.entity in same)
                                and robot in ("", one.robot) and action in ("", one.payload.action)
                                and between_s[0] <= one.valid_time_s <= between_s[1]
                            ]  # fmt: skip
                            asked = {"entity": entity, "robot": robot, "action": action, "between_s": between_s}
                            for number in (1, 2, -1, -3):
                                at = number - 1 if number > 0 else number
                                expected = fits[at] if -len(fits) <= at < len(fits) else None
                                assert view.nth_interaction(number, **asked) == expected


def test_a_history_with_a_limit_is_its_beginning_or_its_end():
    with filled(100) as bank:
        for name in ("", "cup", "a"):
            whole = bank.history(name)
            for limit in (1, 7, 10**6):
                assert bank.history(name, limit=limit) == whole[:limit]
                assert bank.history(name, limit=-limit) == whole[-limit:]
        late = bank.history("cup", from_s=20.0, kinds=("interaction",))
        assert bank.history("cup", from_s=20.0, kinds=("interaction",), limit=2) == late[:2]


def test_success_rates_at_any_time_are_those_that_counting_finds():
    with filled(200) as bank:
        runs = bank.history(kinds=("skill_ended",))
        for view in (bank, bank.snapshot(250)):
            for context in ("", "cup", "never"):
                for as_of_s in (None, 10.0, 77.0, 150.0, 1000.0):
                    known = [
                        run for run in runs
                        if run.seq <= view.head and (as_of_s is None or run.valid_time_s <= as_of_s)
                        and context in ("", run.payload.context)
                    ]  # fmt: skip
                    for one in view.skill_candidates("pick", ORIGIN, as_of_s=as_of_s, context=context):
                        own = [run.payload.success for run in known if run.robot == one.robot]
                        assert one.success == pytest.approx((1 + sum(own)) / (2 + len(own)))


def test_removed_interactions_leave_the_tables_as_if_they_had_never_been():
    with filled(60) as bank:
        gone = [event.seq for event in bank.history(kinds=("interaction",))][:10]
        removal = Forgotten("asked", tuple((s, s) for s in sorted(gone)), 10)
        bank.append(EventFactory().event(removal, 99.0, "clerk"), as_site=True)
        assert bank.nth_interaction(1) == bank.history(kinds=("interaction",))[0]
        before = contents_of(bank)
        assert bank.verify().problems == ()
        bank.rebuild()
        assert contents_of(bank) == before


QUESTIONS = {
    "the last interaction": lambda bank: bank.nth_interaction(-1),
    "the last one with a thing": lambda bank: bank.nth_interaction(-1, entity="cup"),
    "the last one of a robot": lambda bank: bank.nth_interaction(-2, robot="b"),
    "the end of a history": lambda bank: bank.history("cup", limit=-3),
    "the beginning of the timeline": lambda bank: bank.history(limit=3),
    "who can pick": lambda bank: bank.skill_candidates("pick", ORIGIN),
    "who can pick cups": lambda bank: bank.skill_candidates("pick", ORIGIN, context="cup"),
    "who can pick now": lambda bank: bank.skill_candidates("pick", ORIGIN, as_of_s=1e9),
}


def test_the_work_does_not_grow_with_the_number_of_events(monkeypatch):
    costs = {name: [] for name in QUESTIONS}
    for count in (100, 1500):
        with filled(count) as bank:
            for name, question in QUESTIONS.items():
                costs[name].append(work_of(monkeypatch, bank, lambda question=question, bank=bank: question(bank)))
    for name, (few, many) in costs.items():
        assert many[0] <= 1.5 * few[0] + 50, name
        assert many[1] <= few[1], name
