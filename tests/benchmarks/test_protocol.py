import pytest

from benchmarks import protocol


@pytest.mark.parametrize("name", protocol.KNOWN)
def test_popularity_scores_what_is_known_to_the_digit(name, shared_data, tmp_path):
    found = protocol.popularity(shared_data / name, tmp_path)
    for variant, known in protocol.KNOWN[name].items():
        assert found[variant]["ours_ties_by_id"] == known
    assert found["whole"]["ours"] == protocol.KNOWN[name]["whole"]  # no ties at the top there
