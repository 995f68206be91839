from dataclasses import replace

import pytest

from embodied.errors import ConfigError
from embodied.rollout.compute import ComputeConfig, ComputeKind
from embodied.rollout.inline import InlineCompute
from tests.rollout.test_worker import CONFIG, JOB, row


def test_inline_plays_lazily_and_in_order():
    read = []

    def jobs():
        for seed in range(3):
            read.append(seed)
            yield replace(JOB, seed=seed)

    with ComputeConfig(kind=ComputeKind.inline).build(CONFIG) as compute:
        assert isinstance(compute, InlineCompute)
        results = compute.run(jobs())
        assert next(results).record.seed == 0
        assert read == [0]
        assert [result.record.seed for result in results] == [1, 2]


def test_inline_gives_the_same_rows_twice_in_one_process():
    jobs = [replace(JOB, policy=policy, seed=seed) for seed in range(4) for policy in CONFIG.policies]
    with ComputeConfig(kind=ComputeKind.inline).build(CONFIG) as compute:
        first = [row(result) for result in compute.run(jobs)]
        assert [row(result) for result in compute.run(jobs)] == first


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"workers": 0}, "workers"),
        ({"max_attempts": 0}, "max_attempts"),
        ({"threads_per_worker": 0}, "threads_per_worker"),
        ({"deadline_s": 0.0}, "deadline_s"),
        ({"start_deadline_s": float("nan")}, "start_deadline_s"),
        ({"max_restarts": -1}, "max_restarts"),
        ({"object_store_mb": 10}, "object_store_mb"),
        ({"kind": ComputeKind.cluster}, "address"),
        ({"address": "10.0.0.5:6379"}, "address"),
    ],
)
def test_a_wrong_setting_is_refused_by_name_before_anything_starts(wrong, field):
    with pytest.raises(ConfigError, match=rf"compute\.{field} must"):
        ComputeConfig(**wrong).build(CONFIG)
