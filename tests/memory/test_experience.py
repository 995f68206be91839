"""Experience with skills fades, exploration is drawn from a seed, and robots report one of known statuses."""

import numpy as np
import pytest

from embodied.errors import MemoryBankError
from embodied.geometry import Pose
from embodied.memory import ReportedStatus, RobotRegistered, RobotReported, SkillEnded, SkillSpec, open_bank
from embodied.memory.projections.embodiment import DECAY, Experience
from embodied.memory.queries.skill_matching import UNABLE, SkillQuery, estimate
from tests.memory.writers import EventFactory

ORIGIN = (0.0, 0.0, 0.0)
ROBOTS = ("a", "b", "c", "d")
CONTEXTS = tuple(f"context {number}" for number in range(8))
WORN = 0.2  # Of the chance of the worn robot, what is left.
TRIALS = 600  # Before the best robot wears out, and again after.


def registered(bank, factory, robots=ROBOTS):
    for robot in robots:
        bank.append(factory.event(RobotRegistered(robot, "arm", (SkillSpec("pick"),)), robot=robot))
        bank.append(factory.state(robot))


def faded(successes):
    """Returns the mean of the Beta distribution of runs of falling weight, the newest last."""
    weights = DECAY ** np.arange(len(successes))[::-1]
    won = float(np.sum(weights * np.array(successes, float)))
    return (1.0 + won) / (2.0 + float(np.sum(weights)))


def test_the_estimate_follows_the_last_runs_and_the_rate_counts_all():
    with open_bank(":memory:") as bank:
        factory, results = EventFactory(), [True] * 60 + [False] * 20
        registered(bank, factory, ["a"])
        for number, success in enumerate(results):
            bank.append(factory.event(SkillEnded("pick", success, "cup"), float(number), "a", robot="a"))
        for context in ("", "cup"):
            (found,) = bank.skill_candidates("pick", ORIGIN, context=context)
            assert found.success == pytest.approx(61 / 82)
            assert found.estimate == pytest.approx(faded(results))
            assert found.cost_s == pytest.approx(1.0 / found.estimate)
        assert found.estimate < 0.5 < found.success
        (before,) = bank.skill_candidates("pick", ORIGIN, as_of_s=59.0, context="cup")
        assert before.estimate == pytest.approx(faded(results[:60]))
        (snapshot,) = bank.snapshot(2 + 70).skill_candidates("pick", ORIGIN, context="cup")
        assert snapshot.estimate == pytest.approx(faded(results[:70]))
        rows = bank._log.tables.select("SELECT * FROM skill_run")
        bank.rebuild()
        assert bank._log.tables.select("SELECT * FROM skill_run") == rows
        assert bank.verify().problems == ()


def test_runs_that_arrive_late_fade_in_the_order_of_arrival_at_any_time():
    draw = np.random.default_rng(3)
    with open_bank(":memory:") as bank:
        factory = EventFactory()
        registered(bank, factory, ["a"])
        runs = []
        for number in range(120):
            time_s = float(number - draw.choice([0, 0, 0, 40]))
            success = bool(draw.random() < 0.6)
            bank.append(factory.event(SkillEnded("pick", success), time_s, f"a/{number}", robot="a"))
            runs.append((time_s, success))
        for as_of_s in (1.0, 20.0, 55.0, 79.0, 118.0, 119.0):
            known = [success for time_s, success in runs if time_s <= as_of_s]
            (found,) = bank.skill_candidates("pick", ORIGIN, as_of_s=as_of_s)
            assert found.estimate == pytest.approx(faded(known))


def test_a_seed_draws_an_estimate_for_each_robot_and_the_same_one_again():
    with open_bank(":memory:") as bank:
        factory = EventFactory()
        registered(bank, factory)
        for number in range(40):
            bank.append(factory.event(SkillEnded("pick", True), float(number), "a", robot="a"))

        def asked(seed, **options):
            found = bank.skill_candidates("pick", ORIGIN, explore_seed=seed, **options)
            return {one.robot: one.estimate for one in found}, [one.robot for one in found]

        assert asked(1) == asked(1)
        assert asked(1) != asked(2) != asked(1, context="cup")
        assert len(set(asked(1)[0].values())) == len(ROBOTS)
        drawn = [asked(seed)[0] for seed in range(200)]
        assert np.mean([one["a"] for one in drawn]) == pytest.approx(faded([True] * 40), abs=0.02)
        assert np.mean([one["b"] for one in drawn]) == pytest.approx(0.5, abs=0.06)
        assert {asked(seed)[1][0] for seed in range(200)} == set(ROBOTS), "every robot is tried"
        assert {bank.skill_candidates("pick", ORIGIN)[0].robot for _ in range(5)} == {"a"}
        for seed in (-1, 0.5, True):
            with pytest.raises(MemoryBankError, match="explore_seed"):
                bank.skill_candidates("pick", ORIGIN, explore_seed=seed)


def played(choose, seed):
    """Returns the share of successes before and after the best robot wears out; `choose` gives a robot per trial."""
    draw = np.random.default_rng(seed)
    chance = draw.uniform(0.3, 0.8, (len(CONTEXTS), len(ROBOTS)))
    best = int(draw.integers(len(ROBOTS)))
    chance[:, best] = draw.uniform(0.75, 0.95, len(CONTEXTS))
    known = {(context, robot): Experience() for context in CONTEXTS for robot in ROBOTS}
    shares = []
    for worn in (False, True):
        now = chance.copy()
        now[:, best] *= WORN if worn else 1.0
        won = 0
        for trial in range(TRIALS):
            number = int(draw.integers(len(CONTEXTS)))
            context = CONTEXTS[number]
            robot = choose({name: known[context, name] for name in ROBOTS}, context, trial + TRIALS * worn)
            success = bool(draw.random() < now[number, ROBOTS.index(robot)])
            known[context, robot] = known[context, robot].after(success=success)
            won += success
        shares.append(won / TRIALS)
    return shares


def by_rate(known, context, trial):
    del context, trial
    return max(ROBOTS, key=lambda name: (1 + known[name].successes) / (2 + known[name].runs))


def by_drawn_estimate(known, context, trial):
    query = SkillQuery("pick", ORIGIN, context, explore_seed=trial)
    return max(ROBOTS, key=lambda name: estimate(known[name], query, name))


def test_faded_experience_with_exploration_does_better_than_the_rate_of_all_runs_once_the_best_robot_has_worn_out():
    rate = np.mean([played(by_rate, seed) for seed in range(12)], axis=0)
    drawn = np.mean([played(by_drawn_estimate, seed) for seed in range(12)], axis=0)
    assert drawn[1] > rate[1] + 0.08
    assert drawn[0] > rate[0] - 0.03, "exploring costs a little while nothing changes"


@pytest.mark.parametrize("text", ["error", "ERROR", " Charging ", "STOPPED", "offline", "Idle", "busy"])
def test_a_status_is_one_of_the_enumeration_in_any_case_of_letters(text):
    status = RobotReported(Pose(), status=text).status
    assert status is ReportedStatus(text.strip().lower())
    with open_bank(":memory:") as bank:
        factory = EventFactory()
        registered(bank, factory, ["a"])
        bank.append(factory.state("a", status=text, time_s=1.0))
        assert bank.event(bank.head).payload.status is status
        assert bool(bank.skill_candidates("pick", ORIGIN)) == (status not in UNABLE)


@pytest.mark.parametrize("status", ["", "vacuuming", "out of order"])
def test_another_text_is_refused_with_the_list_of_statuses(status):
    with open_bank(":memory:") as bank:
        with pytest.raises(MemoryBankError, match="idle, busy, driving, holding, charging, stopped, error, offline"):
            bank.append(EventFactory().state("a", status=status))
        assert bank.head == 0


def test_an_older_log_with_another_text_stays_readable_and_its_robot_is_offered_as_before(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'bank.db'}"
    with open_bank(url) as bank:
        factory = EventFactory()
        registered(bank, factory, ["a"])
        with monkeypatch.context() as patch:  # As an older version wrote it: without the check.
            patch.setattr("embodied.memory.storage.log.check_payload", lambda _: None)
            bank.append(factory.state("a", status="Vacuuming", time_s=1.0))
    with open_bank(url) as bank:
        bank.rebuild()
        assert bank.event(bank.head).payload.status == "Vacuuming"
        assert [one.robot for one in bank.skill_candidates("pick", ORIGIN)] == ["a"]
        assert bank.verify().problems == ()
