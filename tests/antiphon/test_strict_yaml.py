import pytest
import yaml

from antiphon.strict_yaml import parse_yaml


@pytest.mark.parametrize(
    "text, value",
    [
        ("1e-3", 0.001),
        ("-2E5", -200000.0),
        ("1.5e3", 1500.0),
        ("12", 12),
        ("1e", "1e"),
        ("e3", "e3"),
        ("[1, a]", [1, "a"]),
    ],
)
def test_a_number_in_scientific_notation_is_a_number(text, value):
    assert parse_yaml(text) == value


def test_a_key_given_twice_is_an_error_that_names_its_line():
    with pytest.raises(yaml.YAMLError, match="line 3: the key 'b' is given twice"):
        parse_yaml("a: 1\nb: 2\nb: 3")
