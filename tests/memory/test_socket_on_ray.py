"""A bank on Ray that is reached through a socket: robots' programs need no Ray, and outlive its head."""

import os
import pickle
import signal
import socket

import pytest

from embodied.errors import NotPermittedError
from embodied.geometry import Pose
from embodied.memory import BankClient, ClientRights, EntitySeen, Outbox, Role, add_credential, open_bank
from embodied.memory.service.socket_link import SocketLink
from embodied.memory.service.socket_settings import SocketSettings
from launch.benchmarks import memory_kills, memory_poison
from launch.benchmarks.memory_kills import KillsTally, MemoryKillsConfig
from launch.benchmarks.memory_poison import MemoryPoisonConfig
from tests.memory.writers import EventFactory


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


@pytest.mark.usefixtures("ray_session")
def test_an_owner_on_ray_serves_a_socket_and_is_found_there_again_once_it_was_replaced(tmp_path):
    from embodied.memory.service.ray_service import Host, hosted

    token, port = add_credential(tmp_path / "clients.json", ClientRights("arm", Role.ROBOT)), free_port()
    settings = SocketSettings(port=port)
    host = Host(f"sqlite:///{tmp_path}/bank.db", name="socket", socket=settings, credentials=f"{tmp_path}/clients.json")
    with hosted(host) as on_ray:
        link = SocketLink(f"ws://127.0.0.1:{port}", token=token)
        with BankClient(link, Outbox(None), writer="arm", timeout_s=60.0) as client:
            assert client.log(EntitySeen("cup", "cup", Pose()), robot="arm") == 1
            os.kill(on_ray.pid(), signal.SIGKILL)
            assert client.log(EntitySeen("cup", "cup", Pose()), robot="arm") == 2
            assert client.head() == 2


@pytest.mark.usefixtures("ray_session")
def test_the_clock_of_an_owner_on_ray_is_advanced_through_the_link_of_its_driver_alone(tmp_path):
    from embodied.memory.service.ray_service import Host, RayLink, hosted

    with hosted(Host(f"sqlite:///{tmp_path}/bank.db", name="driven", simulated=True)) as link:
        driver = pickle.loads(pickle.dumps(link))
        assert driver.advance(5.0) == 5.0
        robot = RayLink("driven")
        with pytest.raises(NotPermittedError, match="link that `hosted` yields"):
            robot.advance(9.0)
        assert robot.clock().time_s == 5.0


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_nothing_is_lost_when_owner_robots_head_and_all_of_them_are_killed():
    report = memory_kills.measure(MemoryKillsConfig(trials=2, robots=3, short_s=2.0, long_trials=0), seed=1)
    assert report["passes"], report


@pytest.mark.proof
@pytest.mark.timeout(600)
def test_ninety_robots_lose_nothing_beside_ten_that_write_poison():
    report = memory_poison.run(MemoryPoisonConfig(duration_s=20.0), poisoned=True, seed=1)
    assert report["passes"], report


def test_what_is_lost_doubled_or_moved_would_be_counted(tmp_path):
    factory, tally = EventFactory(), KillsTally()
    with open_bank(f"sqlite:///{tmp_path}/bank.db") as bank:
        bank.append([factory.seen("cup", evidence=name) for name in ("a", "b", "b")])
    lines = ["stored a", "acknowledged a 1", "acknowledged b 1", "stored gone", "refused c because"]
    memory_kills.compare(lines, tmp_path / "bank.db", tally)
    assert (tally.lost, tally.doubled, tally.moved, len(tally.refused)) == (1, 1, 1, 1)
    assert not tally.passes
