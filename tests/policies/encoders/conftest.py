"""Nothing is downloaded while encoders are tested."""

import socket

import pytest


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*arguments):
        raise AssertionError(f"the network was asked: {arguments}")

    for asked in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, asked, refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
