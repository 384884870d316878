"""The soft prompts that a codebook starts from: a folder of vectors and the sentences they stand for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from feature_store import folders
from feature_store.errors import DataError

KIND = "prompt_codebook"
_PRIVATE, _SHARED, _TEXTS = "codebook.npy", "shared.npy", "prompts.jsonl"


@dataclass(frozen=True)
class PromptCodebook:
    """Initial soft prompts, as wide as the language model's token embeddings and of their length.

    Attributes:
        private: (K, D) float32, and the sentence that each row stands for. shared: (S, D) float32.
    """

    private: np.ndarray
    texts: tuple[str, ...]
    shared: np.ndarray


def write(folder: Path, private: np.ndarray, texts: Sequence[str], shared: np.ndarray, described: dict) -> None:
    """Fills an empty folder (`folders.new_folder`): (N, D) vectors and N sentences, (S, D) shared ones."""
    np.save(folder / _PRIVATE, private.astype(np.float32))
    np.save(folder / _SHARED, shared.astype(np.float32))
    lines = "".join(json.dumps({"row": row, "text": text}, ensure_ascii=False) + "\n" for row, text in enumerate(texts))
    (folder / _TEXTS).write_text(lines, encoding="utf-8")
    files = [folders.describe(folder / name, folder) for name in (_PRIVATE, _SHARED, _TEXTS)]
    sizes = {"rows": len(texts), "shared": len(shared), "width": private.shape[1]}
    folders.write_manifest(folder, {"kind": KIND, **described, **sizes, "files": files})


def read(folder: Path, size: int, model_id: str = "") -> PromptCodebook:
    """The first ``size`` prompts, K: the folder's order is such that they are spread out for every K.

    Args:
        model_id: of the language model that they must be of; "" takes any.
    Raises:
        DataError: the folder is not whole or not one of prompts, holds fewer, or is of another language model.
    """
    manifest = folders.read_manifest_of(KIND, folder, "prompts")
    folders.require_model(manifest, model_id, folder)
    if not 1 <= size <= manifest["rows"]:
        raise DataError(f"a codebook's size must be from 1 to {manifest['rows']}", file=folder, value=size)
    with (Path(folder) / _TEXTS).open(encoding="utf-8") as lines:
        texts = tuple(json.loads(line)["text"] for line in lines)
    private = np.load(Path(folder) / _PRIVATE)
    return PromptCodebook(private[:size], texts[:size], np.load(Path(folder) / _SHARED))
