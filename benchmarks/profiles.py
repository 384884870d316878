"""Writing profiles beside a plain `model.generate` loop: `antiphon bench profiles`.

The same language model, prompts, precision and number of new tokens. The loop is what one would write first: the stock
model, one prompt after another, greedily. Ours answers many at a time, computes the beginning that all prompts share
once a batch, and uses packed weights. They take turns over parts of the prompts, after a turn that is not counted; the
ratio is of new tokens a second, from all turns. Answers may differ where two tokens are all but tied; the share that is
equal is told.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from tqdm import tqdm

from benchmarks import _machine
from feature_store.market.config import MarketConfig
from feature_store.market.simulate import simulate
from llm_offline.chat import Prompt, prompt_ids
from llm_offline.config import GenerateConfig
from llm_offline.generator import Generator
from llm_offline.language_model import load
from llm_offline.profile_config import ProfileConfig, ProfileGenerateConfig
from llm_offline.profiles import prompts, sentence, verbalised


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench profiles", description=__doc__.splitlines()[0])
    parser.add_argument("--users", type=int, default=128, help="profiles that ours writes (%(default)s)")
    parser.add_argument("--plain", type=int, default=8, help="of them, also written by the plain loop (%(default)s)")
    parser.add_argument("--turns", type=int, default=4, help="parts that both are cut into (%(default)s)")
    parser.add_argument("--model", default="smollm2", help="smollm2 | a Hugging Face id or folder (%(default)s)")
    parser.add_argument("--layers", type=int, default=0, help="keep the first n layers; 0 keeps all")
    parser.add_argument("--dtype", default="bfloat16", choices=("float32", "bfloat16"), help="(%(default)s)")
    parser.add_argument("--new-tokens", type=int, default=96, help="of a profile, at most (%(default)s)")
    parser.add_argument("--batch-tokens", type=int, default=32_768, help="padded tokens at once (%(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    config = ProfileGenerateConfig(
        model=options.model, layers=options.layers, dtype=options.dtype, max_new_tokens=options.new_tokens,
        batch_tokens=options.batch_tokens,
    )  # fmt: skip
    profiles = ProfileConfig(mode="generate", generate=config)
    asked = [prompts(facts, profiles) for facts in known_of_users(options.users, options.seed)]
    figures = compare(asked, profiles, options)
    print(json.dumps({"benchmark": "profiles", **vars(options), **figures, "machine": _machine.describe()}))
    return 0


def known_of_users(count: int, seed: int) -> list[str]:
    """What is known of users of a small simulated market, verbalised."""
    with TemporaryDirectory() as name:
        market = MarketConfig(users=count, seed=seed, items_per_leaf=4, panel_pages=0)
        simulate(market, Path(name) / "market")
        tables = {
            table: pq.read_table(Path(name) / "market" / f"{table}.parquet").to_pylist()
            for table in ("users", "items", "events", "searches")
        }
    of_item = {row["item_id"]: row["categories"] for row in tables["items"]}
    bought: dict[str, list[Any]] = {}
    for row in tables["events"]:
        if row["event_type"] == "purchase":
            bought.setdefault(row["user_id"], []).append((_microseconds(row), of_item[row["item_id"]]))
    sought: dict[str, list[Any]] = {}
    for row in tables["searches"]:
        sought.setdefault(row["user_id"], []).append((_microseconds(row), row["query"]))
    texts = []
    for row in tables["users"]:
        user = row.pop("user_id")
        told = verbalised(row, bought.get(user, ()), sought.get(user, ()), market.test_start, ProfileConfig())
        texts.append(told or "Nothing.")
    return texts


def _microseconds(row: dict[str, Any]) -> int:
    return pa.scalar(row["event_time"], pa.timestamp("us", tz="UTC")).cast(pa.int64()).as_py()


def compare(asked_of: list[list[Prompt]], profiles: ProfileConfig, options: argparse.Namespace) -> dict[str, Any]:
    """
    Args:
        asked_of: the prompts of each user.
    """
    ours, plain = Generator(profiles.writer), Plain(profiles.writer)
    one, many = (
        [[prompt for user in part[n :: options.turns] for prompt in user] for n in range(options.turns)]
        for part in (asked_of[: options.plain], asked_of)
    )
    ours.answer(asked_of[0])
    plain.answer(asked_of[0][:1])
    seconds, tokens, answers = {"ours": 0.0, "plain": 0.0}, {"ours": 0, "plain": 0}, {"ours": {}, "plain": {}}
    for turn in tqdm(range(options.turns), desc="turns", unit="turn"):
        asked = {"ours": many[turn], "plain": one[turn]}
        for name in sorted(asked, reverse=bool(turn % 2)):
            if not asked[name]:
                continue
            writer = ours if name == "ours" else plain
            started = time.perf_counter()
            written = writer.answer(asked[name])
            seconds[name] += time.perf_counter() - started
            answers[name] |= dict(zip(asked[name], written, strict=True))
            tokens[name] += sum(plain.count(text) for text in written)
    rates = {name: tokens[name] / seconds[name] for name in seconds}
    both = list(answers["plain"])
    formed = sum(bool(sentence(text)) for text in answers["ours"].values())
    return {
        "model_id": ours.model_id,
        "prompt_tokens": round(sum(len(plain.ids(p)) for p in both) / len(both), 1),
        "new_tokens": tokens,
        "seconds": {name: round(taken, 2) for name, taken in seconds.items()},
        "tokens_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        "ratio": round(rates["ours"] / rates["plain"], 2),
        "profiles_per_hour": round(len(asked_of) / seconds["ours"] * 3600),
        "equal_answers": round(sum(answers["ours"][p] == answers["plain"][p] for p in both) / len(both), 3),
        "well_formed_first": round(formed / len(answers["ours"]), 3),
        "threads": torch.get_num_threads(),
    }


class Plain:
    """The stock model, asked one prompt after another."""

    def __init__(self, config: GenerateConfig) -> None:
        loaded = load(config, writes=True)
        self._model, self._tokenizer, self._config = loaded.model, loaded.tokenizer, config

    def ids(self, asked: Prompt) -> list[int]:
        return prompt_ids(self._tokenizer, asked)[-self._config.max_tokens :]

    def count(self, text: str) -> int:
        """The tokens of an answer."""
        return len(self._tokenizer(text, add_special_tokens=False)["input_ids"])

    @torch.inference_mode()
    def answer(self, prompts: Sequence[Prompt]) -> list[str]:
        written = []
        for asked in prompts:
            ids = torch.tensor([self.ids(asked)])
            out = self._model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=self._config.max_new_tokens,
                do_sample=False, pad_token_id=0,
            )  # fmt: skip
            written.append(self._tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True).strip())
        return written
