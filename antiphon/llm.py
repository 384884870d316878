"""The language model's side process, on the items of a run."""

from __future__ import annotations

from pathlib import Path

from antiphon.config import Config


def run(config: Config) -> int:
    """Serve the language model to the trainers of a run, until stopped.

    Raises:
        ValueError: the run has no training examples.
    """
    vocabulary = config.folder / "examples" / "vocabulary" / "item.txt"
    if not vocabulary.is_file():
        raise ValueError(f"{config.folder}: there are no training examples; `antiphon examples` makes them")

    from llm_offline.knowledge import link_server, titles

    folder = Path(config.llm.folder) if config.llm.folder else config.folder / "llm"
    link_server.run(titles.read_titles(config.folder / "tables", vocabulary), folder, config.llm)
    return 0
