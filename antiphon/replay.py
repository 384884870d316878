"""`antiphon replay`: a served log sent to another server or version, and the answers compared."""

from __future__ import annotations

import argparse
import itertools
import json
from pathlib import Path


def add(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--log", type=Path, required=True, metavar="FOLDER", help="folder of the served log")
    parser.add_argument("--server", required=True, metavar="HOST:PORT", help="gRPC address of the server to ask")
    parser.add_argument("--rest", action="store_true", help="the address is the server's REST port")
    parser.add_argument("--model", default="", metavar="NAME", help="model to ask in place of each row's own")
    parser.add_argument("--version", type=int, metavar="N", help="version to ask in place of the newest")
    parser.add_argument("--label", metavar="NAME", help="label of the version to ask")
    parser.add_argument("--clients", type=int, default=1, metavar="N", help="requests under way at once (default: 1)")
    parser.add_argument("--k", type=int, default=10, help="items of each answer to compare (default: 10)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows of the log")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write the comparison to a file too")


def run(options: argparse.Namespace) -> int:
    """Replays and prints the comparison; its last line is JSON. 1 where no request was answered.

    Raises:
        ValueError: there is no such log, or an option does not keep its rule.
    """
    from antiphon import records
    from feature_store import served_log
    from serving.replay import Replay

    to = Replay(
        options.server, options.rest, options.model, options.version, options.label, options.clients, options.k
    )
    served_log.segments(options.log)  # whether there is one
    report = to.run(itertools.islice(served_log.read(options.log), options.limit))
    print(f"{report['answered']} requests answered, {report['failed']} failed, {report['skipped']} of other APIs")
    if lists := report.get("top_k"):
        print(
            f"of the first {lists['k']} items {lists['overlap']:.1%} are shared; the first is the same in "
            f"{lists['same_first']:.1%}, all in order in {lists['same_order']:.1%} of {lists['lists']} lists"
        )
    if options.out:
        records.write_text(options.out, records.to_json(report))
    print(json.dumps(report))
    return 0 if report["answered"] else 1
