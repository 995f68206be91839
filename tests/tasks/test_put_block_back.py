"""The state machine of put_block_back, driven by hand-made states."""

import pytest

from embodied.errors import ConfigError
from embodied.geometry import Pose
from embodied.scenes.tabletop import CENTRE, on_table
from embodied.tasks.memorybench.put_block_back import BLOCK, PutBlockBack
from embodied.types import Limits, Outcome
from tests.tasks.worlds import initial_state, judge, with_block, with_button


class Bench:
    """One episode and the states that its story consists of."""

    def __init__(self, **options):
        self.task = PutBlockBack(**options)
        self.episode = self.task.sample(3)
        self.start = initial_state(self.episode)
        self.wrong = next(
            name for name in self.episode.choice_goal.candidates if name != self.episode.choice_goal.target
        )

    def place(self, name: str) -> Pose:
        return self.episode.scene.body(name).pose

    def block(self, name: str, *, up_m=0.0, held=False):
        return with_block(self.start, BLOCK, self.place(name), up_m=up_m, held=held)

    def lifted(self):
        return with_block(self.start, BLOCK, on_table(0.2, 0.1), up_m=0.2, held=True)

    def judge(self, *states):
        return judge(self.task, self.episode, [self.start, *states])

    def to_the_press(self):
        centred = self.block(CENTRE)
        return [
            self.block(self.episode.choice_goal.target, up_m=0.1, held=True),
            self.block(CENTRE, up_m=0.1, held=True),
            centred,
            with_button(centred, 0.006),
            centred,
        ]


@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_the_right_order_succeeds(tier):
    bench = Bench(tier=tier)
    progress = bench.judge(
        *bench.to_the_press(),
        bench.block(CENTRE, up_m=0.1, held=True),
        bench.block(bench.episode.choice_goal.target, up_m=0.1, held=True),
        bench.block(bench.episode.choice_goal.target, held=True),
        bench.block(bench.episode.choice_goal.target),
    )
    assert progress.outcome is Outcome.SUCCESS
    assert progress.reached == bench.task.phases == ("left", "centred", "pressed", "returned")
    assert progress.choice == bench.episode.choice_goal.target


@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_a_block_that_is_still_held_is_not_yet_back(tier):
    bench = Bench(tier=tier)
    progress = bench.judge(*bench.to_the_press(), bench.block(bench.episode.choice_goal.target, held=True))
    assert progress.outcome is Outcome.RUNNING
    assert progress.choice == bench.episode.choice_goal.target


def test_a_wrong_first_choice_fails_in_strict_and_is_forgiven_in_faithful():
    strict, faithful = Bench(tier="strict"), Bench(tier="faithful")
    progress = strict.judge(*strict.to_the_press(), strict.block(strict.wrong, up_m=0.02, held=True))
    assert progress.outcome is Outcome.FAILURE
    assert progress.reason == f"wrong first choice: {strict.wrong}"
    assert progress.choice == strict.wrong
    tried = [*faithful.to_the_press(), faithful.block(faithful.wrong)]
    assert faithful.judge(*tried).outcome is Outcome.RUNNING
    progress = faithful.judge(*tried, faithful.block(faithful.episode.choice_goal.target))
    assert progress.outcome is Outcome.SUCCESS
    assert progress.choice == faithful.wrong


def test_passing_over_a_wrong_patch_high_up_is_no_choice():
    bench = Bench()
    passing = bench.block(bench.wrong, up_m=0.04, held=True)
    assert bench.judge(*bench.to_the_press(), passing).choice is None
    assert bench.judge(*bench.to_the_press(), bench.block(bench.wrong, up_m=0.025, held=True)).choice


def test_the_edge_of_a_patch_belongs_to_it():
    bench = Bench()
    patch = bench.place(bench.wrong).matrix
    for offset, chosen in ((0.049, bench.wrong), (0.051, None)):
        x, y, _ = patch[:3, 3] + patch[:3, 0] * offset
        near = with_block(bench.start, BLOCK, on_table(x, y))
        assert bench.judge(*bench.to_the_press(), near).choice == chosen


def test_a_press_before_the_block_is_in_the_centre_does_not_count_in_strict():
    bench = Bench()
    early = with_button(bench.lifted(), 0.006)
    assert bench.judge(early, bench.block(CENTRE)).reached == ("left", "centred")
    on_the_way = with_button(bench.block(CENTRE, up_m=0.1, held=True), 0.006)
    assert bench.judge(on_the_way, on_the_way).reached == ("left",)


def test_a_press_with_the_block_already_back_does_not_count_in_strict():
    bench = Bench()
    back = bench.block(bench.episode.choice_goal.target)
    progress = bench.judge(bench.lifted(), bench.block(CENTRE), back, with_button(back, 0.006), back)
    assert progress.reached == ("left", "centred")
    assert progress.outcome is Outcome.RUNNING


def test_any_order_is_good_enough_in_faithful():
    bench = Bench(tier="faithful")
    early = with_button(bench.start, 0.006)
    progress = bench.judge(early, bench.lifted(), bench.block(CENTRE), bench.block(bench.episode.choice_goal.target))
    assert progress.outcome is Outcome.SUCCESS
    assert progress.reached == ("pressed", "left", "centred", "returned")


@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_a_press_of_three_millimetres_is_too_little(tier):
    bench = Bench(tier=tier)
    centred = bench.block(CENTRE)
    assert "pressed" not in bench.judge(bench.lifted(), centred, with_button(centred, 0.003)).reached


def test_a_block_held_in_the_centre_is_not_centred_in_strict():
    bench = Bench()
    assert bench.judge(bench.lifted(), bench.block(CENTRE, held=True)).reached == ("left",)


def test_distractor_presses_need_a_release_in_between():
    bench = Bench(distractor_presses=2)
    up, down = bench.block(CENTRE), with_button(bench.block(CENTRE), 0.006)
    before = [bench.lifted(), up]
    assert bench.judge(*before, down, down, down).reached == ("left", "centred", "pressed_1")
    hovering = with_button(up, 0.002)
    assert bench.judge(*before, down, hovering, down).reached[-1] == "pressed_1"
    done = bench.judge(*before, down, up, down, up, down)
    assert done.reached == ("left", "centred", "pressed_1", "released_1", "pressed_2", "released_2", "pressed")
    touching = bench.block(bench.wrong)
    assert bench.judge(*before, down, up, down, touching).outcome is Outcome.RUNNING
    assert bench.judge(*before, down, up, down, up, down, touching).outcome is Outcome.FAILURE


def test_judging_goes_on_from_any_progress_and_stops_at_the_end():
    bench = Bench()
    progress = bench.judge(*bench.to_the_press(), bench.block(bench.wrong))
    assert bench.task.advance(bench.episode, progress, bench.block(bench.episode.choice_goal.target)) == progress


@pytest.mark.parametrize("options", [{"patches": 1}, {"patches": 17}, {"distractor_presses": -1}])
def test_options_out_of_bounds_are_refused(options):
    with pytest.raises(ConfigError):
        PutBlockBack(**options)


def test_the_faithful_tier_has_no_options():
    with pytest.raises(ConfigError, match="tier=strict"):
        PutBlockBack(tier="faithful", patches=8)


def test_options_show_in_the_name_so_that_results_do_not_mix():
    names = {PutBlockBack(patches=n, distractor_presses=d).name for n in (2, 4, 8) for d in (0, 3)}
    assert len(names) == 6
    assert PutBlockBack().name == "put_block_back"


def test_every_distractor_press_lengthens_the_limits():
    plain, longer = PutBlockBack().sample(0), PutBlockBack(distractor_presses=3).sample(0)
    assert (plain.limits, longer.limits) == (
        Limits(intents=25, sim_time_s=120.0),
        Limits(intents=31, sim_time_s=150.0),
    )
