"""What the link to the language model costs: `antiphon bench link`.

A SASRec training step in this process alone, and the same step with the side process's forward and backward in it:
both are compiled, then they take turns. The side process is a process of its own on this machine, so that both share
its cores. Beside it: round trips a second of calls that do nothing there, and the bytes that cross for an example.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import tensorflow as tf

from benchmarks import _machine
from trainer import optimizers, rpc
from trainer.config import LinkConfig, LossConfig, ModelConfig, OptimizerConfig
from trainer.llm_link import LlmLink
from trainer.objective import Prediction
from trainer.recommender import Recommender
from trainer.sampling import Popularity
from trainer.step import Step

ITEMS, ROUND_TRIPS = 12_000, 200
WIDTHS = {"minilm": 384, "smollm2": 576}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench link", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", choices=sorted(WIDTHS), help="(%(default)s)")
    parser.add_argument("--layers", type=int, default=0, help="keep the first n; 0 keeps all (%(default)s)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="(%(default)s)")
    parser.add_argument("--batch", type=int, default=64, help="users a step (%(default)s)")
    parser.add_argument("--prompts", type=int, default=4, help="m (%(default)s)")
    parser.add_argument("--tokens", type=int, default=64, help="of a history's titles (%(default)s)")
    parser.add_argument("--length", type=int, default=50, help="of histories (%(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="of a turn (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns that count (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny, a check that it runs")
    options = parser.parse_args(argv)
    if options.quick:
        options.layers, options.batch, options.tokens, options.length = 1, 4, 8, 8
        options.steps, options.rounds = 2, 1
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    with tempfile.TemporaryDirectory() as folder, side_process(options, Path(folder)) as address:
        link = LlmLink(LinkConfig(address), d=64)
        link.begin(0)
        figures = {**measure(link, options), "round_trips_per_second": round_trips(link)}
    told = {name: getattr(options, name) for name in ("model", "layers", "dtype", "batch", "prompts", "tokens")}
    machine = _machine.describe()
    print(json.dumps({"benchmark": "link", **figures, **bytes_an_example(options), **told, "machine": machine}))
    return 0


@contextmanager
def side_process(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Its address, when it answers."""
    config = {"model": options.model, "layers": options.layers, "dtype": options.dtype, "max_tokens": options.tokens}
    command = [sys.executable, "-m", "benchmarks._link_side", json.dumps({**config, "port": 0}), str(ITEMS)]
    process = subprocess.Popen([*command, str(folder)], stdout=subprocess.PIPE, text=True)
    try:
        for line in process.stdout:
            if line.startswith("llm ready"):
                yield line.split("address=")[1].split()[0]
                break
        else:
            raise RuntimeError(f"the side process ended with code {process.wait()} before it served")
    finally:
        process.terminate()
        process.wait()


def measure(link: LlmLink, options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step with and without the language model, and the share of it that each side waits."""
    step = training_step(link, options)
    number = 0

    def turn(with_llm: bool) -> float:
        nonlocal number
        began = time.perf_counter()
        for _ in range(options.steps):
            number += 1
            step(with_llm, tf.constant(number, tf.int64))
        return (time.perf_counter() - began) / options.steps

    seconds: dict[bool, list[float]] = {False: [], True: []}
    busy = 0.0
    for with_llm in seconds:
        turn(with_llm)
    for _ in range(options.rounds):
        for with_llm in seconds:
            before = json.loads(link.status()).get("seconds", 0.0)
            seconds[with_llm].append(turn(with_llm))
            busy += json.loads(link.status()).get("seconds", 0.0) - before
    alone, whole = median(seconds[False]), median(seconds[True])
    busy /= options.rounds * options.steps * float(np.mean(seconds[True]))
    return {
        "seconds_per_step": {"without_llm": round(alone, 4), "with_llm": round(whole, 4)},
        "trainer_waits": round(1 - alone / whole, 3),
        "side_process_waits": round(1 - busy, 3),
    }


def training_step(link: LlmLink, options: argparse.Namespace) -> Callable[[bool, tf.Tensor], None]:
    """SASRec's step; with the language model, its knowledge has a part in the loss and prompts get their gradient."""
    config = ModelConfig(d=64, max_length=options.length, dropout=0.1)
    recommender, optimizer = Recommender(config, ITEMS + 1), optimizers.build(OptimizerConfig("lazy_adam"))
    recommender.add_slots(optimizer)
    popularity = Popularity(np.ones(ITEMS + 1, np.int64))
    objective = Prediction(recommender, LossConfig("sampled_softmax"), popularity)
    random = np.random.default_rng(1)
    items = tf.constant(random.integers(1, ITEMS + 1, (options.batch, options.length + 1)), tf.int32)
    shape = (options.batch, options.prompts, WIDTHS[options.model])
    prompts, mask = tf.Variable(random.normal(size=shape).astype(np.float32)), tf.ones(shape[:2], tf.bool)
    client = link.client()

    def recommend(number: tf.Tensor) -> None:
        seed = tf.stack([tf.constant(1, tf.int64), number])
        batch = objective.batch(items[:, :-1], items[:, 1:], seed)
        with Step(number, recommender.dense) as step:
            loss, _ = objective.loss(step, batch)
        step.update(loss, optimizer)

    def reason(number: tf.Tensor) -> None:
        with tf.GradientTape() as tape:
            value = tf.identity(prompts)
            tape.watch(value)
            loss = tf.reduce_mean(link.knowledge(client, number, value, mask, items[:, :-1]).h ** 2)
        prompts.assign_sub(0.01 * tape.gradient(loss, value))

    signature = [tf.TensorSpec((), tf.int64)]
    alone = tf.function(lambda number: recommend(number), input_signature=signature)
    both = tf.function(lambda number: (reason(number), recommend(number)), input_signature=signature)
    return lambda with_llm, number: (both if with_llm else alone)(number)


def round_trips(link: LlmLink) -> float:
    """A second, one after another, of a call that asks for a line of text."""
    client, config = link.client(), link.config
    text = [tf.TensorSpec((), tf.string)]

    @tf.function
    def calls():
        for _ in tf.range(ROUND_TRIPS):
            rpc.call(client, config.address, "status", [], text, config.wait_seconds, config.call_seconds)

    calls()
    began = time.perf_counter()
    calls()
    return round(ROUND_TRIPS / (time.perf_counter() - began), 1)


def bytes_an_example(options: argparse.Namespace) -> dict[str, int]:
    """Of the tensors; the messages' frames are a few hundred bytes a call."""
    wide, narrow = 4 * options.prompts * WIDTHS[options.model], 4 * options.prompts * 64
    ids = 2 * options.length  # an index below 2^14 takes two bytes
    return {"bytes_up_per_example": wide + options.prompts + ids + narrow + 1, "bytes_down_per_example": narrow + wide}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
