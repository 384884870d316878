"""Protobuf's wire encoding as far as ``tf.train.Example`` needs it, and Feast's ``Value``.

Written out because importing Feast takes seconds and TensorFlow is no part of this room
(protobuf.dev/programming-guides/encoding; feast/protos/feast/types/Value.proto).
"""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

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
_HEADS = [varint(_FIRST) + length for length in _LENGTHS]


def tagged(tag: bytes, body: bytes | memoryview) -> bytes:
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
        texts = [value.encode() for value in values]
        if max(map(len, texts), default=0) < len(_HEADS):
            return b"".join([_HEADS[len(text)] + text for text in texts])
        return b"".join([tagged(first, text) for text in texts])
    if len(values) == 0:
        return b""
    if dtype == "float32":
        return tagged(first, struct.pack(f"<{len(values)}f", *values))
    return tagged(first, b"".join([varint(value % (1 << 64)) for value in values]))


def encode_column(field: Field, column: pa.Array) -> list[bytes]:
    """``encode_value`` of every row of a column without nulls; lists of strings by Arrow, without Python's own."""
    if field.is_list and field.dtype == "string":
        texts = column.flatten()
        lengths = pc.binary_length(texts)
        if len(texts) and pc.max(lengths).as_py() < len(_HEADS):
            return _encode_string_lists(varint(_TAGS["string", True]), column, texts.cast(pa.binary()), lengths)
    if field.is_list:
        return [encode_value(field, value) for value in column.to_pylist()]
    values = column.to_pylist()
    encoded = {value: encode_value(field, value) for value in set(values)}  # few of many, as a rule
    return [encoded[value] for value in values]


def _encode_string_lists(tag: bytes, column: pa.Array, texts: pa.Array, lengths: pa.Array) -> list[bytes]:
    heads = pa.array(_HEADS, pa.binary()).take(lengths)
    parts = pc.binary_join_element_wise(heads, texts, b"")  # what is one list's lies together
    ends = np.cumsum(np.r_[0, pc.binary_length(parts).to_numpy(zero_copy_only=False)])
    rows = ends[np.cumsum(np.r_[0, pc.list_value_length(column).to_numpy(zero_copy_only=False)])].tolist()
    data = memoryview(parts.buffers()[2])
    return [tagged(tag, data[first:end]) for first, end in itertools.pairwise(rows)]


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
        at += 1  # the tag, which is `_FIRST`
        length = data[at]
        if length < 0x80:  # one byte, as nearly always
            at += 1
        else:
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
