"""The files of `deployments/` against the tools that read them, as far as those work without an engine or a cluster."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from flows.deploying import FLOWS
from nightgate.definition.loading import definition_path, load_definition
from tests.projects import ROOT

FILES = ROOT / "deployments"
KUBERNETES = "1.31"
PASSWORDS = {"DATABASE_PASSWORD": "p4ss/word", "PREFECT_PASSWORD": "an0ther"}
LOCKS = {path.name: path.read_text() for path in (*FILES.glob("*.lock"), ROOT / "requirements.lock")}


def ran(tool: str, *words: object, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Run a tool of the environment, or of the machine; where it is missing, fail in CI and skip elsewhere."""
    own = Path(sys.executable).with_name(tool)
    found = str(own) if own.exists() else shutil.which(tool)
    if found is None:
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(f"{tool} is not installed; .ci/run installs it")
    return subprocess.run([found, *map(str, words)], env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **environment},
                          capture_output=True, text=True, check=False)


def composed(*files: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    named = [word for file in files for word in ("-f", FILES / file)]
    return ran("docker-compose", *named, "config", "--format", "json", **environment)


def resources() -> list[dict[str, Any]]:
    """Return all resources that the kustomization names, those of lists one by one."""
    folder = FILES / "kubernetes"
    names = yaml.safe_load((folder / "kustomization.yaml").read_text())["resources"]
    assert sorted(names) == sorted(path.name for path in folder.glob("*.yaml") if path.name != "kustomization.yaml")
    found = [each for name in names for each in yaml.safe_load_all((folder / name).read_text())]
    return [item for each in found for item in (each["items"] if each["kind"] == "List" else [each])]


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for each in resources():
        if each["kind"] in ("Deployment", "CronJob"):
            spec = each["spec"]["jobTemplate"]["spec"] if each["kind"] == "CronJob" else each["spec"]
            yield each["metadata"]["name"], spec["template"]["spec"]


def test_the_container_file_is_without_fault() -> None:
    ended = ran("hadolint", FILES / "Dockerfile")

    assert (ended.returncode, ended.stdout) == (0, "")


def test_images_hold_what_is_named_and_nothing_secret() -> None:
    ignored = (FILES / "Dockerfile.dockerignore").read_text().splitlines()
    copied = re.findall(r"^COPY (?!--from)(\S+)", (FILES / "Dockerfile").read_text(), re.MULTILINE)

    kept = {line[1:].replace("deployments/*.lock", "deployments/") for line in ignored if line.startswith("!")}
    assert ignored[1] == "*" and {"**/.nightgate", "**/__pycache__"} <= set(ignored)
    assert {"deployments/" if name.endswith(".lock") else name for name in copied} == kept


def test_locks_hold_hashes_and_agree_on_versions() -> None:
    versions = {name: dict(re.findall(r"^([a-z0-9][\w.-]*)==([^ ]+)", text, re.MULTILINE)) for name, text in LOCKS.items()}

    for name, text in LOCKS.items():
        entries = re.findall(r"^[a-z0-9][^\n]*==[^\n]*\n((?:    --hash=sha256:[0-9a-f]{64}[^\n]*\n)+)", text, re.MULTILINE)
        assert len(entries) == len(versions[name]) > 5, name
    for name in ("serving.lock", "worker.lock"):
        common = versions[name].keys() & versions["requirements.lock"].keys()
        assert {each: versions[name][each] for each in common} == {each: versions["requirements.lock"][each] for each in common}
    assert versions["mlflow.lock"]["mlflow"] == versions["worker.lock"]["mlflow-skinny"], "its tables are those that nights write"


@pytest.mark.parametrize("path", [*FILES.rglob("*"), ROOT / "requirements.lock"], ids=lambda path: path.name)
def test_no_file_names_an_index_or_holds_a_secret(path: Path) -> None:
    text = path.read_text() if path.is_file() else ""

    assert not re.search(r"--(extra-)?index-url|find-links|://[^/\s]*@(?!postgres/)[a-z]", text.replace("nightgate@", "@"))
    assert not re.search(r"(?i)(password|secret|token|auth_string)\s*[:=]\s*['\"]?[a-z0-9+/]{8,}['\"]?\s*$", text, re.MULTILINE)


@pytest.mark.parametrize("files", [("compose.yaml",), ("compose.yaml", "compose.servers.yaml")], ids=len)
def test_compose_files_are_understood_and_every_container_of_ours_is_locked_down(files: tuple[str, ...]) -> None:
    ended = composed(*files, **PASSWORDS)
    assert ended.returncode == 0, ended.stderr
    services = json.loads(ended.stdout)["services"]

    assert {"postgres", "server", "worker", "mlflow", "serving"} <= services.keys()
    for name, service in services.items():
        if service["image"].startswith("nightgate-"):
            assert service["read_only"] and service["cap_drop"] == ["ALL"], name
            assert service["security_opt"] == ["no-new-privileges:true"], name
        assert all(port["host_ip"] == "127.0.0.1" for port in service.get("ports", ())), name
    assert ("redis" in services) == (len(files) == 2)
    assert PASSWORDS["DATABASE_PASSWORD"] not in json.dumps([service.get("command") for service in services.values()])


@pytest.mark.parametrize("missing", PASSWORDS)
def test_compose_asks_for_passwords(missing: str) -> None:
    ended = composed("compose.yaml", **{name: value for name, value in PASSWORDS.items() if name != missing})

    assert ended.returncode != 0 and missing in ended.stderr


@pytest.mark.parametrize("resource", resources(), ids=lambda each: f"{each['kind']}/{each['metadata']['name']}")
def test_kubernetes_knows_each_resource_and_each_of_its_fields(resource: dict[str, Any]) -> None:
    kubernetes_validate.validate(resource, KUBERNETES, strict=True)

    assert resource["kind"] != "Secret"


@pytest.mark.parametrize(("name", "pod"), list(pods()), ids=lambda each: each if isinstance(each, str) else "")
def test_each_pod_is_locked_down_and_bounded(name: str, pod: dict[str, Any]) -> None:
    assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["runAsUser"] == 10001
    assert pod["automountServiceAccountToken"] is False
    for container in (*pod.get("initContainers", ()), *pod["containers"]):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"] and security["capabilities"] == {"drop": ["ALL"]}
        assert {"memory"} <= container["resources"]["limits"].keys() and {"cpu", "memory"} <= container["resources"]["requests"].keys()
        assert {mount["name"] for mount in container["volumeMounts"]} <= {volume["name"] for volume in pod["volumes"]}
        assert all("value" not in each for each in container.get("env", ()) if "PASSWORD" in each["name"] or "AUTH" in each["name"])


def test_what_is_named_in_the_cluster_is_there() -> None:
    everything = resources()
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in everything if each["kind"] == "Deployment"]
    claims = {each["metadata"]["name"] for each in everything if each["kind"] == "PersistentVolumeClaim"}

    for each in everything:
        if each["kind"] in ("Service", "PodDisruptionBudget"):
            selected = each["spec"]["selector"].get("matchLabels", each["spec"]["selector"])
            assert any(selected.items() <= label.items() for label in labels), each["metadata"]
    for _, pod in pods():
        assert {volume["persistentVolumeClaim"]["claimName"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume} <= claims


@pytest.mark.parametrize("unit", sorted(FILES.glob("*.service")), ids=lambda path: path.name)
def test_systemd_understands_each_unit(unit: Path, tmp_path: Path) -> None:
    text = unit.read_text().replace("/srv/nightgate/.venv/bin/nightgate", "/bin/true").replace("User=nightgate", "User=daemon")
    (tmp_path / unit.name).write_text(text)

    ended = ran("systemd-analyze", "verify", "--man=no", tmp_path / unit.name, SYSTEMD_LOG_LEVEL="warning")

    assert "/bin/true" in text and (ended.returncode, ended.stderr) == (0, "")


def test_the_workflow_is_one() -> None:
    ended = ran("check-jsonschema", "--builtin-schema", "vendor.github-workflows", FILES / "github-actions.yml")

    assert ended.returncode == 0, ended.stdout
    assert all(re.search(r"@[0-9a-f]{40} # v", line) for line in (FILES / "github-actions.yml").read_text().splitlines() if "uses:" in line)


def test_prefects_file_says_what_the_definition_says() -> None:
    written = yaml.safe_load((FILES / "prefect.yaml").read_text())
    schedule = load_definition(definition_path(ROOT / "models", "breast_cancer")).schedule

    nightly = [each for each in written["deployments"] if each["name"] == "breast_cancer" and "compaction" not in each["entrypoint"]]
    assert len(nightly) == 2
    assert all(each["schedules"] == [{"cron": schedule.cron, "timezone": schedule.timezone}] for each in nightly)


def test_prefects_file_has_every_flow_that_other_services_trigger() -> None:
    written = yaml.safe_load((FILES / "prefect.yaml").read_text())

    asked = {each["entrypoint"].partition(":")[2].replace("_", "-") for each in written["deployments"] if each["name"] == "on-demand"}

    assert asked == {*FLOWS}
