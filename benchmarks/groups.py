"""RQ-KMeans groups beside faiss's ResidualQuantizer and flat k-means: `antiphon bench groups`.

All three learn from the same sample of the same vectors, one after another, each in a process of its own. Vectors are
made: of length 1, in `COARSE` clusters of `FINE` smaller ones each, with about as much noise as structure. Flat k-means
has as many cells as ours has groups that are used (prefixes with at least `--min-members` vectors). ``error`` is the
mean squared distance of a vector to what stands for it: the sum of its centroids; ``error_of_groups`` to that of its
group's alone.

The job itself is timed too, on `--job-vectors` of them as Parquet: reading, assigning in Beam, backing off, writing.
``extrapolation`` multiplies that out. It takes the fit as it is, since the sample does not grow, and the rest as
proportional to the users; what a cluster adds (starting workers, stragglers, a network between the storage and them) is
not in it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from benchmarks import _machine, _part
from feature_store import folders
from llm_offline.profile_config import GroupConfig

COARSE, FINE = 200, 50
_CHUNK = 1 << 15


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench groups", description=__doc__.splitlines()[0])
    parser.add_argument("--vectors", type=int, default=1_000_000, help="(%(default)s)")
    parser.add_argument("--width", type=int, default=512, help="(%(default)s)")
    parser.add_argument("--levels", type=int, default=3, help="(%(default)s)")
    parser.add_argument("--k", type=int, default=256, help="centroids a level, a power of 2 (%(default)s)")
    parser.add_argument("--sample", type=int, default=65_536, help="vectors that each learns from (%(default)s)")
    parser.add_argument("--min-members", type=int, default=50, help="of a group (%(default)s)")
    parser.add_argument("--beam", type=int, default=0, help="of ResidualQuantizer; 0 is its own (%(default)s)")
    parser.add_argument("--job-vectors", type=int, default=100_000, help="for the job in Beam (%(default)s)")
    parser.add_argument("--users", type=int, default=300_000_000, help="to extrapolate to (%(default)s)")
    parser.add_argument("--workers", type=int, default=100, help="cores of the cluster for that (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of faiss; 0 is one a core")
    parser.add_argument("--folder", type=Path, help="where the vectors lie meanwhile (default: a temporary folder)")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    config = GroupConfig(
        levels=options.levels, k=options.k, sample=min(options.sample, options.vectors),
        min_members=options.min_members, seed=options.seed,
    )  # fmt: skip
    with tempfile.TemporaryDirectory(dir=options.folder) as name:
        folder = Path(name)
        vectors = write_vectors(folder / "vectors.npy", options)
        told: dict[str, Any] = {"vectors": str(vectors), "groups": asdict(config), "threads": options.threads}
        told["beam"] = options.beam
        figures: dict[str, Any] = {}
        for part in ("ours", "residual_quantizer", "flat"):
            figures[part] = _part.run("_groups_part", part, json.dumps(told))
            told["cells"] = figures["ours"]["groups_used"]
            print(f"{part}: {figures[part]}", flush=True)
        figures["job"] = job(folder, vectors, config, options)
    figures["extrapolation"] = extrapolation(figures, options)
    settings = {name: value for name, value in vars(options).items() if name != "folder"}
    print(json.dumps({"benchmark": "groups", **settings, **figures, "machine": _machine.describe()}))
    return 0


def write_vectors(path: Path, options: argparse.Namespace) -> Path:
    """``path``: (vectors, width) float32, each of length 1."""
    random = np.random.default_rng(options.seed)
    coarse = random.standard_normal((COARSE, options.width), np.float32)
    fine = coarse[:, None] + 0.7 * random.standard_normal((COARSE, FINE, options.width), np.float32)
    centres = fine.reshape(-1, options.width)
    popular = random.dirichlet(np.full(len(centres), 0.5))  # clusters of very different size
    out = np.lib.format.open_memmap(path, "w+", np.float32, (options.vectors, options.width))
    for first in tqdm(range(0, options.vectors, _CHUNK), desc="vectors", unit="chunk"):
        size = min(_CHUNK, options.vectors - first)
        rows = centres[random.choice(len(centres), size, p=popular)]
        rows = rows + 1.2 * random.standard_normal(rows.shape, np.float32)
        out[first : first + size] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    out.flush()
    return path


def job(folder: Path, vectors: Path, config: GroupConfig, options: argparse.Namespace) -> dict[str, Any]:
    """The job of `antiphon groups` on profiles of the first vectors: once to learn, then with those groups kept."""
    from beam_jobs import groups
    from beam_jobs.options import BeamConfig

    rows = np.load(vectors, mmap_mode="r")[: options.job_vectors]
    users = folder / "profiles" / "users"
    users.mkdir(parents=True)
    offsets = pa.array(np.arange(0, rows.size + 1, rows.shape[1]), pa.int32())
    column = pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(rows).ravel()))
    ids = pa.array([f"u{number:09d}" for number in range(len(rows))])
    path = users / "00000.parquet"
    pq.write_table(pa.table({"user_id": ids, "vector": column}), path, row_group_size=_CHUNK, compression="zstd")
    manifest = {"kind": "profiles", "model_id": "made", "training_end": 0, "tables": {}, "profiles": {}}
    manifest |= {"rows": len(rows), "files": [folders.describe(path, users)]}
    folders.write_manifest(users, manifest)
    learnt = groups.run(users.parent, folder / "learnt", config, BeamConfig())
    started = time.perf_counter()
    kept = GroupConfig(keep=str(folder / "learnt"))
    found = groups.run(users.parent, folder / "kept", kept, BeamConfig())
    seconds = time.perf_counter() - started
    if found["version"] != learnt["version"]:
        raise RuntimeError(f"the kept groups are of version {found['version']}, not {learnt['version']}")
    return {
        "vectors": len(rows),
        "bytes_a_vector": round(path.stat().st_size / len(rows)),
        "learning_seconds": learnt["seconds"],
        "seconds": round(seconds, 2),
        "vectors_per_second": round(len(rows) / seconds),
        "per_level": learnt["per_level"],
    }


def extrapolation(figures: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What the job would take for many users, were it as fast on every core as it was on this machine's."""
    cores = _machine.describe()["cores"]
    rate = figures["job"]["vectors_per_second"] / cores  # the runner is one process, faiss uses all cores
    return {
        "users": options.users,
        "cores": options.workers,
        "fit_minutes": round(figures["ours"]["fit_seconds"] / 60, 1),
        "assign_minutes": round(options.users / rate / options.workers / 60, 1),
        "core_hours": round(options.users / rate / 3600, 1),
        "vectors_gb": round(options.users * figures["job"]["bytes_a_vector"] / 1e9),
        "codes_gb": round(options.users * 4 * options.levels / 1e9, 1),
    }
