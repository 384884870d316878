"""`antiphon simulate`: logs of a shop, or of a service chatbot, that does not exist, with the true probabilities
beside them."""

from __future__ import annotations

from pathlib import Path

from antiphon.config import Config
from feature_store.checks import require


def market(config: Config, out: Path | None) -> int:
    """Writes the market of the config's section `market`.

    Args:
        out: its folder; None: where the section `data` will read it.
    """
    from feature_store.market.simulate import simulate

    if out is None:
        require(config.data.reader == "market", "data.reader", "must be 'market', or --out given", config.data.reader)
        out = Path(config.data.path)
    made = simulate(config.market, out)
    counts = ", ".join(f"{rows:,} {name}" for name, rows in made["rows"].items())
    print(f"{out}: {counts}, in {made['seconds']:.0f} s")
    return 0


def chatbot(config: Config, out: Path | None) -> int:
    """Writes the sessions of the config's section `chat.simulate`.

    Args:
        out: their folder; None: where the section `chat` will read them.
    """
    from feature_store.datasets.chatbot import simulate

    if out is None:
        require(bool(config.chat.path), "chat.path", "must be given, or --out", config.chat.path)
        out = Path(config.chat.path)
    made = simulate.run(config.chat.simulate, out)
    print(f"{out}: {made['sessions']:,} sessions of {made['users']:,} users, {made['clicked']:,} with a click; the "
          f"{made['test']:,} of the last week have their true intents, one of them among the oracle's first 3 in "
          f"{made['oracle_hit@3']:.1%}")  # fmt: skip
    return 0
