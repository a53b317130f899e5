"""Every manifest that `deploy/` gives: rendered by Kustomize and Helm themselves, valid, and safe to run."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

helm = pytest.importorskip("helm_python", reason="helm-python-sdk is part of crma[dev]")
DEPLOY = Path(__file__).parent.parent.parent / "deploy"
CHART = DEPLOY / "helm" / "crma"
OVERLAYS = sorted(path.parent.name for path in DEPLOY.glob("kubernetes/overlays/*/kustomization.yaml"))
VERSION = "1.32"
# Kinds that come with operators: the API's own schemas do not have them.
OPERATORS = {"ScaledObject", "ServiceMonitor", "InferencePool", "HTTPRoute"}
S3 = {"store": {"url": "s3://crma/adapters"}}
VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "s3": S3,
    "gpu": S3 | {"gpus": 1, "image": {"repository": "crma", "tag": "gpu"}},
    "keda": S3 | {"autoscaling": {"enabled": True, "by": "keda"}},
    "fixed": S3 | {"autoscaling": {"enabled": False}, "networkPolicy": {"enabled": False}},
    "watched": S3 | {"serviceMonitor": {"enabled": True}},
    "training": S3 | {"train": {"enabled": True}},
    "training in a folder": {"train": {"enabled": True, "run": True}, "store": {"existingClaim": "mine"}},
    "placed": S3
    | {
        "nodeSelector": {"pool": "llm"},
        "tolerations": [{"key": "llm", "operator": "Exists"}],
        "extraArgs": ["--max-model-len=4096"],
        "extraEnv": [{"name": "HF_HOME", "value": "/cache/hf"}],
        "shutdownTimeoutSeconds": 300,
    },
}
Manifest = dict[str, Any]


def kubectl() -> str:
    beside = Path(sys.executable).parent / "kubectl"
    return str(beside) if beside.exists() else shutil.which("kubectl") or pytest.skip("no kubectl")


def overlay(name: str) -> list[Manifest]:
    command = [kubectl(), "kustomize", str(DEPLOY / "kubernetes" / "overlays" / name)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return [each for each in yaml.safe_load_all(found.stdout) if each]


def chart(name: str) -> list[Manifest]:
    with helm.Chart.load(str(CHART)) as loaded:
        rendered = loaded.render(VALUES[name], name="demo", namespace="crma")
    texts = [text for path, text in rendered.items() if not path.endswith("NOTES.txt")]
    return [each for text in texts for each in yaml.safe_load_all(text) if each]


def every() -> Iterator[Any]:
    yield from (pytest.param(overlay, name, id=f"kustomize-{name}") for name in OVERLAYS)
    yield from (pytest.param(chart, name, id=f"helm-{name}") for name in VALUES)


def containers(manifests: list[Manifest]) -> Iterator[tuple[Manifest, Manifest]]:
    """Every container with the pod it is in."""
    for each in manifests:
        if each["kind"] in ("Deployment", "Job"):
            pod = each["spec"]["template"]["spec"]
            yield from ((pod, container) for container in pod["containers"])


@pytest.mark.parametrize(("render", "name"), [*every()])
def test_it_is_what_the_api_takes(render: Any, name: str) -> None:
    manifests = render(name)
    assert {"Deployment", "Service", "PodDisruptionBudget"} <= {each["kind"] for each in manifests}
    for each in manifests:
        if each["kind"] not in OPERATORS:
            kubernetes_validate.validate(each, VERSION, strict=True)


@pytest.mark.parametrize(("render", "name"), [*every()])
def test_selectors_find_the_servers_and_nothing_else(render: Any, name: str) -> None:
    manifests = render(name)
    labels = {
        each["kind"]: each["spec"]["template"]["metadata"]["labels"]
        for each in manifests
        if each["kind"] in ("Deployment", "Job")
    }
    for each in manifests:
        spec = each.get("spec", {})
        selector = {
            "Service": lambda s: s["selector"],
            "PodDisruptionBudget": lambda s: s["selector"]["matchLabels"],
            "NetworkPolicy": lambda s: s["podSelector"]["matchLabels"],
            "Deployment": lambda s: s["selector"]["matchLabels"],
        }.get(each["kind"])
        if selector is None:
            continue
        wanted = selector(spec).items()
        assert wanted, each["kind"]
        assert wanted <= labels["Deployment"].items(), each["kind"]
        if "Job" in labels:
            assert not wanted <= labels["Job"].items(), f"{each['kind']} takes the training job for a server"


@pytest.mark.parametrize(("render", "name"), [*every()])
def test_a_pod_may_finish_what_it_answers_and_start_in_ten_minutes(render: Any, name: str) -> None:
    for pod, container in containers(render(name)):
        if "startupProbe" not in container:
            continue
        flags = dict(each.split("=", 1) for each in container["args"] if "=" in each)
        assert pod["terminationGracePeriodSeconds"] >= int(flags["--shutdown-timeout"]) + 10
        startup = container["startupProbe"]
        assert startup["periodSeconds"] * startup["failureThreshold"] >= 600
        assert startup["httpGet"]["path"] == container["readinessProbe"]["httpGet"]["path"] == "/ready"
        assert container["livenessProbe"]["httpGet"]["path"] == "/health"
        assert "--allow-no-key" not in container["args"]
        assert flags["--api-key-file"].startswith("/etc/crma/keys/")


@pytest.mark.parametrize(("render", "name"), [*every()])
def test_nothing_runs_as_root_or_writes_where_it_should_not(render: Any, name: str) -> None:
    found = list(containers(render(name)))
    assert found
    for pod, container in found:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["automountServiceAccountToken"] is False
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] is True
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"]["drop"] == ["ALL"]
        mounted = {each["name"] for each in container["volumeMounts"]}
        assert mounted <= {each["name"] for each in pod["volumes"]}
        assert container["resources"]["limits"]["memory"]


@pytest.mark.parametrize(("render", "name"), [*every()])
def test_the_flags_are_those_of_the_commands(render: Any, name: str) -> None:
    """Our own flags by our parsers; vLLM's are named here, for asking it takes a minute."""
    from crma_server.cli import _parser as serve_parser
    from crma_training.cli import _parser as train_parser

    vllms = {"--host", "--port", "--shutdown-timeout", "--max-model-len"}
    for _, container in containers(render(name)):
        parser = train_parser() if container.get("command") == ["crma-train"] else serve_parser()
        _, rest = parser.parse_known_args(container["args"])
        assert {each.partition("=")[0] for each in rest} <= vllms


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"store": {"url": "s3://key:secret@bucket/x"}}, "url"),
        ({"autoscaling": {"by": "hope"}}, "by"),
        ({"keysSecret": ""}, "keysSecret"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(values: dict[str, Any], told: str) -> None:
    with helm.Chart.load(str(CHART)) as loaded, pytest.raises(helm.HelmError, match=told):
        loaded.render(values, name="demo", namespace="crma")


def test_the_examples_are_valid() -> None:
    paths = sorted((DEPLOY / "kubernetes" / "examples").glob("*.yaml"))
    assert paths
    for path in paths:
        for each in yaml.safe_load_all(path.read_text()):
            if each["kind"] not in OPERATORS:
                kubernetes_validate.validate(each, VERSION, strict=True)


def test_secrets_that_are_named_are_in_the_example() -> None:
    examples = yaml.safe_load_all((DEPLOY / "kubernetes" / "examples" / "secrets.yaml").read_text())
    keys = {each["metadata"]["name"]: set(each["stringData"]) for each in examples}
    (deployment,) = [each for each in overlay("monitoring") if each["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    flags = dict(each.split("=", 1) for each in container["args"] if "=" in each)
    files = {Path(flags[flag]).name for flag in ("--api-key-file", "--admin-key-file")}
    assert files <= keys["crma-keys"]
    assert {each["secretRef"]["name"] for each in container["envFrom"]} <= keys.keys()
    (monitor,) = [each for each in overlay("monitoring") if each["kind"] == "ServiceMonitor"]
    assert monitor["spec"]["endpoints"][0]["authorization"]["credentials"]["key"] in keys["crma-keys"]
