"""`launch.credentials` as it is typed: it prints a token once, lists clients, and removes them."""

import os
import subprocess
import sys
from pathlib import Path

from embodied.memory import Credentials, Role
from embodied.memory.service.credentials import digest_of

ROOT = Path(__file__).parents[2]


def typed(folder, *words):
    command = [sys.executable, "-m", "launch.credentials", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_clients_get_tokens_are_listed_and_are_removed(tmp_path):
    words = ["add", "file=clients.json", "name=panda", "robots=[panda_left]"]
    *_, old = typed(tmp_path, *words)
    *_, token = typed(tmp_path, *words)
    *_, operators = typed(tmp_path, "add", "file=clients.json", "name=operator", "role=SITE")
    known = Credentials(tmp_path / "clients.json")
    assert known.client_of(digest_of(old.encode())) is None
    assert known.client_of(digest_of(token.encode())).robots == ("panda_left",)
    assert known.client_of(digest_of(operators.encode())).role is Role.SITE
    listed = typed(tmp_path, "list", "file=clients.json")
    assert [line.split()[:2] for line in listed] == [["panda", "robot"], ["operator", "site"]]
    assert typed(tmp_path, "remove", "file=clients.json", "name=panda") == ["panda can no longer connect."]
    assert len(typed(tmp_path, "list", "file=clients.json")) == 1
