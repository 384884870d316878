"""What the link to the language model costs: `antiphon bench link`.

A SASRec training step in this process alone, and the same step with the side process's forward and backward in it, for
each form of a history's text (`llm.text`), once with the requests in turn and once with the next step's forward request
sent before this step's gradient. All are compiled, then they take turns; the loss is a product of the recommender's and
the knowledge's, so that each side's gradients need the other's forward pass. The side processes are processes of their
own on this machine and share its cores. Beside it: round trips a second of calls that do nothing there, and the bytes
that cross for an example.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

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
CALL_SECONDS, WAIT_SECONDS = 300.0, 600.0  # of a call on a slow machine
TEXTS = ["tokens", "titles"]
WIDTHS = {"minilm": 384, "smollm2": 576}


def parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="antiphon bench link", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="minilm", choices=sorted(WIDTHS), help="(%(default)s)")
    parser.add_argument("--layers", type=int, default=0, help="keep the first n; 0 keeps all (%(default)s)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"), help="(%(default)s)")
    parser.add_argument("--text", nargs="+", default=TEXTS, choices=TEXTS, help="llm.text, both if not said")
    parser.add_argument("--batch", type=int, default=64, help="users a step (%(default)s)")
    parser.add_argument("--prompts", type=int, default=4, help="m (%(default)s)")
    parser.add_argument("--tokens", type=int, default=128, help="of a history's titles (%(default)s)")
    parser.add_argument("--titles", type=int, default=20, help="of a history, with text titles (%(default)s)")
    parser.add_argument("--length", type=int, default=50, help="of histories (%(default)s)")
    parser.add_argument("--threads", type=int, default=0, help="of each side; 0 takes all cores (%(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="of a turn, unrolled in one graph (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="turns that count (%(default)s)")
    parser.add_argument("--quick", action="store_true", help="tiny, a check that it runs")
    options = parser.parse_args(argv)
    if options.quick:
        options.layers, options.batch, options.tokens, options.titles, options.length = 1, 4, 8, 4, 8
        options.steps, options.rounds = 2, 1
    return options


def main(argv: Sequence[str]) -> int:
    options = parse(argv)
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})  # as in training
    if options.threads:
        tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        links = {}
        for text in options.text:
            address = stack.enter_context(side_process(options, text, Path(folder) / text))
            links[text] = LlmLink(LinkConfig(address, call_seconds=CALL_SECONDS, wait_seconds=WAIT_SECONDS), d=64)
            links[text].begin(0)
        figures = {**measure(links, options), "round_trips_per_second": round_trips(links[options.text[0]])}
    names = ("model", "layers", "dtype", "batch", "prompts", "tokens", "titles", "length", "threads", "steps")
    told = {name: getattr(options, name) for name in names}
    machine = _machine.describe()
    print(json.dumps({"benchmark": "link", **figures, **bytes_an_example(options), **told, "machine": machine}))
    return 0


@contextmanager
def side_process(options: argparse.Namespace, text: str, folder: Path) -> Iterator[str]:
    """Its address, when it answers."""
    config = {"model": options.model, "layers": options.layers, "dtype": options.dtype, "threads": options.threads}
    config |= {"text": text, "max_tokens": options.tokens, "max_titles": options.titles}
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


class Variant(NamedTuple):
    """A way to train, and what its turns took."""

    unit: Callable[[tf.Tensor], None]
    link: LlmLink | None
    seconds: list[float]
    busy: list[float]  # of the side process
    processor: list[float]  # its processor seconds


def measure(links: dict[str, LlmLink], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds of a step with and without the language model, and the share of it that each side waits."""
    variants = {name: Variant(unit, link, [], [], []) for name, (unit, link) in units(links, options).items()}
    number = 0
    for turn in range(options.rounds + 1):  # the first compiles
        for one in variants.values():
            before, began = _status(one.link), time.perf_counter()
            one.unit(tf.constant(number, tf.int64))
            took = time.perf_counter() - began
            after = _status(one.link)
            number += options.steps
            if turn:
                one.seconds.append(took / options.steps)
                one.busy.append((after["seconds"] - before["seconds"]) / options.steps)
                one.processor.append((after["processor_seconds"] - before["processor_seconds"]) / options.steps)
    whole, busy, processor = (
        {name: median(getattr(one, part)) for name, one in variants.items()} for part in Variant._fields[2:]
    )
    asking = [name for name, one in variants.items() if one.link is not None]
    alone = whole["without_llm"]
    hidden = {
        text: (alone + busy[text] - whole[f"{text}_overlapped"]) / min(alone, busy[text])
        for text in options.text
    }
    return {
        "seconds_per_step": _rounded(whole, 4),
        "side_process_seconds_per_step": _rounded({name: busy[name] for name in asking}, 4),
        "side_process_processor_seconds_per_step": _rounded({name: processor[name] for name in asking}, 4),
        "trainer_waits": _rounded({name: 1 - alone / whole[name] for name in asking}, 3),
        "side_process_waits": _rounded({name: 1 - busy[name] / whole[name] for name in asking}, 3),
        "hidden_of_the_shorter_side": _rounded(hidden, 3),
    }


def _status(link: LlmLink | None) -> dict[str, float]:
    return {"seconds": 0.0, "processor_seconds": 0.0, **({} if link is None else json.loads(link.status()))}


def _rounded(figures: dict[str, float], digits: int) -> dict[str, float]:
    return {name: round(value, digits) for name, value in figures.items()}


def units(
    links: dict[str, LlmLink], options: argparse.Namespace
) -> dict[str, tuple[Callable[[tf.Tensor], None], LlmLink | None]]:
    """By name: ``options.steps`` of SASRec's steps in one graph, called with the number of the step before them."""
    config = ModelConfig(d=64, max_length=options.length, dropout=0.1)
    recommender, optimizer = Recommender(config, ITEMS + 1), optimizers.build(OptimizerConfig("lazy_adam"))
    recommender.add_slots(optimizer)
    popularity = Popularity(np.ones(ITEMS + 1, np.int64))
    objective = Prediction(recommender, LossConfig("sampled_softmax"), popularity)
    random = np.random.default_rng(1)
    items = tf.constant(random.integers(1, ITEMS + 1, (options.batch, options.length + 1)), tf.int32)
    shape = (options.batch, options.prompts, WIDTHS[options.model])
    prompts, mask = tf.Variable(random.normal(size=shape).astype(np.float32)), tf.ones(shape[:2], tf.bool)

    def ask(link: LlmLink, client: tf.Tensor, number: tf.Tensor) -> Asked:
        with tf.GradientTape() as tape:
            value = tf.identity(prompts)
            tape.watch(value)
            return Asked(tape, value, link.knowledge(client, number, value, mask, items[:, :-1]).h)

    def learn(number: tf.Tensor, asked: Asked | None) -> None:
        batch = objective.batch(items[:, :-1], items[:, 1:], tf.stack([tf.constant(1, tf.int64), number]))
        with (
            tf.GradientTape(watch_accessed_variables=False) as tape,
            Step(number, recommender.dense) as step,
        ):
            loss, _ = objective.loss(step, batch)
            if asked is not None:
                tape.watch(asked.h)
                loss *= 1 + 0.01 * tf.reduce_mean(asked.h**2)
        step.update(loss, optimizer)
        if asked is not None:
            upstream = tape.gradient(loss, asked.h)
            prompts.assign_sub(0.01 * asked.tape.gradient(asked.h, asked.prompts, upstream))

    def alone(before: tf.Tensor) -> None:
        for k in range(options.steps):
            learn(before + 1 + k, None)

    def in_turn(link: LlmLink, client: tf.Tensor, before: tf.Tensor) -> None:
        for k in range(options.steps):
            learn(before + 1 + k, ask(link, client, before + 1 + k))

    def overlapped(link: LlmLink, client: tf.Tensor, before: tf.Tensor) -> None:
        """Calls of one client run in the order they are written in; the rest of a step beside them."""
        asked = ask(link, client, before + 1)
        for k in range(options.steps):
            following = ask(link, client, before + 2 + k) if k + 1 < options.steps else None
            learn(before + 1 + k, asked)
            asked = following

    def compiled(unit: Callable[..., None], *arguments: Any) -> Callable[[tf.Tensor], None]:
        signature = [tf.TensorSpec((), tf.int64)]
        return tf.function(lambda before: unit(*arguments, before), input_signature=signature, autograph=False)

    found = {"without_llm": (compiled(alone), None)}
    for text, link in links.items():
        client = link.client()
        found[text] = compiled(in_turn, link, client), link
        found[f"{text}_overlapped"] = compiled(overlapped, link, client), link
    return found


class Asked(NamedTuple):
    """Knowledge, and what its gradient needs."""

    tape: tf.GradientTape
    prompts: tf.Tensor
    h: tf.Tensor


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
