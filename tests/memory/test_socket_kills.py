"""Owners and robots over a socket are killed: nothing acknowledged is lost or doubled, and writing goes on."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter

import pytest

from embodied.memory import EntitySeen, open_bank

OWNER = (
    "import sys, threading\n"
    "from embodied.memory import BankService, open_bank\n"
    "from embodied.memory.service.socket_server import listening\n"
    "from embodied.memory.service.socket_settings import SocketSettings\n"
    "with BankService(open_bank(sys.argv[1])) as service, listening(service, SocketSettings(port=int(sys.argv[2]))):\n"
    "    threading.Event().wait()\n"
)
ROBOT = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from embodied.geometry import Pose\n"
    "from embodied.memory import BankClient, EntitySeen, Outbox, UnreachableError\n"
    "from embodied.memory.service.socket_link import SocketLink\n"
    "link, outbox = SocketLink(sys.argv[2], timeout_s=2.0), Outbox(Path(sys.argv[1]))\n"
    "with BankClient(link, outbox, writer=Path(sys.argv[1]).stem, timeout_s=30.0) as client:\n"
    "    for number in range(int(sys.argv[4])):\n"
    "        name = f'{sys.argv[3]}.{number}'\n"
    "        client.log(EntitySeen(name, 'cup', Pose()))\n"
    "        print(name, flush=True)\n"
    "    client.flush()\n"
)
EACH = 150


class Site:
    """An owner and the programs of robots, which can be killed and started again; `lines` is what each has printed."""

    def __init__(self, folder):
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.url = f"sqlite:///{folder / 'bank.db'}"
        self.starts = Counter()
        self.running = {}

    def start(self, name, script, *arguments):
        self.starts[name] += 1
        with (self.folder / f"{name}.{self.starts[name]}.out").open("w") as out:
            command = [sys.executable, "-c", script, *arguments]
            self.running[name] = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

    def start_owner(self):
        self.start("owner", OWNER, self.url, str(self.port))

    def start_robot(self, name):
        outbox, url = str(self.folder / f"{name}.outbox"), f"ws://127.0.0.1:{self.port}"
        self.start(name, ROBOT, outbox, url, f"{name}.{self.starts[name]}", str(EACH))

    def kill(self, name):
        os.kill(self.running[name].pid, signal.SIGKILL)
        self.running[name].wait()

    def acknowledged(self):
        """The names that robots have printed in whole lines: their `log` had returned."""
        lines = [line for path in self.folder.glob("robot*.out") for line in path.read_text().splitlines(keepends=True)]
        return [line.strip() for line in lines if line.endswith("\n")]

    def wait_for(self, more):
        due_s, wanted = time.monotonic() + 60.0, len(self.acknowledged()) + more
        while len(self.acknowledged()) < wanted:
            assert time.monotonic() < due_s
            time.sleep(0.02)


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    for process in made.running.values():
        process.kill()
        process.wait()


def test_owner_and_robots_may_be_killed_and_nothing_acknowledged_is_lost_or_doubled(site):
    robots = ["robot_1", "robot_2"]
    for start in (site.start_owner, *(lambda name=name: site.start_robot(name) for name in robots)):
        start()
    for killed in (["owner"], ["robot_1"], ["owner", "robot_2"], ["owner", *robots]):
        site.wait_for(20)
        for name in killed:
            site.kill(name)
        for name in killed:
            site.start_owner() if name == "owner" else site.start_robot(name)
    for name in robots:
        assert site.running[name].wait(60.0) == 0, (site.folder / f"{name}.{site.starts[name]}.out").read_text()
    site.running["owner"].terminate()
    site.running["owner"].wait()
    with open_bank(site.url) as bank:
        assert not bank.verify().problems
        events = bank.changes_since(0, limit=100_000)
    logged = Counter(event.payload.entity for event in events if isinstance(event.payload, EntitySeen))
    assert max(logged.values()) == 1, "none is doubled"
    assert set(site.acknowledged()) <= logged.keys(), "none is lost"
    assert len(site.acknowledged()) >= 2 * EACH


def test_a_robot_that_is_alone_goes_on_and_its_events_arrive_once_there_is_an_owner(site):
    site.start_robot("robot_1")
    time.sleep(1.0)
    assert site.running["robot_1"].poll() is None
    site.start_owner()
    assert site.running["robot_1"].wait(60.0) == 0
    assert len(site.acknowledged()) == EACH
