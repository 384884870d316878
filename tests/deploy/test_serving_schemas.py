"""The manifests keep the schemas beside this file, and the schemas refuse what is wrong."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

HERE = Path(__file__)
KUBERNETES = jsonschema.Draft202012Validator(json.loads(HERE.with_name("kubernetes_schema.json").read_text()))
COMPOSE = jsonschema.Draft202012Validator(json.loads(HERE.with_name("compose_schema.json").read_text()))


def test_every_document_keeps_its_schema(documents: list[dict[str, Any]], compose: dict[str, Any]) -> None:
    assert [error.message for document in documents for error in KUBERNETES.iter_errors(document)] == []
    assert [error.message for error in COMPOSE.iter_errors(compose)] == []


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("Deployment", lambda d: d.update(apiVersion="apps/v2")),
        ("Deployment", lambda d: d["spec"].pop("selector")),
        ("Deployment", lambda d: d["spec"]["template"]["spec"]["containers"][0]["readinessProbe"].pop("httpGet")),
        ("Deployment", lambda d: d["spec"]["template"]["spec"]["containers"][0].update(arguments=[])),
        ("Service", lambda d: d["spec"]["ports"][0].update(port="8500")),
        ("HorizontalPodAutoscaler", lambda d: d["spec"].pop("maxReplicas")),
        ("PodDisruptionBudget", lambda d: d["spec"].update(minAvailable=1)),
        ("NetworkPolicy", lambda d: d["spec"].update(policyTypes=["In"])),
        ("StatefulSet", lambda d: d["spec"].pop("serviceName")),
        ("Kustomization", lambda d: d.update(configMaps=[])),
    ],
)
def test_the_schema_refuses_a_faulty_manifest(documents: list[dict[str, Any]], kind: str, fault: Any) -> None:
    faulty = copy.deepcopy(next(document for document in documents if document["kind"] == kind))
    fault(faulty)
    assert not KUBERNETES.is_valid(faulty)


@pytest.mark.parametrize(
    "fault",
    [
        lambda service: service.update(probe={}),
        lambda service: service.update(ports=["8500-8501"]),
        lambda service: service["healthcheck"].update(interval=5),
        lambda service: service["volumes"][0].update(type="file"),
    ],
)
def test_the_schema_refuses_a_faulty_compose_file(compose: dict[str, Any], fault: Any) -> None:
    faulty = copy.deepcopy(compose)
    fault(faulty["services"]["tf-serving"])
    assert not COMPOSE.is_valid(faulty)


def test_kubectl_builds_the_whole(folder: Path) -> None:
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl")
    built = subprocess.run(["kubectl", "kustomize", folder], capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stderr
    rendered = list(yaml.safe_load_all(built.stdout))
    assert [error.message for document in rendered for error in KUBERNETES.iter_errors(document)] == []
    maps = {document["metadata"]["name"] for document in rendered if document["kind"] == "ConfigMap"}
    used = {
        volume["configMap"]["name"]
        for document in rendered
        for volume in document.get("spec", {}).get("template", {}).get("spec", {}).get("volumes", [])
        if "configMap" in volume
    }
    assert used == maps
    assert "antiphon-serving-models" in maps
