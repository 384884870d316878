"""One contestant of `antiphon bench groups`, in a process of its own, so that its memory is its own.

`python -m benchmarks._groups_part ours|residual_quantizer|flat <settings as JSON>`; the last line it prints is its
figures as JSON.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import faiss
import numpy as np

from benchmarks._memory import PeakMemory
from llm_offline import rq_kmeans
from llm_offline.profile_config import GroupConfig

CHUNK = 1 << 14


def main(argv: list[str]) -> int:
    name, settings = argv[0], json.loads(argv[1])
    vectors = np.load(settings["vectors"], mmap_mode="r")
    config = GroupConfig(**settings["groups"])
    if settings["threads"]:
        faiss.omp_set_num_threads(settings["threads"])
    part = PARTS[name]
    with PeakMemory({name: os.getpid()}) as memory:
        figures = part(vectors, config, settings)
        held = memory.gib()[name]
    print(json.dumps(figures | {"memory_gib": held["own"]}))
    return 0


def chunks(vectors: np.ndarray) -> Iterator[np.ndarray]:
    for first in range(0, len(vectors), CHUNK):
        yield np.asarray(vectors[first : first + CHUNK])


def sample(vectors: np.ndarray, size: int) -> np.ndarray:
    """Evenly spaced rows; they come in no order."""
    return np.asarray(vectors[:: max(1, len(vectors) // size)][:size])


def ours(vectors: np.ndarray, config: GroupConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """Three k-means, then the cells that are used: prefixes with enough members, and the error of their centroids."""
    started = time.perf_counter()
    levels = rq_kmeans.fit(sample(vectors, config.sample), config)
    fitted = time.perf_counter()
    found = [rq_kmeans.assign(levels, chunk) for chunk in chunks(vectors)]
    assigned = time.perf_counter()
    codes = np.concatenate([part.codes for part in found])
    errors = np.sum([part.errors for part in found], axis=0)
    depth, groups = _depths(codes, config.min_members)
    error = 0.0
    for first, chunk in zip(range(0, len(vectors), CHUNK), chunks(vectors), strict=True):
        left = chunk.copy()
        for level in range(config.levels):
            deep = depth[first : first + CHUNK] > level
            left[deep] -= levels[level][codes[first : first + CHUNK][deep, level]]
        error += float(np.einsum("nd,nd->", left, left, dtype=np.float64))
    return _timed(started, fitted, assigned, len(vectors)) | {
        "error": round(float(errors[-1] / len(vectors)), 6),
        "error_per_level": [round(float(value / len(vectors)), 6) for value in errors],
        "codes_used": len(np.unique(codes, axis=0)),
        "groups_used": groups,
        "error_of_groups": round(error / len(vectors), 6),
    }


def _depths(codes: np.ndarray, min_members: int) -> tuple[np.ndarray, int]:
    """How long each vector's group is (n,), and how many groups some vector has."""
    depth, kept = np.zeros(len(codes), np.int64), np.ones(len(codes), bool)
    number = np.zeros(len(codes), np.int64)
    ends = []
    for level in range(codes.shape[1]):
        _, number = np.unique(number * (codes.max() + 1) + codes[:, level], return_inverse=True)
        kept &= np.bincount(number)[number] >= min_members
        ends.append(np.where(kept, number, -1))
        depth += kept
    used = {(level, int(n)) for level in range(len(ends)) for n in np.unique(ends[level][depth == level + 1])}
    return depth, len(used) + bool((depth == 0).any())


def residual_quantizer(vectors: np.ndarray, config: GroupConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """faiss's ResidualQuantizer: beam search over the same levels and centroids."""
    bits = int(np.log2(config.k))
    quantizer = faiss.ResidualQuantizer(vectors.shape[1], config.levels, bits)
    if settings["beam"]:
        quantizer.max_beam_size = settings["beam"]
    started = time.perf_counter()
    quantizer.train(sample(vectors, config.sample))
    fitted = time.perf_counter()
    codes = [quantizer.compute_codes(chunk) for chunk in chunks(vectors)]
    assigned = time.perf_counter()
    error = 0.0
    for chunk, code in zip(chunks(vectors), codes, strict=True):
        left = chunk - quantizer.decode(code)
        error += float(np.einsum("nd,nd->", left, left, dtype=np.float64))
    used = len(np.unique(np.concatenate(codes), axis=0))
    timed = _timed(started, fitted, assigned, len(vectors))
    return timed | {"beam": quantizer.max_beam_size, "error": round(error / len(vectors), 6), "codes_used": used}


def flat(vectors: np.ndarray, config: GroupConfig, settings: dict[str, Any]) -> dict[str, Any]:
    """One k-means with as many cells as ours has groups that are used."""
    learnt = sample(vectors, config.sample)
    cells = min(settings["cells"], len(learnt))
    means = faiss.Kmeans(
        vectors.shape[1], cells, niter=config.iterations, seed=config.seed, min_points_per_centroid=1,
        max_points_per_centroid=len(learnt),
    )  # fmt: skip
    started = time.perf_counter()
    means.train(learnt)
    fitted = time.perf_counter()
    error = sum(float(means.index.search(chunk, 1)[0].sum(dtype=np.float64)) for chunk in chunks(vectors))
    assigned = time.perf_counter()
    timed = _timed(started, fitted, assigned, len(vectors))
    return timed | {"cells": cells, "error": round(error / len(vectors), 6)}


def _timed(started: float, fitted: float, assigned: float, count: int) -> dict[str, Any]:
    return {
        "fit_seconds": round(fitted - started, 2),
        "assign_seconds": round(assigned - fitted, 2),
        "vectors_per_second": round(count / (assigned - fitted)),
    }


PARTS: dict[str, Callable[..., dict[str, Any]]] = {"ours": ours, "residual_quantizer": residual_quantizer, "flat": flat}

if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
