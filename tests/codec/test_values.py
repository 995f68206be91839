"""Plain values and arrays survive the codec; nothing else does, and no message costs more than its limits."""

import contextlib
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from embodied.codec import CodecLimits, decode, encode, require_carry
from embodied.errors import CodecError
from embodied.testing.contract import difference

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?", sizes=(16, 32, 64)),
)
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    DTYPES.flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0, max_side=4))),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(tuple), st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def marked(dtype="<f4", shape=(2,), data=bytes(8)) -> bytes:
    """An array as openpi writes it: with binary keys."""
    return msgpack.packb({b"__ndarray__": True, b"data": data, b"dtype": dtype, b"shape": list(shape)})


def native(value):
    """The same value with arrays in this machine's byte order."""
    if isinstance(value, np.ndarray):
        return value.astype(value.dtype.newbyteorder("="))
    if isinstance(value, dict):
        return {name: native(inner) for name, inner in value.items()}
    return tuple(native(inner) for inner in value) if isinstance(value, tuple) else value


@settings(max_examples=150, deadline=None)
@given(VALUES)
def test_plain_values_and_arrays_come_back_equal_in_the_byte_order_of_the_machine(value):
    assert not difference(decode(encode(value)), native(value))


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_a_value_or_a_codec_error(content):
    with contextlib.suppress(CodecError):
        decode(content)


@settings(max_examples=150, deadline=None)
@given(VALUES, st.data())
def test_a_message_with_a_byte_changed_or_its_end_cut_is_a_value_or_a_codec_error(value, data):
    content = bytearray(encode(value))
    content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    for damaged in (bytes(content), bytes(content[: data.draw(st.integers(0, len(content)))])):
        with contextlib.suppress(CodecError):
            decode(damaged)


@pytest.mark.parametrize(
    "content",
    [
        b"\xdd\xff\xff\xff\xff",  # An array of 2**32 - 1 values.
        b"\xdf\xff\xff\xff\xff",  # A map of as many.
        b"\xc6\xff\xff\xff\xff",  # As many bytes.
        b"\xdb\xff\xff\xff\xff",  # A text of as many.
        b"\xdc\x40\x00" * 600,  # Sequences of 16,384 values within each other.
        b"\x91" * 4000 + b"\xc0",
        b"\xdc\x40\x00" + (b"\xdc\x40\x00" + b"\x80" * 16383) * 60,  # Nearly a million empty mappings.
        b"\xdc\x40\x00" * 16 + b"\x80" * 2**23,  # Eight million empty mappings.
        marked(shape=(2**40, 2**40), data=b""),
        marked(shape=(0, 2**62), data=b""),
    ],
)
def test_claims_of_huge_messages_are_refused_before_they_are_allocated(content):
    tracemalloc.start()
    try:
        with pytest.raises(CodecError):
            decode(content)
        assert tracemalloc.get_traced_memory()[1] < 200e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "content",
    [
        marked(shape=(3,)),
        marked(data=bytes(7)),
        marked(shape=(-1, -2)),
        marked(shape=(True, 2)),
        marked(shape=(1,) * 17, data=bytes(4)),
        marked(dtype="|O"),
        marked(dtype="<c8"),
        marked(dtype="<M8[ns]"),
        marked(dtype="<U2"),
        marked(dtype="f4,f4"),
        marked(dtype="<f16"),
        marked(dtype="|b1", data=b"\x00\x02"),
        msgpack.packb({b"__ndarray__": True}),
        msgpack.packb({b"__npgeneric__": True, b"data": 300, b"dtype": "|u1"}),
        msgpack.packb({b"__npgeneric__": True, b"data": "x", b"dtype": "<f4"}),
        msgpack.packb({1: 2}),
        msgpack.packb(msgpack.ExtType(5, b"x")),
        msgpack.packb(msgpack.Timestamp(1)),
        msgpack.packb([msgpack.Timestamp(1)]),
        msgpack.packb(1) + b"\x01",
        b"\xa1\xff",
        b"",
    ],
)
def test_arrays_that_do_not_fit_their_shape_other_types_and_torn_messages_are_refused(content):
    with pytest.raises(CodecError):
        decode(content)


def test_arrays_are_written_as_openpi_writes_them_and_read_with_text_keys_too():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert encode({"a": array}) == msgpack.packb(
        {"a": {b"__ndarray__": True, b"data": array.tobytes(), b"dtype": "<f4", b"shape": (2, 3)}}
    )
    assert encode(np.float32(1.5)) == msgpack.packb({b"__npgeneric__": True, b"data": 1.5, b"dtype": "<f4"})
    text = {"__ndarray__": True, "data": array.tobytes(), "dtype": "<f4", "shape": (2, 3)}
    assert np.array_equal(decode(msgpack.packb({b"a": text}))["a"], array)


def test_big_endian_and_strided_arrays_arrive_in_order():
    array = np.arange(12, dtype=">i4").reshape(3, 4)[:, ::2]
    arrived = decode(encode(array))
    assert arrived.dtype == np.dtype("=i4")
    assert np.array_equal(arrived, array)
    foreign = decode(marked(dtype=">f4", data=np.array([1, 2], ">f4").tobytes()))
    assert foreign.dtype.isnative
    assert foreign.tolist() == [1.0, 2.0]
    assert not arrived.flags.writeable
    assert not foreign.flags.writeable


@pytest.mark.parametrize(
    "value",
    [
        object(),
        {1: 2},
        {"a": np.array([None])},
        np.array(["a"]),
        np.float64(1) + 1j,
        {"__ndarray__": 1},
        2**64,
        "\ud800",
        {"a": {2}},
        np.zeros(2, np.longdouble),
    ],
)
def test_what_cannot_be_read_is_not_written(value):
    with pytest.raises(CodecError):
        encode(value)


def test_limits_of_length_values_entries_and_depth_hold_for_writers_and_readers():
    for limits, value in (
        (CodecLimits(message_bytes=10), "a" * 20),
        (CodecLimits(values=3), (1, 2, (3, 4))),
        (CodecLimits(entries=3), (1, 2, 3, 4)),
        (CodecLimits(depth=2), (((1,),),)),
    ):
        with pytest.raises(CodecError, match="at most"):
            encode(value, limits)
        with pytest.raises(CodecError):
            decode(encode(value), limits)
    with pytest.raises(CodecError, match="positive"):
        CodecLimits(depth=0)


@pytest.mark.parametrize("carry", [None, {}, {"turn": 1, "seen": np.zeros(3), "then": ("a", {"b": None})}])
def test_mappings_of_names_to_arrays_and_plain_values_are_carries(carry):
    require_carry(carry)


@pytest.mark.parametrize("carry", [1, "page", [1], np.zeros(2), {"a": [1]}, {"a": object()}, {2: 3}])
def test_other_carries_are_refused_in_words(carry):
    with pytest.raises(CodecError, match=r"carry"):
        require_carry(carry)
