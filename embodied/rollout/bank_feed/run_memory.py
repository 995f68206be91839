"""The memory of a run: the bank in which its episodes are logged, and how policies get their moments."""

from dataclasses import dataclass, field, replace

from embodied.memory import BankClient, Link, Outbox
from embodied.rollout.bank_feed.belief_feed import BeliefConfig
from embodied.rollout.bank_feed.episode_feed import MemoryFeedConfig
from embodied.rollout.job import EpisodeJob
from embodied.types import NORMAL


@dataclass(kw_only=True)
class RunMemory:
    """Reaches the belief bank through `link`, which is sent to the workers: a `RayLink` can be, a service stays here.

    Policies are given their newest `capacity` moments. The run starts at `start_s` on the site clock (None: after
    everything in the bank, see `site_clock`), and its episodes follow one another. With `report_truth` a worker returns
    the truth of each episode with its result; it does not know the location of the truth bank.
    """

    link: Link
    feed: MemoryFeedConfig = field(default_factory=MemoryFeedConfig)
    belief: BeliefConfig = field(default_factory=BeliefConfig)
    capacity: int = 64
    start_s: float | None = None
    report_truth: bool = False

    def connect(self) -> BankClient:
        """Returns a client for this process. Its outbox is in memory, since a worker's episodes can be played again."""
        return BankClient(self.link, Outbox(None), writer="worker")

    def feed_of(self, job: EpisodeJob) -> MemoryFeedConfig:
        """Returns how the episode of a job is logged; its time 0 is given by the job."""
        return replace(self.feed, start_s=self.feed.start_s + job.start_s)

    def name_of(self, job: EpisodeJob) -> str:
        """Returns the name of an episode in both banks: attempts that resume share a name, others do not.

        A policy under a control other than the normal one is a separate policy: `<policy>:<control>`.
        """
        again = "" if self.feed.resume or job.attempt == 1 else f"#{job.attempt}"
        policy = job.policy if job.control == NORMAL else f"{job.policy}:{job.control}"
        return f"{job.run}/{policy}/{job.episode}{again}"
