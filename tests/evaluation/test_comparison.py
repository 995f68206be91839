"""Two runs of the same episodes are compared pair by pair; runs of other episodes are refused."""

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from scipy.stats import binomtest

from embodied.evaluation.comparison import ComparisonError, compare, mcnemar_p, paired_bootstrap, settings_that_differ
from embodied.evaluation.comparison_report import comparison_html, comparison_text
from embodied.evaluation.evaluator import evaluate
from embodied.evaluation.finished_run import read_run
from embodied.evaluation.plan import Shard
from embodied.types import Outcome
from tests.evaluation.fakes import FakeCompute, FakePolicy, FakeTask, evaluation


@dataclass(kw_only=True)
class WeightedPolicy(FakePolicy):
    """Fails in the episodes whose seeds are in its weight file."""

    weights: str = ""
    digest: str = ""


class WeightedCompute(FakeCompute):
    def run(self, jobs):
        for result in super().run(jobs):
            weights = json.loads(Path(self.worker.policies[result.job.policy].weights).read_text())
            record = result.record
            if record.seed in weights:
                wrong = {**record.choice, "chosen": "patch_9", "correct": False}
                record = replace(record, outcome=Outcome.FAILURE, reason="first choice was patch_9", choice=wrong)
            yield replace(result, record=record)


def play(folder, weights=(), *, name="expert", plan=None, **options):
    """Plays with a policy whose weight file holds `weights`; returns the finished run."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.parent / f"{folder.name}.weights"
    path.write_text(json.dumps(list(weights)))
    plan = plan or evaluation(**{"episodes": 12, **options})
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    policies = {name: WeightedPolicy(weights=str(path), digest=digest)}
    plan = replace(plan, worker=replace(plan.worker, policies=policies))
    compute = WeightedCompute(plan.worker)
    evaluate(plan, compute=compute, output=folder / "out", config=f"output: {folder}\nweights: {path}\n", videos=2)
    return read_run(folder / "out")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Two runs that differ in one weight file, and the seeds in which the second fails."""
    folder = tmp_path_factory.mktemp("runs")
    first = play(folder / "a")
    seeds = first.episodes.tasks["put_block_back/strict"].seeds[3:7]
    return first, play(folder / "b", seeds), list(seeds)


def test_two_runs_that_differ_in_one_weight_file_part_in_the_episodes_that_the_file_decides(runs):
    a, b, seeds = runs
    found = compare(a, b)
    differing = [pair for pair in found.differing if pair.a.task == "put_block_back"]
    assert [pair.a.seed for pair in differing] == seeds
    assert all(pair.b.choice["chosen"] == "patch_9" for pair in differing)
    (contrast,) = [c for c in found.contrasts if (c.task, c.measure) == ("put_block_back/strict", "success")]
    assert (contrast.both, contrast.only_a, contrast.only_b, contrast.neither) == (8, 4, 0, 0)
    assert contrast.p == pytest.approx(0.125)
    assert contrast.ci95[0] <= -4 / 12 <= contrast.ci95[1] < 0
    differing = settings_that_differ(a, b)
    assert sum(line.startswith(("- weights of expert", "+ weights of expert")) for line in differing) == 2
    assert not any("output" in line for line in differing)


def test_text_and_page_name_every_episode_that_parts_with_both_outcomes_and_the_videos_that_there_are(runs):
    a, b, seeds = runs
    text, page = comparison_text(compare(a, b)), comparison_html(compare(a, b))
    for seed in seeds:
        assert f"put_block_back/strict seed {seed}, expert: success, chose" in text
        assert str(seed) in page
    assert "failure, chose patch_9" in text
    assert "-33.3 [" in text
    videos = [list((run.folder / "videos").glob(f"*-{seed}.mp4")) for run in (a, b) for seed in seeds]
    assert 0 < sum(map(len, videos)) == page.count("<video") < 2 * len(seeds)


def test_a_run_compared_with_itself_parts_nowhere(runs):
    found = compare(runs[0], runs[0])
    assert found.differing == []
    assert all((c.only_a, c.only_b, c.p, c.ci95) == (0, 0, 1.0, (0.0, 0.0)) for c in found.contrasts)
    assert "24 of 24 pairs are equal" in comparison_text(found)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"seed": 1}, "seeds, which differ"),
        ({"episodes": 11}, "11 seeds"),
        ({"patches": 8}, "episodes with digest|seeds, which differ"),
    ],
)
def test_runs_of_other_episodes_are_refused_with_what_differs(tmp_path, runs, options, said):
    other = play(tmp_path / "other", **options)
    with pytest.raises(ComparisonError, match=said) as refused:
        compare(runs[0], other)
    assert "episode_list=" in refused.value.remedy


def test_the_same_seeds_of_a_task_that_has_changed_are_refused_with_both_digests(tmp_path, runs):
    plan = replace(evaluation(episodes=12), episode_list=None)
    tasks = {name: replace(task, instruction="go") for name, task in changed(plan.worker.tasks).items()}
    other = play(tmp_path / "other", plan=replace(plan, worker=replace(plan.worker, tasks=tasks)))
    digests = [run.episodes.tasks["put_block_back/strict"].episodes_sha256 for run in (runs[0], other)]
    with pytest.raises(ComparisonError, match=digests[0]) as refused:
        compare(runs[0], other)
    assert digests[1] in str(refused.value)


def changed(tasks):
    @dataclass(kw_only=True)
    class Instructed(FakeTask):
        instruction: str = ""

        def sample(self, seed, *, split="test"):
            return replace(super().sample(seed, split=split), instruction=self.instruction)

    return {name: Instructed(**vars(task)) for name, task in tasks.items()}


def test_another_tier_and_policies_that_cannot_be_paired_are_refused(tmp_path, runs):
    plan = evaluation(episodes=12)
    tasks = {name.replace("strict", "faithful"): replace(t, tier="faithful") for name, t in plan.worker.tasks.items()}
    other = play(tmp_path / "tier", plan=replace(plan, worker=replace(plan.worker, tasks=tasks)))
    with pytest.raises(ComparisonError, match="same tier in common"):
        compare(runs[0], other)
    mine = play(tmp_path / "mine", name="mine")
    assert len(compare(runs[0], mine).pairs) == 24
    with pytest.raises(ComparisonError, match="policy_b must be a policy of the run"):
        compare(runs[0], mine, policies=("expert", "expert"))


def test_a_shard_and_an_unfinished_run_are_refused(tmp_path, runs):
    part = play(tmp_path / "part", plan=replace(evaluation(episodes=12), shard=Shard(1, 2)))
    with pytest.raises(ComparisonError, match=r"by expert, normal, is missing"):
        compare(runs[0], part)


def test_invalid_episodes_are_left_out_in_pairs(runs):
    a, b, _ = runs
    broken = replace(b, records=[replace(b.records[0], outcome=Outcome.INVALID), *b.records[1:]])
    found = compare(a, broken)
    assert sum(c.episodes for c in found.contrasts if c.measure == "success") == 23
    assert any("1 of 24 pairs are left out" in remark for remark in found.remarks)


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (1, 0), (3, 9), (10, 10), (0, 25)])
def test_mcnemars_test_is_the_exact_binomial_test(only_a, only_b):
    total = only_a + only_b
    expected = binomtest(only_a, total, 0.5).pvalue if total else 1.0
    assert mcnemar_p(only_a, only_b) == pytest.approx(expected)


def test_the_bootstrap_resamples_whole_units():
    values = [1.0, 0.0] * 20
    alone = paired_bootstrap(values, [str(i) for i in range(40)], name="x")
    paired = paired_bootstrap(values, [str(i // 2) for i in range(40)], name="x")
    assert paired == (0.5, 0.5)
    assert alone[0] < 0.4
    assert alone[1] > 0.6
    assert alone == paired_bootstrap(values, [str(i) for i in range(40)], name="x")
