"""What CoCo is trained on: L = L_r + α L_aux + β L_ortho + γ L_Q (Mu et al., 2026, Eq. 11)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import tensorflow as tf

from trainer.layers.prompt_codebook import Selection
from trainer.layers.tables import EmbeddingTable
from trainer.llm_link import LlmLink, Question, spare
from trainer.models.coco import Knowledge, helped
from trainer.objective import Batch, Outputs, Prediction
from trainer.recommender import Recommender
from trainer.step import Step


class Source(Protocol):
    """Where a training step's knowledge comes from."""

    def knowledge(
        self,
        step: Step,
        selection: Selection,
        history: tf.Tensor,
        stored: Knowledge | None = None,
        asked: Asked | None = None,
    ) -> tuple[Knowledge, tf.Tensor | None]:
        """What is known of B users from their prompts and what they met before the target, and where it can learn, the
        (B,) gate of `spare`.

        Args:
          history: (B, L) item indices, oldest first; 0 pads. stored: what lies beside the users' examples.
          asked: the same codes' knowledge, where it was asked for before.
        """


class Asked(NamedTuple):
    """Knowledge that was asked for before a step's update, and the codes that it is of."""

    selection: Selection
    question: Question


class LinkSource:
    """A language model in a side process, which learns from the step's gradients. A `Source`."""

    def __init__(self, link: LlmLink) -> None:
        self._link = link

    def ask(self, step: Step, selection: Selection, history: tf.Tensor) -> Asked:
        """Sends the request of ``knowledge`` and waits for its answer."""
        asked = (selection.prompts, selection.mask, history)
        return Asked(selection, self._link.ask(step.client, step.index, *asked))

    def knowledge(
        self,
        step: Step,
        selection: Selection,
        history: tf.Tensor,
        stored: Knowledge | None = None,
        asked: Asked | None = None,
    ) -> tuple[Knowledge, tf.Tensor]:
        """See `Source`."""
        asked = asked or self.ask(step, selection, history)
        answer = self._link.answer(step.client, asked.question, selection.prompts)
        return Knowledge(tf.cast(answer.h, selection.prompts.dtype), selection.mask), answer.gate


class StoredSource:
    """Knowledge that was computed for each example before training, and stays as it is. A `Source`."""

    def knowledge(
        self, step: Step, selection: Selection, history: tf.Tensor, stored: Knowledge, asked: Asked | None = None
    ) -> tuple[Knowledge, None]:
        """See `Source`."""
        return stored, None


class CollaborationBatch(NamedTuple):
    """What one step is computed from."""

    window: Batch  # what the backbone is asked
    history: tf.Tensor  # (B, L), what the users met before their last target
    stored: Knowledge | None = None  # what lies beside their examples


class Collaboration:
    """A backbone's prediction, with knowledge at its sequences' last position. An ``Objective``.

    L_aux is the backbone's own loss, at every position. L_r is the same loss of h_aligned, at the last position of the
    sequences that are asked something there: a user's knowledge is made of text that ends before that target. Eq. 8
    says which users the knowledge helped; the language model learns from the others (Eq. 9).

    Args:
      recommender: with CoCo around its model. prediction: of the same recommender.
    """

    def __init__(self, recommender: Recommender, prediction: Prediction, source: Source) -> None:
        self._recommender, self._coco, self._prediction = recommender, recommender.coco, prediction
        self._source, self._config = source, recommender.coco.config

    def batch(
        self, history: tf.Tensor, targets: tf.Tensor, seed: tf.Tensor, stored: Knowledge | None = None
    ) -> CollaborationBatch:
        """See ``Objective``.

        Args:
          stored: of the same rows.
        """
        return CollaborationBatch(self._prediction.batch(history, targets, seed), history, stored)

    def touched(self, batches: Sequence[CollaborationBatch]) -> dict[EmbeddingTable, tf.Tensor | None]:
        """See ``Objective``."""
        return self._prediction.touched([batch.window for batch in batches])

    def ask(self, step: Step, batch: CollaborationBatch) -> Asked:
        """Asks for the knowledge of a step's users by the parameters as they are; ``loss`` comes after their update."""
        read, (rows, _) = self._prediction.read(step, batch.window), _asked(batch.window.targets[:, -1])
        with step.weights(self._recommender.dense):
            h, _ = self._states(self._prediction.outputs(read, batch.window), batch.window.inputs, rows)
            selection = self._coco.prompts(h[:, -1])
        return self._source.ask(step, selection, tf.gather(batch.history, rows))

    def loss(self, step: Step, batch: CollaborationBatch, ahead: Asked | None = None) -> tuple[tf.Tensor, tf.Tensor]:
        """See ``Objective``: L, and the number of positions of L_aux. Tells its parts, M, and the codes selected.

        Args:
          ahead: what ``ask`` gave for this batch; the users then have the codes that were selected there.
        """
        prediction, config, (inputs, targets, *_) = self._prediction, self._config, batch.window
        rows, present = _asked(targets[:, -1])
        read = prediction.read(step, batch.window)
        with step.weights(self._recommender.dense):
            found = prediction.outputs(read, batch.window)
            h, seen = self._states(found, inputs, rows)
            selection = self._coco.prompts(h[:, -1], ahead and ahead.selection)
            stored = batch.stored and Knowledge(*(tf.gather(part, rows) for part in batch.stored))
            history = tf.gather(batch.history, rows)
            knowledge, gate = self._source.knowledge(step, selection, history, stored, ahead)
            aligned = self._coco.aligned(h, seen, knowledge)
            orthogonality = tf.cast(self._coco.codebook.orthogonality(), h.dtype)
        target, *places = (tf.gather(part[:, -1], rows) for part in (targets, *read.places[1:]) if part.shape.rank == 2)
        m = tf.stop_gradient(helped(aligned, h[:, -1], tf.gather(found.vectors, places[0])))
        aligned = self._sparing(aligned, m | ~present, gate)
        newest = tf.fill(tf.shape(rows), inputs.shape[1] - 1)
        last = Outputs(found.vectors, aligned, target, places[0], (*places, None)[1], tf.cast(rows, tf.int32), newest)
        asked = found.at(found.target > 0)
        # A batch in which no last position is asked has one row all the same, which counts for nothing.
        some, counts = tf.cast(present, h.dtype), tf.fill(tf.shape(rows), present)
        if config.positions == "all":
            last = asked.at(asked.column < inputs.shape[1] - 1).joined(last.at(counts))
        apart = last.column == inputs.shape[1] - 1 if config.exclude_seen else None
        recommendation = prediction.mean(read, batch.window, last, apart)
        if config.positions == "last":
            recommendation *= some
        auxiliary = prediction.mean(read, batch.window, asked)
        quantization = some * tf.reduce_mean(selection.quantization)
        parts = (recommendation, auxiliary, orthogonality, quantization)
        for name, part in zip(("recommendation", "auxiliary", "orthogonality", "quantization"), parts, strict=True):
            step.tell(f"loss/{name}", part[None])
        step.tell("helped", tf.boolean_mask(m, counts))
        selected = tf.math.count_nonzero(selection.mask, axis=1) - config.shared * config.selects
        step.tell("prompts_selected", tf.boolean_mask(selected, counts))
        weights = (1.0, config.alpha, config.beta, config.gamma)
        return tf.add_n([weight * part for weight, part in zip(weights, parts, strict=True)]), tf.size(asked.target)

    def _states(self, found: Outputs, inputs: tf.Tensor, rows: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """h_RS of some rows (n, L, d), zeros at padding, and where it is none (n, L)."""
        shape = (*tf.unstack(tf.shape(inputs)), self._recommender.config.d)
        h = tf.scatter_nd(tf.stack([found.row, found.column], axis=1), found.h, shape)  # (B, L, d)
        h = tf.ensure_shape(h, (None, inputs.shape[1], self._recommender.config.d))
        return tf.gather(h, rows), tf.gather(inputs != 0, rows)

    def _sparing(self, aligned: tf.Tensor, m: tf.Tensor, gate: tf.Tensor | None) -> tf.Tensor:
        """h_aligned (B, d) whose gradient is that of Eq. 9, for M (B,)."""
        elimination = self._config.elimination
        if elimination == "aligned":
            aligned = tf.where(m[:, None], tf.stop_gradient(aligned), aligned)
        if gate is None:
            return aligned
        return spare(aligned, gate, tf.ones_like(m) if elimination == "off" else m)


def _asked(last: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Which rows have a last target (B,), row 0 where none has, and whether any has: (n,), scalar bool."""
    present = tf.reduce_any(last > 0)
    first = tf.range(tf.size(last)) == 0
    return tf.where((last > 0) | (first & ~present))[:, 0], present
