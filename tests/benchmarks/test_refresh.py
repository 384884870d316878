import json

import pytest

from benchmarks import refresh


@pytest.mark.slow
def test_a_quick_run_prints_its_figures_as_json_on_the_last_line(capsys):
    refresh.main(["--quick", "--rounds", "2"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    first, second = figures["rounds"]
    assert first["share"] == 1 and second["share"] == second["refreshed"] / second["users"]
    assert min(second["users_per_second"].values()) > 0 and figures["machine"]["cores"] >= 1
