"""Which of the versions in a model's folder to serve: TF Serving's `model_version_policy`."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass


@dataclass(frozen=True)
class Latest:
    """The `count` highest versions."""

    count: int = 1

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"model_version_policy.latest.num_versions must be at least 1, got {self.count}")

    def choose(self, versions: Set[int]) -> set[int]:
        return set(sorted(versions)[-self.count :])


@dataclass(frozen=True)
class All:
    """Every version."""

    def choose(self, versions: Set[int]) -> set[int]:
        return set(versions)


@dataclass(frozen=True)
class Specific:
    """The versions named, where they exist."""

    versions: frozenset[int]

    def choose(self, versions: Set[int]) -> set[int]:
        return set(self.versions & versions)


VersionPolicy = Latest | All | Specific
