"""The universal prompts encoded by a language model: what CoCo's soft prompts start from (§4.2.1).

A soft prompt stands where token embeddings stand, so a sentence is encoded as one of them: the mean of its tokens'
embeddings, less the mean over all prompts, at the median length of a token's. Not centred, the sentences all point one
way (SmolLM2: a mean cosine of 0.69, 97% of the pairs above θ = 0.45), and a threshold would select all prompts or none.
The other reading of "encoded by an LLM", the mean of the last layer's states, lies in another space wherever input and
output differ. Put before a text in the sentence's stead, a centred mean of MiniLM's token embeddings did to the text's
states what its own sentence does, and not what 23 others do, in 82% of cases (not centred: 22%; the last layer's
states, centred: 81%, at a larger distance from the sentence's effect; random: 3%; three histories). In SmolLM2 no one
vector stands for a sentence so well: on two histories 23%, against 17% by the last layer's states and 6% by random
vectors, too few to tell the first two apart. There the choice rests on the cosines.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from feature_store import folders, prompt_codebook
from llm_offline.config import LlmConfig, PromptConfig
from llm_offline.knowledge.texts import read_lines
from llm_offline.knowledge.universal import ROWS, spread_out, universal_prompts
from llm_offline.language_model import LanguageModel, load

ENCODING = "mean token embedding, centred, at the token embeddings' median length"


def write(out: Path, llm: LlmConfig, prompts: PromptConfig) -> dict[str, Any]:
    """Writes the folder that `feature_store.prompt_codebook.read` reads: 512 soft prompts and the shared ones.

    The prompts are in farthest-point order, the sentences alone before those with a lens: the first K are a spread-out
    choice for every K up to 512, so one folder serves them all.

    Returns:
        the manifest, without its files.
    Raises:
        FileNotFoundError, ValueError: as `language_model.load`.
    """
    language_model = load(replace(llm, dtype="float32"))
    chosen = universal_prompts(prompts)
    alone = sum(prompt.lens == 0 for prompt in chosen)
    raw = token_means(language_model, [prompt.text for prompt in chosen])  # (N, D)
    centred = raw - raw[:alone].mean(axis=0)
    order = spread_out(centred, alone, ROWS)
    length = token_length(language_model)
    shared = [text for _, text in read_lines("shared")]
    texts = [chosen[row].text for row in order]
    described = {
        "model_id": language_model.model_id,
        "prompts": hashlib.sha256(json.dumps([texts, shared]).encode()).hexdigest(),
        "encoding": ENCODING,
        "length": length,
        "without_lens": alone,
    }
    with folders.new_folder(Path(out)) as folder:
        of_length = scaled(token_means(language_model, shared), length)
        prompt_codebook.write(folder, scaled(centred[order], length), texts, of_length, described)
    return {name: value for name, value in folders.read_manifest(Path(out)).items() if name != "files"}


def token_means(language_model: LanguageModel, texts: Sequence[str]) -> np.ndarray:
    """The mean of each text's token embeddings, without special tokens: (n, D)."""
    table = language_model.model.get_input_embeddings().weight.detach()  # (V, D)
    ids = language_model.tokenizer(list(texts), add_special_tokens=False)["input_ids"]
    return np.stack([table[torch.tensor(row)].mean(0).numpy() for row in ids])


def token_length(language_model: LanguageModel) -> float:
    """The median length of the token embeddings."""
    return float(language_model.model.get_input_embeddings().weight.detach().norm(dim=1).median())


def scaled(vectors: np.ndarray, length: float) -> np.ndarray:
    """(n, D) vectors, all of one length."""
    return vectors * (length / np.linalg.norm(vectors, axis=1, keepdims=True))
