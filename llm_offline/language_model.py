"""Loading a language model or sentence encoder, without the network unless it is asked for by hub id."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from llm_offline.adapter import BASE, merge
from llm_offline.config import EncoderConfig, GenerateConfig, LlmConfig
from llm_offline.identity import layer_count, model_id
from llm_offline.model_files import resolve

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LanguageModel:
    """A model that turns token ids (B, L) into states (B, L, width), and its tokenizer.

    Two models of one ``model_id`` and ``adapter_version`` give the same states.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    width: int
    model_id: str
    dtype: torch.dtype
    adapter_version: str = BASE

    def without_head(self) -> LanguageModel:
        """The part of a model with a head that gives the states; both share their weights."""
        return replace(self, model=self.model.base_model)


def load(
    config: EncoderConfig | GenerateConfig | LlmConfig, writes: bool = False, adapter: Path | None = None
) -> LanguageModel:
    """Loads the model in evaluation mode on the CPU, cut to its first ``config.layers`` layers.

    ``writes``: with the head that gives the next token. ``adapter``: a folder of one, whose weights are added to the
    model's own.

    Raises:
        FileNotFoundError: the model's files are not there.
        ValueError: ``layers`` is more than the model has.
        DataError: as `adapter.merge`.
    """
    folder, _ = resolve(config.model, config.section)
    layers = layer_count(folder, config)

    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer

    architecture = AutoConfig.from_pretrained(folder, local_files_only=True)
    architecture.num_hidden_layers = layers
    if getattr(architecture, "layer_types", None):
        architecture.layer_types = architecture.layer_types[:layers]
    dtype = getattr(torch, config.dtype)
    with _quiet_loading():
        model = (AutoModelForCausalLM if writes else AutoModel).from_pretrained(
            folder, config=architecture, dtype=dtype, attn_implementation="sdpa", local_files_only=True
        )
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    found = model_id(config)
    version = BASE if adapter is None else merge(model, adapter, found)
    return LanguageModel(
        model=model.eval(),
        tokenizer=tokenizer,
        width=architecture.hidden_size,
        model_id=found,
        dtype=dtype,
        adapter_version=version,
    )


@contextmanager
def _quiet_loading() -> Iterator[None]:
    """Without transformers' bar and its report of weights left out, which are the head and the layers cut."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
