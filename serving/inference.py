"""The four ways to ask a model, over a registry of models: what both gRPC and REST answer with."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    inference_pb2,
    model_pb2,
    predict_pb2,
    regression_pb2,
)

from serving import classify, examples, multi_inference, regress, tensors
from serving.metrics import Metrics
from serving.predict import DEFAULT_SIGNATURE
from serving.registry import ModelRegistry
from serving.status import invalid_argument

Inputs = Callable[[meta_graph_pb2.SignatureDef], Mapping[str, np.ndarray]]


@dataclass(frozen=True)
class Prediction:
    """What a version was asked and answered, in arrays."""

    version: int
    signature: meta_graph_pb2.SignatureDef
    inputs: Mapping[str, np.ndarray]
    outputs: dict[str, np.ndarray]


class Inference:
    """Answers requests, each on the version it asks for.

    Every method takes the seconds it may take (`timeout`; None: no limit) and raises a `StatusError`: INVALID_ARGUMENT
    without a `ModelSpec`, as `ModelRegistry.acquire`, and as the function of the same name.

    Args:
        as_content: Predict answers numbers as their bytes (`tensor_content`), not one by one.
    """

    def __init__(self, registry: ModelRegistry, metrics: Metrics, as_content: bool = False):
        self._registry = registry
        self._metrics = metrics
        self._as_content = as_content

    def predict(
        self, request: predict_pb2.PredictRequest, timeout: float | None = None
    ) -> predict_pb2.PredictResponse:
        """Runs one signature; the response names the version and the signature that answered."""
        _check_spec(request)
        spec = request.model_spec
        name = spec.signature_name or DEFAULT_SIGNATURE
        with self._registry.acquire(spec) as (version, model), self._running(spec.name, "Predict"):
            arrays = model.predict_protos(name, request.inputs, request.output_filter, timeout)
            outputs = model.signatures[name].outputs
        response = predict_pb2.PredictResponse()
        answered_by(response.model_spec, spec, version)
        for alias, array in arrays.items():
            tensors.to_proto(array, outputs[alias].dtype, response.outputs[alias], self._as_content)
        return response

    def predict_arrays(
        self, spec: model_pb2.ModelSpec, inputs: Inputs, timeout: float | None = None
    ) -> Prediction:
        """`predict` on arrays, which `inputs` makes once the version's signature is known."""
        name = spec.signature_name or DEFAULT_SIGNATURE
        with self._registry.acquire(spec) as (version, model):
            if name not in model.signatures:
                raise invalid_argument(f'Serving signature name: "{name}" not found in signature def')
            arrays = inputs(model.signatures[name])
            with self._running(spec.name, "Predict"):
                outputs = model.predict(name, arrays, timeout=timeout)
            return Prediction(version, model.signatures[name], arrays, outputs)

    def classify(
        self, request: classification_pb2.ClassificationRequest, timeout: float | None = None
    ) -> classification_pb2.ClassificationResponse:
        """Classes and scores of each example."""
        response = classification_pb2.ClassificationResponse()
        self._ask_examples(classify, "Classify", request, response, timeout)
        return response

    def regress(
        self, request: regression_pb2.RegressionRequest, timeout: float | None = None
    ) -> regression_pb2.RegressionResponse:
        """One number for each example."""
        response = regression_pb2.RegressionResponse()
        self._ask_examples(regress, "Regress", request, response, timeout)
        return response

    def multi_inference(
        self, request: inference_pb2.MultiInferenceRequest, timeout: float | None = None
    ) -> inference_pb2.MultiInferenceResponse:
        """Several signatures on the same examples; the first task's `ModelSpec` says which version."""
        spec = request.tasks[0].model_spec if request.tasks else model_pb2.ModelSpec()
        with self._registry.acquire(spec) as (version, model), self._running(spec.name, "MultiInference"):
            response, count = multi_inference.run(model, request, timeout)
        self._metrics.examples(self._registry.served(spec.name), count)
        for result in response.results:
            result.model_spec.version.value = version
        return response

    def _ask_examples(
        self, method: ModuleType, api: str, request: Any, response: Any, timeout: float | None
    ) -> None:
        _check_spec(request)
        spec = request.model_spec
        with self._registry.acquire(spec) as (version, model), self._running(spec.name, api):
            response.result.CopyFrom(examples.ask(method, model, spec.signature_name, request.input, timeout))
        self._metrics.examples(self._registry.served(spec.name), _count(request.input))
        answered_by(response.model_spec, spec, version)

    @contextmanager
    def _running(self, model: str, api: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        microseconds = (time.perf_counter() - start) * 1e6
        self._metrics.runtime_latency.observe((self._registry.served(model), api, "TF1"), microseconds)


def _check_spec(request: Any) -> None:
    if not request.HasField("model_spec"):
        raise invalid_argument("Missing ModelSpec")


def answered_by(answer: model_pb2.ModelSpec, asked: model_pb2.ModelSpec, version: int) -> None:
    """Fills the model spec of an answer."""
    answer.name = asked.name
    answer.version.value = version
    answer.signature_name = asked.signature_name or DEFAULT_SIGNATURE


def _count(request_input: Any) -> int:
    kind = request_input.WhichOneof("kind")
    return len(getattr(request_input, kind).examples) if kind else 0
