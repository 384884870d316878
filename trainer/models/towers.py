"""What the chatbot's rankers share: a tower for users, one for intents, cosines, and a loss over lists."""

from __future__ import annotations

import tensorflow as tf

from trainer.layers.confidence import Confidence, entropy
from trainer.layers.intent_embeddings import IntentEmbeddings
from trainer.layers.request_embeddings import Embedded
from trainer.listwise import list_losses
from trainer.models.request_model import Outputs, RequestModel
from trainer.requests.input import Requests, Rows


class Towers(RequestModel):
    """A subclass makes the towers in ``make_towers`` and answers with ``users`` and ``intents``.

    The logits are cosines over a temperature; softmax over them is P_pred of Eq. 6.
    """

    Embeddings = IntentEmbeddings

    def make(self, data: Requests) -> None:
        """See ``RequestModel``."""
        towers = self.config.towers
        self.make_towers(data)
        start = tf.constant_initializer(tf.math.log(towers.temperature).numpy())
        learns = towers.learn_temperature
        self.log_temperature = self.add_weight("log_temperature", (), initializer=start, trainable=learns)
        self.confidence = Confidence(towers.width, towers.entropy_floor) if towers.confidence else None
        if self.confidence:
            self.confidence.build((None, towers.width))

    def make_towers(self, data: Requests) -> None:
        """Makes the layers of both towers and builds them."""
        raise NotImplementedError  # abstract

    def users(self, parts: Embedded, seed: tf.Tensor | None) -> tf.Tensor:
        """z_u (n, width)."""
        raise NotImplementedError  # abstract

    def intents(self, told: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """z_i (N, width) of what is told of the intents (N, w)."""
        raise NotImplementedError  # abstract

    def queries(self, parts: Embedded, seed: tf.Tensor | None) -> tf.Tensor | None:
        """z_q (n, width), zero where there is no query; None of a model without a query tower."""
        return None

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """See ``RequestModel``; tells both similarities."""
        seeds = [None] * 3 if seed is None else tf.unstack(tf.random.split(seed, 3))
        users = unit(self.users(parts, seeds[0]))
        intents = unit(self.intents(parts.candidates[0], seeds[1]))
        queries = self.queries(parts, seeds[2])
        found = self.similar(users, intents, None if queries is None else unit(queries))
        logits, *told = (_of_candidates(each, rows.candidates) for each in found)
        names = ("user_intent", "intent_query")
        counted = tf.reduce_any((rows.labels > 0) & rows.present, axis=1)
        weighs = self.confidence is not None and seed is not None
        weights = {"weights": self.confidence(users, counted)} if weighs else {}
        return Outputs(logits, dict(zip(names, told, strict=False)), weights)

    def similar(
        self, users: tf.Tensor, intents: tf.Tensor, queries: tf.Tensor | None
    ) -> tuple[tf.Tensor, ...]:
        """Of unit vectors the logits and the similarities they are made of, (n, N) each:

            s = ω cos(z_u, z_i) + (1 − ω) cos(z_i, z_q)  (Eq. 4)

        Where there is no query its term is 0; without a query tower s is the first cosine alone."""
        by_user = tf.matmul(users, intents, transpose_b=True)
        temperature = tf.exp(self.log_temperature)
        if queries is None:
            return by_user / temperature, by_user
        omega = self.config.towers.omega
        by_query = tf.matmul(queries, intents, transpose_b=True)
        return (omega * by_user + (1 - omega) * by_query) / temperature, by_user, by_query

    def loss_of(self, outputs: Outputs, rows: Rows) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """See ``RequestModel``: the weighted mean of ListNet's losses over the requests with a label (Eq. 5)."""
        losses, counts = list_losses(outputs.logits, rows.labels, rows.present, self.config.towers.target)
        number = tf.reduce_sum(tf.cast(counts, tf.int32))
        least = tf.maximum(tf.cast(number, losses.dtype), 1.0)
        told = {}
        if "weights" in outputs.parts:
            losses *= outputs.parts["weights"]
            held = entropy(outputs.parts["weights"] / least)
            told["confidence_entropy"] = tf.reshape(held / tf.math.log(tf.maximum(least, 2.0)), (1,))
        return tf.reduce_sum(losses) / least, number, told


def unit(x: tf.Tensor) -> tf.Tensor:
    """Vectors at length 1; a vector of zeros stays one."""
    return tf.math.l2_normalize(x, axis=-1)


def _of_candidates(values: tf.Tensor, candidates: tf.Tensor) -> tf.Tensor:
    """Of all intents (n, N) -> of the candidates (n, C); the least of a request where one is unknown."""
    found = tf.gather(values, tf.maximum(candidates, 0), batch_dims=1)
    return tf.where(candidates >= 0, found, tf.reduce_min(values, axis=1, keepdims=True))
