from __future__ import annotations

import pytest

from serving.config import ServeConfig


@pytest.mark.parametrize(
    ("field", "value", "rule"),
    [
        ("grpc_port", 70000, "must lie in 0..65535"),
        ("rest_timeout_ms", -1, "must not be negative"),
        ("rest_threads", 0, "must be at least 1"),
        ("max_requests", 0, "must be at least 1"),
        ("per_process_gpu_memory_fraction", 1.5, "must lie in 0..1"),
        ("saved_model_tags", "", "must name at least one tag"),
        ("grpc_channel_arguments", "grpc.max_connection_age_ms", "must be key=value pairs"),
    ],
)
def test_a_field_keeps_its_rule(field: str, value: object, rule: str) -> None:
    with pytest.raises(ValueError, match=f"serve.{field} {rule}"):
        ServeConfig(**{field: value})


def test_channel_arguments_are_numbers_where_they_can_be() -> None:
    config = ServeConfig(grpc_channel_arguments="grpc.max_connection_age_ms=2000,grpc.primary_user_agent=x,a=-1")
    assert config.channel_arguments() == [
        ("grpc.max_connection_age_ms", 2000),
        ("grpc.primary_user_agent", "x"),
        ("a", -1),
    ]
