"""A tiny chatbot: a language model, sessions and intents."""

from __future__ import annotations

import string
from pathlib import Path

import pyarrow as pa

from feature_store import alignment_tables

INTENTS = {
    "late": ("Where is my parcel?", "Delivery takes longer than it should."),
    "refund": ("When do I get my money back?", "A refund has not come yet."),
    "return": ("How do I send something back?", "The customer wants to return goods."),
    "pay": ("Why was my payment declined?", "A payment did not go through."),
}
SESSIONS = [(f"s{n:02d}", list(INTENTS)[n % 4]) for n in range(12)]
CONTEXTS = {
    "late": "order shipped, {n} days ago",
    "refund": "order returned, {n} days ago",
    "return": "order delivered, {n} days ago",
    "pay": "order placed, card failed {n} times",
}


def language_model(folder: Path) -> Path:
    """Writes a random decoder of the Qwen3 architecture with a tokenizer of letters, and returns its folder."""
    import torch
    from tokenizers import Regex, Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM

    letters = ["?", "<end>", "<user>", "<bot>", "\n", *string.ascii_letters, *string.digits, *" ,.:'-"]
    torch.manual_seed(11)
    config = Qwen3Config(
        vocab_size=len(letters), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, max_position_embeddings=2048, initializer_range=0.3, eos_token_id=1,
        tie_word_embeddings=True,
    )  # fmt: skip
    Qwen3ForCausalLM(config).save_pretrained(folder)
    tokenizer = Tokenizer(models.WordLevel({letter: n for n, letter in enumerate(letters)}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex("[\\s\\S]"), "isolated")
    made = PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="?", eos_token="<end>")
    made.add_special_tokens({"additional_special_tokens": ["<user>", "<bot>"]})
    made.chat_template = (
        "{% for m in messages %}<user>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<bot>{% endif %}"
    )
    made.save_pretrained(folder)
    return folder


def sessions(out: Path) -> Path:
    """Writes a folder of session texts: the last two sessions are for testing."""
    rows = [
        {"session_id": session, "split": "train" if n < 10 else "test", "text": CONTEXTS[intent].format(n=n),
         "intents": [intent]}
        for n, (session, intent) in enumerate(SESSIONS)
    ]  # fmt: skip
    intents = [
        {"intent_id": intent, "title": title, "description": told, "examples": [title], "category": "order"}
        for intent, (title, told) in INTENTS.items()
    ]
    tables = {"sessions": pa.Table.from_pylist(rows), "intents": pa.Table.from_pylist(intents)}
    alignment_tables.write(out, "session_texts", tables, {})
    return out
