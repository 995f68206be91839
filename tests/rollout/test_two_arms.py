"""A robot with two arms in the loop: one policy, real controllers and physics, the bank's feed."""

import numpy as np
import pytest

from embodied.controllers import ControllerConfig
from embodied.memory import EntitySeen, RelationEnded, RelationSet, SimulatedClock, open_bank
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.bank_feed.truth_feed import TruthFeed
from embodied.rollout.episode import EpisodeContext, play
from embodied.simulators.bullet import BulletConfig
from embodied.simulators.rendering.choice import RendererChoice
from embodied.types import Episode, IntentFeedback, Limits, Mission, Outcome, Progress, WorldState
from tests.fakes import ScriptedPolicy
from tests.two_arms import LET_GO, PICK, PLACE, SCENE, TAKE
from tests.worlds import record_of


class HandOver:
    """Succeeds once the block has been held by both grippers, then lies where the right arm puts it."""

    name, tier = "hand_over", ""

    def sample(self, seed: int, *, split: str = "test") -> Episode:
        return Episode(
            id=f"hand_over/{seed}", task=self.name, tier=self.tier, variant=0, seed=seed, split=split,
            instruction="hand the block over", scene=SCENE, goal=Mission(("handed over",)),
            limits=Limits(intents=20, sim_time_s=40.0),
        )  # fmt: skip

    def begin(self, episode: Episode, state: WorldState) -> Progress:
        return Progress()

    def after_failure(self, episode: Episode, progress: Progress, feedback: IntentFeedback, robot: str) -> Progress:
        return Progress(outcome=Outcome.FAILURE, reason=feedback.reason)

    def advance(self, episode: Episode, progress: Progress, state: WorldState) -> Progress:
        holders = {holder for holder, body in state.held.items() if body == "block"}
        if holders == {"dual/left", "dual/right"}:
            return Progress(reached=("both",))
        placed = np.linalg.norm(np.subtract(state.pose["block"].position_m, (0.5, -0.2, 0.42))) < 0.01
        if progress.reached and placed and not holders:
            return Progress(outcome=Outcome.SUCCESS, reached=("both", "placed"))
        return progress


@pytest.fixture
def simulator():
    made = BulletConfig(renderer=RendererChoice.tiny).build()
    yield made
    made.close()


def test_a_policy_hands_a_block_over_and_the_bank_sees_one_robot_hold_it(simulator):
    task, period_s = HandOver(), simulator.control_period_s
    episode = task.sample(3)
    controllers = {"dual": ControllerConfig().build(SCENE, "dual", period_s=period_s)}
    policy = ScriptedPolicy(((*PICK, *TAKE), (*LET_GO, *PLACE)))
    with open_bank(":memory:", clock=SimulatedClock()) as bank:
        feed = TruthFeed(MemoryFeedConfig(), bank, "hand_over/3")
        result = play(episode, EpisodeContext(simulator, task, policy, lambda _: controllers), observers=[feed])
        feed.on_end(record_of(episode, result))
        events = bank.changes_since(0, limit=100_000)
    assert (result.progress.outcome, result.progress.reason) == (Outcome.SUCCESS, "")
    holding = [e.payload for e in events if isinstance(e.payload, RelationSet | RelationEnded)]
    assert [type(one) for one in holding if one.predicate == "held_by"] == [RelationSet, RelationEnded]
    seen = {e.payload.entity for e in events if isinstance(e.payload, EntitySeen)}
    assert {"hand_over/3/dual/left/tool", "hand_over/3/dual/right/tool"} <= seen
