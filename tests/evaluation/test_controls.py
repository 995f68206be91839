"""A policy that keeps notes: it falls to chance without them, follows those of another, and needs none when led."""

import json
from dataclasses import dataclass, field, replace

import pytest

from embodied.controllers import ControllerConfig
from embodied.errors import ConfigError, UnknownNameError
from embodied.evaluation.controls import CONTROLS, Off, Oracle, Swapped, Wiped
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.metrics import chance_band
from embodied.evaluation.plan import Evaluation
from embodied.evaluation.report import terminal_table
from embodied.memory import BankService, SimulatedClock, open_bank
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.run_memory import RunMemory
from embodied.rollout.episode import EpisodeContext
from embodied.rollout.inline import InlineCompute
from embodied.rollout.job import EpisodeJob
from embodied.rollout.latency import LatencyConfig
from embodied.rollout.recording.video_observer import VideoConfig
from embodied.rollout.team import AgentConfig
from embodied.rollout.worker import SimulatorWorker, WorkerConfig
from embodied.simulators.bullet import BulletConfig
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.memorybench.suite import MEMORYBENCH
from embodied.tasks.registry import make_task
from embodied.types import Decision, MemoryContext, MoveTo, Outcome, Progress, Request, Truth
from tests.evaluation.notebook import CueTask, CueWorld, CueWorldConfig, Notebook, NotebookConfig, ScribeConfig
from tests.fakes import DOWN, FakeController, FakeControllerConfig, FakePolicyConfig, FakeTask
from tests.tasks.worlds import initial_state

TASK = "bin_block/strict"
EPISODES = 40
MEMORY = ("off", "wiped", "swapped")


def config(**changes):
    made = WorkerConfig(
        simulator=CueWorldConfig(),
        controller=FakeControllerConfig(),
        tasks={TASK: CueTask()},
        policies={"notebook": NotebookConfig(), "expert": FakePolicyConfig(privileged=True)},
        controls={name: CONTROLS[name]() for name in MEMORY},
        video=VideoConfig(width_px=64, height_px=48),
    )
    return replace(made, **changes)


def job(control="normal", *, seed=3, policy="notebook", video=False):
    episode = f"{TASK}/test/{seed}"
    return EpisodeJob(
        run="r", episode=episode, task=TASK, policy=policy, seed=seed, control=control, video=video
    )  # fmt: skip


def row(result):
    return replace(result.record, wall_s=0.0)


def evaluated(folder, *, worker=None, compute=None, videos=0, episodes=EPISODES):
    worker = worker or config()
    plan = Evaluation(suite="memorybench", tier="strict", worker=worker, episodes=episodes, seed=0, salt="")
    return evaluate(plan, compute=compute or InlineCompute(worker), output=folder, config="", videos=videos)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("controls")
    evaluated(made, videos=4)
    return made


@pytest.fixture(scope="module")
def results(folder):
    return json.loads((folder / "results.json").read_text())


# --- What becomes of choices ------------------------------------------------------------------------------------------


def test_notes_are_followed_and_without_them_choices_fall_into_the_band_of_chance(results):
    low, high = chance_band(0.5, EPISODES)
    normal = results["tasks"][TASK]["notebook"]
    assert normal["first_choice"] == {"reached": EPISODES, "correct": EPISODES, "ci95": [0.912378, 1.0]}
    for control in ("off", "wiped"):
        entry = results["controls"][TASK]["notebook"][control]
        assert entry["first_choice"]["reached"] == EPISODES
        assert low <= entry["first_choice"]["correct"] <= high


def test_with_the_notes_of_another_the_choice_is_what_was_right_for_that_one(results):
    entry = results["controls"][TASK]["notebook"]["swapped"]
    assert entry["follows_donor"] == {
        "reached": EPISODES, "followed": EPISODES, "ci95": [0.912378, 1.0], "without_donor": 0,
    }  # fmt: skip
    assert entry["first_choice"]["correct"] == entry["success"] == 0


def test_who_has_no_memory_is_played_as_it_is_and_the_report_says_why(folder, results):
    assert results["run"]["not_played"] == {"expert": dict.fromkeys(MEMORY, "no memory")}
    assert list(results["controls"][TASK]) == ["notebook"]
    printed = "expert was not played under off, wiped, swapped: no memory."
    for text in (terminal_table(results), (folder / "report.md").read_text(), (folder / "report.html").read_text()):
        assert printed in text


def test_a_row_names_its_control_and_its_donor_and_those_as_they_are_stay_as_they_were(folder):
    rows = [json.loads(line) for line in (folder / "episodes.jsonl").read_text().splitlines()]
    assert len(rows) == EPISODES * (1 + 1 + len(MEMORY))
    for found in rows:
        assert ("control" in found) == (found.get("control", "normal") != "normal")
        assert ("donor" in found) == (found.get("control") == "swapped")
        if "donor" in found:
            assert found["choice"]["chosen"] == found["donor"] != found["choice"]["target"]
    assert {found["episode"] for found in rows} == {f"{TASK}/test/{seed}" for seed in range(EPISODES)}


# --- What the policy inside sees --------------------------------------------------------------------------------------


@dataclass(kw_only=True)
class Shared:
    """Builds the same policy every time, so that a test can ask what it saw."""

    policy: Notebook = field(default_factory=Notebook)

    def build(self):
        return self.policy


@pytest.mark.parametrize("control", MEMORY)
def test_a_policy_that_is_not_privileged_is_shown_no_more_than_without_a_control(control):
    shared = Shared()
    SimulatorWorker(config(policies={"notebook": shared})).run(job(control))
    assert len(shared.policy.seen) >= 2
    for request in shared.policy.seen:
        assert request.truth is None
        assert request.hint is None
        assert {image.instance is None for image in request.observation.images.values()} == {True}
        assert request.carry is None or request.carry.keys() == {"written", "turn"}


def test_a_memory_is_wiped_once_and_an_absent_one_at_every_decision():
    for control, kept in (("normal", [True, True]), ("wiped", [True, False]), ("off", [False, False])):
        shared = Shared()
        worker = SimulatorWorker(config(policies={"notebook": shared}, tasks={TASK: Slow()}))
        worker.run(job(control))
        notes = [request.carry["written"] is not None for request in shared.policy.seen if request.carry]
        assert notes[: len(kept)] == kept
        turns = [request.carry["turn"] for request in shared.policy.seen if request.carry]
        assert turns == list(range(1, len(notes) + 1))


@dataclass(kw_only=True)
class Slow(CueTask):
    """The choice opens one decision after the block was taken, when it has been moved."""

    def choice_open(self, progress):
        return "binned" in progress.reached

    def advance(self, episode, progress, state):
        if "block" in state.held.values():
            moved = abs(state.pose["block"].position_m[0] - 0.3) < 0.05
            return replace(progress, reached=("taken", "binned") if moved else ("taken",))
        return progress


def reminded(control, *, decisions, opens_at):
    """The numbers of the moments that a policy gets at each decision; each decision stores one."""
    policy, task, episode = Notebook(), CueTask(), CueTask().sample(3)
    stage = EpisodeContext(CueWorld(), task, policy, lambda _: {"arm": FakeController("arm")})
    tampered = control.prepare(episode, stage).policy
    world = CueWorld()
    world.reset(episode.scene)
    stored, carry = (), None
    for step in range(decisions):
        progress = Progress(reached=("taken",) if step >= opens_at else ())
        truth = Truth(episode, world.state(), progress)
        request = Request(
            world.observe("arm"), "", step, seed=step, memory=MemoryContext(stored), carry=carry, truth=truth
        )
        (decision,) = tampered.act([request])
        stored, carry = (*stored, *decision.moments)[-3:], decision.carry
    seen = policy.seen[-decisions:]
    return [[int(moment.time_s) for moment in request.memory.moments] for request in seen]


def test_moments_from_a_bank_count_as_memory():
    assert reminded(Off(), decisions=4, opens_at=2) == [[], [], [], []]
    for control in (Wiped(), Swapped()):
        assert reminded(control, decisions=6, opens_at=2) == [[], [0], [], [2], [2, 3], [2, 3, 4]]


def test_a_batch_is_tampered_with_as_its_rows_are():
    task, world = CueTask(), CueWorld()
    requests = []
    for seed in range(6):
        episode = task.sample(seed)
        world.reset(episode.scene)
        truth = Truth(episode, world.state(), Progress(reached=("taken",) if seed % 2 else ()))
        requests.append(Request(world.observe("arm"), "", 1, seed=seed, truth=truth))
    stage = EpisodeContext(world, task, Notebook(), lambda _: {"arm": FakeController("arm")})
    for control in (Off(), Wiped(), Swapped()):
        first = control.prepare(task.sample(0), stage).policy.act(requests)
        again = [replace(request, carry=decision.carry) for request, decision in zip(requests, first, strict=True)]
        policy = control.prepare(task.sample(0), stage).policy
        together = policy.act(again)
        alone = [policy.act([request])[0] for request in again]
        assert [d.intents for d in together] == [d.intents for d in alone]
        assert [d.carry["carry"] for d in together] == [d.carry["carry"] for d in alone]


def test_a_control_without_truth_is_refused():
    stage = EpisodeContext(CueWorld(), CueTask(), Notebook(), lambda _: {})
    policy = Off().prepare(CueTask().sample(0), stage).policy
    with pytest.raises(ConfigError, match="shown the truth"):
        policy.act([Request(CueWorldConfig, "", 0, seed=0)])


# --- Donors -----------------------------------------------------------------------------------------------------------


def test_an_episode_without_a_donor_is_invalid_counted_and_reported(tmp_path):
    worker = config(tasks={TASK: CueTask(counterfactual_limit_s=0.1)}, controls={"swapped": Swapped()})
    results = evaluated(tmp_path, worker=worker, episodes=6)
    entry = results["controls"][TASK]["notebook"]["swapped"]
    assert (entry["invalid"], entry["first_choice"]["reached"]) == (6, 0)
    assert entry["follows_donor"]["without_donor"] == 6
    rows = [json.loads(line) for line in (tmp_path / "episodes.jsonl").read_text().splitlines()]
    reasons = {found["reason"] for found in rows if found.get("control") == "swapped"}
    assert reasons == {"no donor: its counterfactual ended before the choice, timeout: time limit of 0.1 s"}
    assert "6 of 6 swapped episodes had no donor" in terminal_table(results)
    assert "6 of 6 swapped episodes had no donor" in (tmp_path / "report.html").read_text()


def test_rows_of_controls_are_the_same_in_any_worker_and_order():
    jobs = [job(control, seed=seed) for seed in range(4) for control in ("normal", *MEMORY)]
    worker = SimulatorWorker(config())
    forward = {(one.control, one.seed): row(worker.run(one)) for one in jobs}
    backward = {(one.control, one.seed): row(worker.run(one)) for one in reversed(jobs)}
    fresh = {(one.control, one.seed): row(SimulatorWorker(config()).run(one)) for one in jobs}
    assert forward == backward == fresh


class Stopping(InlineCompute):
    """Ends like Ctrl-C after some episodes."""

    def __init__(self, worker, after):
        super().__init__(worker)
        self.after, self.played = after, []

    def run(self, jobs):
        for result in super().run(jobs):
            if len(self.played) == self.after:
                raise KeyboardInterrupt
            self.played.append(result.job)
            yield result


@pytest.mark.parametrize("after", [1, 7, 13])
def test_an_interrupted_run_under_controls_goes_on_and_ends_in_the_same_rows(tmp_path, after):
    def rows(name):
        found = [json.loads(line) for line in (tmp_path / name / "episodes.jsonl").read_text().splitlines()]
        return sorted(json.dumps({key: one[key] for key in one if key != "wall_s"}) for one in found)

    whole = evaluated(tmp_path / "whole", episodes=3)
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "torn", episodes=3, compute=Stopping(config(), after))
    compute = Stopping(config(), 99)
    torn = evaluated(tmp_path / "torn", episodes=3, compute=compute)
    assert rows("torn") == rows("whole")
    assert len(compute.played) == 15 - after
    assert (torn["tasks"], torn["controls"]) == (whole["tasks"], whole["controls"])


# --- What cannot be ---------------------------------------------------------------------------------------------------


def test_a_worker_refuses_a_control_that_the_policy_cannot_be_played_under():
    worker = SimulatorWorker(config(controls={name: kind() for name, kind in CONTROLS.items()}))
    for control in MEMORY:
        with pytest.raises(ConfigError, match=r"must have a memory.*FakePolicy.*wiped"):
            worker.run(job(control, policy="expert"))
    with pytest.raises(UnknownNameError, match="Did you mean 'wiped'"):
        worker.run(job("whiped"))
    with pytest.raises(ConfigError, match=r"must have an expert .*bin_block"):
        worker.run(job("oracle"))


def test_a_policy_that_takes_no_hints_is_not_led():
    assert Oracle().obstacle(Notebook()) == "takes no hints"
    assert Oracle().obstacle(Notebook(takes_hints=True)) == ""
    task = make_task("put_block_back")
    with pytest.raises(ConfigError, match="takes_hints"):
        Oracle().prepare(task.sample(0), EpisodeContext(CueWorld(), task, Notebook(), lambda _: {}))


def test_a_task_that_does_not_say_when_memory_chooses_is_refused_before_anything_is_played():
    with pytest.raises(ConfigError, match=r"bin_block.*controls=\[normal\]"):
        Evaluation(suite="s", tier="strict", worker=config(tasks={TASK: FakeTask()}), episodes=1, seed=0)


@pytest.mark.parametrize(
    "settings", [{"team": {"arm": AgentConfig(cameras=[])}}, {"latency": LatencyConfig(mean_s=0.1)}]
)
def test_controls_with_a_team_are_refused_before_anything_is_played(settings):
    with pytest.raises(ConfigError, match=r"one policy for all robots.*controls=\[normal\]"):
        Evaluation(suite="s", tier="strict", worker=config(**settings), episodes=1, seed=0)


def test_killed_episodes_do_not_go_on_from_a_bank_under_a_control():
    memory = RunMemory(link=None, feed=MemoryFeedConfig(resume=True))
    with pytest.raises(ConfigError, match=r"memory\.resume=true"):
        Evaluation(suite="s", tier="strict", worker=config(memory=memory), episodes=1, seed=0)


def test_the_identity_of_a_run_counts_its_controls_and_is_as_it_was_without():
    def identity(**changes):
        return Evaluation(suite="s", tier="strict", worker=config(**changes), episodes=1, seed=0).run

    assert identity() != identity(controls={})
    assert identity(controls={"off": Off(), "wiped": Wiped()}) == identity(controls={"wiped": Wiped(), "off": Off()})


def test_episodes_under_a_control_have_names_of_their_own_in_a_bank():
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        memory = RunMemory(link=BankService(bank))
        worker = SimulatorWorker(config(memory=memory))
        for control in ("normal", "wiped"):
            worker.run(job(control))
        logged = {event.task for event in bank.changes_since(0, limit=10_000)}
    assert logged == {f"r/notebook/{TASK}/test/3", f"r/notebook:wiped/{TASK}/test/3"}


# --- The real tasks ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MEMORYBENCH.tasks)
def test_on_the_real_tasks_choices_follow_the_notes_the_donor_and_the_oracle(name):
    worker = SimulatorWorker(
        WorkerConfig(
            simulator=BulletConfig(),
            controller=ControllerConfig(),
            tasks={name: make_task(name)},
            policies={"writer": ScribeConfig(), "amnesiac": ScribeConfig(writes=False)},
            controls={control: kind() for control, kind in CONTROLS.items()},
        )
    )

    def played(policy, control):
        return row(worker.run(EpisodeJob("r", f"{name}/1", name, policy, seed=1, control=control)))

    swapped = played("writer", "swapped")
    target = make_task(name).sample(1).choice_goal.target
    assert swapped.choice == {"chosen": swapped.donor, "target": target, "correct": False}
    assert played("writer", "normal").outcome is Outcome.SUCCESS
    guessed = played("amnesiac", "normal")
    assert guessed.choice["correct"] is False
    assert replace(played("writer", "wiped"), policy="amnesiac", control="normal") == guessed
    assert played("amnesiac", "oracle").outcome is Outcome.SUCCESS
    assert played("writer", "swapped") == swapped
    worker.close()


@pytest.mark.parametrize("name", MEMORYBENCH.tasks)
@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_hints_come_with_the_choice_and_lead_to_the_target_whatever_came_before(name, tier):
    task = make_task(name, tier=tier)
    episode = task.sample(1)
    shown = []

    class Led:
        observation_spec, action_spec = ObservationSpec(cameras=()), KEYFRAME
        privileged, takes_hints = False, True

        def act(self, requests):
            shown.extend(request.hint for request in requests)
            return [Decision((MoveTo((0.0, 0.0, 1.0), DOWN, gripper_open=True),)) for _ in requests]

    policy = Oracle().prepare(episode, EpisodeContext(CueWorld(), task, Led(), lambda _: {})).policy
    observation, carry = CueWorldConfig().build(), None
    observation.reset(CueTask().sample(0).scene)
    for step in range(16):
        progress = Progress(reached=task.phases[:-1] if step >= 9 else ())
        truth = Truth(episode, initial_state(episode), progress, task.expert)
        (decision,) = policy.act([Request(observation.observe("arm"), "", step, seed=0, carry=carry, truth=truth)])
        carry = decision.carry
    assert shown[:9] == [None] * 9
    assert shown[9] is not None
    ends = {"put_block_back": 5, "reopen_drawer": 3, "rearrange_block": 4}[name]
    assert [hint is not None for hint in shown[9:]] == [True] * ends + [False] * (7 - ends)


# --- Videos -----------------------------------------------------------------------------------------------------------


def test_videos_show_a_success_a_swapped_memory_and_forgotten_ones_under_their_names(folder):
    videos = sorted(path.name for path in (folder / "videos").iterdir())
    assert [video.rsplit("-", 1)[0] for video in videos] == [
        f"bin_block-strict-notebook{control}" for control in ("", "-off", "-swapped", "-wiped")
    ]
    page = (folder / "report.html").read_text()
    assert page.count("<video") == 4
    assert "memory swapped (the donor" in page
