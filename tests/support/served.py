"""Rows of a served log that a test writes down."""

from feature_store.prediction_log import DT_STRING, PredictRequest
from feature_store.request_context import RequestContext
from feature_store.served_log import ServedRow


def request(number, user, time, history=None, **features) -> ServedRow:
    """A request for one user, with what it was given."""
    asked = PredictRequest()
    if history is not None:
        tensor = asked.inputs["history"]
        tensor.dtype = DT_STRING
        tensor.tensor_shape.dim.add(size=1)
        tensor.tensor_shape.dim.add(size=len(history) + 1)
        tensor.string_val.extend([b"", *(item.encode() for item in history)])  # as the client pads
    header = RequestContext((user,), {name: [value] for name, value in features.items()}).to_header().encode()
    said = asked.SerializeToString(), b""
    return ServedRow(f"s-{number:012d}", time, 0.1, "Predict", "GRPC", "m", 1, "", header, *said)
