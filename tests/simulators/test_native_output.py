"""The terminal shows none of PyBullet's own lines, and all others."""

import subprocess
import sys

CONNECT = """
import ctypes, os
from embodied.simulators.bullet.client import connect
from embodied.simulators.bullet.native_output import without_banners
first, second = connect(), connect()
print("between", flush=True)
with without_banners():
    ctypes.CDLL(None).puts(b"argv[0]=")
    ctypes.CDLL(None).puts(b"an error of C code")
    os.write(2, b"a warning on stderr\\n")
print("end")
"""


def test_starting_worlds_prints_nothing_and_what_else_c_code_prints_arrives_where_it_was_written():
    done = subprocess.run([sys.executable, "-c", CONNECT], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["between", "an error of C code", "end"]
    assert done.stderr == "a warning on stderr\n"


def test_an_environment_prints_nothing():
    code = (
        "import gymnasium, embodied.environments\n"
        "envs = [gymnasium.make('embodied/PutBlockBack-strict-v0') for _ in range(2)]\n"
        "[env.reset(seed=0) for env in envs]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == ("", "")
