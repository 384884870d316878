"""Groups of users on disk: which codes a user has, which prefix of them is the user's group, and of which version.

A group is named by the codes of a prefix, "12-7"; "" is everybody. What reads groups names the version that it was made
with, so that a model never meets the codes of another codebook.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from feature_store import folders
from feature_store.errors import DataError

KIND = "groups"
CODEBOOK, USERS, GROUPS = "codebook.npz", "users.parquet", "groups.parquet"
USERS_SCHEMA = pa.schema(
    [
        ("user_id", pa.string()),
        ("codes", pa.list_(pa.field("element", pa.int32()))),
        ("group", pa.string()),
        ("level", pa.int32()),
    ]
)
GROUPS_SCHEMA = pa.schema([("group", pa.string()), ("level", pa.int32()), ("members", pa.int64())])


def version_of(levels: np.ndarray, fitted_on: Mapping[str, Any]) -> str:
    """Names a codebook by its content (M, k, D) and what it was fitted on."""
    told = json.dumps(fitted_on, sort_keys=True).encode()
    return hashlib.sha256(np.ascontiguousarray(levels, np.float32).tobytes() + told).hexdigest()[:16]


def read(folder: Path, version: str = "", hashes: bool = False) -> dict[str, Any]:
    """The manifest of a folder of groups.

    Args:
        version: what the reader was made with; "" takes any.
    Raises:
        DataError: the folder is not whole, or its groups are of another version.
    """
    manifest = folders.read_manifest_of(KIND, Path(folder), "groups", hashes)
    require_version(manifest, version, folder)
    return manifest


def require_version(manifest: Mapping[str, Any], version: str, folder: Path) -> None:
    """
    Raises:
        DataError: what lies in ``folder`` is of groups of another version than ``version``; "" takes any.
    """
    if version and manifest["version"] != version:
        rule = f"is of another codebook: it must be {version!r}"
        raise DataError(rule, file=folder, field="version", value=manifest["version"])


def codebook(folder: Path) -> np.ndarray:
    """(M, k, D) float32."""
    with np.load(Path(folder) / CODEBOOK) as arrays:
        return arrays["levels"]


def group_names(folder: Path) -> frozenset[str]:
    """The groups there are, everybody ("") among them."""
    return frozenset(pq.read_table(Path(folder) / GROUPS, columns=["group"])["group"].to_pylist())


def name(codes: Sequence[int]) -> str:
    """The group of a prefix of codes."""
    return "-".join(map(str, codes))


def prefixes(codes: Sequence[int], names: Collection[str]) -> list[str]:
    """The groups that a user with these codes is in, from everybody to the smallest one."""
    found = [""]
    for length in range(1, len(codes) + 1):
        if (group := name(codes[:length])) not in names:
            break
        found.append(group)
    return found
