"""What robots did in each episode is kept beside the rows and shown in the report."""

import re
from dataclasses import replace

import numpy as np

from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.intent_lists import append_intents, intents_of, read_intents
from embodied.evaluation.merging import merge
from embodied.evaluation.plan import Shard
from embodied.evaluation.preflight import Parts
from embodied.evaluation.report import Attached, html
from embodied.evaluation.report_episodes import MOST_INTENTS
from embodied.evaluation.summary import summarised
from embodied.rollout.intent_outcomes import IntentOutcome, target_of
from embodied.rollout.job import JobResult
from embodied.rollout.worker import SimulatorWorker
from embodied.specs import ActionSpec, Field
from embodied.types import ActionChunk, DeltaPose, Drive, GoTo, Limits, MoveTo, Skill, Wait
from tests.evaluation.fakes import FakeCompute, drawn, evaluation
from tests.fakes import FakeTask
from tests.rollout.test_worker import CONFIG, JOB

LIFTED = IntentOutcome("panda", "MoveTo", "(0.400, 0.100, 1.000) m, gripper closed", "done")
BLOCKED = IntentOutcome("panda", "MoveTo", "<far> away", "failed", "no path")


class WithIntents(FakeCompute):
    """Gives each episode some intents."""

    def run(self, jobs):
        for result in super().run(jobs):
            yield replace(result, intents=(LIFTED, BLOCKED))


def play(folder, plan):
    return evaluate(plan, compute=WithIntents(plan.worker), output=folder, config="shard: ''\n", videos=0)


def test_a_worker_returns_every_intent_with_its_target_and_how_it_ended():
    result = SimulatorWorker(CONFIG).run(JOB)
    assert len(result.intents) == result.record.steps == 2
    # The episode succeeds while the last one still runs.
    assert [(one.intent, one.result) for one in result.intents] == [("MoveTo", "done"), ("MoveTo", "unfinished")]
    assert re.fullmatch(r"\(-?\d\.\d{3}, -?\d\.\d{3}, -?\d\.\d{3}\) m, gripper closed", result.intents[0].target)
    hasty = replace(CONFIG, tasks={JOB.task: FakeTask(overrides={"limits": Limits(intents=25, sim_time_s=0.1)})})
    assert SimulatorWorker(hasty).run(JOB).intents[-1].result == "unfinished"


def test_each_kind_of_intent_has_its_target_in_words():
    space = ActionSpec("ee_delta", (Field("translation", (3,)),), rate_hz=10.0)
    down = (1.0, 0.0, 0.0, 0.0)
    for intent, words in (
        (MoveTo((0.4, 0.1, 1.0), down, gripper_open=True), "(0.400, 0.100, 1.000) m, gripper open"),
        (MoveTo((0.4, 0.1, 1.0), down, gripper_open=False, end_effector="left"), "m, gripper closed, left"),
        (DeltaPose((0.0, 0.0, 0.01), (0.0, 0.0, 0.0), gripper_open=True), "by (0.000, 0.000, 0.010) m, gripper open"),
        (Drive(0.3, 0.1, 2.0), "0.30 m/s, 0.10 rad/s for 2.00 s"),
        (GoTo((-0.0001, 2.0)), "(0.000, 2.000) m"),
        (Skill("pick", {"target": "cup"}), "pick target=cup"),
        (Wait(0.5), "0.50 s"),
        (ActionChunk(space, np.zeros((5, 3))), "ee_delta, 5 rows"),
    ):
        assert words in target_of(intent)


def test_a_line_that_a_kill_has_cut_off_loses_its_episode_alone_and_the_last_line_of_an_episode_counts(tmp_path):
    plan = evaluation(episodes=2)
    first, second, *_ = [drawn(plan.worker, job, wall_s=1.0) for job in plan.jobs()]
    job = next(iter(plan.jobs()))
    append_intents(tmp_path, JobResult(job, first, intents=(LIFTED,)))
    with (tmp_path / "intents.jsonl").open("ab") as file:
        file.write(b'{"policy": "exp')
    append_intents(tmp_path, JobResult(job, second, intents=(LIFTED,)))
    append_intents(tmp_path, JobResult(job, second))
    append_intents(tmp_path, JobResult(job, first, intents=(LIFTED, BLOCKED)))
    found = read_intents(tmp_path)
    assert (intents_of(first, found), intents_of(second, found)) == ((LIFTED, BLOCKED), (LIFTED,))
    assert read_intents(tmp_path / "nowhere") == {}


def test_the_report_of_a_run_and_that_of_its_merged_shards_list_the_intents_of_each_episode(tmp_path):
    plan = evaluation(episodes=4)
    play(tmp_path / "whole", plan)
    folders = [tmp_path / str(index) for index in (1, 2)]
    for index, folder in enumerate(folders, start=1):
        play(folder, replace(plan, shard=Shard(index, 2)))
    merge(folders, output=tmp_path / "merged")
    for name in ("whole", "merged"):
        listed = (tmp_path / name / "report.html").read_text().partition("<h2>All episodes</h2>")[2]
        assert listed.count('MoveTo (0.400, 0.100, 1.000) m, gripper closed: <span class="soft">done</span></li>') == 24
        assert listed.count('MoveTo &lt;far&gt; away: <span class="below">failed</span>, no path</li>') == 24
        assert len(read_intents(tmp_path / name)) == 24


def test_of_many_intents_the_last_are_listed_with_their_numbers():
    plan = evaluation(episodes=2)
    records = [drawn(plan.worker, job, wall_s=1.0) for job in plan.jobs()]
    results = summarised(plan, records, Parts(("expert",), "none"))
    own = tuple(replace(LIFTED, target=f"target {number}") for number in range(1, MOST_INTENTS + 4))
    key = records[0].policy, records[0].control, records[0].episode
    page = html(results, records, config="", attached=Attached(intents={key: own}))
    assert '<ol start="4">' in page
    assert "target 3:" not in page
    assert f"target {MOST_INTENTS + 3}:" in page
    assert "opens the list" in page
    assert "opens the list" not in html(results, records, config="")
