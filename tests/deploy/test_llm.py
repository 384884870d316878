import pytest
import yaml

from antiphon.commands import parser
from antiphon.config import load


@pytest.fixture
def manifests(repository):
    documents = yaml.safe_load_all((repository / "deploy" / "llm.yaml").read_text())
    return {document["kind"]: document for document in documents}


def container(manifest):
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    return found


def settings(container, repository):
    command = [*container["command"], *container["args"]]
    options = parser().parse_args(command[1:])
    return options.command, load(repository / "configs" / "demo.yaml", options.overrides)


def test_one_process_is_found_by_its_service(manifests, repository):
    service, stateful = manifests["Service"], manifests["StatefulSet"]
    assert stateful["spec"]["replicas"] == 1
    labels = stateful["spec"]["template"]["metadata"]["labels"]
    assert labels == service["spec"]["selector"] == stateful["spec"]["selector"]["matchLabels"]
    (port,) = container(stateful)["ports"]
    (serves,) = service["spec"]["ports"]
    command, config = settings(container(stateful), repository)
    assert command == "llm"
    assert serves["targetPort"] == port["name"] and serves["port"] == port["containerPort"] == config.llm.port
    assert config.llm.host == "0.0.0.0"


@pytest.mark.parametrize("job", ["tfjob.yaml", "tfjob_gpu.yaml"])
def test_the_workers_ask_it_at_its_service_and_see_the_same_volume(manifests, repository, job):
    manifest = yaml.safe_load((repository / "deploy" / job).read_text())
    template = manifest["spec"]["tfReplicaSpecs"]["Worker"]["template"]
    _, config = settings(container({"spec": {"template": template}}), repository)
    service = manifests["Service"]
    address = f"{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"
    assert {train.llm.address for train in config.variants.values()} == {address}
    volumes = manifests["StatefulSet"]["spec"]["template"]["spec"]["volumes"]
    assert volumes == template["spec"]["volumes"]
    assert container(manifests["StatefulSet"])["volumeMounts"] == template["spec"]["containers"][0]["volumeMounts"]
