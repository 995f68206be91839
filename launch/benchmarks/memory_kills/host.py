"""A process that starts Ray and hosts a bank there, which robots reach through a socket; run by `memory_kills` only.

Prints one line of JSON with the processes that can be killed, and ends with its standard input.
"""

import json
import sys
import time

import psutil

from embodied.memory import UnreachableError
from embodied.memory.service.ray_service import Host, RayLink, hosted
from embodied.memory.service.socket_settings import SocketSettings
from embodied.rollout.ray.cluster import local_cluster
from launch.benchmarks.memory_poison.links import CLIENTS

HEAD = ("gcs_server", "raylet")
OBJECT_STORE_MB = 128
PAUSE_S = 0.1


def main() -> None:
    """Usage: `python -m launch.benchmarks.memory_kills.host FOLDER PORT`."""
    folder, port = sys.argv[1:]
    socket = SocketSettings(port=int(port))
    host = Host(f"sqlite:///{folder}/bank.db", socket=socket, credentials=f"{folder}/{CLIENTS}")
    with local_cluster(cpus=1, object_store_mb=OBJECT_STORE_MB), hosted(host) as link:
        family = psutil.Process().children(recursive=True)
        head = [process.pid for process in family if process.name() in HEAD]
        sys.stdout.write(json.dumps({"owner": link.pid(), "head": head, "all": [one.pid for one in family]}) + "\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            sys.stdout.write(json.dumps({"owner": owner(link)}) + "\n")
            sys.stdout.flush()


def owner(link: RayLink) -> int:
    """Returns the process that owns the bank now, once Ray has replaced one that was killed."""
    while True:
        try:
            return link.pid()
        except UnreachableError:
            time.sleep(PAUSE_S)


if __name__ == "__main__":
    main()
