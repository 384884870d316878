import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from antiphon.commands import parser

SCHEMA = json.loads(Path(__file__).with_name("tfjob_v1_schema.json").read_text())


@pytest.fixture(params=["tfjob.yaml", "tfjob_gpu.yaml"])
def manifest(repository, request):
    return yaml.safe_load((repository / "deploy" / request.param).read_text())


def test_the_manifest_keeps_the_schema(manifest):
    assert list(jsonschema.Draft202012Validator(SCHEMA).iter_errors(manifest)) == []


@pytest.mark.parametrize(
    "fault",
    [
        lambda job: job.update(apiVersion="kubeflow.org/v2"),
        lambda job: job["spec"]["tfReplicaSpecs"].update(Server={"template": {"spec": {"containers": []}}}),
        lambda job: job["spec"]["tfReplicaSpecs"]["PS"].update(restartPolicy="Sometimes"),
        lambda job: job["spec"]["tfReplicaSpecs"]["PS"]["template"]["spec"]["containers"][0].pop("image"),
    ],
)
def test_the_schema_refuses_a_faulty_manifest(manifest, fault):
    faulty = copy.deepcopy(manifest)
    fault(faulty)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(faulty)


def test_the_roles_are_a_chief_parameter_servers_and_workers_and_no_evaluator(manifest):
    replicas = manifest["spec"]["tfReplicaSpecs"]
    assert set(replicas) == {"Chief", "PS", "Worker"}
    assert replicas["Chief"]["replicas"] == 1


def test_every_pod_runs_the_same_command_and_the_command_line_takes_it(manifest):
    commands = set()
    for replica in manifest["spec"]["tfReplicaSpecs"].values():
        (container,) = replica["template"]["spec"]["containers"]
        assert container["name"] == "tensorflow"
        assert {"name": "tfjob-port", "containerPort": 2222} in container["ports"]
        commands.add((*container["command"], *container["args"]))
    (command,) = commands
    assert command[0] == "antiphon"
    options = parser().parse_args(command[1:])
    assert (options.command, options.variant) == ("train", "ids")


def test_only_workers_ask_for_a_gpu_and_each_for_one(repository):
    job = yaml.safe_load((repository / "deploy" / "tfjob_gpu.yaml").read_text())
    asked = {}
    for role, replica in job["spec"]["tfReplicaSpecs"].items():
        (container,) = replica["template"]["spec"]["containers"]
        asked[role] = container["resources"]["limits"].get("nvidia.com/gpu", 0)
    assert asked == {"Chief": 0, "PS": 0, "Worker": 1}


def test_the_port_the_chief_serves_its_counters_at_is_the_one_prometheus_is_told(manifest):
    template = manifest["spec"]["tfReplicaSpecs"]["Chief"]["template"]
    (container,) = template["spec"]["containers"]
    (port,) = (port["containerPort"] for port in container["ports"] if port["name"] == "metrics")
    assert template["metadata"]["annotations"]["prometheus.io/port"] == str(port)
    assert f"--set=train.metrics_port={port}" in container["args"]
