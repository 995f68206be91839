"""`launch.serve_memory` as it is typed: it serves a bank, ends in order on a signal, and robots survive its restart."""

import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from embodied.geometry import Pose
from embodied.memory import BankClient, EntitySeen, Outbox, open_bank
from embodied.memory.service.socket_link import SocketLink

ROOT = Path(__file__).parents[2]
TOKEN = "a-token-of-enough-characters"


def started(folder: Path, port: int) -> tuple[subprocess.Popen[str], str]:
    """Returns a server and the address that it prints."""
    command = [sys.executable, "-m", "launch.serve_memory", "url=sqlite:///site.db", f"port={port}", "token_env=TOKEN"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TOKEN": TOKEN}
    pipe = subprocess.PIPE
    server = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=folder, env=environment)
    assert server.stdout is not None
    words = server.stdout.readline().split()
    assert words[:3] == ["Serving", "sqlite:///site.db", "at"]
    return server, words[3]


def test_it_serves_a_bank_that_robots_find_again_after_a_restart(tmp_path):
    server, url = started(tmp_path, 0)
    with closing(SocketLink(url, token=TOKEN)) as link, BankClient(link, Outbox(None), writer="arm") as client:
        assert client.log(EntitySeen("cup", "cup", Pose())) == 1
        server.send_signal(signal.SIGTERM)
        assert server.communicate(timeout=20) == ("Stopped.\n", "")
        assert server.returncode == 0
        late = client.post([])
        server, again = started(tmp_path, int(url.rpartition(":")[2]))
        assert again == url
        assert late.result(20.0) == []
        assert client.log(EntitySeen("mug", "cup", Pose())) == 2
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=20)
    assert (out, TOKEN in err, server.returncode) == ("Stopped.\n", False, 130)
    with open_bank("sqlite:///site.db", root=tmp_path) as bank:
        assert bank.names() == ["cup", "mug"]
