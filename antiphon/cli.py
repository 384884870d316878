"""The command line: `antiphon <command> -c configs/….yaml [--set section.field=value ...]`."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import replace

from antiphon import processes, replay
from antiphon.commands import ON_CLUSTER, VERSIONS, parser
from serving import flags


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command. Returns 0, 1 for a failure, 2 for bad input, 130 when stopped, 138 (trainer.cluster.supervisor
    .AGAIN) when a chief has lost a parameter server and has to be started again."""
    for name, value in processes.QUIET.items():
        os.environ.setdefault(name, value)
    options = parser().parse_args(arguments)
    try:
        with processes.signals_as_exceptions():
            return _dispatch(options)
    except processes.Stopped as stopped:
        if not getattr(options, "child", False):
            print(f"\nantiphon: stopped by {stopped}; the same command goes on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        if options.debug:
            traceback.print_exc()
        print(f"antiphon: {_message(error)}", file=sys.stderr)
        return exit_code(error)


def _dispatch(options: argparse.Namespace) -> int:
    if options.command in ("bench", "reproduce"):
        from importlib import import_module

        package = "benchmarks" if options.command == "bench" else "benchmarks.reproduce"
        return import_module(f"{package}.{options.name}").main(options.arguments) or 0

    if options.command == "replay":
        return replay.run(options)

    from antiphon import runner
    from antiphon.config import load
    from feature_store.checks import require

    if options.child:
        processes.end_with_parent()
    config = load(options.config, options.overrides)
    if getattr(options, "cluster", None):
        evaluate = options.command == "evaluate"
        config = (config.evaluated_on_cluster if evaluate else config.on_cluster)(options.cluster)
    if options.command == "run":
        return runner.run_all(config, options.debug)
    if options.command == "retrain":
        from antiphon.retraining import run

        return run.run(config, options.die_after, options.here)
    if options.command == "versions":
        from antiphon.retraining import versions

        wanted = VERSIONS[options.action]
        require(len(options.version) == wanted, options.action, f"takes {wanted} versions", options.version)
        actions = (versions.listed, versions.differences, versions.promote, versions.roll_back)
        print(dict(zip(VERSIONS, actions, strict=True))[options.action](config, *options.version), end="")
        return 0
    if options.command == "serve":
        from antiphon import serve, serve_chatbot

        served = {"model": serve, "chatbot": serve_chatbot}[options.what]
        return served.run(replace(config, serve=flags.applied(options, config.serve)))
    if options.command in ("llm", "reasoner"):
        from importlib import import_module

        return import_module(f"antiphon.{options.command}").run(config)
    if options.command == "skew":
        from antiphon import skew

        return skew.run(config, options.log, options.out)
    if options.command == "simulate":
        from antiphon import simulate

        return {"market": simulate.market, "chatbot": simulate.chatbot}[options.what](config, options.out)
    if options.command == "experiment":
        from antiphon import experiment

        return experiment.report(config, options.log, options.name, options.out)
    if options.command == "recommend" and not options.save:
        from antiphon import recommend

        history = options.history.split(",") if options.history is not None else None
        return recommend.ask(config, options.user or [], history, options.server)
    if options.command == "align":
        return runner.run_alignment(config, options.rounds, options.step, options.debug)
    name = options.command
    if variant := getattr(options, "variant", None):
        variants = config.rankers or config.variants
        require(variant in variants, "--variant", f"must be one of {', '.join(variants)}", variant)
        name = f"train-{variant}"
    if options.command == "refresh":
        refreshed = config.variants[variant].coco.refresh
        require(refreshed, f"variants.{variant}.coco.refresh", "must be true", refreshed)
        if not options.child:
            return runner.run_rounds(config, variant, options.rounds, options.debug)
        name = f"refresh-{variant}-{options.step}"
    if source := getattr(options, "source", None):
        require(source in config.sources, "--source", f"must be one of {', '.join(config.sources)}", source)
        name = f"knowledge-{source}"
    if options.child or (options.command in ON_CLUSTER and os.environ.get("TF_CONFIG")):
        return runner.run_here(config, name)
    return runner.run_some(config, name, options.debug)


def exit_code(error: Exception) -> int:
    """2 for bad input, 1 for another failure; an error's own code (of a stage's process that failed, say)."""
    if isinstance(error, ValueError | processes.Busy):
        return 2
    return max(getattr(error, "exit_code", 1), 1)


def _message(error: Exception) -> str:
    text = str(error).strip() or "no message"
    if isinstance(error, ValueError | processes.Busy | processes.StageFailed):
        return text
    return f"{type(error).__name__}: {text} (--debug shows where)"


if __name__ == "__main__":
    sys.exit(main())
