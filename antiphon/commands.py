"""Every command of the command line, and its options."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from antiphon import replay
from serving import flags

STAGES = {
    "ingest": "read raw logs into checked tables",
    "embed": "turn the items' text into vectors with a language model",
    "features": "write features to the feature store, offline and online",
    "examples": "join features to events as of their time, and write training examples",
    "requests": "join features to clicked impressions as of their time, and write labelled requests",
    "prompts": "encode the universal prompts that CoCo's codebook starts from",
    "knowledge": "compute what a frozen language model says of each user, for every source of the config",
    "profiles": "write a semantic profile of every user, for groups of users (config section profiles)",
    "groups": "cluster the profiles into hierarchical groups of users",
    "priors": "sum up what the users of each group have in common, offline and online",
    "queries": "compute what the chatbot's reasoner wonders about each session",
    "train": "train each model variant, here or on a parameter-server cluster",
    "evaluate": "rank all items for every test user, here or on a cluster, and compare the variants",
    "hits": "tell how often each ranker of a chatbot shows what was truly wanted, by the truth or a language model",
    "export": "write the better variant, or export.variant, as a version that TensorFlow Serving loads",
    "report": "write report.html",
}
VERSIONS = {"list": 0, "diff": 2, "promote": 1, "rollback": 0}
"""What can be done with versions, and how many of them it takes."""
ON_CLUSTER = ("train", "evaluate")
EXAMPLES = """\
examples:
  antiphon run -c configs/demo.yaml
  antiphon run -c configs/demo.yaml --set train.epochs=5 --set name=short
  antiphon train -c configs/demo.yaml --variant ids --cluster ps=2,workers=2
  antiphon recommend -c configs/demo.yaml --user 42
  antiphon bench train --quick
  antiphon reproduce backbones --data beauty --backbone sasrec
"""


def parser() -> argparse.ArgumentParser:
    """Every command and its options."""
    top = argparse.ArgumentParser(
        prog="antiphon",
        description="Train a recommender together with a language model, and serve it.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="command", required=True)

    run = _command(commands, "run", "do every stage but those whose inputs and config have not changed")
    run.add_argument("--cluster", metavar="ps=N,workers=N", help="train on a local cluster of that size")

    for name, help in STAGES.items():
        stage = _command(commands, name, help)
        if name == "train":
            stage.add_argument("--variant", metavar="NAME", help="only this one of the config's variants")
        if name == "knowledge":
            stage.add_argument("--source", metavar="NAME", help="only this one of the config's sources")
        if name in ON_CLUSTER:
            cluster = "spawn a local cluster; with TF_CONFIG set, play the role it names"
            stage.add_argument("--cluster", metavar="ps=N,workers=N", help=cluster)

    serve = "serve the exported model over gRPC and REST as TensorFlow Serving does, or the chatbot, until stopped"
    served = _command(commands, "serve", serve)
    what = "the exported model (the default), or the chatbot's endpoint and page beside its ranker"
    served.add_argument("what", nargs="?", default="model", choices=("model", "chatbot"), metavar="chatbot", help=what)
    flags.add(served)

    refresh = "train CoCo in rounds of stored knowledge, with what they build on"
    rounds = _command(commands, "refresh", refresh)
    rounds.add_argument("--variant", metavar="NAME", required=True, help="one of the config's, with coco.refresh")
    rounds.add_argument("--rounds", metavar="N", type=int, help="in all; those that are done are not done again")
    rounds.add_argument("--cluster", metavar="ps=N,workers=N", help="train on a local cluster of that size")
    rounds.add_argument("--step", help=argparse.SUPPRESS)  # one stage of one round

    align = "align the chatbot's reasoner with its ranker, in rounds: candidates, rewards, tuning, vectors, ranker"
    aligned = _command(commands, "align", align)
    aligned.add_argument("--rounds", metavar="N", type=int, help="in all; those that are done are not done again")
    aligned.add_argument("--cluster", metavar="ps=N,workers=N", help="train rankers on a local cluster of that size")
    aligned.add_argument("--step", help=argparse.SUPPRESS)  # one stage of one round

    _command(commands, "reasoner", "serve the chatbot's reasoner by OpenAI's embeddings interface, until stopped")
    llm = "serve the language model that trains with the recommender, until stopped"
    _command(commands, "llm", llm)

    recommend = _command(
        commands, "recommend", "ask a server for recommendations, and print them with titles"
    )
    recommend.add_argument("--user", action="append", metavar="ID", help="a user; may be given many times")
    recommend.add_argument("--history", metavar="ID,ID,...", help="items, oldest first, in place of a user")
    address = "gRPC address of a running server; without it one is started for the question"
    recommend.add_argument("--server", metavar="HOST:PORT", help=address)
    recommend.add_argument("--save", action="store_true", help=argparse.SUPPRESS)  # the run's own sample

    retrain = "train on what is new, gate, publish, compare, and promote or roll back; for a scheduler to call"
    retrain_command = _command(commands, "retrain", retrain)
    retrain_command.add_argument("--die-after", default="", metavar="STEP", help=argparse.SUPPRESS)  # for its tests
    retrain_command.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # likewise: in one process

    versions = _command(commands, "versions", "list, diff, promote and roll back what retraining made")
    versions.add_argument("action", choices=VERSIONS, help=f"one of {', '.join(VERSIONS)}", metavar="ACTION")
    versions.add_argument("version", nargs="*", type=int, help="of diff two versions, of promote one")
    skew = _command(commands, "skew", "compare served features with offline ones and with the training window")
    skew.add_argument("--log", type=Path, required=True, metavar="FOLDER", help="folder of the served log")
    skew.add_argument("--out", type=Path, metavar="FOLDER", help="the report's (default: skew in the run's folder)")

    experiment = _command(commands, "experiment", "report what an experiment's arms changed, from log and events")
    experiment.add_argument("action", choices=("report",), metavar="report", help="write the comparison of the arms")
    experiment.add_argument("--name", required=True, help="which of the config's experiments")
    experiment.add_argument("--log", type=Path, required=True, metavar="FOLDER", help="folder of the served log")
    experiment.add_argument("--out", type=Path, metavar="FILE", help="write the report to a file too")

    simulate = _command(commands, "simulate", "write a simulated shop's or chatbot's log, with the true probabilities")
    simulate.add_argument("what", choices=("market", "chatbot"), metavar="market|chatbot", help="what is simulated")
    its_folder = "its folder (default: the config's data.path or chat.path)"
    simulate.add_argument("--out", type=Path, metavar="FOLDER", help=its_folder)

    replay_help = "send the requests of a served log to a server and compare its answers with the log's"
    replay.add(_plain(commands, "replay", replay_help))

    bench = "run a benchmark", "Run benchmarks/NAME.py; the other arguments are its own."
    _module(commands, "bench", *bench, benchmark_names())
    reproduce = "train and evaluate every row of a paper's table, and write its page under docs/results"
    _module(commands, "reproduce", reproduce, f"{reproduce[0].upper()}{reproduce[1:]}.", reproduction_names())
    return top


def _command(commands: argparse._SubParsersAction, name: str, help: str) -> argparse.ArgumentParser:
    command = _plain(commands, name, help)
    command.add_argument("-c", "--config", required=True, metavar="FILE", help="the run's config, YAML")
    command.add_argument(
        "--set", action="append", default=[], dest="overrides", metavar="SECTION.FIELD=VALUE",
        help="put a value over the config's; may be given many times",
    )  # fmt: skip
    # Started by another of our commands, which holds the run's lock and whose end is its end.
    command.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return command


def _plain(commands: argparse._SubParsersAction, name: str, help: str) -> argparse.ArgumentParser:
    """A command without a config."""
    command = commands.add_parser(name, help=help, description=help[0].upper() + help[1:] + ".")
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    return command


def _module(
    commands: argparse._SubParsersAction, name: str, help: str, description: str, names: Sequence[str]
) -> None:
    command = commands.add_parser(name, help=help, description=description)
    command.add_argument("--debug", action="store_true", help="show the traceback of an error")
    command.add_argument("name", choices=names, metavar="NAME", help=", ".join(names))
    command.add_argument("arguments", nargs=argparse.REMAINDER, help="its own; try --help")


def benchmark_names() -> list[str]:
    """The benchmarks there are: one file each."""
    import benchmarks

    return _module_names(benchmarks.__path__[0])


def reproduction_names() -> list[str]:
    """The reproductions there are: one file each."""
    import benchmarks.reproduce

    return _module_names(benchmarks.reproduce.__path__[0])


def _module_names(folder: str) -> list[str]:
    return sorted(
        name[:-3] for name in os.listdir(folder) if name.endswith(".py") and not name.startswith("_")
    )
