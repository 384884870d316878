"""Recommendations under an experiment: each user is answered by the user's arm, and the log is told so."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from feature_store.config import ArmConfig, ExperimentConfig
from feature_store.experiments import arm_of
from feature_store.request_context import RequestContext
from serving.client import Client


class SplitClient:
    """Asks one server for users of one experiment; use it as a context manager. Threads may share one.

    Users outside of the experiment are answered by the first arm's model and are no exposure.

    Args:
        address: "host:port", as `Client` takes it.
        model: the model of arms that name none.
        name: the experiment's.
        rest, timeout: as `Client` takes them.
    """

    def __init__(
        self,
        address: str,
        model: str,
        name: str,
        experiment: ExperimentConfig,
        *,
        rest: bool = False,
        timeout: float = 10.0,
    ):
        self._name, self._experiment = name, experiment

        def client(arm: ArmConfig) -> Client:
            return Client(address, arm.model or model, arm.version, label=arm.label or None, rest=rest, timeout=timeout)

        self._clients = {arm: client(config) for arm, config in experiment.arms.items()}

    def __enter__(self) -> SplitClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        for client in self._clients.values():
            client.close()

    def recommend(
        self, users: Sequence[str], histories: Sequence[Sequence[str]], k: int
    ) -> list[list[tuple[str, float]]]:
        """`Client.recommend` for each user and history, in their order; one request an arm.

        Raises:
            ValueError: not as many users as histories, and as `Client.recommend`.
        """
        by_arm: dict[str, list[int]] = defaultdict(list)
        for number, (user, _) in enumerate(zip(users, histories, strict=True)):
            by_arm[arm_of(self._name, self._experiment, user)].append(number)
        answers: dict[int, list[tuple[str, float]]] = {}
        for arm, numbers in by_arm.items():
            exposed = {self._name: arm} if arm else {}
            context = RequestContext(tuple(users[n] for n in numbers), exposures=(exposed,) * len(numbers))
            client = self._clients[arm or next(iter(self._clients))]
            found = client.recommend([histories[n] for n in numbers], k, context=context)
            answers.update(zip(numbers, found, strict=True))
        return [answers[number] for number in range(len(users))]
