"""`antiphon skew`: whether served features are what they should be, and still like those of training."""

from __future__ import annotations

from pathlib import Path

from antiphon.config import Config


def run(config: Config, log: Path, out: Path | None) -> int:
    """Compares a served log with the run's features and examples; 1 where the verdict does not pass.

    Args:
        out: the report's folder; None: `skew` in the run's.

    Raises:
        DataError: a folder is missing, or not whole.
    """
    from beam_jobs import skew

    out = out or config.folder / "skew"
    found = skew.run(log, config.folder / "features", config.folder / "examples", out, config.skew, config.beam)
    verdict = found["verdict"]
    for name, count in found["mismatched"].items():
        print(f"{name}: {count} of {found['rows']} rows differ from what is computed offline")
    for reason in verdict["reasons"]:
        print(f"fails: {reason}")
    print(f"{'passes' if verdict['passes'] else 'does not pass'}; the report is in {out}/")
    return 0 if verdict["passes"] else 1
