"""The few TF Serving messages a client sends and reads, built without importing TensorFlow.

`tensorflow_serving.apis` imports TensorFlow, which takes seconds and hundreds of megabytes. These classes
put the same bytes on the wire; their field names, numbers and types are those of
`tensorflow/core/framework/tensor.proto` and `tensorflow_serving/apis/{model,predict,get_model_status}.proto`.
"""

from __future__ import annotations

from feature_store.descriptors import messages
from feature_store.prediction_log import PREDICT

_CLASSES = messages(
    "antiphon.serving",
    {
        **PREDICT,
        "GetModelStatusRequest": [("model_spec", 1, "ModelSpec")],
        "Status": [("error_code", 1, "int32"), ("error_message", 2, "string")],
        "ModelVersionStatus": [("version", 1, "int64"), ("state", 2, "int32"), ("status", 3, "Status")],
        "GetModelStatusResponse": [("model_version_status", 1, "ModelVersionStatus[]")],
    },
)

Tensor = _CLASSES["Tensor"]
PredictRequest = _CLASSES["PredictRequest"]
PredictResponse = _CLASSES["PredictResponse"]
GetModelStatusRequest = _CLASSES["GetModelStatusRequest"]
GetModelStatusResponse = _CLASSES["GetModelStatusResponse"]

RETRIEVAL = "antiphon.serving.RetrievalService"  # takes and answers the messages of Predict
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
