"""The process in which a round's candidate is exported and measured, a published version held against it, or what was
served against what it should have been.

    python -m antiphon.retraining.measuring '{"examples": …, "result": …, "versions": …}'

It is one of its own because it loads TensorFlow and faiss, or Beam. The measuring itself is `trainer.replay`'s and
`beam_jobs.skew`'s.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from antiphon import records, work
from antiphon.config import load
from beam_jobs.options import BeamConfig, SkewConfig
from serving.config import IndexConfig
from trainer.config import ExportConfig


def main(what: Mapping[str, Any]) -> None:
    """Leaves what was found in the file ``what["result"]``, in one step.

    With ``same``, two versions' folders, it is how far their answers are alike. With ``log``, a served log, it is how
    far its features of the requests ``between`` two times are those of ``features``; the report goes to ``out``.
    Otherwise ``versions`` are measured, told what ``views`` know of users, the candidate exported first (from
    ``model``, by ``export`` and ``index``) unless it is there; ``tell`` says how a language model that was trained
    along is made to tell of users before that.
    """
    examples, result = Path(what["examples"]), Path(what["result"])
    if "log" in what:
        records.write_text(result, records.to_json(_skew(what)))
        return
    from trainer import replay

    if "same" in what:
        found: dict[str, Any] = replay.same(*map(Path, what["same"]), examples, _path(what["view"]))
    else:
        versions = {name: Path(path) for name, path in what["versions"].items()}
        if not versions["candidate"].is_dir():
            _export(examples, Path(what["model"]), versions["candidate"], what)
        views = {name: Path(path) for name, path in what["views"].items()}
        found = replay.measure(versions, examples, result.parent, what["bootstrap"], views)
        found["index"] = {name: _index_of(path) for name, path in versions.items()}
    records.write_text(result, records.to_json(found))


def _skew(what: Mapping[str, Any]) -> dict[str, Any]:
    from beam_jobs import skew

    folders = (Path(what[name]) for name in ("log", "features", "examples", "out"))
    config, beam = SkewConfig(**what["skew"]), BeamConfig(**what["beam"])
    return skew.run(*folders, config, beam, tuple(what["between"]))


def _export(examples: Path, model: Path, out: Path, what: Mapping[str, Any]) -> None:
    from trainer import export

    indexer, tell = work.indexer(IndexConfig(**what["index"])), what["tell"]
    made_by = work.tell_once(load(tell["config"]), tell["variant"], tell["view"]) if tell else None
    export.run(examples, model, out.parent, ExportConfig(**what["export"]), indexer, int(out.name), made_by)


def _path(told: str | None) -> Path | None:
    return Path(told) if told else None


def _index_of(version: Path) -> dict[str, Any] | None:
    """What a version's manifest says of its index; None where it has none."""
    path = version / "assets.extra" / "manifest.json"
    return json.loads(path.read_text(encoding="utf-8")).get("index") if path.is_file() else None


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
