"""`launch.credentials` as it is typed: it prints a token once, lists clients, and removes them."""

import sys

from embodied.memory import Credentials, Role
from embodied.memory.service.credentials import digest_of
from launch import credentials


def typed(monkeypatch, capfd, *words):
    monkeypatch.setattr(sys, "argv", ["launch.credentials", *words])
    credentials.main()
    return capfd.readouterr().out.splitlines()


def test_clients_get_tokens_are_listed_and_are_removed(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    words = ["add", "file=clients.json", "name=panda", "robots=[panda_left]"]
    *_, old = typed(monkeypatch, capfd, *words)
    *_, token = typed(monkeypatch, capfd, *words)
    *_, operators = typed(monkeypatch, capfd, "add", "file=clients.json", "name=operator", "role=SITE")
    known = Credentials(tmp_path / "clients.json")
    assert known.client_of(digest_of(old.encode())) is None
    assert known.client_of(digest_of(token.encode())).robots == ("panda_left",)
    assert known.client_of(digest_of(operators.encode())).role is Role.SITE
    listed = typed(monkeypatch, capfd, "list", "file=clients.json")
    assert [line.split()[:2] for line in listed] == [["panda", "robot"], ["operator", "site"]]
    assert typed(monkeypatch, capfd, "remove", "file=clients.json", "name=panda") == ["panda can no longer connect."]
    assert len(typed(monkeypatch, capfd, "list", "file=clients.json")) == 1
