"""QE-Rec as the ranker that rewards the reasoner: what `align.ranker` may name.

A folder of rankers has ``all/`` and ``fold-<k>/``, each with ``requests/`` and ``model/``; MANIFEST.json comes last.
The ranker is the one of the config's `rankers` that ``chat.reward`` names.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

from antiphon import chatbot, records
from antiphon.config import Config
from feature_store import folders
from feature_store.checks import require
from trainer.requests.config import RequestTrainConfig

KIND, BEGUN = "chat_rankers", "begun.json"
TOLD = ("gauc", "recall@3", "recall@5", "ndcg@3", "ndcg@5", "mrr@5", "hit@3")
"""Metrics of the test split that a round tells."""


def settings(config: Config) -> Any:
    """What of the config the rankers depend on."""
    return [config.chat.candidates, config.chat.text_buckets, dataclasses.asdict(_ranker(config))]


def train(config: Config, queries: Path, out: Path, whole: tuple[Path, Path] | None = None) -> dict[str, Any]:
    """Trains a ranker on all sessions to train on, and one without each fold, into ``out``; goes on where it stopped.

    Args:
        whole: requests and model of the ranker on all sessions where there is one; it is left where it lies.
    Returns:
        ``metrics`` of the test split, and what training came to.
    Raises:
        ValueError: ``chat.reward`` names no ranker. DataError: sessions or queries are not whole.
    """
    from trainer import train
    from trainer.cluster.strategy import InProcess
    from trainer.requests import metrics as request_metrics
    from trainer.requests import saved as request_saved
    from trainer.requests.input import Requests
    from trainer.requests.scores import RequestScores

    out, ranker, folds = Path(out), _ranker(config), config.align.folds
    _begin(out, {"queries": folders.version(queries), "folds": folds, "settings": settings(config)})
    summaries = {}
    every = () if whole else (("all", -1),)
    for name, left_out in (*every, *((f"fold-{fold}", fold) for fold in range(folds))):
        here = out / name
        if not (here / "requests" / folders.MANIFEST).is_file():
            here.mkdir(parents=True, exist_ok=True)
            chatbot.write_requests(config, here / "requests", queries, folds if left_out >= 0 else 0, left_out)
        summaries[name] = train.run(here / "requests", None, here / "model", ranker)
    asked, model = whole or (out / "all" / "requests", out / "all" / "model")
    data = Requests(asked)
    restored = request_saved.load(model, data)
    found = request_metrics.metrics_of(RequestScores(InProcess(), data, restored.ranker).of("test"))
    metrics = {name: found[name] for name in TOLD}
    told = ("epochs", "best_epoch", "seconds")
    kept = {name: {key: summary[key] for key in told} for name, summary in summaries.items()}
    manifest = {"kind": KIND, **json.loads((out / BEGUN).read_text()), "trained": kept, "metrics": metrics}
    folders.write_manifest(out, manifest)
    return {"metrics": metrics, "trained": kept}


def reward(config: Config, candidates: Path, vectors: Path, rankers: Path, out: Path) -> dict[str, Any]:
    """Writes `alignment_tables`' ``rewards``: each session's candidates, judged by the ranker that was trained without
    its fold.

    Raises:
        DataError: a folder is not whole.
    """
    import pyarrow as pa

    from feature_store import alignment_tables
    from trainer.requests.rewards import rewards

    told = folders.read_manifest_of(KIND, Path(rankers), "the chatbot's rankers")
    parts = []
    for fold in range(told["folds"]):
        here = Path(rankers) / f"fold-{fold}"
        rows = rewards(here / "requests", here / "model", Path(vectors), placed=config.align.place)
        parts.append(rows.append_column("fold", pa.array([fold] * len(rows), pa.int64())))
    table = pa.concat_tables(parts)
    described = {
        "made_of": {name: folders.version(Path(folder)) for name, folder in
                    (("candidates", candidates), ("vectors", vectors), ("rankers", rankers))},
        "folds": told["folds"],
        "ranker": folders.version(Path(rankers)),
    }  # fmt: skip
    alignment_tables.write(out, "rewards", {"rewards": table}, described)
    return {"candidates": len(table), "sessions": len(table["session_id"].unique()),
            "ndcg": round(float(sum(table["ndcg"].to_pylist())) / max(len(table), 1), 4)}  # fmt: skip


def questions(config: Config, rankers: Path, out: Path, count: int) -> None:
    """Writes ``out``, JSON lines of ``session_id`` and ``query``: for each session to train on, questions that mean the
    ``count`` intents which the ranker that was trained without its fold puts first, the first one first.

    Raises:
        DataError: a folder is not whole.
    """
    from feature_store import intents
    from trainer.cluster.strategy import InProcess
    from trainer.requests import saved as request_saved
    from trainer.requests.input import Requests
    from trainer.requests.scores import RequestScores

    told = folders.read_manifest_of(KIND, Path(rankers), "the chatbot's rankers")
    base, lines = intents.read(config.folder / "intents").to_pylist(), []  # in the order of the scores
    for fold in range(told["folds"]):
        here = Path(rankers) / f"fold-{fold}"
        data = Requests(here / "requests")
        ranker = request_saved.load(here / "model", data).ranker
        scored = RequestScores(InProcess(), data, ranker).of("test")
        for session, scores in zip(scored.request.tolist(), scored.logits, strict=True):
            best = (-scores).argsort(kind="stable")[:count]
            lines += [{"session_id": session, "query": intents.question(base[place], session)} for place in best]
    records.write_text(out, "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines))


def _ranker(config: Config) -> RequestTrainConfig:
    name = config.chat.reward
    require(name in config.rankers, "chat.reward", f"must be one of rankers ({', '.join(config.rankers)})", name)
    return config.rankers[name]


def _begin(out: Path, made_of: dict[str, Any]) -> None:
    """Makes the folder; what was made of something else is removed."""
    file, told = out / BEGUN, records.to_json(made_of)
    if out.exists() and (not file.is_file() or file.read_text(encoding="utf-8") != told):
        shutil.rmtree(out)
    (out / folders.MANIFEST).unlink(missing_ok=True)
    records.write_text(file, told)
