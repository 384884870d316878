"""The side process's checkpoints: each belongs to the trainer's checkpoint of the same step."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from feature_store import folders
from llm_offline.knowledge.learner import Learner

_FILE = "learner.pt"


class Checkpoints:
    """A folder of ``ckpt-<step>``, each whole or not there, with all that `Learner.state` gives.

    Those that the trainer asked for stay for as long as it says; of those made in between only the newest stays.

    Args:
        folder: is made where it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def save(self, learner: Learner, session: int, step: int, asked: bool) -> Path:
        """Writes ``ckpt-<step>``.

        Args:
            session: the trainer's. asked: the trainer did, for its own checkpoint of this step.
        Raises:
            OSError: the disk is full, or the folder cannot be written; older checkpoints are as they were.
        """
        out = self._folder / f"ckpt-{step}"
        with folders.new_folder(out) as folder:
            state = learner.state()
            torch.save(state, folder / _FILE)
            named = {"kind": "llm", "step": step, "session": session, "asked": asked, "version": learner.version}
            named |= {"model_id": state["model"], "adapter_version": _name(learner.version, state["weights"])}
            files = [folders.describe(folder / _FILE, folder)]
            folders.write_manifest(folder, {**named, **learner.about(), "files": files})
        if not asked:
            self._remove([other for other in self.steps() if other != step and not self._asked(other)])
        return out

    def restore(self, learner: Learner, step: int) -> int:
        """Puts ``learner`` where ``ckpt-<step>`` was made, 0 being the beginning; returns its session.

        Raises:
            DataError: there is no such checkpoint, or it is not whole.
            ValueError: as `Learner.restore`.
        """
        if step == 0 and 0 not in self.steps():
            learner.restore(None)
            return 0
        folder = self._folder / f"ckpt-{step}"
        learner.restore(read(folder))
        return folders.read_manifest(folder, hashes=False)["session"]

    def weights(self, step: int) -> dict[str, torch.Tensor]:
        """The adapter and the decoupling attention of ``ckpt-<step>``.

        Raises:
            DataError: there is no such checkpoint, or it is not whole.
        """
        return read(self._folder / f"ckpt-{step}")["weights"]

    def about(self, step: int) -> dict[str, Any]:
        """The manifest of ``ckpt-<step>``: among others model_id, adapter_version and what `Learner.about` tells.

        Raises:
            DataError: there is no such checkpoint, or it is not whole.
        """
        return folders.read_manifest(self._folder / f"ckpt-{step}")

    def adapters(self) -> dict[int, dict[str, str]]:
        """``model_id`` and ``adapter_version`` of each checkpoint that is there, by its step."""
        found = {}
        for step in self.steps():
            manifest = folders.read_manifest(self._folder / f"ckpt-{step}", hashes=False)
            found[step] = {name: manifest[name] for name in ("model_id", "adapter_version")}
        return found

    def steps(self) -> list[int]:
        """Of the checkpoints that are there, rising."""
        names = (path.name for path in self._folder.glob("ckpt-*"))
        return sorted(int(name.removeprefix("ckpt-")) for name in names if re.fullmatch(r"ckpt-\d+", name))

    def keep(self, kept: Collection[int]) -> None:
        """Removes those the trainer asked for once and keeps no longer, and those of steps that it went back behind."""
        self._remove([step for step in self.steps() if step not in kept and (self._asked(step) or step > max(kept))])

    def _asked(self, step: int) -> bool:
        return folders.read_manifest(self._folder / f"ckpt-{step}", hashes=False)["asked"]

    def _remove(self, steps: list[int]) -> None:
        for step in steps:
            shutil.rmtree(self._folder / f"ckpt-{step}", ignore_errors=True)


def read(folder: Path) -> dict[str, Any]:
    """What `Learner.state` gave when a ``ckpt-<step>`` was made.

    Raises:
        DataError: there is no such checkpoint, or it is not whole.
    """
    folders.read_manifest(folder)
    return torch.load(folder / _FILE, map_location="cpu", weights_only=True)


def _name(version: int, weights: Mapping[str, torch.Tensor]) -> str:
    """Of an adapter, by its content: how often it was updated, and a hash."""
    digest = hashlib.sha256()
    for name, value in sorted(weights.items()):
        digest.update(name.encode() + value.cpu().contiguous().numpy().tobytes())
    return f"{version}-{digest.hexdigest()[:12]}"
