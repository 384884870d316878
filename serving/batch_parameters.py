"""How requests are put together into batches: TF Serving's `BatchingParameters`."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from serving import text_config

PER_MODEL_FILE = "batching_params.pbtxt"


@dataclass(frozen=True)
class BatchParameters:
    """The defaults are those of TF's `SharedBatchScheduler`; sizes count rows (the 0th dimension).

    Attributes:
        max_batch_size: the largest request taken; without splitting also the largest batch.
        batch_timeout_micros: how long the first request of a batch waits for others.
        max_enqueued_batches: batches that may wait for a thread; a request that would begin a further one is refused.
        allowed_batch_sizes: batches are padded up to one of these; empty: they keep their size.
        pad_variable_length_inputs: whether requests of other lengths are padded to fit (with their own first value).
        enable_large_batch_splitting: whether a large request is cut into several batches.
        max_execution_batch_size: the largest batch, where large requests are split; None: `max_batch_size`.
    """

    max_batch_size: int = 1000
    batch_timeout_micros: int = 0
    max_enqueued_batches: int = 10
    num_batch_threads: int = os.cpu_count() or 1
    thread_pool_name: str = "batch_threads"
    allowed_batch_sizes: tuple[int, ...] = ()
    pad_variable_length_inputs: bool = False
    enable_large_batch_splitting: bool = False
    max_execution_batch_size: int | None = None

    def __post_init__(self) -> None:
        if self.max_batch_size < 1:
            raise ValueError(f"input_batch_size_limit must be positive; was {self.max_batch_size}")
        if self.batch_timeout_micros < 0:
            raise ValueError(f"batch_timeout_micros must be non-negative; was {self.batch_timeout_micros}")
        if self.max_enqueued_batches < 1:
            raise ValueError(f"max_enqueued_batches must be positive; was {self.max_enqueued_batches}")
        if self.num_batch_threads < 1:
            raise ValueError(f"num_batch_threads must be positive; was {self.num_batch_threads}")
        if not 1 <= self.execution_batch_size <= self.max_batch_size:
            raise ValueError(
                "When enable_large_batch_splitting is true, input_batch_size_limit must be greater than or equal to "
                f"max_execution_batch_size; was {self.execution_batch_size} over {self.max_batch_size}"
            )
        sizes = self.allowed_batch_sizes
        if any(after <= before for before, after in zip(sizes, sizes[1:], strict=False)):
            raise ValueError(
                f"allowed_batch_sizes entries must be monotonically increasing; were {list(sizes)}"
            )
        if sizes and sizes[-1] != self.execution_batch_size:
            limit = "max_execution_batch_size" if self.enable_large_batch_splitting else "max_batch_size"
            raise ValueError(
                f"Last entry in allowed_batch_sizes must match {limit}; last entry was {sizes[-1]}; "
                f"expected {self.execution_batch_size}"
            )

    @property
    def execution_batch_size(self) -> int:
        """The largest batch that is run."""
        if not self.enable_large_batch_splitting:
            return self.max_batch_size
        return self.max_batch_size if self.max_execution_batch_size is None else self.max_execution_batch_size

    def padded_size(self, rows: int) -> int:
        """The smallest allowed batch size that holds `rows`."""
        return next((size for size in self.allowed_batch_sizes if size >= rows), rows)


def read(path: str | Path) -> BatchParameters:
    """The parameters of a `--batching_parameters_file`; what it does not give keeps its default.

    Raises:
        ValueError: the file is not a `BatchingParameters` in text form, or a value does not keep its rule.
        OSError: it cannot be read.
    """
    message = text_config.read(path, text_config.BatchingParameters)
    given: dict[str, Any] = {
        field.name: value.value
        for field, value in message.ListFields()
        if field.message_type is not None
    }
    try:
        return BatchParameters(
            allowed_batch_sizes=tuple(message.allowed_batch_sizes),
            pad_variable_length_inputs=message.pad_variable_length_inputs,
            **given,
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def of_model(folder: Path, shared: BatchParameters) -> BatchParameters | None:
    """A version's own parameters, from the file beside its SavedModel; None where it has none: it is not batched.

    The threads are those of `shared`: all models share them.
    """
    path = folder / PER_MODEL_FILE
    if not path.is_file():
        return None
    return replace(
        read(path), num_batch_threads=shared.num_batch_threads, thread_pool_name=shared.thread_pool_name
    )
