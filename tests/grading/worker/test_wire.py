"""Values come out as they went in, and hostile bytes come to nothing."""

import contextlib
import json
import math
import socket
import struct
import sys
import threading
import time

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from coursepkg.grading.worker import wire
from coursepkg.grading.worker.run import OutOfTime, time_limit
from coursepkg.grading.worker.wire import Stranger, WireError, pack, read, snapshot, unpack, write

dtypes = st.one_of(
    npst.boolean_dtypes(),
    npst.integer_dtypes(endianness="?"),
    npst.unsigned_integer_dtypes(endianness="?"),
    npst.floating_dtypes(endianness="?"),
    npst.complex_number_dtypes(endianness="?"),
)
arrays = npst.arrays(dtypes, npst.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4))
scalars = arrays.filter(lambda a: a.size).map(lambda a: a.flat[0])
plain = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(-(2**4000), 2**4000),
    st.floats(),
    st.complex_numbers(),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.text(min_size=150, max_size=300),
    st.binary(),
    arrays,
    scalars,
)
keys = st.one_of(st.text(max_size=5), st.integers(-9, 9), st.none())
values = st.recursive(
    plain,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(tuple),
        st.dictionaries(keys, inner, max_size=4),
    ),
    max_leaves=12,
)


def same(a, b) -> bool:
    """Say whether two values are the same in type, shape and every bit that can be seen."""
    if type(a) is not type(b):
        return False
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return list(a) == list(b) and all(map(same, a.values(), b.values()))
    if isinstance(a, np.ndarray | np.generic):
        a, b = np.asarray(a), np.asarray(b)
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    return repr(a) == repr(b)


@given(st.dictionaries(st.text(max_size=5), values, max_size=4))
def test_values_come_out_as_they_went_in(message):
    frame = pack(message)
    assert same(unpack(frame), message)
    assert pack(unpack(frame)) == frame


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12).reshape(3, 4).T,
        np.arange(12)[::-2],
        np.broadcast_to(1.5, (2, 3)),
        np.asfortranarray(np.eye(3)),
        np.array(7),
        np.zeros((0, 3)),
        np.array([1, 2], ">i4"),
        np.array([True, False]),
        np.array([np.longdouble(1) / 3]),
        np.array([1 + 2j], np.complex64),
    ],
    ids=str,
)
def test_arrays_of_every_layout(array):
    back = snapshot(array)
    assert same(back, array.copy())
    assert back.flags.owndata or back.base.flags.owndata
    assert back.flags.writeable


def test_a_snapshot_shares_no_memory():
    inner = np.zeros(2)
    kept = snapshot([inner])
    inner[:] = 7
    assert kept[0].tolist() == [0, 0]


def test_tensors_come_out_as_tensors():
    for tensor in (
        torch.arange(6.0).reshape(2, 3).T,
        torch.ones(2, requires_grad=True) * 2,
        torch.nn.Parameter(torch.zeros(2, dtype=torch.float16)),
        torch.tensor(3),
        torch.tensor([1 + 2j]).conj(),
    ):
        back = snapshot(tensor)
        assert type(back) is torch.Tensor
        assert back.dtype == tensor.dtype
        assert torch.equal(back, tensor.detach())
    assert repr(type(snapshot(torch.ones(1, dtype=torch.bfloat16))).__name__) == repr(
        "Tensor of torch.bfloat16"
    )
    assert isinstance(snapshot(torch.ones(2).to_sparse()), Stranger)


def test_a_tensor_where_there_is_no_torch_is_a_stranger(monkeypatch):
    frame = pack({"x": torch.ones(2, 3)})
    monkeypatch.delitem(sys.modules, "torch")
    value = unpack(frame)["x"]
    assert type(value).__name__ == "Tensor"
    assert repr(value) == "<a tensor of shape (2, 3)>"


class Hostile:
    """Raises whatever is done with it."""

    def __getattribute__(self, name):
        raise RuntimeError

    def fail(*args):
        raise SystemExit

    __repr__ = __len__ = __iter__ = __array__ = __eq__ = __hash__ = __bool__ = fail


class Meta(type):
    def __hash__(cls):
        raise RuntimeError

    def __eq__(cls, other):
        raise RuntimeError

    @property
    def __name__(cls):
        raise RuntimeError


class Nameless(metaclass=Meta):
    pass


class Table(np.ndarray):
    pass


class Real(float):
    pass


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (Hostile(), "Hostile"),
        (Nameless(), "Nameless"),
        (np.arange(3).view(Table), "Table"),
        (np.ma.array([1]), "MaskedArray"),
        (np.array([None, 1]), "array of dtype object"),
        (np.array(["a"]), "array of dtype <U1"),
        (np.datetime64("2020-01-01"), "datetime64"),
        (Real(3), "Real"),
        ({1, 2}, "set"),
        ({Real(3): 1}, "dict"),
        ({1.5: 1}, "dict"),
        ({2**60: 1}, "dict"),
        (1 << 20_000, "int of 20001 bits"),
        (range(3), "range"),
        (print, "builtin_function_or_method"),
        (int, "type"),
    ],
    ids=lambda v: v if type(v) is str else "",
)
def test_anything_else_is_a_stranger_with_a_name(value, name):
    back = snapshot([value])[0]
    assert isinstance(back, Stranger)
    assert type(back).__name__ == name
    assert len(repr(back)) <= 400
    assert same(snapshot({"": back})[""].text, back.text)


def test_a_stranger_says_nothing_of_addresses():
    assert repr(snapshot(object())) == "<object object>"
    assert "0x" not in repr(snapshot(lambda: 0))


def test_a_repr_that_goes_on_for_ever_is_stopped():
    class Endless:
        def __repr__(self):
            while True:
                pass

    with pytest.raises(OutOfTime), time_limit(0.1):
        pack({"x": Endless()})


def nested(depth: int) -> list:
    value: list = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    "large",
    [nested(60), [0] * 200_000, [[0] * 400] * 400, ["ab" * 90] * 90_000, [{1}] * 2000],
    ids=["deep", "long", "wide", "texts", "strangers"],
)
def test_an_entry_that_is_too_large_is_a_stranger_and_the_others_stay(large):
    back = unpack(pack({"before": 1, "large": large, "after": np.ones(2)}))
    assert type(back["large"]).__name__ == "list too large to be handed back"
    assert back["before"] == 1
    assert back["after"].tolist() == [1, 1]


def test_a_circle_ends():
    circle: list = []
    circle.append(circle)
    assert isinstance(snapshot(circle), Stranger)


def test_no_frame_is_longer_than_its_limit():
    message = {"a": np.zeros(50_000), "b": np.zeros(50_000), "c": "x" * 300_000, "d": 1}
    frame = pack(message, limit=600_000)
    assert len(frame) <= 600_000
    back = unpack(frame)
    assert type(back["b"]).__name__ == "array too large to be handed back"
    assert type(back["c"]).__name__ == "str too large to be handed back"
    assert (back["a"].size, back["d"]) == (50_000, 1)


def test_a_message_of_far_too_many_entries_is_refused():
    with pytest.raises(WireError):
        pack(dict.fromkeys(range(100_001), 0))


def test_half_a_pair_does_not_come_out():
    assert snapshot("a\ud800b") == "a\ufffdb"
    assert snapshot("\ud83d\ude00") == "\U0001f600"
    assert snapshot("\ud800" * 500) == "?" * 500
    assert unpack(frame(["dict", "x", "\udc80"]))["x"] == "\ufffd"


def frame(node, body: bytes = b"") -> bytes:
    """Return a frame as an enemy may write it."""
    header = node if isinstance(node, bytes) else json.dumps(node).encode()
    return struct.pack("<II", len(header), len(body)) + header + body


def message(node, body: bytes = b"") -> bytes:
    return frame(["dict", "x", node], body)


HOSTILE = {
    "nothing": b"",
    "short": b"\1\0\0",
    "a header that is not there": struct.pack("<II", 10, 0),
    "lengths that lie": struct.pack("<II", 2, 4) + b"{}",
    "lengths of four gigabytes": struct.pack("<II", 2**32 - 1, 2**32 - 1),
    "more than it says": frame(["dict"]) + b"x",
    "no JSON": frame(b"["),
    "no UTF-8": frame(b'["dict", "\xff", 1]'),
    "an object": frame({"x": 1}),
    "an object within": message([{"x": 1}]),
    "no dict": frame(["list"]),
    "a number": frame(3),
    "an empty list": message([]),
    "an unknown tag": message(["object", 1]),
    "a tag that is a list": message([["array"], 1]),
    "a tag that is a number": message([1, 1]),
    "a tag of the class": message(["__class__", 1]),
    "a key without a value": frame(["dict", "x"]),
    "a key twice": frame(["dict", "x", 1, "x", 2]),
    "a key that is a list": frame(["dict", ["list"], 1]),
    "a key that is a float": frame(["dict", 1.5, 1]),
    "a key that is huge": frame(["dict", ["int", hex(2**61 - 1)], 1]),
    "a huge plain key": frame(["dict", 2**61 - 1, 1]),
    "an integer of text": message(["int", "ten"]),
    "an integer of a number": message(["int", 10]),
    "an integer too long": message(["int", "0x" + "f" * 100_000]),
    "a plain integer too long": frame(b'["dict", "x", ' + b"9" * 5000 + b"]"),
    "complex of texts": message(["complex", "1", "2"]),
    "half a complex": message(["complex", 1.0]),
    "a text beyond the body": message(["text", 5], b"abc"),
    "a text before the body": message(["text", -1], b"abc"),
    "a text of half a byte": message(["text", 1.5], b"abc"),
    "bytes of True": message(["bytes", True], b"a"),
    "a body that belongs to nothing": message(1, b"abc"),
    "an object array": message(["array", "|O", [1], 8], bytes(8)),
    "an object array, short": message(["array", "O8", [1], 8], bytes(8)),
    "a void array": message(["array", "|V8", [1], 8], bytes(8)),
    "a structure": message(["array", "i4,i4", [1], 8], bytes(8)),
    "a dtype that is a list": message(["array", [["a", "<i4"]], [1], 4], bytes(4)),
    "a dtype that NumPy lacks": message(["array", "<f3", [1], 3], bytes(3)),
    "a dtype of no size": message(["array", "<f0", [1], 0]),
    "a date": message(["array", "<M8", [1], 8], bytes(8)),
    "a string dtype": message(["array", "<U1", [1], 4], bytes(4)),
    "a negative shape": message(["array", "<f8", [-1], 8], bytes(8)),
    "two negative sides": message(["array", "<f8", [-1, -1], 8], bytes(8)),
    "a shape of True": message(["array", "|i1", [True], 1], bytes(1)),
    "a shape of floats": message(["array", "<f8", [1.0], 8], bytes(8)),
    "a shape that is a number": message(["array", "<f8", 1, 8], bytes(8)),
    "a shape that lies": message(["array", "<f8", [3], 8], bytes(8)),
    "a shape that wraps around": message(["array", "<f8", [2**32, 2**32], 0]),
    "nothing, but huge": message(["array", "<f8", [0, 2**31, 2**31], 0]),
    "too many sides": message(["array", "|i1", [1] * 65, 1], bytes(1)),
    "an array beyond the body": message(["array", "<f8", [2], 16], bytes(8)),
    "a scalar of two": message(["scalar", "<f8", 16], bytes(16)),
    "a tensor of objects": message(["tensor", "|O", [1], 8], bytes(8)),
    "a stranger without a name": message(["stranger", 1, "x"]),
    "a stranger of one word": message(["stranger", "x"]),
    "too deep": message(nested(60) and json.loads('["list",' * 60 + "1" + "]" * 60)),
    "so deep that JSON gives up": frame(b"[" * 100_000 + b"]" * 100_000),
    "so deep and never closed": frame(b"[" * 100_000),
    "too many nodes": message(["list", *[0] * 100_001]),
    "too many strangers": message(["list", *[["stranger", "x", "y"]] * 1001]),
    "millions of lists": frame(b"[" + b"[]," * 2_000_000 + b"[]]"),
    "millions of objects": frame(b"[" + b"{}," * 2_000_000 + b"{}]"),
    "a long header": frame(b'["dict", "x", "' + b"x" * (9 << 20) + b'"]'),
    "quotes without end": frame(b'"' + rb"\"" * 1_000_000),
}


@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE)
def test_hostile_frames_are_refused_at_once(data):
    start = time.process_time()
    with pytest.raises(WireError):
        unpack(data)
    assert time.process_time() - start < 1


@given(st.data())
def test_a_damaged_frame_gives_a_message_or_is_refused(data):
    whole = bytearray(pack({"a": np.arange(3.0), "b": [(1, "x" * 300), None], "c": np.float32(2)}))
    for _ in range(data.draw(st.integers(1, 3))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        assert type(unpack(whole)) is dict


@given(st.binary(max_size=60))
def test_noise_is_refused(noise):
    with pytest.raises(WireError):
        unpack(struct.pack("<II", len(noise), 0) + noise)


def test_truth_is_one_or_zero():
    value = unpack(message(["array", "|b1", [2], 2], b"\x02\x00"))["x"]
    assert value.view(np.uint8).tolist() == [1, 0]


def test_nan_and_infinity_in_any_place():
    value = snapshot([math.nan, -math.inf, complex(math.nan, math.inf), np.float32("nan")])
    assert repr(value) == "[nan, -inf, (nan+infj), np.float32(nan)]"


@pytest.fixture
def pair():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_messages_through_a_socket(pair):
    ours, theirs = pair
    large = {"x": np.arange(300_000)}  # more than a socket holds
    thread = threading.Thread(target=write, args=(theirs, large))
    thread.start()
    assert read(ours, 1 << 23)["x"].sum() == large["x"].sum()
    thread.join()
    write(ours, {"x": 1}, time.monotonic() + 5)
    assert read(theirs, 1 << 20, time.monotonic() + 5) == {"x": 1}


def test_a_frame_over_the_limit_is_not_read(pair):
    ours, theirs = pair
    theirs.sendall(struct.pack("<II", 10, 1 << 30))
    with pytest.raises(WireError, match="1073741834 bytes is too large; 1000 is the limit"):
        read(ours, 1000)


def test_a_deadline_holds_also_between_drops(pair):
    ours, theirs = pair
    theirs.sendall(struct.pack("<II", 10, 0) + b"abc")
    with pytest.raises(TimeoutError):
        read(ours, 1000, time.monotonic() + 0.05)
    with pytest.raises(TimeoutError):
        read(ours, 1000, time.monotonic() - 1)


@pytest.mark.parametrize("late", [0, 100])
def test_what_lies_there_already_is_read_however_late(pair, late):
    ours, theirs = pair
    write(theirs, {"x": 1})
    assert read(ours, 1000, time.monotonic() - late) == {"x": 1}


def test_a_reader_that_does_not_read_does_not_hold_us(pair):
    with pytest.raises(TimeoutError):
        write(pair[0], {"x": np.zeros(1_000_000)}, time.monotonic() + 0.1)


@pytest.mark.parametrize("sent", [b"", b"\1\0", struct.pack("<II", 10, 0) + b"abc"])
def test_the_end_is_told(pair, sent):
    ours, theirs = pair
    theirs.sendall(sent)
    theirs.close()
    with pytest.raises(EOFError):
        read(ours, 1000)


def test_a_reset_is_an_end():
    server = socket.create_server(("127.0.0.1", 0))
    with server, socket.create_connection(server.getsockname()) as ours:
        theirs, _ = server.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        theirs.close()
        with pytest.raises(EOFError):
            read(ours, 1000)


def test_every_tag_can_be_read():
    assert set(wire.UNPACK) >= {"tuple", "list", "dict", "int", "complex", "bytes", "array"}
