"""Of RGAlign-Rec's page, what the reasoner learnt from: candidates, what was chosen, rewards, and the tuning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.reproduce import _tables
from llm_offline.alignment_config import TuneConfig

TAU = TuneConfig().temperature


def body(shared: Mapping[str, Any], measured: Mapping[str, Any]) -> Iterator[str]:
    """Of what is known; arguments as of `_rgalign_page.body`."""
    yield from _alignment(shared, measured.get("agreement"))
    yield from _meaning(measured.get("meaning"))
    yield from _tuning(shared, measured.get("contrast"))


def _alignment(shared: Mapping[str, Any], agreed: Any) -> Iterator[str]:
    if written := _summary(shared, "candidates"):
        yield "## What the reasoner learnt from"
        yield f"Candidates of {written['sessions']:,} sessions, by teacher:"
        outcomes = ("kept", "short", "long", "empty")
        lines = [[name, *(f"{told.get(one, 0):,}" for one in outcomes)] for name, told in written["outcomes"].items()]
        yield _tables.table(["teacher", "10 to 20 words", *outcomes[1:]], lines)
    lines = []
    for strategy in ("v1", "v2", "v3", "v4"):
        if told := _summary(shared, f"best/{strategy}"):
            teachers = ", ".join(f"{name} {count:,}" for name, count in told["by_teacher"].items())
            pairs = f"{told['pairs']:,} ({told['pairs_by_ndcg']:,})"
            ties = [f"{told[name]:.1%}" for name in ("tie_rate", "tie_rate_after_margin")]
            lines.append([strategy.upper(), f"{told['sessions']:,}", f"{told['samples']:,}", teachers, *ties, pairs])
    if lines:
        head = ["strategy", "sessions", "samples", "by teacher", "best NDCG tied", "margin too", "pairs (by NDCG)"]
        yield _tables.table(head, lines)
    if agreed and agreed.get("best") is not None:
        other, placed = agreed["other"], agreed["placed"]
        here, there = ("placed among the sessions'", "as they are")[:: 1 if placed else -1]
        yield (
            "Rewards are by clicks. The same ranker's, of the same vectors, by the true intents tells what the noise "
            "of clicks costs (not whether a query means what is wanted, which is below). Candidates then differ in "
            f"{agreed['differ']:.1%} of {agreed['sessions']:,} sessions; in these the best by reward is truly best in "
            f"{agreed['best']:.1%} (a candidate at random in {agreed['chance']:.1%}). Of two candidates that truly "
            f"differ the reward puts {agreed['pairs']:.1%} in their order, a tie counting half; with the margin, "
            f"{agreed['pairs_by_margin']:.1%}. Candidates' vectors are {here} (`align.place`); {there}, they differ in "
            f"{other['differ']:.1%}, and the best is truly best in {other.get('best', 0):.1%} (at random "
            f"{other.get('chance', 0):.1%})."
        )


def _meaning(meant: Any) -> Iterator[str]:
    if not meant:
        return
    yield (
        "The teacher of kind `ranker` writes questions of the base, of which it is known what intent they mean. In "
        f"{meant['there']:.1%} of {meant['sessions']:,} sessions one of them means an intent that was truly wanted. "
        f"Where some do and some do not, the best of them by reward does in {meant['best']:.1%}, one at random in "
        f"{meant['chance']:.1%}. Of what is chosen to learn from:"
    )
    lines = [
        [name.upper(), f"{told['samples']:,}", f"{told['known']:.1%}", f"{told['right']:.1%}", f"{told['chance']:.1%}"]
        for name, told in meant.items() if isinstance(told, dict)
    ]  # fmt: skip
    head = ["strategy", "samples", "a question of the base", "of these, means what is wanted", "a random one"]
    yield _tables.table(head, lines)


def _tuning(shared: Mapping[str, Any], contrast: Any) -> Iterator[str]:
    if contrast:
        raw, even = contrast["raw"], contrast["standardised"]
        yield (
            f"RG-CL compares a session's state with targets by their cosine over τ = {TAU:g}. As published, the cosine "
            f"of a state with the targets of other intents is {raw['others']:.3f} with a deviation of "
            f"{raw['deviation']:.3f}, that with its own {raw['own']:.3f}: all of them point in one direction, and the "
            f"loss has {raw['deviation'] / TAU:.2f} to tell them apart by. Standardised, states and targets each by "
            f"their own mean and deviation, it is {even['others']:.3f} with a deviation of {even['deviation']:.3f}, "
            f"and {even['own']:.3f}: {even['deviation'] / TAU:.1f}."
        )
    lines = []
    for name, told in shared.items():
        if name.startswith("tuned/") and (found := told["summary"]):
            losses = [" → ".join(f"{found[when][key]:.4f}" for when in ("first", "last") if key in found[when])
                      for key in ("loss", "nearest", "preferred")]  # fmt: skip
            lines.append([name.removeprefix("tuned/"), f"{found['items']:,}", f"{found['updates']:,}", *losses])
    if lines:
        yield "Tuning, each figure the mean of its first and of its last epoch:"
        head = ["reasoner", "items", "updates", "loss", "own target nearest", "chosen query gained more"]
        yield _tables.table(head, lines)


def _summary(shared: Mapping[str, Any], name: str) -> Any:
    return shared.get(name, {}).get("summary")
