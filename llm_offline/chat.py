"""Prompts as the token ids a chat model reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prompt:
    """What is asked, and the instruction that stands over it.

    Attributes:
        begins: the words that the answer may begin with, the likeliest first token of theirs is taken; () is any.
        careful: decode with a penalty on repetition.
        temperature: above 0, tokens are drawn from the softmax of the logits over it; 0 takes the likeliest.
        draw: tells one draw from another; the same prompt and draw give the same answer.
    """

    text: str
    system: str = ""
    begins: tuple[str, ...] = ()
    careful: bool = False
    temperature: float = 0.0
    draw: int = 0


def prompt_ids(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Up to where the answer begins, with the model's chat format where it has one; of any length."""
    return tokenizer(render(tokenizer, prompt), add_special_tokens=not tokenizer.chat_template)["input_ids"]


def render(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> str:
    """The text that `prompt_ids` are the tokens of."""
    if not tokenizer.chat_template:
        return "\n".join(filter(None, (prompt.system, prompt.text))) + "\n"
    system = [{"role": "system", "content": prompt.system}] if prompt.system else []
    said = [*system, {"role": "user", "content": prompt.text}]
    return tokenizer.apply_chat_template(said, tokenize=False, add_generation_prompt=True)
