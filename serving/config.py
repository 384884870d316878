"""What a user sets about the embedded server."""

from __future__ import annotations

from dataclasses import dataclass

from feature_store.checks import above, at_least, one_of, require


@dataclass(frozen=True)
class IndexConfig:
    """The retrieval index that an exported version brings."""

    kind: str = "auto"  # auto | exact | ivf | none
    exact_up_to: int = 100_000  # auto: with more items than this, ivf
    lists: int = 0  # ivf: lists the items are cut into; 0: twice the root of their number
    recall: float = 0.99  # ivf: so many lists are searched that this share of the exact top 50 is found

    def __post_init__(self) -> None:
        one_of("kind", self.kind, ("auto", "exact", "ivf", "none"))
        at_least("exact_up_to", self.exact_up_to, 0)
        at_least("lists", self.lists, 0)
        require(0 < self.recall <= 1, "recall", "must be above 0 and at most 1", self.recall)


@dataclass(frozen=True)
class ChatbotConfig:
    """The chatbot's endpoint and its page: `antiphon serve chatbot`."""

    host: str = "127.0.0.1"
    port: int = 8600  # 0 takes any free one
    deadline_ms: float = 200.0  # of a request that names none
    max_deadline_ms: float = 10_000.0  # a request that names more is refused
    reserve_ms: float = 50.0  # of the deadline, that the ranker keeps; the reasoner may take the rest
    top: int = 3  # intents of an answer, unless the request says otherwise
    entry_point: str = "entry_point"  # the feature of the sessions that a request may give beside a user; "": none
    ranker: str = ""  # "host:port" of gRPC where it is served elsewhere; "": served by this process, as `serve` says
    reasoner: str = "service"  # that of the section `service`, a URL of OpenAI's interface with /v1, or "": nobody
    reasoner_model: str = ""  # "": the adapter's version that the ranker was trained with
    api_key: str = ""  # the environment variable that holds the reasoner's key; "" sends none
    write_seconds: float = 20.0  # that the reasoner has to write a query out, which is for the page alone
    threads: int = 16  # requests worked on at once
    max_requests: int = 256  # held at once, running or waiting; more are refused
    max_request_bytes: int = 1024 * 1024  # a larger request is refused

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65535, "chatbot.port", "must lie in 0..65535", self.port)
        for name in ("deadline_ms", "reserve_ms", "write_seconds"):
            above(f"chatbot.{name}", getattr(self, name), 0)
        for name in ("top", "threads", "max_requests", "max_request_bytes"):
            at_least(f"chatbot.{name}", getattr(self, name), 1)
        above("chatbot.deadline_ms", self.deadline_ms, self.reserve_ms)
        at_least("chatbot.max_deadline_ms", self.max_deadline_ms, self.deadline_ms)
        fine = not self.ranker or ":" in self.ranker
        require(fine, "chatbot.ranker", "must be host:port, or empty", self.ranker)


@dataclass(frozen=True)
class ServeConfig:
    """Where it listens, what it allows, and TF Serving's settings. `serving.flags` gives each its flag."""

    host: str = "127.0.0.1"
    grpc_port: int = 8500  # 0 takes any free port
    rest_port: int = 8501  # 0 takes any free port
    grpc_socket_path: str = ""  # a Unix socket that answers gRPC too; "": none
    ssl_config_file: str = ""  # an SSLConfig: gRPC over TLS
    poll_seconds: float = (
        1.0  # how often the model's folder is searched for new versions; 0: only at the start
    )
    threads: int = 16  # requests worked on at once, for each of gRPC and REST
    grpc_threads: int | None = None  # None: `threads`
    rest_threads: int | None = None  # None: `threads`
    drain_seconds: float = 10.0  # how long requests under way may take to end once the server is told to stop
    # Limits
    max_request_bytes: int = 64 * 1024 * 1024  # a larger request is refused
    max_tensor_bytes: int = 256 * 1024 * 1024  # a request's tensor that would take more memory is refused
    max_requests: int = 1024  # held at once, running or waiting, for each of gRPC and REST; more are refused
    rest_timeout_ms: int = 30_000  # a REST request's time; 0: no limit. Over gRPC the client's deadline holds
    # Models
    model_config_file: str = ""  # a ModelServerConfig: its models in place of the one given
    model_config_poll_seconds: float = 0.0  # how often that file is read again; 0: only at the start
    allow_version_labels_for_unavailable_models: bool = False
    saved_model_tags: str = "serve"  # which graph of a SavedModel, comma-separated
    enable_model_warmup: bool = True
    num_request_iterations_for_warmup: int = 0  # how often each warmup request is replayed; 0: once
    enable_signature_method_name_check: bool = False
    enable_serialization_as_tensor_content: bool = False  # Predict over gRPC answers numbers as bytes, not one by one
    enable_grpc_healthcheck_service: bool = False  # answer gRPC's standard health check
    enable_retrieval: bool = True  # load a version's index with it, and answer Retrieve
    # Batching
    enable_batching: bool = False
    batching_parameters_file: str = ""  # a BatchingParameters
    enable_per_model_batching_parameters: bool = False  # from batching_params.pbtxt beside the SavedModel
    # Monitoring and protocol
    monitoring_config_file: str = ""  # a MonitoringConfig; "": metrics under TF Serving's usual path
    rest_cors: bool = False  # let pages of any origin call the REST API
    grpc_channel_arguments: str = ""  # "key=value,key=value" for the gRPC server
    # Served log (serving.served_log); a model's logging_config goes before it
    served_log: str = ""  # folder that answered requests are written to; "": only where a logging_config says so
    served_log_sampling_rate: float = 1.0  # share of the requests that are written
    served_log_queue_bytes: int = 64 * 1024 * 1024  # rows that may wait for the disk; more are dropped
    served_log_segment_bytes: int = 64 * 1024 * 1024  # a file of the log ends at that size
    served_log_segment_seconds: float = 300.0  # or at that age
    served_log_sync_seconds: float = 1.0  # how often it is flushed to the disk, for the machine's loss
    # TensorFlow's threads and memory; 0: chosen by TensorFlow
    tensorflow_session_config_file: str = ""  # a ConfigProto
    tensorflow_session_parallelism: int = 0
    tensorflow_intra_op_parallelism: int = 0
    tensorflow_inter_op_parallelism: int = 0
    per_process_gpu_memory_fraction: float = 0.0

    def __post_init__(self) -> None:
        for field in ("grpc_port", "rest_port"):
            port = getattr(self, field)
            if not 0 <= port <= 65535:
                raise ValueError(f"serve.{field} must lie in 0..65535, got {port}")
        for field in (
            "poll_seconds",
            "drain_seconds",
            "rest_timeout_ms",
            "model_config_poll_seconds",
            "num_request_iterations_for_warmup",
            "served_log_segment_seconds",
            "served_log_sync_seconds",
            "tensorflow_session_parallelism",
            "tensorflow_intra_op_parallelism",
            "tensorflow_inter_op_parallelism",
        ):
            if getattr(self, field) < 0:
                raise ValueError(f"serve.{field} must not be negative, got {getattr(self, field)}")
        for field in (
            "threads",
            "grpc_threads",
            "rest_threads",
            "max_request_bytes",
            "max_tensor_bytes",
            "max_requests",
            "served_log_queue_bytes",
            "served_log_segment_bytes",
        ):
            value = getattr(self, field)
            if value is not None and value < 1:
                raise ValueError(f"serve.{field} must be at least 1, got {value}")
        for field in ("per_process_gpu_memory_fraction", "served_log_sampling_rate"):
            if not 0 <= getattr(self, field) <= 1:
                raise ValueError(f"serve.{field} must lie in 0..1, got {getattr(self, field)}")
        if not self.saved_model_tags:
            raise ValueError("serve.saved_model_tags must name at least one tag, got ''")
        if self.batching_parameters_file and not self.enable_batching:
            raise ValueError(
                "server_options.batching_parameters_file is set without setting "
                "server_options.enable_batching to true."
            )
        self.channel_arguments()

    def channel_arguments(self) -> list[tuple[str, int | str]]:
        """`grpc_channel_arguments` as gRPC takes them: whole numbers as numbers, the rest as text.

        Raises:
            ValueError: one of them is no "key=value".
        """
        arguments: list[tuple[str, int | str]] = []
        for argument in filter(None, self.grpc_channel_arguments.split(",")):
            key, equals, value = argument.partition("=")
            if not key or not equals:
                raise ValueError(f"serve.grpc_channel_arguments must be key=value pairs, got {argument!r}")
            arguments.append((key, int(value) if value.lstrip("-").isdecimal() else value))
        return arguments
