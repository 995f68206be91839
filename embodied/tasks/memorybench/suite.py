"""MemoryBench: three tasks that cannot be solved without memory."""

from embodied.tasks.memorybench.base import Tier
from embodied.tasks.memorybench.put_block_back import PUT_BLOCK_BACK_EXPERT, PutBlockBack
from embodied.tasks.memorybench.rearrange_block import REARRANGE_BLOCK_EXPERT, RearrangeBlock
from embodied.tasks.memorybench.reopen_drawer import REOPEN_DRAWER_EXPERT, ReopenDrawer
from embodied.tasks.suite import Suite, TaskEntry

MEMORYBENCH = Suite(
    name="memorybench",
    tasks={
        "reopen_drawer": TaskEntry(ReopenDrawer, REOPEN_DRAWER_EXPERT),
        "put_block_back": TaskEntry(PutBlockBack, PUT_BLOCK_BACK_EXPERT),
        "rearrange_block": TaskEntry(RearrangeBlock, REARRANGE_BLOCK_EXPERT),
    },
    tiers=tuple(Tier),
    about="Each task shows the robot something, takes it away, and later asks for it: only memory can answer.",
)
