"""The reasoner as a service, with the adapter of the newest round of its alignment."""

from __future__ import annotations

from pathlib import Path

from antiphon import align
from antiphon.config import Config
from feature_store import folders


def run(config: Config) -> int:
    """Serves until stopped."""
    from llm_offline.service import server

    server.run(config.align.reasoner, adapter(config), config.service)
    return 0


def adapter(config: Config) -> Path | None:
    """The folder that `service.adapter` names, else of the newest round that is aligned; None where none is."""
    if config.service.adapter:
        return Path(config.service.adapter)
    whole = [
        path
        for number in range(1, config.align.rounds + 1)
        if (path := align.folder(config, number) / "refine") and (path / folders.MANIFEST).is_file()
    ]
    return whole[-1] if whole else None
