"""An epoch's entry in the history, as TensorBoard and a person get it."""

from __future__ import annotations

import tensorflow as tf
from tqdm import tqdm

from trainer import monitor

_TOLD = ("valid/recall@10", "valid/ndcg@10", "valid/auc", "valid/gauc")


def plot(board: tf.summary.SummaryWriter, entry: dict[str, float]) -> None:
    """To TensorBoard; a full disk is no reason to stop training."""
    try:
        with board.as_default(step=entry["epoch"]):
            for name, value in entry.items():
                tf.summary.scalar(name, value)
    except tf.errors.OpError as error:
        tqdm.write(f"WARNING: TensorBoard's file could not be written ({error.message})")


def line(entry: dict[str, float], epochs: int) -> str:
    """What is printed at its end."""
    words = [f"epoch {entry['epoch']:>3}/{epochs}  loss {entry['loss']:.4f}  {entry['seconds']:.1f}s"]
    words += [f"{entry['targets_per_second']:,.0f} targets/s"]
    words += [f"at most {entry['repeated']:,} examples repeated"] if entry["repeated"] else []
    words += [f"{n.removeprefix('valid/')} {entry[n]:.4f}" for n in entry if n in _TOLD]
    return "  ".join([*words, monitor.line(entry)])
