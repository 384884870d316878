"""What the language model learns from a log of the users whom its knowledge failed (CoCo Eq. 9 and 10), offline."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from feature_store import failures
from feature_store.errors import DataError
from feature_store.selected_prompts import SelectedPrompts
from llm_offline.config import LlmConfig
from llm_offline.knowledge.learner import Learner
from llm_offline.knowledge.reasoner import Question, Reasoner
from llm_offline.knowledge.state import Checkpoints
from llm_offline.knowledge.title_vectors import text_of
from llm_offline.language_model import load

DESCRIBED = ("step", "version", "model_id", "adapter_version", "width", "knowledge_width", "scale")
"""What is told of an adapter."""

NO_SESSION = 0
"""In a checkpoint's place for the trainer's session: there is no link."""


def learner(titles: Sequence[str], folder: Path, config: LlmConfig) -> Learner:
    """A language model with a new adapter.

    Args:
        titles: of the items by index, from 1. folder: of its checkpoints; the titles' vectors are kept there.
    Raises:
        ValueError, FileNotFoundError: as `language_model.load` and `Reasoner`.
    """
    language_model = load(config)
    return Learner(Reasoner(language_model, text_of(titles, language_model, config, folder), config), config)


def begin(titles: Sequence[str], folder: Path, config: LlmConfig) -> dict[str, Any]:
    """Leaves the adapter as it is before any training, ``ckpt-0``, in ``folder``; returns what it is.

    Raises:
        ValueError, FileNotFoundError: as `learner`.
    """
    made, checkpoints = learner(titles, folder, config), Checkpoints(folder)
    checkpoints.save(made, NO_SESSION, 0, asked=True)
    return described(checkpoints, 0)


def described(checkpoints: Checkpoints, step: int) -> dict[str, Any]:
    """What an adapter's checkpoint is: `DESCRIBED`.

    Raises:
        DataError: there is none of that step.
    """
    about = checkpoints.about(step)
    return {name: about[name] for name in DESCRIBED}


def update(
    titles: Sequence[str], folder: Path, step: int, log: Path, prompts: Path, config: LlmConfig
) -> dict[str, Any]:
    """Learns from ``log``, batch after batch, and leaves the next adapter in ``folder``; returns what it is.

    A batch that went into one loss makes one step of the optimizer, as it does over the link. Knowledge is computed
    again with the prompts that it was made of, through the newest weights; the gradient that was logged goes back
    through it. LoRA and decoupling attention learn from the users who were failed alone. Where this was stopped it goes
    on, from a checkpoint after every ``checkpoint_updates`` updates.

    Args:
        step: of the checkpoint whose adapter made the knowledge. prompts: that it was made of.
    Raises:
        DataError: a folder is not whole, or log and adapter are of different models.
        ValueError, FileNotFoundError: as `learner`.
    """
    started, manifest, asked = time.monotonic(), failures.read_folder(log), SelectedPrompts(prompts)
    checkpoints = Checkpoints(folder)
    before = described(checkpoints, step)
    for name in ("model_id", "adapter_version"):
        if manifest[name] != before[name]:
            rule = f"must be that of the adapter, {before[name]!r}"
            raise DataError(rule, file=log, field=name, value=manifest[name])
    last = step + manifest["batches"]
    if last not in checkpoints.steps():
        made = learner(titles, folder, config)
        begun = max(there for there in checkpoints.steps() if step <= there < last)
        checkpoints.restore(made, begun)
        _learn(made, checkpoints, begun, step, log, asked, config)
        checkpoints.save(made, NO_SESSION, last, asked=True)
    after, seconds = described(checkpoints, last), time.monotonic() - started
    return {
        **after,
        "updates": after["version"] - before["version"],
        "rows": manifest["failed_rows"],
        "users": manifest["failed_users"],
        "users_per_second": round(manifest["failed_users"] / seconds, 2),
        "seconds": round(seconds, 2),
    }


def _learn(
    made: Learner,
    checkpoints: Checkpoints,
    begun: int,
    first: int,
    log: Path,
    asked: SelectedPrompts,
    config: LlmConfig,
) -> None:
    saved, rows = made.version, failures.read_folder(log)["failed_rows"]
    with tqdm(total=rows, desc="update", unit="row", unit_scale=True) as bar:
        for number, batch in failures.batches(log, asked.folder):
            bar.update(len(batch))
            if first + number <= begun:
                continue
            prompts, mask, history = asked.vectors(batch)
            upstream = failures.gradients(batch, mask.shape[1])
            made.learn(first + number, Question(prompts, mask, history, None), upstream)
            if made.version - saved >= config.checkpoint_updates:
                checkpoints.save(made, NO_SESSION, first + number, asked=False)
                saved = made.version
