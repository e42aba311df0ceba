"""How clients reach Kafka: KAFKA_BOOTSTRAP_SERVERS and, where it asks for them, TLS and a password.

| variable | meaning |
|---|---|
| KAFKA_BOOTSTRAP_SERVERS | host:port,host:port |
| KAFKA_SECURITY_PROTOCOL | PLAINTEXT (default), SSL, SASL_PLAINTEXT or SASL_SSL |
| KAFKA_SASL_MECHANISM | PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 |
| KAFKA_SASL_USERNAME, KAFKA_SASL_PASSWORD | who |
| KAFKA_SSL_CAFILE | the certificates that sign the brokers' (PEM); the machine's own where it is not set |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from functions.domain.secret import Secret
from functions.runtime.settings import SettingError

PROTOCOLS: Final = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS: Final = ("PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512")
RECONNECT_MILLISECONDS_MAX: Final = 1000
BOOTSTRAP_MILLISECONDS_MAX: Final = 10_000


@dataclass(frozen=True)
class KafkaAddress:
    """Where a Kafka is, and how it lets clients in."""

    bootstrap_servers: tuple[str, ...]
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str | None = None
    username: str | None = None
    password: Secret | None = field(default=None)
    ca_file: str | None = None

    @classmethod
    def of_environment(cls, environment: Mapping[str, str] = os.environ) -> KafkaAddress | None:
        """What the variables say; None where KAFKA_BOOTSTRAP_SERVERS is not set. Raises SettingError."""
        servers = environment.get("KAFKA_BOOTSTRAP_SERVERS", "")
        if not servers:
            return None
        protocol = _one_of(environment, "KAFKA_SECURITY_PROTOCOL", PROTOCOLS) or "PLAINTEXT"
        mechanism = _one_of(environment, "KAFKA_SASL_MECHANISM", MECHANISMS)
        username, password = environment.get("KAFKA_SASL_USERNAME"), environment.get("KAFKA_SASL_PASSWORD")
        if protocol.startswith("SASL") and not (mechanism and username and password):
            wanted = "KAFKA_SASL_MECHANISM, KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD"
            raise SettingError(f"KAFKA_SECURITY_PROTOCOL is {protocol}: {wanted} are needed")
        secret = Secret(password) if password else None
        ca_file = environment.get("KAFKA_SSL_CAFILE") or None
        return cls(tuple(servers.split(",")), protocol, mechanism, username, secret, ca_file)

    def options(self) -> dict[str, Any]:
        """The options that every kind of client takes."""
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.bootstrap_servers),
            "security_protocol": self.security_protocol,
            "ssl_cafile": self.ca_file,
            "reconnect_backoff_max_ms": RECONNECT_MILLISECONDS_MAX,
            "bootstrap_timeout_ms": BOOTSTRAP_MILLISECONDS_MAX,
        }
        if self.security_protocol.startswith("SASL"):
            options["sasl_mechanism"] = self.sasl_mechanism
            options["sasl_plain_username"] = self.username
            options["sasl_plain_password"] = self.password.reveal() if self.password else None
        return options


def _one_of(environment: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str | None:
    value = environment.get(name)
    if value and value not in allowed:
        raise SettingError(f"{name} must be one of {', '.join(allowed)}, not {value!r}")
    return value or None
