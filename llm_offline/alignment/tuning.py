"""Tunes the reasoner's adapter: updates over shuffled items, checkpoints, and going on where a run was stopped."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from feature_store import folders
from llm_offline import adapter
from llm_offline.alignment.objectives import Objective
from llm_offline.alignment.policy import Policy
from llm_offline.alignment_config import ReasonerConfig, TuneConfig

_STATE = "state.pt"


def run(
    out: Path, name: str, reasoner: ReasonerConfig, config: TuneConfig, start: Path | None,
    prepare: Callable[[Policy, Path], Objective], made_of: Mapping[str, str],
) -> dict[str, Any]:  # fmt: skip
    """Writes the adapter ``out``, named ``name``.

    Until it is whole, the newest checkpoint lies in ``.<out's name>.unfinished`` beside it; the same call goes on from
    there, and comes to the same adapter as one that was never stopped.

    Args:
        start: an adapter to start from; None starts from the model as it was published.
        prepare: what to learn, from the policy as it starts and a folder for what it wants to keep of that.
        made_of: versions of all that the objective was made of.
    Returns:
        the adapter's version, items, updates, means of the losses over the first and the last epoch, seconds.
    Raises:
        DataError: ``start`` is not whole. ValueError: it is of another rank or model.
        as ``prepare`` and `language_model.load`.
    """
    started = time.monotonic()
    if config.threads:
        torch.set_num_threads(config.threads)
    policy = Policy(reasoner, config)
    parent = adapter.version_of(start)
    if start is not None:
        policy.put(adapter.weights_of(start))
    identity = _hash([name, policy.model_id, parent, config.kept(), dict(made_of)])
    unfinished = out.with_name(f".{out.name}.unfinished")
    _make_room(unfinished, identity)
    objective = prepare(policy, unfinished)
    tuning = Tuning(policy, objective, config)
    if (newest := _newest(unfinished)) is not None:
        tuning.restore(torch.load(newest / _STATE, map_location="cpu", weights_only=True))
    begun = tuning.update
    with tqdm(total=tuning.updates, initial=begun, desc=name, unit="update") as bar:
        while tuning.update < tuning.updates:
            bar.set_postfix(loss=f"{tuning.step()['loss']:.4f}", refresh=False)
            bar.update()
            if tuning.update % config.checkpoint_updates == 0 and tuning.update < tuning.updates:
                _save(unfinished, tuning)
    seconds = round(time.monotonic() - started, 2)
    summary = {"items": len(objective), "updates": tuning.updates, "resumed_at": begun, **tuning.told()}
    summary["seconds"] = seconds
    described = {"parent": parent, "made_of": dict(made_of), "settings": asdict(config), "summary": summary}
    manifest = adapter.write(out, policy.weights(), reasoner.model, policy.model_id, config.alpha, name, described)
    shutil.rmtree(unfinished)
    return {"adapter_version": manifest["adapter_version"], "parent": parent, **summary}


class Tuning:
    """AdamW with a warm-up and a linear decay, over batches of shuffled items.

    The order of the items, their noise and dropout are functions of the seed and the update's number.
    """

    def __init__(self, policy: Policy, objective: Objective, config: TuneConfig) -> None:
        self._policy, self._objective, self._config = policy, objective, config
        self.per_epoch = -(-len(objective) // config.batch)
        self.updates = self.per_epoch * config.epochs
        self.update = 0
        self._values = list(policy.weights().values())
        decay = {"lr": config.learning_rate, "weight_decay": config.weight_decay}
        self._optimizer = torch.optim.AdamW(self._values, **decay)
        self._told: list[dict[str, float]] = []

    def step(self) -> dict[str, float]:
        """One update; returns the loss and its parts."""
        items, config = self._items(), self._config
        self._optimizer.zero_grad()
        told = self._objective.backward(self._policy, items, config.seed * 1_000_003 + self.update)
        torch.nn.utils.clip_grad_norm_(self._values, config.clip, error_if_nonfinite=True)
        for group in self._optimizer.param_groups:
            group["lr"] = config.learning_rate * factor(self.update, self.updates, config.warmup)
        self._optimizer.step()
        self.update += 1
        self._told.append(told)
        return told

    def told(self) -> dict[str, Any]:
        """Means of what the updates told, over the first epoch and over the last."""
        ends = {"first": self._told[: self.per_epoch], "last": self._told[-self.per_epoch :]}
        return {
            when: {key: round(float(np.mean([one[key] for one in some])), 5) for key in some[0]}
            for when, some in ends.items()
        }

    def state(self) -> dict[str, Any]:
        """All that `restore` needs."""
        weights = {name: value.detach().clone() for name, value in self._policy.weights().items()}
        optimizer = self._optimizer.state_dict()
        return {"weights": weights, "optimizer": optimizer, "update": self.update, "told": self._told}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes to a state."""
        self._policy.put(state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.update, self._told = state["update"], list(state["told"])

    def _items(self) -> np.ndarray:
        epoch, place = divmod(self.update, self.per_epoch)
        order = np.random.default_rng([self._config.seed, epoch]).permutation(len(self._objective))
        return order[place * self._config.batch : (place + 1) * self._config.batch]


def factor(update: int, updates: int, warmup: float) -> float:
    """Of the learning rate: up from 1 / w over the first w = ⌈warmup · updates⌉, then down to 1 / (updates − w)."""
    warm = math.ceil(warmup * updates)
    if update < warm:
        return (update + 1) / warm
    return (updates - update) / (updates - warm)


def _save(unfinished: Path, tuning: Tuning) -> None:
    with folders.new_folder(unfinished / f"ckpt-{tuning.update:08d}") as folder:
        torch.save(tuning.state(), folder / _STATE)
        folders.write_manifest(folder, {"kind": "tuning", "files": [folders.describe(folder / _STATE, folder)]})
    for older in sorted(unfinished.glob("ckpt-*"))[:-1]:
        shutil.rmtree(older)


def _newest(unfinished: Path) -> Path | None:
    whole = [path for path in sorted(unfinished.glob("ckpt-*")) if (path / folders.MANIFEST).is_file()]
    if not whole:
        return None
    folders.read_manifest(whole[-1])
    return whole[-1]


def _make_room(unfinished: Path, identity: str) -> None:
    """Removes what was begun with other settings or from other data."""
    mark = unfinished / "identity"
    if unfinished.exists() and (not mark.is_file() or mark.read_text() != identity):
        shutil.rmtree(unfinished)
    unfinished.mkdir(parents=True, exist_ok=True)
    if not mark.is_file():
        temporary = unfinished / ".identity.part"
        temporary.write_text(identity)
        temporary.rename(mark)


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
