"""`antiphon simulate market`: logs of a shop that does not exist, with the true probabilities beside them."""

from __future__ import annotations

from pathlib import Path

from antiphon.config import Config
from feature_store.checks import require


def run(config: Config, out: Path | None) -> int:
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
