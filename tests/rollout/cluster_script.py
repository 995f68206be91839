"""Plays on a cluster of two nodes that run already; for `test_cluster`, in a process of its own."""

import json
import sys
import tempfile
from dataclasses import replace

import psutil
import ray
from ray.cluster_utils import Cluster

from embodied.rollout.compute import ComputeConfig, ComputeKind
from tests.fakes import FaultyPolicyConfig
from tests.rollout.test_worker import CONFIG, JOB


def main() -> None:
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    cluster.add_node(num_cpus=1)  # All workers live here, while the driver sits on the head: two nodes, two ids.
    with tempfile.TemporaryDirectory() as folder:
        stop = FaultyPolicyConfig(fault="stop", seeds=(1,), once_folder=folder)
        config = replace(CONFIG, policies={"faulty": stop})
        compute = ComputeConfig(kind=ComputeKind.cluster, address=cluster.address, workers=1, deadline_s=3.0)
        with compute.build(config) as pool:
            results = list(pool.run([replace(JOB, policy="faulty", seed=seed) for seed in range(3)]))
    connected = ray.is_initialized()
    stopped = [process.pid for process in psutil.Process().children(recursive=True) if process.status() == "stopped"]
    ray.init(address=cluster.address)
    nodes = sum(node["Alive"] for node in ray.nodes())
    ray.shutdown()
    cluster.shutdown()
    attempts = {str(result.record.seed): result.record.attempt for result in results}
    logged = {"attempts": attempts, "connected": connected, "stopped": stopped, "nodes_alive": nodes}
    sys.stdout.write("\n" + json.dumps(logged) + "\n")


if __name__ == "__main__":
    main()
