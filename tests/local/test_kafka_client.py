"""How the variables say where Kafka is and who asks."""

from __future__ import annotations

import pytest

from functions.runtime.settings import SettingError
from local.log.kafka_client import KafkaAddress

SASL = {
    "KAFKA_BOOTSTRAP_SERVERS": "a:9092,b:9092",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
    "KAFKA_SASL_USERNAME": "codebank",
    "KAFKA_SASL_PASSWORD": "secret word",
    "KAFKA_SSL_CAFILE": "/ca.pem",
}


def test_without_an_address_there_is_no_kafka() -> None:
    assert KafkaAddress.of_environment({}) is None


def test_plain_by_default() -> None:
    address = KafkaAddress.of_environment({"KAFKA_BOOTSTRAP_SERVERS": "a:9092"})
    assert address
    assert address.options()["security_protocol"] == "PLAINTEXT"
    assert "sasl_mechanism" not in address.options()


def test_tls_and_password_reach_the_client_and_no_printout() -> None:
    address = KafkaAddress.of_environment(SASL)
    assert address
    options = address.options()
    assert options["bootstrap_servers"] == ["a:9092", "b:9092"]
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_SSL", "SCRAM-SHA-512")
    assert (options["sasl_plain_username"], options["sasl_plain_password"]) == ("codebank", "secret word")
    assert options["ssl_cafile"] == "/ca.pem"
    assert "secret word" not in repr(address)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"KAFKA_SECURITY_PROTOCOL": "TLS"}, "KAFKA_SECURITY_PROTOCOL"),
        ({"KAFKA_SASL_MECHANISM": "GSSAPI"}, "KAFKA_SASL_MECHANISM"),
        ({"KAFKA_SASL_PASSWORD": ""}, "KAFKA_SASL_PASSWORD"),
        ({"KAFKA_SASL_MECHANISM": ""}, "KAFKA_SASL_MECHANISM"),
    ],
)
def test_what_is_wrong_or_missing_is_named(changes: dict[str, str], named: str) -> None:
    with pytest.raises(SettingError, match=named):
        KafkaAddress.of_environment(SASL | changes)
