"""Remote simulators: real workers that answer, die, hang, send garbage or speak another protocol."""

import ast
import gc
import os
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import psutil
import pytest

from embodied.codec import decode, encode
from embodied.errors import ConfigError, EmbodiedError, MissingDependencyError, OutageError, SimulationError
from embodied.geometry import Pose
from embodied.scenes.export import GlbOptions, body_glb
from embodied.scenes.scene import Body, Box, Part
from embodied.simulators.remote import RemoteWorker
from embodied.simulators.remote import worker as worker_file
from embodied.simulators.remote.connection import WORKER
from tests.simulators.remote_worlds import start

CAMERA = {"name": "eye", "width": 8, "height": 6, "hfov_deg": 90.0, "background": (0.9, 0.92, 0.95)}
OFFSETS = (0, 8 * 6 * 3, 8 * 6 * 7)
POSE = np.array([0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0])
# A worker that is not ours: it reads one message and answers as the first line of its own program says.
IMPOSTOR = """
import socket, struct, sys, time
link = socket.socket(fileno=int(sys.argv[1]))
link.recv(8), link.recv(2**16)
{}
time.sleep(600)
"""


EARLIER: set[int] = set()


@pytest.fixture(autouse=True)
def earlier_children():
    EARLIER.clear()
    EARLIER.update(one.pid for one in psutil.Process().children(recursive=True))


@pytest.fixture
def worker():
    worker = start()
    yield worker
    worker.close()


def open_with_a_red_box(worker, folder):
    path = folder / "box.glb"
    red = Body("box", (Part(Box((1.0, 1.0, 1.0)), rgba=(1.0, 0.0, 0.0, 1.0)),))
    path.write_bytes(body_glb(red, GlbOptions(linear_colours=False)))
    worker.call("open", cameras=[CAMERA], range_m=(0.01, 10.0), dataset="", scene="", folder="")
    worker.call("add", objects=[{"name": "box", "model": str(path), "id": 7}])


def look(worker, **settings):
    size = worker.reserve(8 * 6 * 11)
    poses = {"box": np.array([0.0, 0.0, -3.0, 0.0, 0.0, 0.0, 1.0])}
    worker.call("draw", poses=poses, cameras=[{"name": "eye", "pose": POSE, "offsets": OFFSETS}], size=size, **settings)
    return (
        worker.array(OFFSETS[0], (6, 8, 3), "u1"),
        worker.array(OFFSETS[1], (6, 8), "<f4"),
        worker.array(OFFSETS[2], (6, 8), "<i4"),
    )


def broken(content, fault="", **settings):
    """Starts an impostor that sends `content`, and returns the error and how long it took."""
    begun = time.monotonic()
    with pytest.raises(EmbodiedError) as caught:
        RemoteWorker(sys.executable, worker=content, **settings)
    return caught.value, time.monotonic() - begun


def children():
    """Returns the children of this process that live and that this test has started: others may have started Ray."""
    found = psutil.Process().children(recursive=True)
    return [one for one in found if one.status() != psutil.STATUS_ZOMBIE and one.pid not in EARLIER]


def image_files():
    """Returns how many memory files of images this process has open."""
    found = 0
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):  # Threads of other tests may close it meanwhile.
            found += "embodied-images" in str(path.readlink())
    return found


def test_images_arrive_in_the_shared_memory_with_colour_depth_and_ids(worker, tmp_path):
    open_with_a_red_box(worker, tmp_path)
    colour, depth, ids = look(worker)
    assert ids[3, 4] == 7
    assert colour[3, 4].tolist() == [255, 0, 0]
    assert depth[3, 4] == pytest.approx(2.5, abs=1e-5)
    assert (ids[0, 0], depth[0, 0]) == (0, 0.0)


def test_what_was_returned_does_not_change_with_the_next_images(worker, tmp_path):
    open_with_a_red_box(worker, tmp_path)
    colour, *_ = look(worker)
    before = colour.copy()
    worker.call("remove", names=["box"])
    worker.call("draw", poses={}, cameras=[{"name": "eye", "pose": POSE, "offsets": OFFSETS}], size=worker.reserve(1))
    assert (worker.array(0, (6, 8, 3), "u1") != before).any()
    assert (colour == before).all()


def test_a_refused_call_is_an_error_and_the_worker_goes_on(worker, tmp_path):
    open_with_a_red_box(worker, tmp_path)
    with pytest.raises(SimulationError, match="No such file"):
        worker.call("add", objects=[{"name": "gone", "model": str(tmp_path / "gone.glb"), "id": 1}])
    with pytest.raises(SimulationError, match="no call is named"):
        worker.call("_added", model="x", pixel_id=1)
    with pytest.raises(SimulationError):
        worker.call("no such call")
    assert look(worker)[2][3, 4] == 7


def test_a_worker_that_is_killed_is_an_outage_at_the_next_call_and_after_it(worker, tmp_path):
    open_with_a_red_box(worker, tmp_path)
    os.kill(worker.process_id, 9)
    for _ in range(2):
        with pytest.raises(OutageError, match="status -9") as caught:
            look(worker)
        assert caught.value.remedy
    assert not worker.alive
    assert children() == []


def test_a_worker_that_dies_during_a_call_is_an_outage_with_its_last_lines(tmp_path):
    worker = start("die")
    open_with_a_red_box(worker, tmp_path)
    with pytest.raises(OutageError, match="Segmentation fault in the renderer"):
        look(worker)
    assert children() == []


def test_a_worker_that_hangs_is_an_outage_within_the_deadline_and_is_ended(tmp_path):
    worker = start("hang")
    open_with_a_red_box(worker, tmp_path)
    begun = time.monotonic()
    with pytest.raises(OutageError, match=r"within 0\.3 s"):
        look(worker, timeout_s=0.3)
    assert time.monotonic() - begun < 3.0
    assert children() == []


def test_an_error_inside_habitat_is_reported_with_its_text(tmp_path):
    worker = start("raise")
    open_with_a_red_box(worker, tmp_path)
    with pytest.raises(SimulationError, match="cannot retrieve OpenGL version"):
        look(worker)
    assert worker.alive
    worker.close()


@pytest.mark.parametrize(
    ("sent", "kind", "words"),
    [
        ("link.sendall(b'GET / HTTP/1.1' * 9)", OutageError, "mark and length"),
        ("link.sendall(struct.pack('<4sI', b'EMRS', 2**31))", OutageError, "mark and length"),
        ("link.sendall(struct.pack('<4sI', b'EMRS', 3) + b'\\xc1\\xc1\\xc1')", OutageError, "well-formed msgpack"),
        ("link.sendall(struct.pack('<4sI', b'EMRS', 1) + b'\\x07')", OutageError, "a result or an error"),
        ("link.sendall(struct.pack('<4sI', b'EMRS', 9)); link.close(); sys.exit(3)", OutageError, "must not end"),
        ("link.sendall(struct.pack('<4sI', b'EMRS', 9)); time.sleep(600)", OutageError, "within"),
        (
            "answer = b'\\x81\\xa6result\\x81\\xa8protocol\\x02'; "
            "link.sendall(struct.pack('<4sI', b'EMRS', len(answer)) + answer)",
            ConfigError,
            "protocol 1",
        ),
    ],
)
def test_what_is_no_worker_of_ours_is_refused_in_time_and_ended(tmp_path, monkeypatch, sent, kind, words):
    monkeypatch.setattr("embodied.simulators.remote.connection.STARTING_S", 0.6)
    impostor = tmp_path / "impostor.py"
    impostor.write_text(IMPOSTOR.format(sent))
    error, took_s = broken(impostor, timeout_s=0.6)
    assert isinstance(error, kind), error
    assert words in str(error)
    assert took_s < 5.0
    assert children() == []


def test_a_missing_interpreter_and_a_missing_library_are_named():
    with pytest.raises(ConfigError, match="No such file"):
        RemoteWorker("/no/such/python")
    with pytest.raises(MissingDependencyError, match="habitat_sim"):
        start("absent")
    assert children() == []


def test_nothing_is_left_of_a_worker_that_was_closed_or_forgotten(worker):
    before = image_files()
    for how in ("close", "forget"):
        other = start()
        other.reserve(2**20)
        process = psutil.Process(other.process_id)
        if how == "close":
            other.close()
            other.close()
        del other
        gc.collect()
        assert not process.is_running()
    assert image_files() == before
    assert worker.call("hello")["protocol"] == 1


def test_a_worker_ends_by_itself_once_its_user_is_gone():
    program = (
        "import os, sys; from tests.simulators.remote_worlds import start; w = start();"
        "print(w.process_id, flush=True); os.kill(os.getpid(), 9)"
    )
    user = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    process_id = int(user.stdout)
    until_s = time.monotonic() + 10.0
    while psutil.pid_exists(process_id) and psutil.Process(process_id).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < until_s
        time.sleep(0.02)


def test_the_worker_file_imports_nothing_of_this_project_and_runs_on_python_3_9():
    tree = ast.parse(WORKER.read_text(), feature_version=(3, 9))
    imported = {
        (node.module or "") if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    others = {name.partition(".")[0] for name in imported} - sys.stdlib_module_names
    assert others == {"habitat_sim", "magnum", "msgpack", "numpy"}
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Match)]


def test_the_worker_writes_and_reads_the_codec_of_this_project():
    value = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3)[:, ::2],
        "b": [1, 2.5, None, "text", b"bytes", True],
        "c": np.array([True, False]),
        "d": {"e": np.zeros((0, 3), dtype=np.int64)},
    }
    there, back = decode(worker_file.packed(value)), worker_file.unpacked(encode(value))
    for found in (there, back):
        for name in ("a", "c"):
            assert found[name].dtype == value[name].dtype
            assert (found[name] == value[name]).all()
        assert list(found["b"]) == value["b"]
        assert found["d"]["e"].shape == (0, 3)
    mine, theirs = socket.socketpair()
    with mine, theirs:
        mine.sendall(struct.pack("<4sI", b"EMRS", 5))
        assert worker_file.HEADER.unpack(worker_file.received(theirs, 8)) == (b"EMRS", 5)
    assert worker_file.unpacked(worker_file.packed(Pose().position_m)) == [0.0, 0.0, 0.0]
