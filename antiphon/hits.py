"""Intent hit rate of every ranker of a chatbot's run: whether what was truly wanted is among the first it shows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from antiphon import records
from antiphon.config import Config
from feature_store.errors import DataError

if TYPE_CHECKING:
    from llm_offline.alignment.judge import Case, Judge
    from trainer.requests.scores import Scored

FILE = "hits.json"


def run(config: Config) -> dict[str, Any]:
    """Writes ``evaluation/hits.json`` of the rankers that are evaluated, an oracle among them; returns what it holds.

    What a language model has judged is kept beside it and not asked again.

    Raises:
        DataError: an evaluation or the base is not whole, or the transcripts have no such columns.
        EndpointError: the model does not answer. FileNotFoundError, ValueError: it cannot be loaded.
    """
    from feature_store import intents
    from llm_offline.alignment.judge import hit_rate
    from trainer.requests import evaluate as request_evaluate

    base, out = intents.read(config.folder / "intents"), config.folder / "evaluation"
    names = base["intent_id"].to_pylist()
    judge = judge_of(config, dict(zip(names, base["title"].to_pylist(), strict=True)))
    transcripts = _transcripts(config.hits.transcripts)
    found = {}
    for name in (*config.rankers, "oracle"):
        if name in config.rankers or (out / name).is_dir():
            scored, _ = request_evaluate.read(out / name)
            found[name] = hit_rate(cases(scored, names, config.hits.first, transcripts), judge, config.hits.first)
    told = {"by": config.hits.by, "first": config.hits.first, "rankers": found}
    records.write_text(out / FILE, records.to_json(told))
    return told


def judge_of(config: Config, titles: dict[str, str]) -> Judge:
    """The judge that the section `hits` names."""
    from llm_offline.alignment.endpoint import Endpoint
    from llm_offline.alignment.judge import ByModel, ByTruth, Remembered

    hits, model = config.hits, config.hits.model
    if hits.by == "truth":
        return ByTruth()
    if model.kind == "endpoint":
        asked, source = Endpoint(model), f"{model.url}#{model.model}/max_tokens={model.max_new_tokens}"
    else:
        from llm_offline.generator import Generator, generation_id

        asked, source = Generator(model.generate), generation_id(model.generate)
    return Remembered(ByModel(asked, titles, hits.most), config.folder / "evaluation" / "judged.jsonl", source)


def cases(scored: Scored, names: list[str], first: int, transcripts: dict[str, str]) -> list[Case]:
    """Of the sessions that a ranker scored, whose candidates are all intents, ``names`` in their order; what the test
    split labels is the truth."""
    from llm_offline.alignment.judge import Case

    best = (-scored.logits).argsort(axis=1, kind="stable")[:, :first]
    found = []
    for row, session in enumerate(scored.request.tolist()):
        shown = tuple(names[place] for place in best[row])
        truth = frozenset(names[place] for place in (scored.labels[row] > 0).nonzero()[0])
        found.append(Case(session, shown, transcripts.get(session, ""), truth))
    return found


def _transcripts(path: str) -> dict[str, str]:
    if not path:
        return {}
    import pyarrow.parquet as pq

    columns = ["session_id", "transcript"]
    there = pq.read_schema(path).names if Path(path).is_file() else []
    if missing := set(columns) - set(there):
        raise DataError("must be Parquet with session_id and transcript", file=path, value=sorted(missing))
    table = pq.read_table(path, columns=columns)
    return dict(zip(*(table[name].to_pylist() for name in columns), strict=True))
