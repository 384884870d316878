"""What a job has written."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from feature_store import folders


def rows_of(folder: Path) -> list[dict[str, Any]]:
    """The rows of a folder's Parquet files, in the manifest's order."""
    files = folders.read_manifest(folder)["files"]
    return pa.concat_tables([pq.read_table(folder / part["file"]) for part in files]).to_pylist()
