"""Language models' side processes that rows share, for models so small that starting one takes longer than training."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from antiphon import llm, records
from antiphon.config import Config, dump


class Sides:
    """One for each language model and run. They end with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self._there: dict[tuple[Path, str], str] = {}  # addresses

    def named(self, config: Config, variant: str) -> Config:
        """`config` with `variant` told where its side process answers, which is started where there is none yet.

        Raises:
            RuntimeError, TimeoutError: it does not come to serve.
        """
        train = config.variants[variant]
        if not train.coco.live:
            return config
        key = config.folder, records.fingerprint(dataclasses.asdict(config.llm))
        if key not in self._there:
            name = f"shared-{len(self._there) + 1}"
            records.write_text(config.folder / "config.yaml", dump(config))
            own = dataclasses.replace(config, variants={name: dataclasses.replace(train, start_from="")})
            self._there[key] = self._stack.enter_context(llm.beside(own, name)).llm.address
        link = dataclasses.replace(train.llm, address=self._there[key])
        return dataclasses.replace(
            config, variants={**config.variants, variant: dataclasses.replace(train, llm=link)}
        )


@contextmanager
def shared(here: bool) -> Iterator[Sides | None]:
    """Gives them for as long as the block lasts, or None where every stage is to start its own."""
    with ExitStack() as stack:
        yield Sides(stack) if here else None
