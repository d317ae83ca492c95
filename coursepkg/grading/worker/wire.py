r"""Values as bytes and back: the only language that the two sides of a pipe speak.

A frame is two little-endian numbers of four bytes, the lengths of a header and of a body, and
then these two. The header is JSON: numbers, texts, True, False and None stand for themselves,
and every other value is a list that begins with a tag. The body holds the bytes of arrays and
of long texts, one after the other and without gaps, in the order in which the header names them.

One side may be hostile. Nothing is looked up by name, nothing is called, and no length is believed:
`unpack` returns plain values or raises `WireError`.
"""

from __future__ import annotations

import json
import math
import re
import reprlib
import socket
import struct
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .run import OutOfTime, name_of, without_addresses

__all__ = ["Stranger", "WireError", "pack", "read", "snapshot", "unpack", "write"]

#: Of one frame.
NODES = 100_000
STRANGERS = 1_000
DEPTH = 50
HEADER = 1 << 23
BODY = (1 << 32) - 1

#: Seconds for which a message is waited for, however late it is: a reader that was kept from
#: reading finds what lies there already.
GRACE = 0.5

#: Longer texts go into the body; integers of more bits cannot be printed.
TEXT, BITS = 200, 10_000

DTYPE = re.compile(r"[<>|=]?[biufc]\d{1,2}")
STRING = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|$)', re.DOTALL)

#: Larger integers can be chosen such that a dict of them takes forever.
LARGEST_KEY = 1 << 53

SHORT = reprlib.Repr()
SHORT.maxstring = SHORT.maxother = 200


class WireError(ValueError):
    r"""These bytes are no frame, or a value is too large for one."""


class Stranger:
    r"""What stands for a value that cannot be sent: its class bears the name of the other's.

    Examples
    --------
    >>> snapshot({1, 2})
    {1, 2}
    >>> type(snapshot({1, 2})).__name__, isinstance(snapshot({1, 2}), Stranger)
    ('set', True)
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


def pack(message: dict[str, Any], limit: int = BODY) -> bytes:
    r"""Return the frame of a message.

    Parameters
    ----------
    message : dict
        Keys are texts, numbers or None. Values are None, bool, int, float, complex, str, bytes,
        tuples, lists and dicts of these, arrays and scalars of NumPy, and tensors of PyTorch;
        each comes out with just the type that it went in with. Anything else, subclasses
        included, comes out as a `Stranger`. So does an entry of a dict that is too large.
    limit : int
        Length of the frame, at most; a small part of it is kept for the header.

    Raises
    ------
    WireError
        If the message has far too many entries. Nothing that a value does raises, except that
        a time limit goes on while its `__repr__` runs.

    Examples
    --------
    >>> unpack(pack({"size": (3, 4), "mean": np.float32(0.5)}))
    {'size': (3, 4), 'mean': np.float32(0.5)}
    """
    packer = _Packer(limit)
    try:
        header = json.dumps(packer.node(message, 0), separators=(",", ":")).encode()
    except _TooLarge:
        raise WireError(f"a message with {len(message)} entries is too large") from None
    body = b"".join(packer.body)
    return struct.pack("<II", len(header), len(body)) + header + body


def unpack(data: bytes | bytearray) -> dict[str, Any]:
    r"""Return the message of a frame.

    Raises
    ------
    WireError
        If the bytes are anything but one whole frame, whoever sent them. Nothing else.
    """
    if len(data) < 8:
        raise WireError(f"{len(data)} bytes are too few for a frame")
    header, body = struct.unpack("<II", data[:8])
    if len(data) != 8 + header + body:
        raise WireError(f"a frame of {8 + header + body} bytes came with {len(data)}")
    if header > HEADER:
        raise WireError(f"a header of {header} bytes is too long; {HEADER} is the limit")
    try:
        node = _json(bytes(data[8 : 8 + header]))
        unpacker = _Unpacker(memoryview(data)[8 + header :])
        message = unpacker.value(node, 0)
    except WireError:
        raise
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError, RuntimeError) as e:
        raise WireError(f"not a frame: {type(e).__name__}: {e}"[:200]) from None
    if unpacker.position != body:
        raise WireError(f"{body - unpacker.position} bytes of the body belong to nothing")
    if type(message) is not dict:
        raise WireError(f"a message is a dict, and not a {type(message).__name__}")
    return message


def _json(header: bytes) -> Any:
    r"""Parse a header, unless it would become much larger by that."""
    bare = STRING.sub(b"", header)
    if b"{" in bare or bare.count(b"[") > 2 * NODES:
        raise WireError("the header holds what no header holds")
    return json.loads(header)


def snapshot(value: Any, limit: int = BODY) -> Any:
    r"""Return a value as it comes out at the other end, now and for good.

    It shares no memory with `value`, and runs no code of it when it is used. `limit` is that of
    `pack`.
    """
    return unpack(pack({"": value}, limit))[""]


def write(
    sock: socket.socket,
    message: dict[str, Any],
    deadline: float | None = None,
    limit: int = BODY,
) -> None:
    r"""Send a message, by a deadline on the clock of `time.monotonic`, if one is given.

    Raises
    ------
    TimeoutError
        If the other side does not read it in time.
    OSError
        If the other side is gone.
    """
    sock.settimeout(_left(deadline))
    sock.sendall(pack(message, limit))


def read(sock: socket.socket, limit: int = BODY, deadline: float | None = None) -> dict[str, Any]:
    r"""Receive one message, by a deadline on the clock of `time.monotonic`, if one is given.

    Raises
    ------
    WireError
        If what comes is no frame, or one of more than `limit` bytes, which is not read then.
    TimeoutError
        If it is not there in time.
    EOFError
        If the other side is gone, be it in the midst of a frame.
    """
    lengths = _received(sock, 8, _at_least(deadline))
    size = sum(struct.unpack("<II", lengths))
    if size > limit:
        raise WireError(f"a frame of {size} bytes is too large; {limit} is the limit")
    return unpack(lengths + _received(sock, size, _at_least(deadline)))


def _at_least(deadline: float | None) -> float | None:
    return None if deadline is None else max(deadline, time.monotonic() + GRACE)


def _received(sock: socket.socket, size: int, deadline: float | None) -> bytearray:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        sock.settimeout(_left(deadline))
        try:
            count = sock.recv_into(rest)
        except ConnectionResetError:
            count = 0
        if not count:
            raise EOFError(f"the other side is gone, {len(rest)} bytes before the end")
        rest = rest[count:]
    return data


def _left(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("the other side did not answer in time")
    return left


class _TooLarge(Exception):
    r"""A value does not fit into what is left of a frame."""


class _Packer:
    r"""Turns values into nodes of the header, and collects the body."""

    def __init__(self, limit: int) -> None:
        self.header = min(HEADER, limit // 4)
        self.room = limit - self.header - 8
        self.nodes = NODES
        self.strangers = STRANGERS
        self.body: list[bytes] = []

    def node(self, value: Any, depth: int) -> Any:
        self.nodes -= 1
        self._spend(30)
        if self.nodes < 0 or depth > DEPTH:
            raise _TooLarge
        kind = type(value)
        if value is None or kind is bool or kind is float:
            return value
        try:
            found = PACK[kind](self, value, depth) if kind in PACK else self._other(value, kind)
        except (OutOfTime, _TooLarge):
            raise
        except BaseException:
            found = None
        return found if found is not None else self._stranger(value)

    def _spend(self, characters: int) -> None:
        r"""Count what the header will have, at most."""
        self.header -= characters
        if self.header < 0:
            raise _TooLarge

    def _bytes(self, data: bytes) -> int:
        if len(data) > self.room:
            raise _TooLarge
        self.room -= len(data)
        self.body.append(data)
        return len(data)

    def _other(self, value: Any, kind: type) -> Any:
        r"""Return the node of a scalar of NumPy or of a tensor, or None."""
        torch = sys.modules.get("torch")
        if torch is not None and kind in (torch.Tensor, torch.nn.Parameter):
            return self._tensor(torch, value)
        if issubclass(kind, np.generic) and value.dtype.type is kind and _sent(value.dtype):
            return ["scalar", value.dtype.str, self._bytes(value.tobytes())]
        return None

    def _tensor(self, torch: Any, value: Any) -> Any:
        try:
            array = torch.Tensor.detach(value).cpu().resolve_conj().resolve_neg().numpy()
        except (RuntimeError, TypeError):  # sparse, or of a type that NumPy lacks
            return self._stranger(value, f"Tensor of {value.dtype}")
        return ["tensor", *self._array(array, 0)[1:]]

    def _array(self, value: NDArray[Any], depth: int) -> Any:
        if not _sent(value.dtype):
            return self._stranger(value, f"array of dtype {value.dtype}")
        if value.nbytes > self.room:
            raise _TooLarge
        self._spend(20 * value.ndim)
        return ["array", value.dtype.str, list(value.shape), self._bytes(value.tobytes())]

    def _int(self, value: int, depth: int) -> Any:
        bits = value.bit_length()
        if bits > BITS:
            return self._stranger(value, f"int of {bits} bits", f"<{bits} bits>")
        self._spend(bits // 4)
        return value if bits < 64 else ["int", hex(value)]

    def _complex(self, value: complex, depth: int) -> Any:
        self._spend(30)
        return ["complex", value.real, value.imag]

    def _str(self, value: str, depth: int) -> Any:
        if len(value) > TEXT:
            return ["text", self._bytes(value.encode("utf-8", "replace"))]
        self._spend(12 * len(value))
        return value

    def _blob(self, value: bytes, depth: int) -> Any:
        return ["bytes", self._bytes(value)]

    def _tuple(self, value: tuple[Any, ...], depth: int) -> Any:
        return ["tuple", *(self.node(item, depth + 1) for item in value)]

    def _list(self, value: list[Any], depth: int) -> Any:
        return ["list", *(self.node(item, depth + 1) for item in value)]

    def _dict(self, value: dict[Any, Any], depth: int) -> Any:
        if not all(map(_is_key, value)):
            return None
        node = ["dict"]
        for key, item in value.items():
            node += [self.node(key, depth + 1), self._entry(item, depth + 1)]
        return node

    def _entry(self, value: Any, depth: int) -> Any:
        r"""Return the node of a value, or that of a stranger if it is too large."""
        before = self.nodes, self.header, self.room, self.strangers, len(self.body)
        try:
            return self.node(value, depth)
        except _TooLarge:
            self.nodes, self.header, self.room, self.strangers, count = before
            del self.body[count:]
            self.nodes -= 1
            if self.nodes < 0:
                raise
            kind = "array" if type(value) is np.ndarray else name_of(type(value))
            return self._stranger(value, f"{kind} too large to be handed back")

    def _stranger(self, value: Any, name: str = "", text: str = "") -> Any:
        if issubclass(type(value), Stranger):
            text = value.text
        text = _plain(text or _shown(value), 400)
        name = _plain(name or name_of(type(value)), 80)
        self._spend(12 * (len(text) + len(name)))
        self.strangers -= 1
        if self.strangers < 0:
            raise _TooLarge
        return ["stranger", name, text]


PACK: dict[type, Callable[[_Packer, Any, int], Any]] = {
    int: _Packer._int,
    complex: _Packer._complex,
    str: _Packer._str,
    bytes: _Packer._blob,
    tuple: _Packer._tuple,
    list: _Packer._list,
    dict: _Packer._dict,
    np.ndarray: _Packer._array,
}


def _is_key(key: Any) -> bool:
    kind = type(key)
    if kind is int:
        return -LARGEST_KEY < int(key) < LARGEST_KEY
    return kind is str or kind is bool or key is None


def _sent(dtype: np.dtype[Any]) -> bool:
    return DTYPE.fullmatch(dtype.str) is not None


def _shown(value: Any) -> str:
    try:
        if type(value) in (str, bytes, bytearray):
            value = value[:200]
        return without_addresses(SHORT.repr(value))
    except OutOfTime:
        raise
    except BaseException:
        return f"<{name_of(type(value))}>"


def _plain(text: str, length: int) -> str:
    return "".join(c if c.isprintable() or c == "\n" else " " for c in str(text)[:length])


class _Unpacker:
    r"""Turns nodes of the header into values, and consumes the body."""

    def __init__(self, body: memoryview) -> None:
        self.body = body
        self.position = 0
        self.nodes = 0
        self.strangers = 0

    def value(self, node: Any, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > NODES:
            raise WireError(f"more than {NODES} values")
        if depth > DEPTH:
            raise WireError(f"more than {DEPTH} levels")
        if type(node) is str:
            return _whole(node)
        if type(node) is not list:
            return node
        tag, *rest = node
        if type(tag) is not str or tag not in UNPACK:
            raise WireError(f"no such tag: {tag!r:.40}")
        return UNPACK[tag](self, rest, depth)

    def _take(self, size: Any) -> memoryview:
        if type(size) is not int or not 0 <= size <= len(self.body) - self.position:
            raise WireError(f"{size!r:.40} bytes of {len(self.body) - self.position}")
        self.position += size
        return self.body[self.position - size : self.position]

    def _tuple(self, rest: list[Any], depth: int) -> tuple[Any, ...]:
        return tuple(self._list(rest, depth))

    def _list(self, rest: list[Any], depth: int) -> list[Any]:
        return [self.value(node, depth + 1) for node in rest]

    def _dict(self, rest: list[Any], depth: int) -> dict[Any, Any]:
        if len(rest) % 2:
            raise WireError("a key without a value")
        found: dict[Any, Any] = {}
        for key_node, node in zip(rest[::2], rest[1::2], strict=True):
            key = self.value(key_node, depth + 1)
            if not _is_key(key) or key in found:
                raise WireError(f"no key, or one that was there: {key!r:.40}")
            found[key] = self.value(node, depth + 1)
        return found

    def _int(self, rest: list[Any], depth: int) -> int:
        (text,) = rest
        if type(text) is not str or len(text) > BITS // 4 + 8:
            raise WireError("no such integer")
        return int(text, 16)

    def _complex(self, rest: list[Any], depth: int) -> complex:
        real, imag = rest
        if type(real) is not float or type(imag) is not float:
            raise WireError("no such complex number")
        return complex(real, imag)

    def _text(self, rest: list[Any], depth: int) -> str:
        (size,) = rest
        return bytes(self._take(size)).decode("utf-8", "replace")

    def _bytes(self, rest: list[Any], depth: int) -> bytes:
        (size,) = rest
        return bytes(self._take(size))

    def _array(self, rest: list[Any], depth: int) -> NDArray[Any]:
        name, shape, size = rest
        dtype = _dtype(name)
        if type(shape) is not list or len(shape) > 32:
            raise WireError("no such shape")
        if not all(type(length) is int and 0 <= length <= BODY for length in shape):
            raise WireError(f"no such shape: {shape!r:.40}")
        if math.prod(shape) * dtype.itemsize != size or math.prod(s or 1 for s in shape) > BODY:
            raise WireError(f"an array of {shape!r:.40} does not have {size!r:.20} bytes")
        data = self._take(size)
        if dtype.kind == "b":  # other bytes than 0 and 1 would be neither True nor False
            return np.array(np.frombuffer(data, np.uint8) != 0).reshape(shape)
        return np.frombuffer(data, dtype).reshape(shape).copy()

    def _scalar(self, rest: list[Any], depth: int) -> Any:
        name, size = rest
        return self._array([name, [], size], depth)[()]

    def _tensor(self, rest: list[Any], depth: int) -> Any:
        array = self._array(rest, depth)
        torch = sys.modules.get("torch")
        if torch is None:
            return _made("Tensor", f"<a tensor of shape {array.shape}>")
        return torch.from_numpy(array)

    def _stranger(self, rest: list[Any], depth: int) -> Stranger:
        name, text = rest
        self.strangers += 1
        if type(name) is not str or type(text) is not str or self.strangers > STRANGERS:
            raise WireError("no such stranger")
        return _made(_plain(_whole(name), 80), _plain(_whole(text), 400))


UNPACK: dict[str, Callable[[_Unpacker, list[Any], int], Any]] = {
    "tuple": _Unpacker._tuple,
    "list": _Unpacker._list,
    "dict": _Unpacker._dict,
    "int": _Unpacker._int,
    "complex": _Unpacker._complex,
    "text": _Unpacker._text,
    "bytes": _Unpacker._bytes,
    "array": _Unpacker._array,
    "scalar": _Unpacker._scalar,
    "tensor": _Unpacker._tensor,
    "stranger": _Unpacker._stranger,
}


def _made(name: str, text: str) -> Stranger:
    stranger: Stranger = type(name or "object", (Stranger,), {})(text)
    return stranger


def _dtype(name: Any) -> np.dtype[Any]:
    if type(name) is not str or not DTYPE.fullmatch(name):
        raise WireError(f"no such dtype: {name!r:.40}")
    return np.dtype(name)


def _whole(text: str) -> str:
    r"""Return text with a mark in the place of every half of a pair that stands alone."""
    if text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
