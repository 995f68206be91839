"""A suite that is nothing like MemoryBench: its goals are answers, it has no tiers, and it measures two things."""

from dataclasses import dataclass, replace

import pytest

from embodied.errors import ConfigError, GoalError
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.metrics import clustered_interval, mean_interval, summarise, wilson_interval
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.report import terminal_table
from embodied.evaluation.results import ResultsFolder
from embodied.rollout.compute import ComputeConfig, ComputeKind
from embodied.rollout.worker import WorkerConfig
from embodied.types import Answer, Choice, Interval, Mission, Outcome, ReportColumn
from tests.evaluation.fakes import drawn, evaluation
from tests.fakes import BINS, FakeControllerConfig, FakePolicyConfig, FakeSimulatorConfig, FakeTask

EPISODES = 20


@dataclass(kw_only=True)
class WhichBinTask(FakeTask):
    """The robot answers by the bin that it carries the block to: one of five would be right by chance."""

    name: str = "which_bin"
    tier: str = ""
    columns = (
        ReportColumn(name="answer", title="answer", metric="right", against_chance=True, explanation="the bin"),
        ReportColumn(name="distance", title="distance (m)", metric="distance_m", interval=Interval.MEAN),
    )

    def chance(self, episode):
        return 1 / 5

    def sample(self, seed, *, split="test"):
        episode = super().sample(seed, split=split)
        return replace(episode, goal=Answer("Which bin is it?", (episode.choice_goal.target,)))

    def advance(self, episode, progress, state):
        asked = replace(episode, goal=Choice(tuple(sorted(BINS)), episode.goal.accepted[0]))
        progress = super().advance(asked, progress, state)
        if not progress.done:
            return progress
        metrics = {"right": float(progress.outcome is Outcome.SUCCESS), "distance_m": 0.25 + 0.5 * (episode.seed % 2)}
        return replace(progress, outcome=Outcome.SUCCESS, choice=None, reason="", metrics=metrics)


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    worker = WorkerConfig(
        simulator=FakeSimulatorConfig(),
        controller=FakeControllerConfig(),
        tasks={"which_bin": WhichBinTask()},
        policies={"expert": FakePolicyConfig()},
    )
    plan = Evaluation(suite="questions", tier="", worker=worker, episodes=EPISODES, seed=0, salt="")
    output = tmp_path_factory.mktemp("answers")
    compute = ComputeConfig(kind=ComputeKind.inline).build(worker)
    return plan, output, evaluate(plan, compute=compute, output=output, config="", videos=0)


def test_answers_and_measures_are_reported_against_the_chance_that_the_task_gives(played):
    plan, output, results = played
    entry = results["tasks"]["which_bin"]["expert"]
    with ResultsFolder(output) as folder:
        records = folder.records(plan.run)
    right = sum(record.metrics["right"] for record in records)
    assert entry["chance"] == 0.2
    assert entry["answer"]["reached"] == EPISODES
    assert entry["answer"]["correct"] == right
    assert 0 < right < EPISODES
    assert entry["distance"]["mean"] == pytest.approx(0.5)
    low, high = entry["distance"]["ci95"]
    assert (low, high) == (pytest.approx(0.5 - 0.25 * 2.093 / 19**0.5, abs=1e-3), pytest.approx(1.0 - low, abs=1e-6))
    assert "first_choice" not in entry
    assert records[0].choice is None


def test_all_three_reports_show_the_columns_of_the_task_and_none_of_memorybench(played):
    _, output, results = played
    for text in (terminal_table(results), (output / "report.md").read_text(), (output / "report.html").read_text()):
        assert "answer %" in text
        assert "distance (m)" in text
        assert "20.0" in text
        assert "first choice" not in text.lower()
        assert "which_bin/" not in text


def test_a_share_of_values_other_than_0_and_1_is_refused():
    records = [replace(record, metrics={"right": 0.5}) for record in some_records()]
    with pytest.raises(ConfigError, match="0 or 1"):
        summarise(records, chance=None, phases=(), columns=(ReportColumn(name="a", title="a", metric="right"),))


def test_a_mean_without_values_is_not_a_number_but_nothing():
    column = ReportColumn(name="a", title="a", metric="absent", interval=Interval.MEAN)
    entry = summarise(some_records(), chance=None, phases=(), columns=(column,))
    assert entry["a"] == {"reached": 0, "mean": None, "ci95": None}
    assert entry["chance"] is None


def some_records():
    plan = evaluation(episodes=2)
    return [drawn(plan.worker, job, wall_s=1.0) for job in plan.jobs()]


# --- Chains -----------------------------------------------------------------------------------------------------------


def test_episodes_that_stand_alone_have_wilsons_interval():
    values = [1.0] * 7 + [0.0] * 5
    assert clustered_interval(values, [str(i) for i in range(12)]) == wilson_interval(7, 12)


def test_chains_whose_episodes_all_end_alike_count_as_one_each():
    values = [1.0] * 20 + [0.0] * 20
    units = [str(index // 5) for index in range(40)]
    low, high = clustered_interval(values, units)
    alone_low, alone_high = wilson_interval(20, 40)
    chain_low, chain_high = wilson_interval(4, 8)
    assert low < alone_low < alone_high < high
    assert (low, high) == (pytest.approx(chain_low, abs=0.03), pytest.approx(chain_high, abs=0.03))
    assert clustered_interval([1.0] * 40, units) == pytest.approx(wilson_interval(8, 8))
    assert clustered_interval([1.0, 0.0], ["a", "a"]) == (0.0, 1.0)


def test_a_mean_over_chains_is_the_mean_of_their_means():
    mean, low, high = mean_interval([1.0, 3.0, 4.0, 4.0], ["a", "a", "b", "b"])
    assert mean == 3.0
    assert (low, high) == (pytest.approx(3.0 - 12.706, abs=0.01), pytest.approx(3.0 + 12.706, abs=0.01))


# --- Goals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: Choice(("a",), "a"),
        lambda: Choice(("a", "a"), "a"),
        lambda: Choice(("a", "b"), "c"),
        lambda: Answer(" ", ("a",)),
        lambda: Answer("Where?", ()),
        lambda: Mission(()),
        lambda: Mission(("a",), {"b": 1.0}),
        lambda: Mission(("a",), {"a": 0.0}),
        lambda: ReportColumn(name="a", title="a", metric="a", interval=Interval.MEAN, against_chance=True),
    ],
)
def test_goals_and_columns_that_cannot_be_are_refused(make):
    with pytest.raises(GoalError):
        make()


def test_the_goal_of_another_kind_is_refused_where_a_choice_is_needed():
    with pytest.raises(GoalError, match=r"must be a choice among candidates here. Got 'Answer'"):
        _ = WhichBinTask().sample(0).choice_goal
