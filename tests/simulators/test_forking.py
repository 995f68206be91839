"""Renderers and forks: each process renders on with a context of its own, and none inherits one that would hang."""

import os
import signal
import subprocess
import sys

import numpy as np

from embodied.simulators.rendering.opengl import CameraView, OpenGLRenderer, Visual

FACES = np.array([[0, 1, 2]])
VERTICES = np.array([[0.0, 0.0, 1.0], [0.5, 0.0, 1.0], [0.0, 0.5, 1.0]])
VIEW = CameraView("camera", 16, 16, 1.0, np.eye(4))
FROM_A_THREAD = """
import os, threading
from embodied.errors import MissingDependencyError
from embodied.simulators.rendering.opengl import OpenGLRenderer

made, leave = threading.Event(), threading.Event()

def render():
    renderer = OpenGLRenderer()
    made.set()
    leave.wait()
    renderer.close()

thread = threading.Thread(target=render)
thread.start()
made.wait()
child = os.fork()
if child == 0:
    try:
        OpenGLRenderer()
    except MissingDependencyError as error:
        os._exit(7 if "spawn" in error.remedy else 1)
    os._exit(1)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
leave.set()
thread.join()
"""


def pixels(renderer: OpenGLRenderer) -> bytes:
    image = renderer.render(np.eye(4)[None], [VIEW])["camera"]
    return image.rgb.tobytes() + image.depth_m.tobytes() + image.instance.tobytes()


def exit_code_in_a_fork(check) -> int:
    """Returns the exit code of a forked process: 0 where `check` returns true within 20 s."""
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        os._exit(0 if check() else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def test_parent_and_child_render_the_same_after_a_fork():
    renderer = OpenGLRenderer()
    renderer.load([Visual(0, VERTICES, FACES[:, ::-1], (1.0, 0.0, 0.0, 1.0), 3)])
    renderer.paint(np.array([[0.0, 1.0, 0.0, 1.0]]))
    before = pixels(renderer)
    assert len(set(before)) > 2
    for _ in range(2):
        assert exit_code_in_a_fork(lambda: pixels(renderer) == before) == 0
        assert pixels(renderer) == before
    renderer.close()


def test_a_process_can_render_after_its_parent_has_closed_a_renderer():
    OpenGLRenderer().close()
    assert exit_code_in_a_fork(lambda: OpenGLRenderer().name.startswith("opengl")) == 0


def test_a_child_refuses_to_render_where_another_thread_of_its_parent_did():
    done = subprocess.run(
        [sys.executable, "-c", FROM_A_THREAD], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
