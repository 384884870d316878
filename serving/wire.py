"""The few TF Serving messages a client sends and reads, built without importing TensorFlow.

`tensorflow_serving.apis` imports TensorFlow, which takes seconds and hundreds of megabytes. These classes
put the same bytes on the wire; their field names, numbers and types are those of
`tensorflow/core/framework/tensor.proto` and `tensorflow_serving/apis/{model,predict,get_model_status}.proto`.
"""

from __future__ import annotations

from serving.descriptors import messages

_CLASSES = messages(
    "antiphon.serving",
    {
        "Dim": [("size", 1, "int64")],
        "TensorShape": [("dim", 2, "Dim[]")],
        "Tensor": [
            ("dtype", 1, "int32"),
            ("tensor_shape", 2, "TensorShape"),
            ("tensor_content", 4, "bytes"),
            ("float_val", 5, "float[]"),
            ("double_val", 6, "double[]"),
            ("int_val", 7, "int32[]"),
            ("string_val", 8, "bytes[]"),
            ("int64_val", 10, "int64[]"),
            ("bool_val", 11, "bool[]"),
        ],
        "Version": [("value", 1, "int64")],
        "ModelSpec": [
            ("name", 1, "string"),
            ("version", 2, "Version"),
            ("signature_name", 3, "string"),
            ("version_label", 4, "string"),
        ],
        "PredictRequest": [
            ("model_spec", 1, "ModelSpec"),
            ("inputs", 2, "map Tensor"),
            ("output_filter", 3, "string[]"),
        ],
        "PredictResponse": [("outputs", 1, "map Tensor"), ("model_spec", 2, "ModelSpec")],
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
DT_FLOAT = 1
DT_STRING = 7
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}
