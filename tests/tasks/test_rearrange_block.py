"""The state machine of rearrange_block, driven by hand-made states."""

import pytest

from embodied.scenes.tabletop import CENTRE
from embodied.tasks.memorybench.rearrange_block import BLOCKS, PATCHES, RearrangeBlock
from embodied.types import Outcome
from tests.tasks.worlds import initial_state, judge, with_block, with_button


class Bench:
    """One episode and the states that its story consists of."""

    def __init__(self, tier="strict", seed=3):
        self.task = RearrangeBlock(tier=tier)
        self.episode = self.task.sample(seed)
        self.start = initial_state(self.episode)
        self.other = self.episode.choice_goal.target
        self.mover = next(name for name in BLOCKS if name != self.other)
        self.empty = self.place(PATCHES[BLOCKS.index(self.mover)])
        self.placed = with_block(self.start, self.mover, self.empty)
        self.pressed = with_button(self.placed, 0.006)

    def place(self, name):
        return self.episode.scene.body(name).pose

    def to_the_press(self):
        lifted = with_block(self.start, self.mover, self.place(CENTRE), up_m=0.1, held=True)
        return [lifted, self.placed, self.pressed, self.placed]

    def other_up(self):
        return with_block(self.placed, self.other, self.place(CENTRE), up_m=0.1, held=True)

    def other_centred(self):
        return with_block(self.placed, self.other, self.place(CENTRE))

    def judge(self, *states):
        return judge(self.task, self.episode, [self.start, *states])


@pytest.mark.parametrize("tier", ["faithful", "strict"])
@pytest.mark.parametrize("seed", range(4))
def test_the_right_order_succeeds(tier, seed):
    bench = Bench(tier, seed)
    progress = bench.judge(*bench.to_the_press(), bench.other_up(), bench.other_centred())
    assert progress.outcome is Outcome.SUCCESS
    assert progress.reached == bench.task.phases
    assert progress.choice == bench.other


def test_lifting_the_moved_block_again_fails_in_strict_and_is_forgiven_in_faithful():
    for tier, outcome in (("strict", Outcome.FAILURE), ("faithful", Outcome.RUNNING)):
        bench = Bench(tier)
        again = with_block(bench.placed, bench.mover, bench.empty, up_m=0.03, held=True)
        progress = bench.judge(*bench.to_the_press(), again)
        assert (progress.outcome, progress.choice) == (outcome, bench.mover)
    assert bench.judge(*bench.to_the_press(), again, bench.other_up(), bench.other_centred()).outcome is Outcome.SUCCESS


def test_tipping_a_block_is_no_choice():
    bench = Bench()
    tipped = with_block(bench.placed, bench.mover, bench.empty, up_m=0.012)
    assert bench.judge(*bench.to_the_press(), tipped).choice is None


def test_a_press_before_the_block_is_placed_does_not_count_in_strict():
    bench = Bench()
    lifted, placed, pressed, _ = bench.to_the_press()
    assert bench.judge(with_button(bench.start, 0.006), lifted, placed).reached == ("lifted", "placed")
    assert bench.judge(lifted, with_button(lifted, 0.006), placed).reached == ("lifted", "placed")
    assert bench.judge(lifted, placed, pressed).reached == ("lifted", "placed", "pressed")


def test_a_press_with_the_other_block_already_gone_does_not_count_in_strict():
    bench = Bench()
    lifted, placed, _, _ = bench.to_the_press()
    progress = bench.judge(lifted, placed, with_button(bench.other_centred(), 0.006))
    assert progress.reached == ("lifted", "placed")


def test_any_order_is_good_enough_in_faithful():
    bench = Bench("faithful")
    early = with_button(bench.start, 0.006)
    lifted, placed, _, _ = bench.to_the_press()
    progress = bench.judge(early, lifted, placed, bench.other_up(), bench.other_centred())
    assert progress.outcome is Outcome.SUCCESS
    assert progress.reached[0] == "pressed"


@pytest.mark.parametrize("tier", ["faithful", "strict"])
def test_a_block_still_held_in_the_centre_is_not_centred(tier):
    bench = Bench(tier)
    held = with_block(bench.placed, bench.other, bench.place(CENTRE), held=True)
    assert bench.judge(*bench.to_the_press(), bench.other_up(), held).outcome is Outcome.RUNNING


def test_a_block_pushed_to_the_centre_without_lifting_is_not_enough():
    bench = Bench()
    assert bench.judge(*bench.to_the_press(), bench.other_centred()).outcome is Outcome.RUNNING


def test_the_target_starts_on_its_patch_and_the_other_block_in_the_centre():
    for seed in range(6):
        bench = Bench(seed=seed)
        at = {name: bench.start.pose[name].position_m[:2] for name in BLOCKS}
        home = bench.place(PATCHES[BLOCKS.index(bench.other)]).position_m[:2]
        assert at[bench.other] == pytest.approx(home, abs=0.0101)
        assert at[bench.mover] == pytest.approx(bench.place(CENTRE).position_m[:2], abs=0.0101)
