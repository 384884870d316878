"""ChoirRec: two channels, a user's own and its semantic group's (Zhai et al., 2026, §4.3 and §4.4)."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf
import tf_keras

from trainer.layers.distillation import gated, kl_loss, margin_loss, qualified
from trainer.layers.group_id import GroupIdFusion
from trainer.layers.injection import Injection
from trainer.layers.perceptron import Perceptron
from trainer.layers.reliability import Reliability
from trainer.layers.request_embeddings import Embedded
from trainer.layers.target_attention import TargetAttention
from trainer.models.request_model import Outputs, RequestModel, cross_entropy, spread
from trainer.requests.config import RequestTrainConfig
from trainer.requests.input import Requests, Rows


class ChoirRec(RequestModel):
    """The individual channel reads the user, the situation and the user's purchases; the group channel the group's id,
    attributes and items. Both see the same vectors of items, and each candidate attends over both sequences.

    The last width of ``model.hidden`` is that of the layer which the group's knowledge is injected into, those before
    it lead to the middle that it is taken from.
    """

    @staticmethod
    def reads(config: RequestTrainConfig, data: Requests) -> list[str]:
        """See ``RequestModel``: of the groups' features those that the config names and does not ablate."""
        choir, names = config.choir, RequestModel.reads(config, data)
        groups = {*choir.codes, choir.group_sequence, *(name for name in names if name.startswith(choir.prior))}
        kept = set(names) - groups
        kept |= set(choir.codes) if choir.group_id else set()
        kept |= {name for name in names if name.startswith(choir.prior)} if choir.group_attributes else set()
        kept |= {choir.group_sequence} if choir.group_behaviour else set()
        for name in {choir.sequence, *choir.activity, *(kept & groups)}:
            if name not in names:
                raise ValueError(f"choir: the requests in {data.folder} have no feature {name!r}, only {names}")
        sequences = {choir.sequence, choir.group_sequence}
        others = {f.name for f in data.raw if f.kind == "sequence" and f.name not in sequences}
        return [name for name in names if name in kept - others]

    def make(self, data: Requests) -> None:
        """See ``RequestModel``."""
        config, choir, embeddings = self.config.model, self.config.choir, self.embeddings
        width, (*lower, upper) = embeddings.width, config.hidden
        if not lower:
            raise ValueError(f"model.hidden must hold at least two widths with kind 'choirrec', received {(upper,)}")
        read = [feature.name for feature in embeddings.read]
        self.priors = [name for name in read if name.startswith(choir.prior)]
        self.completed = {
            name.removeprefix(choir.prior): name
            for name in self.priors
            if choir.complete and name.removeprefix(choir.prior) in read
        }
        codes = choir.codes if choir.group_id else ()
        sequences = [choir.sequence, choir.group_sequence]
        self.own = [name for name in read if name not in (*sequences, *codes, *self.priors)]
        self.base_rate = data.base_rate
        own = 2 * width + sum(map(embeddings.width_of, self.own))
        group = width + sum(map(embeddings.width_of, self.priors))
        self.attention = self._attention(choir.sequence, width)
        if choir.group_id:
            self.group_id = GroupIdFusion(len(codes), config.d, choir.parent, name="group_id")
            self.group_id.build()
            group += config.d
        if choir.group_behaviour:
            self.group_attention = self._attention(choir.group_sequence, width)
            group += width
        self.reliability = Reliability(choir.reliability, name="reliability")
        self.reliability.build((None, 1 + len(choir.activity)))
        if not choir.dual:
            own += group - width  # the candidate is there already
        self.lower, self.upper, self.out = self._channel("own", own, lower, upper)
        if choir.dual:
            self.group_lower, self.group_upper, self.group_out = self._channel("group", group, lower, upper)
        if choir.dual and choir.inject:
            self.injection = Injection(upper, choir.detach_injected, name="injection")
            self.injection.build((None, 2 * lower[-1]))

    def prepared(self, rows: Rows) -> Rows:
        """See ``RequestModel``: a missing attribute of the user is the group's."""
        features = dict(rows.features)
        for name, prior in self.completed.items():
            features[name] = tf.where(rows.missing[name], features[prior], features[name])
        return rows._replace(features=features)

    def call(self, parts: Embedded, rows: Rows, seed: tf.Tensor | None = None) -> Outputs:
        """See ``RequestModel``; tells α_fusion, which is how much of a prediction is the group channel's."""
        choir, candidates = self.config.choir, parts.candidates
        seeds = [None] * 4 if seed is None else tf.unstack(tf.random.split(seed, 4))
        purchases = tf.reduce_sum(tf.cast(parts.there[choir.sequence], tf.float32), axis=1, keepdims=True)  # (n, 1)
        distill, fusion = self.reliability(self.activity(parts))
        own = self._own(parts)
        group = self._group(parts)
        if not choir.dual:
            hidden = self.upper(self.lower(tf.concat([own, *group], axis=-1), seeds[0]), seeds[1])
            return Outputs(self.out(hidden)[..., 0], {}, {})
        middle = self.lower(own, seeds[0])
        group_middle = self.group_lower(tf.concat([candidates, *group], axis=-1), seeds[2])
        post, group_post = self.upper(middle, seeds[1]), self.group_upper(group_middle, seeds[3])
        if choir.inject:
            post += self.injection(group_middle, middle)
        own_logits, group_logits = self.out(post)[..., 0], self.group_out(group_post)[..., 0]  # (n, C)
        logits = (1.0 - fusion) * own_logits + fusion * group_logits  # Eq. 10
        told = {"fusion": tf.broadcast_to(fusion, tf.shape(logits))}
        held = {"own": own_logits, "group": group_logits, "distill": distill, "purchases": purchases, **told}
        return Outputs(logits, told, held)

    def loss_of(self, outputs: Outputs, rows: Rows) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """See ``RequestModel``: Eqs. 11 and 12."""
        choir = self.config.choir
        loss, count = cross_entropy(outputs.logits, rows)
        told = {"loss/prediction": loss[None]}
        if not choir.dual:
            return loss, count, told
        own, group = outputs.parts["own"], outputs.parts["group"]
        told["fusion"] = tf.boolean_mask(outputs.told["fusion"], rows.present)
        if choir.channel_weight:
            channels = cross_entropy(own, rows)[0] + cross_entropy(group, rows)[0]
            loss += choir.channel_weight * channels
        if choir.distill_weight:
            teacher = tf.stop_gradient(own) if choir.detach_teacher else own
            if choir.distill == "kl":
                losses = kl_loss(teacher, group, choir.temperature)
            else:
                losses = margin_loss(teacher, group, choir.temperature, choir.margin)
            base = self.base_rate if choir.confidence == "base_rate" else None
            gate = qualified(own, outputs.parts["purchases"], choir.min_purchases, choir.min_confidence, base)
            gate *= tf.cast(rows.present, gate.dtype)
            distillation = gated(losses, gate, self._strength(outputs.parts["distill"]))
            told |= {"loss/distillation": distillation[None], "qualified": tf.boolean_mask(gate, rows.present)}
            loss += choir.distill_weight * distillation
        return loss, count, told

    def _strength(self, distill: tf.Tensor) -> tf.Tensor:
        floor = self.config.choir.floor
        return tf.stop_gradient(distill) if floor < 0 else floor + (1.0 - floor) * distill

    def _own(self, parts: Embedded) -> tf.Tensor:
        """What the individual channel reads: (n, C, ·)."""
        name = self.config.choir.sequence
        found = [parts.candidates, self.attention(parts.candidates, parts.items[name], parts.there[name])]
        each = {**parts.single, **parts.vectors}
        if self.own:
            found.append(spread(tf.concat([each[name] for name in self.own], axis=1), parts.candidates))
        return tf.concat(found, axis=-1)

    def _group(self, parts: Embedded) -> list[tf.Tensor]:
        """What the group channel reads beside the candidate, (n, C, ·) each."""
        choir, found = self.config.choir, [parts.single[name] for name in self.priors]
        if choir.group_id:
            found.append(self.group_id(tf.stack([parts.single[name] for name in choir.codes], axis=1)))
        spreaded = [spread(tf.concat(found, axis=1), parts.candidates)] if found else []
        if choir.group_behaviour:
            name = choir.group_sequence
            spreaded.append(self.group_attention(parts.candidates, parts.items[name], parts.there[name]))
        return spreaded

    def _attention(self, name: str, width: int) -> TargetAttention:
        layer = TargetAttention(width, self.config.model.attention, name=f"attention_{name}")
        layer.build()
        return layer

    def _channel(
        self, name: str, width: int, lower: Sequence[int], upper: int
    ) -> tuple[Perceptron, Perceptron, tf_keras.layers.Dense]:
        rate = self.config.model.dropout
        parts = (
            Perceptron(lower, rate=rate, name=f"{name}_lower"),
            Perceptron((upper,), rate=rate, name=f"{name}_upper"),
            tf_keras.layers.Dense(1, name=f"{name}_out"),
        )
        for part, size in zip(parts, (width, lower[-1], upper), strict=True):
            part.build((None, size))
        return parts
