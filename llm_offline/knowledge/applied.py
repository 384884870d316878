"""Which requests have been applied."""

from __future__ import annotations

from typing import Any

HORIZON = 4096
"""Steps that are remembered one by one, behind the newest: far more than all workers have under way."""


class Applied:
    """The set of (step, part) that were applied. Of steps far behind the newest it knows only that they are past."""

    def __init__(self) -> None:
        self._keys: set[tuple[int, int]] = set()
        self._newest = 0

    def __contains__(self, key: tuple[int, int]) -> bool:
        return key in self._keys

    def late(self, step: int) -> bool:
        """Whether a step is so far behind the newest that nothing is known of it."""
        return step <= self._newest - HORIZON

    def add(self, key: tuple[int, int]) -> bool:
        """Adds a key that is not late; False where it was there."""
        if key in self._keys:
            return False
        self._keys.add(key)
        self._newest = max(self._newest, key[0])
        if len(self._keys) > 2 * HORIZON and len(self._keys) % HORIZON == 0:
            self._keys = {known for known in self._keys if not self.late(known[0])}
        return True

    def state(self) -> dict[str, Any]:
        return {"newest": self._newest, "keys": sorted(self._keys)}

    @classmethod
    def of_state(cls, state: dict[str, Any]) -> Applied:
        applied = cls()
        applied._newest = state["newest"]
        applied._keys = {(step, part) for step, part in state["keys"]}
        return applied
