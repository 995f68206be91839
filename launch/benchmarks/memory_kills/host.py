"""A process that starts Ray and hosts a bank there, which robots reach through a socket; run by `memory_kills` only.

Prints one line of JSON with the processes that can be killed, and ends with its standard input.
"""

import json
import sys
from pathlib import Path

import psutil

from embodied.memory.service.ray_service import hosted
from embodied.rollout.ray.cluster import local_cluster
from launch.benchmarks.memory_poison.links import host_of

HEAD = ("gcs_server", "raylet")
OBJECT_STORE_MB = 128


def main() -> None:
    """Usage: `python -m launch.benchmarks.memory_kills.host FOLDER PORT`."""
    folder, port = sys.argv[1:]
    with local_cluster(cpus=1, object_store_mb=OBJECT_STORE_MB), hosted(host_of(Path(folder), int(port))) as link:
        family = psutil.Process().children(recursive=True)
        head = [process.pid for process in family if process.name() in HEAD]
        sys.stdout.write(json.dumps({"owner": link.pid(), "head": head, "all": [one.pid for one in family]}) + "\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            sys.stdout.write(json.dumps({"owner": link.pid()}) + "\n")  # The owner of now, which Ray may have replaced.
            sys.stdout.flush()


if __name__ == "__main__":
    main()
