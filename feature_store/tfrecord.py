"""``tf.train.Example`` rows in TFRecord files, written and read without TensorFlow.

Formats: tensorflow/core/example/{example,feature}.proto in protobuf's wire encoding; a record is its length
(uint64), the length's masked CRC-32C, the bytes, and their masked CRC-32C, all little-endian
(tensorflow/core/lib/io/record_writer.h).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from feature_store.schema import Field
from feature_store.wire import read_varint, tagged, varint, varints

_POLYNOMIAL = 0x82F63B78  # Castagnoli, bits reversed
_MASK_DELTA = np.uint32(0xA282EAD8)
_CHECKED_BYTES = 1 << 20  # records whose checksums are computed together


def encode_examples(columns: pa.Table | pa.RecordBatch, fields: Sequence[Field]) -> list[bytes]:
    """One serialized ``tf.train.Example`` a row, features in the order of their names.

    Strings become bytes lists, int64 int64 lists, float32 float lists; no value may be null.
    """
    encoded = []
    for field in sorted(fields, key=lambda field: field.name):
        values = columns[field.name]
        values = values.combine_chunks() if isinstance(values, pa.ChunkedArray) else values
        if values.null_count:
            raise ValueError(f"feature {field.name!r} holds {values.null_count} nulls")
        encoded.append(_encode_feature(field, values))
    return [tagged(b"\x0a", b"".join(features)) for features in zip(*encoded, strict=True)]


def _encode_feature(field: Field, values: pa.Array) -> list[bytes]:
    """The entries (B,) of one feature in ``Features.feature``, a map from its name to a ``Feature``."""
    key = tagged(b"\x0a", field.name.encode())
    if field.is_list:
        offsets = np.asarray(values.offsets)
        values = values.flatten()
        offsets = offsets - offsets[0] if len(offsets) else offsets
    else:
        offsets = np.arange(len(values) + 1)
    kind, pieces = _encode_values(field.dtype, values)
    entries = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        body = b"".join(pieces[begin:end])
        if kind != _BYTES and body:
            body = tagged(b"\x0a", body)  # numbers are packed
        entries.append(tagged(b"\x0a", key + tagged(b"\x12", tagged(kind, body))))
    return entries


_BYTES, _FLOATS, _INTEGERS = b"\x0a", b"\x12", b"\x1a"  # Feature's oneof: fields 1, 2, 3


def _encode_values(dtype: str, values: pa.Array) -> tuple[int, list[bytes]]:
    if dtype == "string":
        unique = values.dictionary_encode()
        pieces = [tagged(b"\x0a", value.encode()) for value in unique.dictionary.to_pylist()]
        return _BYTES, [pieces[index] for index in unique.indices.to_pylist()]
    if dtype == "float32":
        raw = np.asarray(values, "<f4").tobytes()
        return _FLOATS, [raw[at : at + 4] for at in range(0, len(raw), 4)]
    return _INTEGERS, [varint(value % (1 << 64)) for value in values.to_pylist()]


def write_records(path: Path, records: Sequence[bytes]) -> None:
    """Writes one TFRecord file."""
    lengths = [len(record).to_bytes(8, "little") for record in records]
    with path.open("wb") as file:
        for length, length_crc, record, crc in zip(
            lengths, masked_crc32c(lengths), records, masked_crc32c(records), strict=True
        ):
            file.write(length + length_crc + record + crc)


def read_records(path: Path) -> Iterator[bytes]:
    """The records of one TFRecord file. Checksums are not looked at: a manifest has the file's hash."""
    with path.open("rb") as file:
        while head := file.read(12):
            yield file.read(int.from_bytes(head[:8], "little"))
            file.seek(4, 1)


def read_whole_records(path: Path) -> Iterator[tuple[bytes, int]]:
    """The records of a TFRecord file and where each ends, up to the first that is cut off or whose checksums do not
    hold: for a file whose writer may have been killed."""
    size = path.stat().st_size
    end = 0
    with path.open("rb") as file:
        while frames := _frames(file, size):
            lengths = masked_crc32c([head[:8] for head, _, _ in frames])
            sums = masked_crc32c([record for _, record, _ in frames])
            for (head, record, crc), length_crc, right in zip(frames, lengths, sums, strict=True):
                if head[8:] != length_crc or crc != right:
                    return
                end += len(record) + 16
                yield record, end


def _frames(file: BinaryIO, size: int) -> list[tuple[bytes, bytes, bytes]]:
    """The next length, record and checksum of each, unchecked; none that goes on past ``size`` bytes."""
    frames: list[tuple[bytes, bytes, bytes]] = []
    taken = 0
    while taken < _CHECKED_BYTES and len(head := file.read(12)) == 12:
        length = int.from_bytes(head[:8], "little")
        if file.tell() + length + 4 > size:
            break
        frames.append((head, file.read(length), file.read(4)))
        taken += length + 16
    return frames


def decode_examples(records: Sequence[bytes], fields: Sequence[Field]) -> pa.Table:
    """Columns of serialized ``tf.train.Example`` rows, one a field; what a row lacks is the field's default."""
    columns: dict[str, list[Any]] = {field.name: [] for field in fields}
    for record in records:
        features = dict(map(_entry, _messages(_messages(record)[0][1])))
        for field in fields:
            values = _decode_values(field.dtype, features.get(field.name, b""))
            empty = field.empty()
            columns[field.name].append(values or empty if field.is_list else next(iter(values), empty))
    return pa.table({field.name: pa.array(columns[field.name], field.arrow_type) for field in fields})


def _messages(data: bytes) -> list[tuple[int, bytes]]:
    """The (tag, body) of a message's fields, all of which begin with their length."""
    found, at = [], 0
    while at < len(data):
        tag, at = read_varint(data, at)
        length, at = read_varint(data, at)
        found.append((tag, data[at : at + length]))
        at += length
    return found


def _entry(field: tuple[int, bytes]) -> tuple[str, bytes]:
    """An entry of ``Features.feature``: the name, and its list as it is inside the ``Feature``."""
    (_, name), (_, feature) = _messages(field[1])
    return name.decode(), _messages(feature)[0][1]


def _decode_values(dtype: str, data: bytes) -> list[Any]:
    parts = [body for _, body in _messages(data)]
    if dtype == "string":
        return [part.decode() for part in parts]
    packed = b"".join(parts)
    return np.frombuffer(packed, "<f4").tolist() if dtype == "float32" else list(varints(packed))


def masked_crc32c(records: Sequence[bytes]) -> list[bytes]:
    """TFRecord's checksum of each record: its CRC-32C rotated right by 15 bits plus a constant."""
    crc = crc32c(records)
    masked = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + _MASK_DELTA
    raw = masked.astype("<u4").tobytes()
    return [raw[at : at + 4] for at in range(0, len(raw), 4)]


def crc32c(records: Sequence[bytes]) -> np.ndarray:
    """CRC-32C (B,) uint32 of each record, all records a byte further at each step."""
    lengths = np.array([len(record) for record in records], np.int64)
    order = np.argsort(-lengths, kind="stable")
    data = np.frombuffer(b"".join(records), np.uint8)
    starts = (np.cumsum(lengths) - lengths)[order]
    active = np.searchsorted(-lengths[order], -np.arange(lengths.max(initial=0)), side="left")
    state = np.full(len(records), 0xFFFFFFFF, np.uint32)
    for position, count in enumerate(active.tolist()):  # ``count`` records are longer than ``position``
        index = (state[:count] ^ data[starts[:count] + position]) & np.uint32(0xFF)
        state[:count] = _TABLE[index] ^ (state[:count] >> np.uint32(8))
    out = np.empty_like(state)
    out[order] = ~state
    return out


def _table() -> np.ndarray:
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(_POLYNOMIAL), table >> 1).astype(np.uint32)
    return table


_TABLE = _table()
