"""Knowledge that lies beside the examples (`feature_store.knowledge_shards`), read in the graph."""

from __future__ import annotations

from pathlib import Path

import tensorflow as tf

from feature_store import knowledge_shards
from trainer.input import Examples, read_records
from trainer.models.coco import Knowledge


class Stored:
    """The vectors (m, D) of every example, in all splits.

    Attributes:
      parts: m. width: D. statistics: of the training split's. made_by: the vectors' model_id and adapter_version.

    Args:
      source: the folder of a source of knowledge (``coco.source``). examples: beside whose shards its own stand.

    Raises:
      DataError: as ``knowledge_shards.read_manifest``.
    """

    def __init__(self, source: str, examples: Examples) -> None:
        folder = Path(source) / knowledge_shards.FOLDER
        manifest = knowledge_shards.read_manifest(folder, examples.folder)
        self.parts, self.width = manifest["parts"], manifest["width"]
        self.made_by = {name: manifest[name] for name in ("model_id", "adapter_version")}
        self.statistics = knowledge_shards.statistics(manifest)
        self._examples, self._folder = str(examples.folder.resolve()), str(folder.resolve())

    def read(self, files: tf.Tensor, firsts: tf.Tensor, counts: tf.Tensor) -> Knowledge:
        """The knowledge of the records of some pieces, as ``trainer.input.read_records`` reads those."""
        m, width = self.parts, self.width + 1
        within = tf.strings.substr(files, len(self._examples.encode()) + 1, 2**30)
        within = tf.strings.regex_replace(within, r"\.tfrecord$", knowledge_shards.SUFFIX)
        files = tf.strings.join([self._folder, within], "/")

        def rows(file: tf.Tensor) -> tf.data.Dataset:
            return tf.data.FixedLengthRecordDataset(file, 4 * m * width)

        records = tf.io.decode_raw(read_records(files, firsts, counts, rows), tf.float32)
        records = tf.reshape(records, (-1, m, width))
        return Knowledge(records[..., :-1], records[..., -1] > 0)
