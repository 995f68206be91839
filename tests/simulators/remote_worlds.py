"""Workers of remote simulators for tests: the shipped worker file, on the stand-in for habitat-sim."""

import sys
from pathlib import Path

from embodied.simulators.remote import RemoteWorker

FAKE = Path(__file__).with_name("fake_habitat")


def environment(fault=""):
    return {"PYTHONPATH": str(FAKE), "FAKE_HABITAT": fault, "PYTHONDONTWRITEBYTECODE": "1"}


def start(fault="", **settings):
    return RemoteWorker(sys.executable, environment=environment(fault), **settings)
