"""All manifests together, with every reference between them checked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from local import kinds
from local.cluster import CLUSTER_HOST
from local.manifest import Document, ManifestError, read_folders
from local.secret import Recipe

FOLDERS: Final = ("knative/base", "knative/demo", "eventing", "istio")

AnyResource = TypeVar("AnyResource", bound=kinds.Resource)
SINK_KINDS: Final = ("Service", "KafkaSink")


@dataclass(frozen=True)
class System:
    """What the manifests say there is. Make it with read()."""

    documents: tuple[Document, ...]

    @classmethod
    def read(cls, root: Path, recipes: list[Recipe]) -> System:
        """Reads the folders of the checkout. Raises ManifestError for the first thing that is wrong."""
        system = cls(tuple(read_folders([root / folder for folder in FOLDERS])))
        system._check(recipes)
        return system

    def all(self, kind: type[AnyResource]) -> dict[str, AnyResource]:
        """The resources of one kind, by name."""
        return {
            document.resource.name: document.resource
            for document in self.documents
            if isinstance(document.resource, kind)
        }

    def asked_services(self) -> set[str]:
        """The names of the services that a container asks by their host."""
        pods = [service.container for service in self.all(kinds.Service).values()]
        for job in self.all(kinds.Job).values():
            pods += [*job.spec.template.spec.initContainers, *job.spec.template.spec.containers]
        values = [variable.value or "" for container in pods for variable in container.env]
        return {host[1] for value in values for host in CLUSTER_HOST.finditer(value)}

    def _check(self, recipes: list[Recipe]) -> None:
        self._check_unique()
        secrets = {(recipe.secret, recipe.key) for recipe in recipes}
        for document in self.documents:
            for location, problem in self._dangling(document.resource, secrets):
                raise ManifestError(f"{document.place(*location)}: {problem}")

    def _check_unique(self) -> None:
        seen: dict[tuple[str, str, str], Document] = {}
        for document in self.documents:
            resource = document.resource
            key = (resource.kind, resource.metadata.namespace, resource.name)
            if key in seen:
                first = seen[key].place("metadata", "name")
                place = document.place("metadata", "name")
                raise ManifestError(f"{place}: {resource.kind} {resource.name} is already defined at {first}")
            seen[key] = document

    def _dangling(
        self, resource: kinds.Resource, secrets: set[tuple[str, str]]
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """Where a reference leads nowhere, and a sentence that says so."""
        match resource:
            case kinds.Service():
                pod = resource.spec.template.spec
                yield from self._container_faults(
                    pod.containers[0], pod.volumes, secrets, ("spec", "template", "spec", "containers", 0)
                )
            case kinds.Job():
                spec = resource.spec.template.spec
                for group, containers in (("initContainers", spec.initContainers), ("containers", spec.containers)):
                    for index, container in enumerate(containers):
                        yield from self._container_faults(
                            container, spec.volumes, secrets, ("spec", "template", "spec", group, index)
                        )
            case kinds.KafkaSource():
                for topic in resource.spec.topics:
                    yield from self._missing(kinds.KafkaTopic, topic, ("spec", "topics"))
                yield from self._sink_faults(resource.spec.sink, ("spec", "sink"))
                yield from self._sink_faults(
                    resource.spec.delivery.deadLetterSink, ("spec", "delivery", "deadLetterSink")
                )
            case kinds.KafkaSink():
                yield from self._missing(kinds.KafkaTopic, resource.spec.topic, ("spec", "topic"))
            case kinds.EventType():
                yield from self._sink_faults(kinds.Destination(ref=resource.spec.reference), ("spec",), "reference")
            case kinds.SinkBinding():
                yield from self._missing(kinds.Service, resource.spec.subject.name, ("spec", "subject"))
                yield from self._sink_faults(resource.spec.sink, ("spec", "sink"))
            case kinds.PingSource():
                yield from self._sink_faults(resource.spec.sink, ("spec", "sink"))
            case kinds.VirtualService():
                for gateway in resource.spec.gateways:
                    yield from self._missing(kinds.Gateway, gateway, ("spec", "gateways"))
                for index, route in enumerate(resource.spec.http):
                    place: tuple[str | int, ...] = ("spec", "http", index, "rewrite", "authority")
                    host = CLUSTER_HOST.fullmatch(route.rewrite.authority)
                    if host is None:
                        yield place, f"{route.rewrite.authority} is not the host of a service of the cluster"
                    else:
                        yield from self._missing(kinds.Service, host[1], place)

    def _container_faults(
        self,
        container: kinds.Container,
        volumes: list[kinds.Volume],
        secrets: set[tuple[str, str]],
        place: tuple[str | int, ...],
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        for index, variable in enumerate(container.env):
            here = (*place, "env", index)
            if variable.valueFrom is not None:
                reference = variable.valueFrom.secretKeyRef
                if (reference.name, reference.key) not in secrets:
                    yield here, f"there is no secret {reference.name} with the key {reference.key}"
            for host in CLUSTER_HOST.finditer(variable.value or ""):
                yield from self._missing(kinds.Service, host[1], here)
        mounted = {volume.name for volume in volumes}
        for index, mount in enumerate(container.volumeMounts):
            if mount.name not in mounted:
                yield (*place, "volumeMounts", index), f"there is no volume {mount.name}"
        for volume in volumes:
            if volume.secret and volume.secret.secretName not in {name for name, _ in secrets}:
                yield place, f"there is no secret {volume.secret.secretName}"

    def _sink_faults(
        self, destination: kinds.Destination, place: tuple[str | int, ...], field: str = "ref"
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        reference = destination.ref
        if reference.kind not in SINK_KINDS:
            yield (*place, field), f"a {reference.kind} is not understood as a sink here"
            return
        kind = kinds.Service if reference.kind == "Service" else kinds.KafkaSink
        yield from self._missing(kind, reference.name, (*place, field))

    def _missing(
        self, kind: type[kinds.Resource], name: str, place: tuple[str | int, ...]
    ) -> Iterator[tuple[tuple[str | int, ...], str]]:
        # A topic's name may differ from its resource's: Strimzi's topicName is not used here, so they are the same.
        if name not in self.all(kind):
            yield place, f"there is no {kind.__name__} {name}"
