"""Policies keep their contract, and every rule of it catches those that break it."""

from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch

from embodied.seeding import stream
from embodied.specs import KEYFRAME, ObservationSpec
from embodied.tasks.expert import expert_of
from embodied.tasks.registry import TASKS, make_task
from embodied.testing import ContractError, check_policy, home_state
from embodied.types import Decision, Moment, MoveTo, Observation, Request, Truth
from policies.scripted import ExpertConfig, GuesserConfig, RandomPolicyConfig
from tests.evaluation.notebook import CueTask, CueWorld, Notebook
from tests.fakes import DOWN, FakePolicy, FakeSimulator, FakeTask, ScriptedPolicy, carry_to
from tests.policies.sam2act.small import request as drawn_request
from tests.policies.sam2act.small import small_policy


def requests_of(task, make_simulator=None) -> list[Request]:
    """The first requests of three episodes, with truth."""
    found = []
    for seed in (1, 2, 3):
        episode = task.sample(seed)
        robot = episode.scene.robots[0].name
        if make_simulator is None:
            state = home_state(episode.scene)
            seen = Observation(robot, {}, np.zeros(15, np.float32), 1.0, None)
        else:
            simulator = make_simulator()
            simulator.reset(episode.scene)
            state, seen = simulator.state(), simulator.observe(robot)
        truth = Truth(episode, state, task.begin(episode, state), expert_of(task))
        found.append(Request(seen, episode.instruction, step=0, seed=seed, truth=truth))
    return found


@pytest.mark.parametrize("config", [ExpertConfig(), GuesserConfig(), RandomPolicyConfig()])
@pytest.mark.parametrize("task", list(TASKS))
def test_scripted_policies_keep_the_contract(config, task):
    check_policy(config.build, requests_of(make_task(task)))


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("one_thread")
def test_sam2act_with_memory_keeps_the_contract():
    check_policy(small_policy, [drawn_request(1), drawn_request(2)], tolerance=1e-3)


def scripted() -> ScriptedPolicy:
    return ScriptedPolicy([carry_to((0.3, 0.3, 0.1))])


@pytest.mark.parametrize("make", [FakePolicy, lambda: FakePolicy(privileged=True), scripted])
def test_fake_policies_keep_the_contract(make):
    check_policy(make, requests_of(FakeTask(), FakeSimulator))


def test_the_notebook_of_the_controls_keeps_the_contract():
    check_policy(Notebook, requests_of(CueTask(), CueWorld))


class Planted:
    """Goes to where its own hash of the request's seed and step says; variants break the contract."""

    observation_spec = ObservationSpec()
    action_spec = KEYFRAME
    privileged = False

    def act(self, requests):
        return [self.decide(request) for request in requests]

    def decide(self, request):
        count = (request.carry or {"count": 0})["count"]
        place = tuple(float(value) for value in stream(request.seed, "place", count).uniform(0.1, 0.9, 3))
        shown = {"view": np.zeros((4, 4, 3), np.uint8)} if request.visualisations else {}
        return Decision((MoveTo(place, DOWN, gripper_open=True),), carry={"count": count + 1}, visualisations=shown)


class NoSpec(Planted):
    observation_spec = ("front",)


class NoFlag(Planted):
    privileged = None


class Lazy(Planted):
    def act(self, requests):
        return super().act(requests)[:1]


class NotANumber(Planted):
    def decide(self, request):
        return replace(super().decide(request), intents=(MoveTo((0.1, np.nan, 0.3), DOWN, gripper_open=True),))


class LongQuaternion(Planted):
    def decide(self, request):
        turned = MoveTo((0.1, 0.2, 0.3), (1.0, 1.0, 0.0, 0.0), gripper_open=True)
        return replace(super().decide(request), intents=(turned,))


class NoIntent(Planted):
    def decide(self, request):
        return replace(super().decide(request), intents=())


class LongMoment(Planted):
    def decide(self, request):
        moment = Moment(np.ones(4, np.float32), None, "m", 0.0, (0.0, 0.0, 0.0), "arm", "")
        return replace(super().decide(request), moments=(moment,))


class DrawsGlobally(Planted):
    def decide(self, request):
        return super().decide(replace(request, seed=int(np.random.randint(1000))))


class Counts(Planted):
    made = 0

    def __init__(self):
        type(self).made += 1
        self.number = self.made

    def decide(self, request):
        return super().decide(replace(request, seed=request.seed + self.number))


class LooksAround(Planted):
    def act(self, requests):
        return [self.decide(replace(request, seed=request.seed + len(requests))) for request in requests]


class FirstRowLeads(Planted):
    def act(self, requests):
        return [self.decide(replace(request, seed=requests[0].seed)) for request in requests]


class WritesPixels(Planted):
    def decide(self, request):
        request.observation.images["front"].rgb[:] = 7
        return super().decide(request)


class NormalisesProprio(Planted):
    def decide(self, request):
        request.observation.proprio[:] -= 0.1
        return super().decide(request)


class CarriesPixels(Planted):
    def decide(self, request):
        carried = {"count": 0, "seen": request.observation.images["front"].rgb}
        return replace(super().decide(replace(request, carry=None)), carry=carried)


class KeepsState(Planted):
    def __init__(self):
        self.begun = 0

    def decide(self, request):
        self.begun = 1 if request.step == 0 else self.begun
        return super().decide(replace(request, seed=request.seed + self.begun * (request.step > 0)))


class WritesCarry(Planted):
    def decide(self, request):
        if request.carry is not None:
            request.carry["log"][0] += 1
        decision = super().decide(request)
        return replace(decision, carry={**decision.carry, "log": np.zeros(1)})


class CarriesAnObject(Planted):
    def decide(self, request):
        return replace(super().decide(replace(request, carry=None)), carry={"count": object()})


class CarriesALetter(Planted):
    def decide(self, request):
        return replace(super().decide(replace(request, carry=None)), carry="kept")


class KnowsItsCarry(Planted):
    def decide(self, request):
        sent = type(request.carry) is dict
        carry = MappingProxyType({"count": 0})
        return replace(super().decide(replace(request, carry={"count": int(sent)})), carry=carry)


class ReadsTruth(Planted):
    def decide(self, request):
        return super().decide(replace(request, seed=request.seed + (request.truth is not None)))


class NeedsTruth(Planted):
    def decide(self, request):
        return super().decide(request) if request.step or request.truth is None else Decision(())


class AlwaysDraws(Planted):
    def decide(self, request):
        return super().decide(replace(request, visualisations=True))


class DrawsFloats(Planted):
    def decide(self, request):
        shown = {"view": np.zeros((4, 4, 3))} if request.visualisations else {}
        return replace(super().decide(request), visualisations=shown)


class ActsForTheCamera(Planted):
    def decide(self, request):
        return super().decide(replace(request, seed=request.seed + request.visualisations))


class CountsEpisodes(Planted):
    """Counts in itself, which shows only in the third decision of an episode."""

    stateless = True

    def __init__(self):
        self.begun = 0

    def decide(self, request):
        self.begun += request.step == 0
        return super().decide(replace(request, seed=request.seed + self.begun * (request.step > 1)))


class Stateless(Planted):
    stateless = True


class Resettable(Planted):
    def wiped(self, carry):
        return {"count": 0}

    def swapped(self, carry, donor):
        return donor


class WipesHalf(Resettable):
    def wiped(self, carry):
        return {"count": carry["count"] - 1}


class WipesToNone(Resettable):
    def wiped(self, carry):
        return None


class SwapsAndCounts(Resettable):
    def swapped(self, carry, donor):
        return {"count": donor["count"] + 1}


PLANTED = [
    ("declared", NoSpec),
    ("declared", NoFlag),
    ("decisions", Lazy),
    ("decisions", NotANumber),
    ("decisions", LongQuaternion),
    ("decisions", NoIntent),
    ("decisions", LongMoment),
    ("determinism", DrawsGlobally),
    ("determinism", Counts),
    ("batch", LooksAround),
    ("batch", FirstRowLeads),
    ("read_only_inputs", WritesPixels),
    ("read_only_inputs", NormalisesProprio),
    ("read_only_inputs", CarriesPixels),
    ("carry", KeepsState),
    ("read_only_inputs", WritesCarry),
    ("carry", KnowsItsCarry),
    ("carry", CarriesAnObject),
    ("carry", CarriesALetter),
    ("stateless", CountsEpisodes),
    ("privileged", ReadsTruth),
    ("privileged", NeedsTruth),
    ("visualisations", AlwaysDraws),
    ("visualisations", DrawsFloats),
    ("visualisations", ActsForTheCamera),
    ("resettable_memory", WipesHalf),
    ("resettable_memory", WipesToNone),
    ("resettable_memory", SwapsAndCounts),
]


@pytest.mark.parametrize("make", [Planted, Resettable, Stateless])
def test_the_policies_that_are_broken_below_keep_the_contract(make):
    check_policy(make, requests_of(FakeTask(), FakeSimulator))


@pytest.mark.parametrize(("rule", "broken"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_broken_policy_is_refused_by_the_rule_that_it_breaks(rule, broken):
    with pytest.raises(ContractError) as caught:
        check_policy(broken, requests_of(FakeTask(), FakeSimulator))
    assert caught.value.name == rule, caught.value


class UndecoratedConfig:
    """Has settings, but nothing makes attributes of them."""

    height_m: float

    def build(self):
        return scripted() if self.height_m else None


class UndecoratedChildConfig(RandomPolicyConfig):
    extra: int = 3

    def build(self):
        return super().build()


def test_a_config_that_is_no_dataclass_is_named_with_its_settings():
    for config, words in (
        (UndecoratedConfig(), "UndecoratedConfig with the settings height_m, which is not decorated"),
        (UndecoratedChildConfig(), "UndecoratedChildConfig with the settings extra, which is not decorated"),
    ):
        with pytest.raises(ContractError, match=words) as refused:
            check_policy(config.build, requests_of(FakeTask(), FakeSimulator))
        assert refused.value.name == "built"
        assert "@dataclass" in str(refused.value)
        assert "AttributeError" not in str(refused.value)
