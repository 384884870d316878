"""Writing checkpoints while training goes on."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tqdm import tqdm

from trainer import checkpoint
from trainer.checkpoint import Array
from trainer.layers.flat import FlatWeights
from trainer.layers.tables import EmbeddingTable

COPY_BYTES = 1 << 30
"""A checkpoint up to this size is copied into this process's memory and written from there while the workers train
on. A larger one goes to the disk block by block while they wait: no process then holds a whole big table."""


class CheckpointWriter:
    """Writes checkpoints into ``folder`` one at a time, and removes old ones.

    Args:
      keep: newest checkpoints that stay. The best stays too.
    """

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep
        self._thread: threading.Thread | None = None
        self._error: OSError | None = None

    @property
    def busy(self) -> bool:
        """A checkpoint is being written."""
        return self._thread is not None and self._thread.is_alive()

    def save(self, tables: list[EmbeddingTable], flat: FlatWeights, state: dict[str, Any], best: str) -> None:
        """Begins ``ckpt-<step>``; when this returns, the parameters may change. ``settle`` before it.

        Args:
          best: the name of the checkpoint to keep beside the newest.
        """
        found = checkpoint.arrays(tables, flat)
        if checkpoint.size(tables, flat) > COPY_BYTES:
            self._write(found, state, best)
            return
        copies = [Array(a.name, a.shape, list(a.blocks)) for a in found]
        self._thread = threading.Thread(target=self._write, args=(copies, state, best), name="checkpoint")
        self._thread.start()

    def settle(self) -> OSError | None:
        """Waits for the last ``save``; its error, if it could not be written."""
        if self._thread is not None:
            self._thread.join()
        error, self._thread, self._error = self._error, None, None
        return error

    def _write(self, found: Iterable[Array], state: dict[str, Any], best: str) -> None:
        try:
            checkpoint.write(self._folder, found, state)
            checkpoint.prune(self._folder, self._keep, best)
        except OSError as error:
            self._error = error
            newest = checkpoint.newest(self._folder)
            tqdm.write(
                f"WARNING: checkpoint ckpt-{state['step']} could not be written ({error}); "
                f"the newest is still {newest.name if newest else 'none'}"
            )
