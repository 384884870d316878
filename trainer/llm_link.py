"""The trainer's end of the link to the language model: knowledge forward, gradients backward, inside a worker's graph.

`llm_offline.knowledge.link_server` is the other end. Another transport would replace these two files and
`trainer.rpc`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from trainer import rpc
from trainer.config import LinkConfig

MESSAGE_BYTES = 3_500_000
"""Of a message at most: gRPC refuses more than 4 MiB, and TensorFlow's RPC cannot tell it otherwise."""

NEWEST = -1
"""In place of a checkpoint's step: the adapter as it is now."""


class Answer(NamedTuple):
    """What the language model answered.

    Attributes:
      h: (B, m, d) knowledge, zeros at prompts that are padding.
      gate: (B,) zeros, through which `spare` tells the language model which rows not to learn from.
    """

    h: tf.Tensor
    gate: tf.Tensor


class Question(NamedTuple):
    """What was sent of a step's batch, and what came back: h (B, m, d) and the adapter's version for each message."""

    step: tf.Tensor
    prompts: tf.Tensor
    mask: tf.Tensor
    history: tf.Tensor
    h: tf.Tensor
    versions: tf.Tensor


@tf.custom_gradient
def spare(h: tf.Tensor, gate: tf.Tensor, helped: tf.Tensor):
    """``h`` itself; its gradient also tells the language model the rows that LoRA shall not learn from.

    CoCo's gradient masking (Eq. 8 and 9) needs the target, which is known only after the knowledge was used. So the
    mask travels back with the gradients: it is the gradient of ``gate``.

        h_aligned = spare(h_aligned, knowledge.gate, M)

    Args:
      h: any shape; the loss must depend on it. gate: of the `Answer`.
      helped: (B,) M of Eq. 8, not 0 where the language model helped and is left alone.
    """

    def backward(upstream):
        return upstream, tf.cast(tf.cast(helped, tf.bool), gate.dtype), None

    return tf.identity(h), backward


class LlmLink:
    """Asks a side process for knowledge.

        link = LlmLink(config, d=64)
        link.begin(0)
        client = runtime.per_worker(link.client)  # an argument of what is scheduled
        ...
        knowledge = link.knowledge(client, step, prompts, mask, history)  # inside the graph

    Every answer is waited for up to ``config.wait_seconds`` (`rpc.call`). A batch is known by the trainer's step, so
    whoever sends it again, it teaches the side process once.

    Args:
      d: width of the knowledge; as ``llm.d``.
    """

    def __init__(self, config: LinkConfig, d: int, dtype: tf.DType = tf.float32) -> None:
        self.config, self.d, self.dtype = config, d, dtype
        self.session = secrets.randbits(62)
        self._here: tf.Tensor | None = None

    def client(self) -> tf.Tensor:
        """A client on the current device."""
        return rpc.client(self.config.address)

    def begin(self, step: int) -> None:
        """Training begins at ``step``: 0, or that of the checkpoint it goes on from. Sets the side process to it.

        Raises:
          InvalidArgumentError: it cannot be reached, or has no checkpoint of that step.
        """
        self._ask("begin", [tf.constant(self.session, tf.int64), tf.constant(step, tf.int64)])

    def checkpoint(self, step: int, kept: Sequence[int]) -> None:
        """The side process writes its checkpoint for the trainer's of ``step``, with no step under way.

        Args:
          kept: steps of the trainer's checkpoints that stay; the side process removes the others of its own.
        Raises:
          InvalidArgumentError: it cannot be reached, or could not write.
        """
        session, step = tf.constant(self.session, tf.int64), tf.constant(step, tf.int64)
        self._ask("checkpoint", [session, step, tf.constant(list(kept), tf.int64, (len(kept),))])

    @tf.autograph.experimental.do_not_convert
    def knowledge(
        self, client: tf.Tensor, step: tf.Tensor, prompts: tf.Tensor, mask: tf.Tensor, history: tf.Tensor
    ) -> Answer:
        """Forward: what the language model knows of each user. Backward, it learns, and gives the prompts' gradient.

        Args:
          client: this worker's. step: number of this step, from 1 (int64 scalar).
          prompts: (B, m, D) float, D the language model's width. mask: (B, m) bool, True at prompts.
          history: (B, H) item indices, oldest first; 0 pads. It is the key to the users' text.
        """
        return self.answer(client, self.ask(client, step, prompts, mask, history), prompts)

    @tf.autograph.experimental.do_not_convert
    def ask(
        self, client: tf.Tensor, step: tf.Tensor, prompts: tf.Tensor, mask: tf.Tensor, history: tf.Tensor
    ) -> Question:
        """The forward half of ``knowledge``, which may be sent before the prompts' last update."""
        _, m, width = prompts.shape
        prompts, history = tf.cast(tf.stop_gradient(prompts), self.dtype), tf.cast(history, tf.int32)
        cube, number = tf.TensorSpec((None, m, self.d), self.dtype), tf.TensorSpec((), tf.int64)
        parts, part = self._parts(prompts, history)
        step = tf.cast(step, tf.int64)

        def send(k, h, versions):
            arguments = [self._request(step, k, parts), *part(k, prompts, mask, history)]
            found, version = self._call(client, "forward", arguments, [cube, number])
            return k + 1, tf.concat([h, found], 0), tf.concat([versions, version[tf.newaxis]], 0)

        first = [tf.constant(0), tf.zeros((0, m, self.d), self.dtype), tf.zeros((0,), tf.int64)]
        shapes = [tf.TensorShape(()), cube.shape, tf.TensorShape((None,))]
        _, h, versions = tf.while_loop(lambda k, *_: k < parts, send, first, shape_invariants=shapes)
        h = tf.ensure_shape(h, (prompts.shape[0], m, self.d))
        return Question(step, prompts, mask, history, h, versions)

    @tf.autograph.experimental.do_not_convert
    def answer(self, client: tf.Tensor, asked: Question, prompts: tf.Tensor) -> Answer:
        """What was answered, as a function of ``prompts`` (B, m, D): they get the gradient of those that were sent."""
        m, width = asked.prompts.shape[1:]
        wide = tf.TensorSpec((None, m, width), self.dtype)
        parts, part = self._parts(asked.prompts, asked.history)
        sent = (asked.prompts, asked.mask, asked.history)

        @tf.custom_gradient
        def exchange(prompts):
            def backward(upstream, spared):
                learns = tf.equal(spared, 0)

                def tell(k, gradients):
                    one = self._request(asked.step, k, parts, asked.versions[k])
                    told = part(k, upstream, learns)
                    flag = tf.TensorSpec((), tf.bool)
                    spec = tf.TensorSpec((None, None, None), self.dtype)
                    there, found = self._call(client, "backward", [one, *told], [flag, spec])

                    def again():
                        return self._call(client, "replay", [one, *part(k, *sent), *told], [wide])[0]

                    found = tf.cond(there, lambda: found, again)
                    return k + 1, tf.concat([gradients, tf.ensure_shape(found, wide.shape)], 0)

                first = [tf.constant(0), tf.zeros((0, m, width), self.dtype)]
                shapes = [tf.TensorShape(()), wide.shape]
                return tf.while_loop(lambda k, _: k < parts, tell, first, shape_invariants=shapes)[1]

            return (tf.identity(asked.h), tf.zeros((tf.shape(prompts)[0],), self.dtype)), backward

        return Answer(*exchange(tf.cast(prompts, self.dtype)))

    @tf.autograph.experimental.do_not_convert
    def know(
        self, client: tf.Tensor, prompts: tf.Tensor, mask: tf.Tensor, history: tf.Tensor, step: int = NEWEST
    ) -> tf.Tensor:
        """Forward alone: the knowledge (B, m, d) with the adapter of the checkpoint of ``step``. Nothing is learnt.

        Other arguments are those of ``knowledge``; there is no dropout, and no session is needed.
        """
        prompts, history = tf.cast(prompts, self.dtype), tf.cast(history, tf.int32)
        cube = tf.TensorSpec((None, prompts.shape[1], self.d), self.dtype)
        parts, part = self._parts(prompts, history)

        def ask(k, h):
            arguments = [tf.constant(step, tf.int64), *part(k, prompts, mask, history)]
            return k + 1, tf.concat([h, *self._call(client, "know", arguments, [cube])], 0)

        first = [tf.constant(0), tf.zeros((0, *cube.shape[1:]), self.dtype)]
        shapes = [tf.TensorShape(()), cube.shape]
        h = tf.while_loop(lambda k, _: k < parts, ask, first, shape_invariants=shapes)[1]
        return tf.ensure_shape(h, (prompts.shape[0], *cube.shape[1:]))

    def status(self) -> str:
        """What the side process says of itself, as JSON: adapter version, newest step, the adapter of each checkpoint
        by its step, its sizes, counts."""
        return self._ask("status", [], tf.string).numpy().decode()

    def _parts(
        self, prompts: tf.Tensor, history: tf.Tensor
    ) -> tuple[tf.Tensor, Callable[..., list[tf.Tensor]]]:
        """How many messages a batch takes, and a function that gives the rows of the k-th of some tensors."""
        _, m, width = prompts.shape
        a_row = m * (width + self.d) * self.dtype.size + m + 8 * tf.shape(history)[1]
        size = tf.maximum(MESSAGE_BYTES // a_row, 1)
        parts = tf.maximum((tf.shape(prompts)[0] + size - 1) // size, 1)
        return parts, lambda k, *tensors: [tensor[k * size : (k + 1) * size] for tensor in tensors]

    def _request(self, step: tf.Tensor, k: tf.Tensor, parts: tf.Tensor, version: tf.Tensor | int = 0) -> tf.Tensor:
        """What names the k-th message of a step's batch."""
        names = (self.session, step, k, parts, version)
        return tf.stack([tf.cast(name, tf.int64) for name in names])

    def _ask(self, method: str, arguments: Sequence[tf.Tensor], gives: tf.DType = tf.int64) -> tf.Tensor:
        """From this process, eagerly."""
        if self._here is None:
            self._here = self.client()
        return self._call(self._here, method, arguments, [tf.TensorSpec((), gives)])[0]

    def _call(self, client, method, arguments, gives) -> list[tf.Tensor]:
        config = self.config
        waits = (config.wait_seconds, config.call_seconds)
        return rpc.call(client, config.address, method, arguments, gives, *waits)
