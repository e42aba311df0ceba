"""What local/ does not understand is refused, with file and line; and so is a reference that leads nowhere."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from local import kinds
from local.manifest import ManifestError
from local.process import ROOT
from local.secret import read_recipes
from local.system import FOLDERS, System

Edit = Callable[[str, str, str], None]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the project's own manifests."""
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


@pytest.fixture
def edit(root: Path) -> Edit:
    """Replaces a text, which must be there, in one of them."""

    def replace(file: str, old: str, new: str) -> None:
        path = root / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    return replace


def read(root: Path) -> System:
    return System.read(root, read_recipes())


def test_the_project_s_own_manifests_are_understood() -> None:
    system = read(ROOT)
    assert {"bank", "catalog", "checkout", "settle", "post", "statement", "relay"} <= system.all(kinds.Service).keys()
    assert {"settle", "post"} <= system.all(kinds.KafkaSource).keys()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("knative/base/bank.yaml", "timeoutSeconds: 60", "timeoutSecond: 60", r"bank.yaml:18: .*timeoutSecond.*not understood"),
        ("knative/base/bank.yaml", "timeoutSeconds: 60", "timeoutSeconds: soon", r"bank.yaml:18: .*timeoutSeconds"),
        ("knative/base/bank.yaml", "kind: Service", "kind: Deployment", r"bank.yaml:4: the kind Deployment"),
        ("knative/base/bank.yaml", "kind: Service", "kind: [", r"bank.yaml:\d+: "),
        ("knative/base/bank.yaml", "name: bank-database", "name: bank-databse", r"bank.yaml:23: there is no secret bank-databse"),
        ("knative/base/bank.yaml", "secretName: bank-keys", "secretName: bank-key", r"there is no secret bank-key"),
        ("knative/base/bank.yaml", "volumeMounts: [{name: keys", "volumeMounts: [{name: kees", r"there is no volume kees"),
        ("knative/base/bank.yaml", "  name: bank\n", "  name: bank\n  name: bank\n", r"bank.yaml:7: the key name is there twice"),
        ("knative/base/bank.yaml", "  name: bank\n", "  name: catalog\n", r"Service catalog is already defined at .*bank.yaml:6"),
        ("knative/base/checkout.yaml", "bank.codebank.svc", "bnk.codebank.svc", r"there is no Service bnk"),
        ("eventing/sources.yaml", "topics: [transactions]", "topics: [transaction]", r"sources.yaml:9: there is no KafkaTopic transaction"),
        ("eventing/sources.yaml", "kind: Service, name: settle", "kind: Service, name: settel", r"there is no Service settel"),
        ("eventing/sources.yaml", "    retry: 10\n", "", r"sources.yaml:14: .*retry"),
        ("eventing/sources.yaml", "initialOffset: earliest", "initialOffset: first", r"sources.yaml:12: .*initialOffset"),
        ("eventing/sources.yaml", "PT0.2S", "soon", r"sources.yaml:17: .*backoffDelay"),
        ("eventing/sinks.yaml", "topic: transactions\n", "topic: nowhere\n", r"there is no KafkaTopic nowhere"),
        ("eventing/bindings.yaml", "kind: KafkaSink, name: transactions,", "kind: Broker, name: x,", r"a Broker is not understood as a sink"),
        ("istio/routes.yaml", "authority: catalog.", "authority: catalogue.", r"routes.yaml:14: there is no Service catalogue"),
        ("istio/routes.yaml", "gateways: [codebank]", "gateways: [main]", r"there is no Gateway main"),
        ("istio/routes.yaml", "timeout: 30s", "timeout: 30", r"routes.yaml:16: .*timeout"),
    ],
)  # fmt: skip
def test_a_broken_manifest_is_refused_where_it_is_broken(
    root: Path, edit: Edit, file: str, old: str, new: str, message: str
) -> None:
    edit(file, old, new)
    with pytest.raises(ManifestError, match=message):
        read(root)


def test_a_missing_folder_is_named(root: Path) -> None:
    shutil.rmtree(root / "istio")
    with pytest.raises(ManifestError, match=r"istio: there is no such folder"):
        read(root)
