"""Protobuf's wire encoding as far as ``tf.train.Example`` needs it, and Feast's ``Value``.

Written out because importing Feast takes seconds and TensorFlow is no part of this room
(protobuf.dev/programming-guides/encoding; feast/protos/feast/types/Value.proto).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import Any

from feature_store.schema import Field

# (dtype, is it a list) -> the tag of its field in Value; wire types: 0 varint, 2 length first, 5 four bytes
_TAGS = {
    ("string", False): 2 << 3 | 2,
    ("int64", False): 4 << 3 | 0,
    ("float32", False): 6 << 3 | 5,
    ("string", True): 12 << 3 | 2,
    ("int64", True): 14 << 3 | 2,
    ("float32", True): 16 << 3 | 2,
}
_FIRST = 1 << 3 | 2  # field 1, length first


def varint(value: int) -> bytes:
    """A non-negative integer; take a negative one modulo 2^64 first."""
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_LENGTHS = [varint(length) for length in range(1 << 12)]


def tagged(tag: bytes, body: bytes) -> bytes:
    """A field whose length comes first: text, bytes, a message, packed numbers."""
    length = len(body)
    return b"%b%b%b" % (tag, _LENGTHS[length] if length < len(_LENGTHS) else varint(length), body)


def encode_value(field: Field, value: Any) -> bytes:
    """A serialized Feast ``Value``: a scalar, or a sequence for a list field."""
    tag = varint(_TAGS[field.dtype, field.is_list])
    if field.is_list:
        return tagged(tag, _encode_list(field.dtype, value))
    if field.dtype == "string":
        return tagged(tag, value.encode())
    if field.dtype == "float32":
        return tag + struct.pack("<f", value)
    return tag + varint(value % (1 << 64))


def _encode_list(dtype: str, values: Sequence[Any]) -> bytes:
    first = varint(_FIRST)
    if dtype == "string":
        return b"".join([tagged(first, value.encode()) for value in values])
    if len(values) == 0:
        return b""
    if dtype == "float32":
        return tagged(first, struct.pack(f"<{len(values)}f", *values))
    return tagged(first, b"".join([varint(value % (1 << 64)) for value in values]))


def decode_value(field: Field, data: bytes | None) -> Any:
    """The reverse; the field's default where nothing is stored.

    Raises:
        ValueError: the value is of another type than the field.
    """
    if not data:
        return field.empty()
    tag, at = read_varint(data, 0)
    if tag != _TAGS[field.dtype, field.is_list]:
        raise ValueError(f"feature {field.name!r}: stored with tag {tag}, not as {field.dtype} {field.shape}")
    if field.dtype == "float32" and not field.is_list:
        return struct.unpack_from("<f", data, at)[0]
    number, at = read_varint(data, at)
    if field.is_list:
        return _decode_list(field.dtype, data[at : at + number])
    if field.dtype == "string":
        return data[at : at + number].decode()
    return _signed(number)


def _decode_list(dtype: str, data: bytes) -> list[Any]:
    values: list[Any] = []
    at = 0
    while at < len(data):
        _, at = read_varint(data, at)
        length, at = read_varint(data, at)
        part = data[at : at + length]
        at += length
        if dtype == "string":
            values.append(part.decode())
        elif dtype == "float32":
            values.extend(struct.unpack(f"<{len(part) // 4}f", part))
        else:
            values.extend(varints(part))
    return values


def varints(data: bytes) -> Iterator[int]:
    """Packed int64 values."""
    at = 0
    while at < len(data):
        number, at = read_varint(data, at)
        yield _signed(number)


def _signed(number: int) -> int:
    return number - (1 << 64) if number >= 1 << 63 else number


def read_varint(data: bytes, at: int) -> tuple[int, int]:
    """The integer that starts at ``at``, and where it ends."""
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 0x7F) << shift
        if byte < 0x80:
            return number, at
        shift += 7
