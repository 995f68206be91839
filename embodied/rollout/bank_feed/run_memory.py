"""The memory of a run: which bank its episodes are logged in, and how policies get their moments."""

from dataclasses import dataclass, field, replace

from embodied.memory import BankClient, Link, Outbox
from embodied.rollout.bank_feed.belief_feed import BeliefConfig
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.job import EpisodeJob
from embodied.types import NORMAL


@dataclass(kw_only=True)
class RunMemory:
    """Reaches the belief bank through `link`, which must travel to the workers: a `RayLink` does, a service stays here.

    Policies are given their newest `capacity` moments. The run starts at `start_s` on the site clock (None: after all
    that the bank holds, see `site_clock`), and its episodes follow one another. With `report_truth` a worker hands the
    truth of each episode back with its result; where the truth bank is, it does not know.
    """

    link: Link
    feed: MemoryFeedConfig = field(default_factory=MemoryFeedConfig)
    belief: BeliefConfig = field(default_factory=BeliefConfig)
    capacity: int = 64
    start_s: float | None = None
    report_truth: bool = False

    def connect(self) -> BankClient:
        """Returns a client for this process. Its outbox lies in memory: a worker's episodes can be played again."""
        return BankClient(self.link, Outbox(None), writer="worker")

    def feed_of(self, job: EpisodeJob) -> MemoryFeedConfig:
        """Returns how an episode is logged: its time 0 lies where its job says."""
        return replace(self.feed, start_s=self.feed.start_s + job.start_s)

    def name_of(self, job: EpisodeJob) -> str:
        """Returns what an episode is called in both banks: attempts that resume share a name, others do not.

        A policy under a control other than the normal one is another: `<policy>:<control>`.
        """
        again = "" if self.feed.resume or job.attempt == 1 else f"#{job.attempt}"
        policy = job.policy if job.control == NORMAL else f"{job.policy}:{job.control}"
        return f"{job.run}/{policy}/{job.episode}{again}"
