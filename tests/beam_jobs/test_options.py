import pytest
from apache_beam.options.pipeline_options import StandardOptions

from beam_jobs.options import DASK_RUNNER, BeamConfig, pipeline_options


@pytest.mark.parametrize(("name", "runner"), [("FnApiRunner", "FnApiRunner"), ("DaskRunner", DASK_RUNNER)])
def test_the_runner_is_always_named(name, runner):
    assert pipeline_options(BeamConfig(name)).view_as(StandardOptions).runner == runner


def test_further_flags_are_passed_on():
    options = pipeline_options(BeamConfig("FlinkRunner", ("--flink_master=host:8081",)))
    assert options.get_all_options()["flink_master"] == "host:8081"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"runner": ""}, "runner must name a Beam runner, received ''"),
        ({"shards": 0}, "shards must be at least 1, received 0"),
        ({"options": ("flink_master=x",)}, "options must be Beam flags, .* received 'flink_master=x'"),
    ],
)
def test_wrong_values_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        BeamConfig(**change)
