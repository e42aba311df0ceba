"""What the manifests' names mean on this machine: hosts become addresses, secrets become values and files."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Final

from local.kinds import Container, Volume
from local.secret import SecretStore

CLUSTER_HOST: Final = re.compile(r"\b([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local(?::\d+)?")
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""What a container is given of the terminal's environment: no more than a program needs to start."""


def base_environment() -> dict[str, str]:
    """The environment that every process begins with."""
    inherited = {name: os.environ[name] for name in INHERITED if name in os.environ}
    return inherited | {"TZ": "UTC", "PYTHONUNBUFFERED": "1"}


def container_environment(
    container: Container, volumes: list[Volume], secrets: SecretStore, addresses: Mapping[str, str]
) -> dict[str, str]:
    """The environment of a container, as its manifest states it.

    addresses gives host:port for the cluster hosts that have one here, as name.namespace. A value that begins with the
    path of a mounted Secret is turned to the folder that holds it.
    """
    mounts = {
        mount.mountPath: str(secrets.path(volume.secret.secretName))
        for mount in container.volumeMounts
        for volume in volumes
        if volume.name == mount.name and volume.secret is not None
    }
    environment = base_environment()
    for variable in container.env:
        if variable.valueFrom is not None:
            reference = variable.valueFrom.secretKeyRef
            environment[variable.name] = secrets.read(reference.name, reference.key)
        else:
            environment[variable.name] = _translated(variable.value or "", mounts, addresses)
    return environment


def _translated(value: str, mounts: Mapping[str, str], addresses: Mapping[str, str]) -> str:
    for mount_path, folder in mounts.items():
        if value == mount_path or value.startswith(mount_path + "/"):
            return folder + value[len(mount_path) :]
    return CLUSTER_HOST.sub(lambda host: addresses.get(f"{host[1]}.{host[2]}", host[0]), value)
