"""Calls of TensorFlow's own RPC from inside a graph: one call, waited for, sent again while nobody answers."""

from __future__ import annotations

import re
import sys
import uuid
from collections.abc import Sequence

import tensorflow as tf
from tensorflow.distribute.experimental.rpc.kernels import gen_rpc_ops

_CANCELLED, _DEADLINE, _UNAVAILABLE = 1, 4, 14
"""Codes that say that nobody answered. Others are the server's own, and sending again would not help."""
_LOST, _REFUSED = "llm.address: ", "the language model at "


def client(address: str) -> tf.Tensor:
    """Makes a client on the current device, eagerly; it connects when it is first called, and again after a loss.

    Its name is new each time: making one under a name in use would delete the other, with calls under way.
    """
    handle, _ = gen_rpc_ops.rpc_client(
        server_address=address, timeout_in_ms=0, shared_name=f"antiphon/{uuid.uuid4().hex}/"
    )
    return handle


@tf.autograph.experimental.do_not_convert
def call(
    client: tf.Tensor,
    address: str,
    method: str,
    arguments: Sequence[tf.Tensor],
    gives: Sequence[tf.TensorSpec],
    wait_seconds: float,
    call_seconds: float,
) -> list[tf.Tensor]:
    """Calls ``method`` and gives what it returns.

    A call that nobody answers is sent again until ``wait_seconds`` are over: the method must bear that.

    Args:
      client: of this device. address: that it calls, for the messages.
      wait_seconds: from the first attempt on. call_seconds: for one attempt.

    Raises, when it runs:
      InvalidArgumentError: the address could not be reached in time, or the server refused; it says which.
    """

    def clock(*after):
        # TensorFlow reads a clock when it likes, unless it has to wait for something.
        with tf.control_dependencies(after):
            return tf.timestamp()

    start = clock(*arguments)

    def attempt(code, message, number, *_):
        left = tf.minimum(tf.constant(call_seconds, tf.float64), start + wait_seconds - clock(number))
        milliseconds = tf.maximum(tf.cast(left * 1000, tf.int64), 1)
        future, deleter = gen_rpc_ops.rpc_call(client, method, list(arguments), milliseconds)
        code, message = (tf.ensure_shape(value, ()) for value in gen_rpc_ops.rpc_check_status(future))
        message = tf.strings.regex_replace(message, "(?s)\n.*", "")  # what follows is gRPC's
        # The future must outlive its reading, and an answer that is none must not be read: both crash the process.
        with tf.control_dependencies([code]):
            values = tf.cond(
                tf.equal(code, 0),
                lambda: _shaped(gen_rpc_ops.rpc_get_value(future, Tout=[spec.dtype for spec in gives]), gives),
                lambda: _nothing(gives),
            )
        with tf.control_dependencies([code, message, *values]):
            deleted = gen_rpc_ops.delete_rpc_future_resource(future, deleter)
        with tf.control_dependencies([deleted] if deleted is not None else []):
            _tell(code, message, number, address, wait_seconds)
            return [tf.identity(value) for value in (code, message, number + 1, *values)]

    def go_on(code, message, number, *_):
        unanswered = tf.reduce_any(tf.equal(code, (_CANCELLED, _DEADLINE, _UNAVAILABLE)))
        return unanswered & (tf.equal(number, 0) | (clock(code) < start + wait_seconds))

    first = [tf.constant(_UNAVAILABLE, tf.int64), tf.constant(""), tf.constant(0), *_nothing(gives)]
    shapes = [tf.TensorShape(())] * 3 + [spec.shape for spec in gives]
    code, message, _, *values = tf.while_loop(go_on, attempt, first, shape_invariants=shapes)
    waited = tf.strings.as_string(clock(code) - start, precision=1)
    unanswered = tf.reduce_any(tf.equal(code, (_CANCELLED, _DEADLINE, _UNAVAILABLE)))
    said = tf.where(
        unanswered,
        tf.strings.join([f"{_LOST}{address} could not be reached for ", waited, f" s ({method}: ", message, ")"]),
        tf.strings.join([f"{_REFUSED}{address} refused {method}: ", message]),
    )
    checked = tf.debugging.Assert(tf.equal(code, 0), [said], summarize=1)
    with tf.control_dependencies([checked] if checked is not None else []):
        return [tf.identity(value) for value in values]


def told(error: tf.errors.InvalidArgumentError) -> ConnectionError | None:
    """What a call inside a graph raised, without the graph's own words; None where no call did."""
    found = re.search(rf"\[((?:{_LOST}|{_REFUSED}).*)\]", error.message)
    return ConnectionError(found[1]) if found else None


def _shaped(values: Sequence[tf.Tensor], gives: Sequence[tf.TensorSpec]) -> list[tf.Tensor]:
    return [tf.ensure_shape(value, spec.shape) for value, spec in zip(values, gives, strict=True)]


def _nothing(gives: Sequence[tf.TensorSpec]) -> list[tf.Tensor]:
    return [tf.zeros([size or 0 for size in spec.shape], spec.dtype) for spec in gives]


def _tell(code: tf.Tensor, message: tf.Tensor, number: tf.Tensor, address: str, wait_seconds: float) -> None:
    """One line in this process's log when nobody answers, and one when somebody does again."""

    def once() -> tf.Tensor:
        waiting = f"the language model at {address} does not answer; waiting up to {wait_seconds:g} s:"
        tf.print(waiting, message, output_stream=sys.stderr)
        return tf.constant(0)

    def again() -> tf.Tensor:
        tf.print(f"the language model at {address} answers again", output_stream=sys.stderr)
        return tf.constant(0)

    lost = tf.not_equal(code, 0) & tf.equal(number, 0)
    back = tf.equal(code, 0) & (number > 0)
    tf.case([(lost, once), (back, again)], default=lambda: tf.constant(0))
