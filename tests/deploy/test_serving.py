"""The manifests of TensorFlow Serving and Redis: what they say of each other, and of what else there is, is true."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from antiphon.config import load
from serving import batch_parameters, flags, text_config
from serving.config import ServeConfig
from serving.metrics import PATH, Metrics


def find(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = (d for d in documents if d["kind"] == kind and d["metadata"]["name"] == name)
    return found


def pod(documents: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    return find(documents, kind, name)["spec"]["template"]["spec"]


def mounted(documents: list[dict[str, Any]], pod: dict[str, Any], folder: Path) -> dict[str, Path]:
    """Path in the container → the file here that its ConfigMap is made of."""
    kustomization = next(d for d in documents if d["kind"] == "Kustomization")
    files = {config["name"]: config["files"] for config in kustomization["configMapGenerator"]}
    volumes = {volume["name"]: volume["configMap"]["name"] for volume in pod["volumes"] if "configMap" in volume}
    (container,) = pod["containers"]
    return {
        f"{mount['mountPath']}/{name}": folder / name
        for mount in container["volumeMounts"]
        if mount["name"] in volumes
        for name in files[volumes[mount["name"]]]
    }


def settings(arguments: list[str]) -> ServeConfig:
    """The arguments as the embedded server takes TensorFlow Serving's flags; SystemExit for one it does not have."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    flags.add(parser)
    return flags.applied(parser.parse_args(arguments), ServeConfig())


def test_every_flag_is_one_that_tensorflow_serving_has_and_its_files_are_mounted(
    documents: list[dict[str, Any]], container: dict[str, Any], folder: Path
) -> None:
    assert container["command"] == ["tensorflow_model_server"]
    config = settings(container["args"])
    ours = ("--host", "--max_request_bytes", "--max_tensor_bytes", "--max_requests")
    assert not [flag for flag in container["args"] if flag.partition("=")[0] in ours]
    files = mounted(documents, pod(documents, "Deployment", "antiphon-serving"), folder)
    for path in (config.model_config_file, config.batching_parameters_file, config.monitoring_config_file):
        assert files[path].is_file()
    with pytest.raises(SystemExit):
        settings(["--no_such_flag=1"])


def test_compose_gives_the_same_command_and_files(
    documents: list[dict[str, Any]], container: dict[str, Any], compose: dict[str, Any], folder: Path
) -> None:
    serving, redis = compose["services"]["tf-serving"], compose["services"]["redis"]
    (theirs,) = pod(documents, "StatefulSet", "antiphon-redis")["containers"]
    for service, other, kind, name in (
        (serving, container, "Deployment", "antiphon-serving"),
        (redis, theirs, "StatefulSet", "antiphon-redis"),
    ):
        assert (service["image"], service["entrypoint"]) == (other["image"], other["command"])
        assert service["command"] == other["args"]
        binds = {
            mount["target"]: (folder / mount["source"]).resolve()
            for mount in service["volumes"]
            if mount["source"].startswith("./")
        }
        assert binds == mounted(documents, pod(documents, kind, name), folder)
        published = [mapping.split(":") for mapping in service["ports"]]
        assert {address for address, _, _ in published} == {"127.0.0.1"}
        assert [int(port) for _, _, port in published] == [port["containerPort"] for port in other["ports"]]
        context = pod(documents, kind, name)["securityContext"]
        assert service["user"] == f"{context['runAsUser']}:{context['runAsGroup']}"
        assert float(service["deploy"]["resources"]["limits"]["cpus"]) == float(other["resources"]["requests"]["cpu"])
        assert f"{service['deploy']['resources']['limits']['memory']}i" == other["resources"]["limits"]["memory"]
    assert redis["healthcheck"]["test"][1:] == theirs["readinessProbe"]["exec"]["command"]
    probe = container["readinessProbe"]["httpGet"]["path"]
    assert f"GET {probe} HTTP/1.0" in serving["healthcheck"]["test"][-1]


def test_the_image_is_of_the_tensorflow_that_exports(container: dict[str, Any], repository: Path) -> None:
    (version,) = re.findall(r"^tensorflow==(.*)$", (repository / "constraints.txt").read_text(), re.M)
    assert container["image"] == f"tensorflow/serving:{version}"


def test_ports_agree_between_flags_container_services_probes_and_policies(
    documents: list[dict[str, Any]], container: dict[str, Any]
) -> None:
    config = settings(container["args"])
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": config.grpc_port, "rest": config.rest_port}
    (redis,) = pod(documents, "StatefulSet", "antiphon-redis")["containers"]
    ports_of = {"antiphon-serving": ports, "antiphon-redis": {p["name"]: p["containerPort"] for p in redis["ports"]}}
    for service in (document for document in documents if document["kind"] == "Service"):
        for port in service["spec"]["ports"]:
            assert port["port"] == ports_of[service["spec"]["selector"]["app"]][port["targetPort"]]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        (way,) = (container[probe][way] for way in ("tcpSocket", "httpGet") if way in container[probe])
        assert way["port"] in ports
    for policy in (document for document in documents if document["kind"] == "NetworkPolicy"):
        known = ports_of[policy["spec"]["podSelector"]["matchLabels"]["app"]]
        rules = policy["spec"]["ingress"]
        assert {port["port"] for rule in rules for port in rule["ports"]} == set(known.values())
        # only REST, over which nothing can be changed, is open to everybody
        assert [rule["ports"] for rule in rules if "from" not in rule] in (
            [], [[{"protocol": "TCP", "port": ports["rest"]}]],
        )  # fmt: skip


def test_selectors_budget_and_autoscaler_name_pods_that_there_are(documents: list[dict[str, Any]]) -> None:
    for kind, name in (("Deployment", "antiphon-serving"), ("StatefulSet", "antiphon-redis")):
        spec = find(documents, kind, name)["spec"]
        labels = spec["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == labels
        assert find(documents, "Service", name)["spec"]["selector"] == labels
        assert find(documents, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"] == labels
    labels = {"app": "antiphon-serving"}
    assert find(documents, "Service", "antiphon-serving-grpc")["spec"]["selector"] == labels
    assert find(documents, "PodDisruptionBudget", "antiphon-serving")["spec"]["selector"]["matchLabels"] == labels
    scaler = find(documents, "HorizontalPodAutoscaler", "antiphon-serving")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "antiphon-serving"}
    assert 2 <= scaler["minReplicas"] < scaler["maxReplicas"]  # the budget lets one go
    assert "replicas" not in find(documents, "Deployment", "antiphon-serving")["spec"]
    redis = find(documents, "StatefulSet", "antiphon-redis")["spec"]
    assert redis["serviceName"] == "antiphon-redis"


def test_the_model_is_what_export_writes_into_the_volume_of_the_training_jobs(
    documents: list[dict[str, Any]], container: dict[str, Any], folder: Path, repository: Path
) -> None:
    from tensorflow_serving.config import model_server_config_pb2

    message = text_config.read(folder / "models.config", model_server_config_pb2.ModelServerConfig)
    (model,) = message.model_config_list.config
    job = yaml.safe_load((repository / "deploy" / "tfjob.yaml").read_text())
    chief = job["spec"]["tfReplicaSpecs"]["Chief"]["template"]["spec"]
    (trains,) = chief["containers"]
    variant = next(a.partition("=")[2] for a in trains["args"] if a.startswith("--variant="))
    runs = next(a.removeprefix("--set=") for a in trains["args"] if a.startswith("--set=runs="))
    config = load(repository / "configs" / "demo.yaml", [runs, f"export.variant={variant}"])
    assert (model.name, Path(model.base_path)) == (variant, config.folder / "export" / variant)
    assert f"export.variant={variant}" in (folder / "models.config").read_text()
    volumes = pod(documents, "Deployment", "antiphon-serving")["volumes"]
    assert chief["volumes"][0] in volumes
    (mount,) = (m for m in container["volumeMounts"] if m["name"] == chief["volumes"][0]["name"])
    assert {**trains["volumeMounts"][0], "readOnly": True} == mount
    assert set(model.version_labels) == {"stable", "canary"}
    assert set(model.version_labels.values()) <= set(model.model_version_policy.specific.versions)
    probe = container["readinessProbe"]["httpGet"]["path"]
    assert probe == f"/v1/models/{model.name}/labels/stable/metadata"


def test_the_batches_are_those_the_server_has_threads_for(container: dict[str, Any], folder: Path) -> None:
    config = settings(container["args"])
    batching = batch_parameters.read(folder / "batching.config")
    cores = int(container["resources"]["requests"]["cpu"])
    assert batching.num_batch_threads == cores
    assert (config.tensorflow_intra_op_parallelism, config.tensorflow_inter_op_parallelism) == (cores, cores)
    assert config.grpc_threads == config.rest_threads == cores * batching.max_batch_size
    assert batching.pad_variable_length_inputs  # the client's histories differ in length


def test_a_warmup_request_is_a_batch_of_its_own(folder: Path, tmp_path: Path) -> None:
    import numpy as np
    import tensorflow as tf
    from tensorflow_serving.apis import prediction_log_pb2

    from trainer.export_folder import write_warmup

    batching = batch_parameters.read(folder / "batching.config")
    requests = [{"history": np.array([ids])} for ids in ([b"a"], [b"a", b"b", b"c"])]
    write_warmup(tmp_path / "requests", "ids", "serving_default", requests)
    records = list(tf.data.TFRecordDataset(str(tmp_path / "requests")).as_numpy_iterator())
    assert len(records) == len(requests)
    for record in records:
        request = prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
        rows = request.inputs["history"].tensor_shape.dim[0].size
        assert batching.padded_size(rows) == rows


def test_prometheus_is_told_where_the_metrics_are_and_asks_for_metrics_that_there_are(
    documents: list[dict[str, Any]], container: dict[str, Any], folder: Path
) -> None:
    monitoring = text_config.read(folder / "monitoring.config", text_config.MonitoringConfig).prometheus_config
    assert (monitoring.enable, monitoring.path) == (True, PATH)
    annotations = find(documents, "Deployment", "antiphon-serving")["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/path"] == monitoring.path
    assert int(annotations["prometheus.io/port"]) == settings(container["args"]).rest_port
    metrics = Metrics()
    names = {metric._name: set(metric._labels) for metric in vars(metrics).values()}
    (group,) = yaml.safe_load((folder / "alerts.yaml").read_text())["groups"]
    assert len({rule["alert"] for rule in group["rules"]}) == len(group["rules"])
    for rule in group["rules"]:
        asked = re.findall(r"(:tensorflow[a-z_:]+?)(?:_bucket)?(?:\{([^}]*)\})?\[", rule["expr"])
        assert asked
        for name, matchers in asked:
            assert set(re.findall(r"(\w+)(?:=|!)", matchers)) <= names[name]
            by = re.search(r"sum by \(([^)]*)\)", rule["expr"])
            assert {label.strip() for label in by[1].split(",")} <= names[name] | {"le"}


def test_redis_keeps_what_it_is_given_and_evicts_nothing(
    documents: list[dict[str, Any]], folder: Path, tmp_path: Path
) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("needs redis-server")
    (theirs,) = pod(documents, "StatefulSet", "antiphon-redis")["containers"]
    socket = tmp_path / "redis.sock"
    text = (folder / "redis.conf").read_text()
    assert "\ndir /data\n" in text and "/data" in {mount["mountPath"] for mount in theirs["volumeMounts"]}
    (config := tmp_path / "redis.conf").write_text(text.replace("dir /data", f"dir {tmp_path}"))
    command = ["redis-server", str(config), "--port", "0", "--unixsocket", str(socket)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 60
        while subprocess.run(["redis-cli", "-s", socket, "-e", "ping"], capture_output=True).returncode:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)

        def setting(name: str) -> str:
            command = ["redis-cli", "-s", str(socket), "config", "get", name]
            return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[1]

        assert (setting("appendonly"), setting("appendfsync"), setting("save")) == ("yes", "everysec", "")
        assert setting("maxmemory-policy") == "noeviction"
        assert theirs["resources"]["limits"]["memory"] == "4Gi"
        assert 2 * int(setting("maxmemory")) <= 4 << 30  # rewriting the log may need as much again
    finally:
        process.terminate()
        process.wait(timeout=60)
