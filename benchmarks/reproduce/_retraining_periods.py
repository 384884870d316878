"""A data set's log cut by time into periods, which then arrive one after another as raw files."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from beam_jobs import ingest
from beam_jobs.options import BeamConfig
from feature_store import folders
from feature_store.config import DataConfig

_OTHERS = ("users", "items")


@dataclass(frozen=True)
class Periods:
    """The log in a folder: `events_<period>.parquet` from 0, `users.parquet`, `items.parquet`."""

    folder: Path
    count: int

    @classmethod
    def cut(cls, data: DataConfig, folder: Path, first: float, later: int) -> Periods:
        """Period 0 has the share `first` of the events; `later` ones share the rest evenly. Done once.

        A period ends at a time, so an event is never in an earlier period than one before it.
        """
        if not folder.is_dir():
            tables = folder.with_name("tables")
            ingest.run(data, tables, BeamConfig())
            events = pq.read_table(tables / "events.parquet")
            times = events["event_time"].cast(pa.int64()).to_numpy()
            ends = np.quantile(times, np.linspace(first, 1, later + 1), method="inverted_cdf")
            period = np.searchsorted(ends[:-1], times, side="left")  # an event at an end is of the period it ends
            with folders.new_folder(folder) as scratch:
                for number in range(later + 1):
                    part = events.filter(pc.equal(pa.array(period), number))
                    pq.write_table(part, scratch / f"events_{number:02d}.parquet", compression="zstd")
                for name in _OTHERS:
                    shutil.copy2(tables / f"{name}.parquet", scratch)
                folders.write_manifest(scratch, {"kind": "periods", "periods": later + 1})
        return cls(folder, later + 1)

    def arrive(self, raw: Path, period: int) -> None:
        """Puts the periods up to this one among the raw files; those that are there stay as they are."""
        raw.mkdir(parents=True, exist_ok=True)
        for name in (*_OTHERS, *(f"events_{number:02d}" for number in range(period + 1))):
            out, scratch = raw / f"{name}.parquet", raw / f".{name}.part"
            if not out.is_file():
                shutil.copy2(self.folder / f"{name}.parquet", scratch)
                scratch.rename(out)
