import copy
import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from antiphon.cli import parser

SCHEMA = json.loads(Path(__file__).with_name("tfjob_v1_schema.json").read_text())


@pytest.fixture
def manifest(repository):
    return yaml.safe_load((repository / "deploy" / "tfjob.yaml").read_text())


def test_the_manifest_keeps_the_schema(manifest):
    jsonschema.Draft202012Validator(SCHEMA).validate(manifest)


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
