import pytest

from llm_offline.config import LlmConfig


@pytest.mark.parametrize(
    "changes, told",
    [
        ({"dtype": "float16"}, "dtype must be one of 'float32', 'bfloat16', 'float64', received 'float16'"),
        ({"heads": 3}, r"heads must divide d \(64\), received 3"),
        ({"batch_tokens": 64}, "batch_tokens must be at least 128, received 64"),
        ({"dropout": 1.0}, "dropout must be at least 0 and below 1, received 1.0"),
        ({"port": 70_000}, "port must be at least 0 and below 65536, received 70000"),
        ({"text": "title"}, "text must be one of 'tokens', 'titles', received 'title'"),
        ({"optimizer": "adam"}, "optimizer must be one of 'adamw', 'sgd', received 'adam'"),
    ],
)
def test_a_faulty_setting_of_the_side_process_is_told(changes, told):
    with pytest.raises(ValueError, match=told):
        LlmConfig(**changes)
