"""The kinds that local/ understands, field by field, as the platforms define them.

Fields that mean nothing on one machine (resources, security contexts, service accounts) are accepted as they are;
fields that would change what happens, and that local/ does not act on, are left out here, so that they are refused.
Sources: Knative Serving v1, Eventing v1, its Kafka kinds v1beta1 and v1alpha1, Strimzi v1, Kubernetes batch/v1, Istio
networking v1.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

NAMESPACE_DEFAULT: Final = "codebank"
SYNC_WAVE: Final = "argocd.argoproj.io/sync-wave"

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$", max_length=253)]


def _duration(text: object) -> object:
    """Istio's durations: a number and a unit, "10s", "250ms"."""
    if isinstance(text, str):
        for suffix, unit in (("ms", "milliseconds"), ("s", "seconds"), ("m", "minutes"), ("h", "hours")):
            number = text.removesuffix(suffix)
            if number != text and number.replace(".", "", 1).isdigit():
                return dt.timedelta(**{unit: float(number)})
    raise ValueError('a duration looks like "10s" or "250ms"')


Duration = Annotated[dt.timedelta, BeforeValidator(_duration)]


class Strict(BaseModel):
    """A part of a manifest: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Metadata(Strict):
    """metadata"""

    name: Name
    namespace: Name = NAMESPACE_DEFAULT
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class Resource(Strict):
    """Any document."""

    apiVersion: str
    kind: str
    metadata: Metadata

    @property
    def name(self) -> str:
        """metadata.name"""
        return self.metadata.name


# Containers: Kubernetes core/v1, as far as Knative and Jobs use it.


class SecretKeyRef(Strict):
    """One key of a Secret."""

    name: Name
    key: str


class ValueFrom(Strict):
    """Where an environment variable's value comes from."""

    secretKeyRef: SecretKeyRef


class EnvVar(Strict):
    """One environment variable."""

    name: str
    value: str | None = None
    valueFrom: ValueFrom | None = None

    @model_validator(mode="after")
    def _one_of(self) -> EnvVar:
        if (self.value is None) == (self.valueFrom is None):
            raise ValueError("an environment variable has either a value or a valueFrom")
        return self


class Port(Strict):
    """A container's port; its name says the protocol, as Knative defines it."""

    containerPort: int
    name: Literal["http1", "h2c"] = "http1"


class HttpGet(Strict):
    """An HTTP probe."""

    path: str
    port: int | None = None


class Grpc(Strict):
    """A gRPC health probe."""

    port: int | None = None
    service: str = ""


class TcpSocket(Strict):
    """A probe that only connects."""

    port: int | None = None


class Probe(Strict):
    """A readiness or liveness probe. One that names no action connects, as Knative has it."""

    httpGet: HttpGet | None = None
    grpc: Grpc | None = None
    tcpSocket: TcpSocket | None = None
    initialDelaySeconds: int = 0
    periodSeconds: int = 1
    timeoutSeconds: int = 1
    failureThreshold: int = 3
    successThreshold: int = 1


class VolumeMount(Strict):
    """Where a volume is seen."""

    name: Name
    mountPath: str
    readOnly: bool = False


class SecretVolume(Strict):
    """A Secret as files."""

    secretName: Name
    defaultMode: int | None = None


class Volume(Strict):
    """A folder given to containers."""

    name: Name
    secret: SecretVolume | None = None
    emptyDir: dict[str, Any] | None = None


class Container(Strict):
    """A container: what to run, in which environment."""

    name: Name | None = None
    image: str
    command: list[str] = Field(min_length=1)
    args: list[str] = []
    env: list[EnvVar] = []
    ports: list[Port] = Field(default=[], max_length=1)
    readinessProbe: Probe | None = None
    livenessProbe: Probe | None = None
    resources: dict[str, Any] = {}
    securityContext: dict[str, Any] = {}
    volumeMounts: list[VolumeMount] = []
    imagePullPolicy: str | None = None


# Knative Serving.


class RevisionSpec(Strict):
    """spec.template.spec of a Service."""

    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume] = []
    containerConcurrency: int = Field(default=0, ge=0, le=1000)
    timeoutSeconds: int = Field(default=300, ge=1, le=600)
    serviceAccountName: str | None = None
    automountServiceAccountToken: bool | None = None
    securityContext: dict[str, Any] = {}


class RevisionMetadata(Strict):
    """spec.template.metadata of a Service, with the autoscaling annotations."""

    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}


class RevisionTemplate(Strict):
    """spec.template of a Service."""

    metadata: RevisionMetadata = RevisionMetadata()
    spec: RevisionSpec


class ServiceSpec(Strict):
    """spec of a Service."""

    template: RevisionTemplate


class Service(Resource):
    """A Knative Service (ksvc)."""

    kind: Literal["Service"]
    spec: ServiceSpec

    @property
    def container(self) -> Container:
        """The one container."""
        return self.spec.template.spec.containers[0]

    @property
    def is_h2c(self) -> bool:
        """Whether it speaks HTTP/2 in plain text, as gRPC does."""
        return bool(self.container.ports) and self.container.ports[0].name == "h2c"

    def autoscaling(self, name: str, default: int) -> int:
        """An autoscaling.knative.dev annotation that is a number."""
        return int(self.spec.template.metadata.annotations.get(f"autoscaling.knative.dev/{name}", default))


# Jobs.


class PodSpec(Strict):
    """The pod of a Job: initContainers one after the other, then the container."""

    initContainers: list[Container] = []
    containers: list[Container] = Field(min_length=1, max_length=1)
    volumes: list[Volume] = []
    restartPolicy: Literal["Never", "OnFailure"]
    serviceAccountName: str | None = None
    automountServiceAccountToken: bool | None = None
    securityContext: dict[str, Any] = {}


class PodTemplate(Strict):
    """spec.template of a Job."""

    metadata: RevisionMetadata = RevisionMetadata()
    spec: PodSpec


class JobSpec(Strict):
    """spec of a Job."""

    template: PodTemplate
    backoffLimit: int = Field(default=6, ge=0)
    ttlSecondsAfterFinished: int | None = None
    activeDeadlineSeconds: int | None = None


class Job(Resource):
    """A Job: runs to its end before the services start, in the order of its sync wave."""

    kind: Literal["Job"]
    spec: JobSpec

    @property
    def wave(self) -> int:
        """Jobs of a lower wave end before those of a higher one start (Argo CD's annotation)."""
        return int(self.metadata.annotations.get(SYNC_WAVE, "0"))


# Eventing.


class Reference(Strict):
    """A reference to another resource."""

    apiVersion: str
    kind: str
    name: Name
    namespace: Name = NAMESPACE_DEFAULT


class Destination(Strict):
    """Where events are sent."""

    ref: Reference


class Delivery(Strict):
    """How a source delivers, and what becomes of what it can't deliver. DESIGN §4 wants all of it stated."""

    retry: int = Field(ge=0, le=100)
    backoffPolicy: Literal["exponential", "linear"]
    backoffDelay: dt.timedelta
    timeout: dt.timedelta
    deadLetterSink: Destination


class KafkaSourceSpec(Strict):
    """spec of a KafkaSource."""

    bootstrapServers: list[str] = Field(min_length=1)
    topics: list[str] = Field(min_length=1)
    consumerGroup: str
    consumers: int = Field(default=1, ge=1)
    initialOffset: Literal["earliest", "latest"]
    ordering: Literal["ordered", "unordered"]
    delivery: Delivery
    sink: Destination


class KafkaSource(Resource):
    """A consumer group that posts a topic's events to a sink."""

    kind: Literal["KafkaSource"]
    spec: KafkaSourceSpec


class KafkaSinkSpec(Strict):
    """spec of a KafkaSink."""

    topic: str
    bootstrapServers: list[str] = Field(min_length=1)
    contentMode: Literal["binary", "structured"] = "binary"


class KafkaSink(Resource):
    """An HTTP endpoint that appends the events it is posted to a topic."""

    kind: Literal["KafkaSink"]
    spec: KafkaSinkSpec


class KafkaTopicSpec(Strict):
    """spec of a KafkaTopic."""

    partitions: int = Field(ge=1, le=1000)
    replicas: int = Field(ge=1)
    config: dict[str, str | int | bool] = {}


class KafkaTopic(Resource):
    """A topic (Strimzi)."""

    kind: Literal["KafkaTopic"]
    spec: KafkaTopicSpec


class EventAttribute(Strict):
    """An attribute of an event type."""

    name: str
    required: bool = False
    value: str | None = None


class EventTypeSpec(Strict):
    """spec of an EventType."""

    description: str = ""
    reference: Reference
    attributes: list[EventAttribute] = Field(min_length=1)


class EventType(Resource):
    """A kind of event that there is, for who looks for one."""

    kind: Literal["EventType"]
    spec: EventTypeSpec


class CloudEventOverrides(Strict):
    """Extension attributes that the bound subject adds to its events."""

    extensions: dict[str, str] = {}


class SinkBindingSpec(Strict):
    """spec of a SinkBinding."""

    subject: Reference
    sink: Destination
    ceOverrides: CloudEventOverrides | None = None


class SinkBinding(Resource):
    """Gives its subject the address of a sink as K_SINK."""

    kind: Literal["SinkBinding"]
    spec: SinkBindingSpec


class PingSourceSpec(Strict):
    """spec of a PingSource."""

    schedule: str
    timezone: str = "UTC"
    contentType: str = "application/json"
    data: str = ""
    sink: Destination


class PingSource(Resource):
    """Posts an event to a sink at the times of a cron schedule."""

    kind: Literal["PingSource"]
    spec: PingSourceSpec


# Istio: the routes of the public address.


class GatewayPort(Strict):
    """A port that the gateway opens."""

    number: int
    name: str
    protocol: Literal["HTTP"]


class GatewayServer(Strict):
    """A port and the hosts it serves."""

    port: GatewayPort
    hosts: list[str] = Field(min_length=1)


class GatewaySpec(Strict):
    """spec of a Gateway."""

    selector: dict[str, str]
    servers: list[GatewayServer] = Field(min_length=1)


class Gateway(Resource):
    """The public address."""

    kind: Literal["Gateway"]
    spec: GatewaySpec


class StringMatch(Strict):
    """How a path must look: exactly, or at its start."""

    exact: str | None = None
    prefix: str | None = None

    @model_validator(mode="after")
    def _one_of(self) -> StringMatch:
        if (self.exact is None) == (self.prefix is None):
            raise ValueError("a match is either exact or a prefix")
        return self


class HttpMatch(Strict):
    """Which requests a route takes."""

    uri: StringMatch


class Rewrite(Strict):
    """What the gateway changes: the host by which Knative finds the service."""

    authority: str


class PortSelector(Strict):
    """A port by number."""

    number: int


class RouteHost(Strict):
    """Where the gateway sends: Knative's local gateway, which routes on by the host."""

    host: str
    port: PortSelector | None = None


class RouteDestination(Strict):
    """One destination."""

    destination: RouteHost


class HttpRetry(Strict):
    """Retries by the gateway."""

    attempts: int = Field(ge=0, le=10)
    perTryTimeout: Duration | None = None
    retryOn: Literal["connect-failure,refused-stream"]


class HttpRoute(Strict):
    """One route: the first that matches is taken."""

    name: str
    match: list[HttpMatch] = Field(min_length=1)
    rewrite: Rewrite
    route: list[RouteDestination] = Field(min_length=1, max_length=1)
    timeout: Duration
    retries: HttpRetry | None = None


class VirtualServiceSpec(Strict):
    """spec of a VirtualService."""

    hosts: list[str] = Field(min_length=1)
    gateways: list[str] = Field(min_length=1)
    http: list[HttpRoute] = Field(min_length=1)


class VirtualService(Resource):
    """The routes of the public address."""

    kind: Literal["VirtualService"]
    spec: VirtualServiceSpec


KINDS: Final[dict[tuple[str, str], type[Resource]]] = {
    ("serving.knative.dev/v1", "Service"): Service,
    ("batch/v1", "Job"): Job,
    ("sources.knative.dev/v1beta1", "KafkaSource"): KafkaSource,
    ("sources.knative.dev/v1", "PingSource"): PingSource,
    ("sources.knative.dev/v1", "SinkBinding"): SinkBinding,
    ("eventing.knative.dev/v1alpha1", "KafkaSink"): KafkaSink,
    ("eventing.knative.dev/v1beta3", "EventType"): EventType,
    ("kafka.strimzi.io/v1", "KafkaTopic"): KafkaTopic,
    ("networking.istio.io/v1", "Gateway"): Gateway,
    ("networking.istio.io/v1", "VirtualService"): VirtualService,
}
