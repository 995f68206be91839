"""Checked archives of arrays."""

import io
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embodied import archive
from embodied.archive import file_sha256, read_archive, write_archive
from embodied.errors import DataError
from embodied.trajectories import open_trajectory
from embodied.trajectories.container import Container

ARRAYS = st.dictionaries(
    st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=8),
    hnp.arrays(
        st.sampled_from([np.uint8, np.float32, np.float64, np.bool_, np.int32]),
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
    ),
    max_size=4,
)
SMALL = {"depth_m": np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4), "rgb": np.arange(6, dtype=np.uint8)}


@given(header=st.binary(max_size=40), arrays=ARRAYS)
def test_what_is_read_is_bit_for_bit_what_was_written(tmp_path_factory, header, arrays):
    path = tmp_path_factory.mktemp("archive") / "a.npz"
    checksum = write_archive(path, header, arrays)
    read_header, read = read_archive(path)
    assert read_header == header
    assert read.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (read[name].dtype, read[name].shape) == (array.dtype, array.shape)
        assert read[name].tobytes() == array.tobytes()
        assert not read[name].flags.writeable
    assert checksum == file_sha256(path)


def test_numpy_alone_can_open_an_archive(tmp_path):
    write_archive(tmp_path / "a.npz", b"{}", SMALL)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as opened:
        np.testing.assert_array_equal(opened["depth_m"], SMALL["depth_m"])


def test_the_same_content_gives_the_same_bytes(tmp_path):
    assert write_archive(tmp_path / "a", b"{}", SMALL) == write_archive(tmp_path / "b", b"{}", SMALL)


@given(data=st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("archive") / "a.npz"
    write_archive(path, b'{"kind": "test"}', SMALL)
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        header, arrays = read_archive(path)
    except DataError as error:
        assert "a.npz" in str(error)
    else:
        assert header == b'{"kind": "test"}'
        assert {name: array.tobytes() for name, array in arrays.items()} == {
            name: array.tobytes() for name, array in SMALL.items()
        }


@given(kept=st.floats(0, 0.999))
def test_a_truncated_archive_is_refused(tmp_path_factory, kept):
    path = tmp_path_factory.mktemp("archive") / "a.npz"
    write_archive(path, b"{}", SMALL)
    content = path.read_bytes()
    path.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DataError, match=r"a\.npz"):
        read_archive(path)


def rewritten(path, members):
    """Writes members with a checksum that fits, as a forger would."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members.items():
            file.writestr(name, content)
        file.comment = archive._digest(members)


def test_pickled_objects_are_refused_even_under_a_valid_checksum(tmp_path):
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    rewritten(tmp_path / "a.npz", {"header.json": b"{}", "x.npy": stream.getvalue()})
    with pytest.raises(DataError, match="without objects"):
        read_archive(tmp_path / "a.npz")


def test_an_array_that_claims_more_than_it_holds_is_refused_without_allocating_it(tmp_path):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    rewritten(tmp_path / "a.npz", {"header.json": b"{}", "x.npy": stream.getvalue()})
    with pytest.raises(DataError, match=r"a\.npz"):
        read_archive(tmp_path / "a.npz")


def test_an_archive_larger_than_allowed_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    write_archive(tmp_path / "a.npz", b"{}", SMALL)
    monkeypatch.setattr(archive, "LARGEST_BYTES", 100)
    with pytest.raises(DataError, match="more than the 100 allowed"):
        read_archive(tmp_path / "a.npz")


def test_a_missing_file_and_one_without_header_are_refused(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_archive(tmp_path / "a.npz")
    rewritten(tmp_path / "b.npz", {})
    with pytest.raises(DataError, match="checksum"):
        read_archive(tmp_path / "b.npz")


def test_a_name_that_a_zip_would_cut_short_is_refused(tmp_path):
    with pytest.raises(DataError, match="printable"):
        write_archive(tmp_path / "a.npz", b"{}", {"rgb\0front": np.zeros(1)})
    assert not list(tmp_path.iterdir())


def test_an_interrupted_write_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    write_archive(tmp_path / "a.npz", b"old", SMALL)
    monkeypatch.setattr("embodied.paths.os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        write_archive(tmp_path / "a.npz", b"new", SMALL)
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]
    assert read_archive(tmp_path / "a.npz")[0] == b"old"


def bombed(path, name, mebibytes, *, claimed=None, start=b"", **others):
    """Writes an archive with one member of zeros, whose size its directory may hide."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for other, content in others.items():
            file.writestr(other.replace("_", "."), content)
        with file.open(name, "w", force_zip64=True) as member:
            member.write(start)
            for _ in range(mebibytes):
                member.write(bytes(2**20))
        if claimed is not None:
            file.getinfo(name).file_size = claimed


def check_whole(path):
    with archive.names_file(path), zipfile.ZipFile(path) as file:
        archive.check_content(file)
        raise ValueError("sound, as far as the ZIP knows")


def header_of(shape, dtype="|u1"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": dtype, "fortran_order": False, "shape": shape})
    return stream.getvalue()


BOMBS = {
    "header": {"name": "header.json"},
    "index": {"name": "index.json", "header_json": b"{}"},
    "array without a header": {"name": "rgb.npy", "header_json": b"{}"},
    "array of another shape": {"name": "rgb.npy", "header_json": b"{}", "start": header_of((7,))},
    "array as its header says": {"name": "rgb.npy", "header_json": b"{}", "start": header_of((40 * 2**20,))},
    "size hidden, header": {"name": "header.json", "claimed": 100},
    "size hidden, array": {"name": "rgb.npy", "header_json": b"{}", "claimed": 100, "start": header_of((7,))},
    "size hidden, one byte less": {"name": "header.json", "claimed": 2**20 - 1},
}


@pytest.mark.parametrize("case", BOMBS)
def test_a_small_file_that_unpacks_to_much_is_refused_without_the_memory(tmp_path, case, monkeypatch):
    path = tmp_path / "bomb.npz"
    monkeypatch.setattr(archive, "SMALL_BYTES", 32 * 2**20)
    monkeypatch.setattr(archive, "LARGEST_HEADER_BYTES", 2**20)
    bombed(path, mebibytes=40, **BOMBS[case])
    assert path.stat().st_size < 2**17
    for read in (
        read_archive, archive.archive_header, lambda one: archive.peek_archive(one, ["rgb"]), open_trajectory,
        Container, check_whole,
    ):  # fmt: skip
        tracemalloc.start()
        try:
            read(path)
        except DataError as error:
            assert "bomb.npz" in str(error)
        else:
            assert read is archive.archive_header, "of the header alone the rest need not be known"
        finally:
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert peak < 6 * 2**20


def test_an_archive_of_black_images_is_read(tmp_path):
    """Rendered images may be compressed a thousandfold: up to 256 MiB nothing is refused for that."""
    write_archive(tmp_path / "a.npz", b"{}", {"rgb": np.zeros((50, 256, 256, 3), np.uint8)})
    assert (tmp_path / "a.npz").stat().st_size < 100_000
    assert read_archive(tmp_path / "a.npz")[1]["rgb"].shape == (50, 256, 256, 3)
    header, arrays, shapes = archive.peek_archive(tmp_path / "a.npz", ["rgb"])
    assert (header, shapes) == (b"{}", {"rgb": (50, 256, 256, 3)})
    assert not arrays["rgb"].flags.writeable
