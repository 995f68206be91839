"""MemoryBench: three tasks that cannot be solved without memory."""

from embodied.tasks.memorybench.base import Tier
from embodied.tasks.memorybench.put_block_back import PutBlockBack
from embodied.tasks.memorybench.rearrange_block import RearrangeBlock
from embodied.tasks.memorybench.reopen_drawer import ReopenDrawer
from embodied.tasks.suite import Suite

MEMORYBENCH = Suite(
    name="memorybench",
    tasks={
        "reopen_drawer": ReopenDrawer,
        "put_block_back": PutBlockBack,
        "rearrange_block": RearrangeBlock,
    },
    tiers=tuple(Tier),
    about="Each task shows the robot something, takes it away, and later asks for it: only memory can answer.",
)
