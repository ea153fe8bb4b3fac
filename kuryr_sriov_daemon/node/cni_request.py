# SPDX-License-Identifier: Apache-2.0
"""What a container runtime asks: CNI's variables and configuration, checked.

CNI specification 1.1.0, "Section 2: Execution Protocol".
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

VERSIONS = '0.3.1', '0.4.0', '1.0.0', '1.1.0'
NEWEST = VERSIONS[-1]

INCOMPATIBLE, ENVIRONMENT, CONTENT, CONFIG = 1, 4, 6, 7
"""Error codes of CNI."""

VALID_ATTACHMENTS = 'cni.dev/valid-attachments'

_NEEDED: Mapping[str, Collection[str]] = {
    'ADD': ('CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'),
    'CHECK': ('CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'),
    'DEL': ('CNI_CONTAINERID', 'CNI_IFNAME'),
    'GC': (),
    'STATUS': (),
}
"""Variables without which a command means nothing."""

_HEADERS = {
    'CNI_CONTAINERID': 'X-CNI-ContainerID',
    'CNI_NETNS': 'X-CNI-Netns',
    'CNI_IFNAME': 'X-CNI-IfName',
    'CNI_ARGS': 'X-CNI-Args',
}
_CONTAINER_ID = re.compile('[a-zA-Z0-9][a-zA-Z0-9_.-]*')
_IFNAME = re.compile(r'(?!\.{1,2}$)[^\s/:\x00-\x1f]{1,15}')


class CniError(Exception):
    """A request that cannot be served.

    :param code: as CNI numbers errors.
    :param version: ``cniVersion`` of the request, as far as it is known.
    """

    def __init__(self, code: int, message: str, version: str = NEWEST) -> None:
        super().__init__(message)
        self.code = code
        self.version = version


@dataclass(frozen=True, slots=True)
class CniRequest:
    """One request.

    :param netns: a path; empty where the sandbox is gone (DEL).
    :param pod_uid: empty where the runtime does not tell.
    :param config: the plugin's network configuration.
    """

    command: str
    version: str = NEWEST
    container_id: str = ''
    netns: str = ''
    ifname: str = ''
    pod_namespace: str = ''
    pod_name: str = ''
    pod_uid: str = ''
    config: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        pod = f' of pod {self.pod_namespace}/{self.pod_name}'
        return (
            f'CNI {self.command} {self.container_id} {self.ifname}'
            f'{pod if self.pod_name else ""}'
        ).rstrip()

    @property
    def previous(self) -> Mapping[str, Any] | None:
        """``prevResult``: what the plugins before this one have made."""
        found = self.config.get('prevResult')
        return found if isinstance(found, dict) else None

    @property
    def runtime_config(self) -> Mapping[str, Any]:
        """``runtimeConfig``: what the runtime passes to capabilities."""
        found = self.config.get('runtimeConfig')
        return found if isinstance(found, dict) else {}

    @property
    def device_id(self) -> str:
        """The VF that Multus has chosen; empty where it has not."""
        for found in (
            self.config.get('deviceID'),
            self.runtime_config.get('deviceID'),
            self.config.get('pciBusID'),
        ):
            if isinstance(found, str) and found:
                return found
        return ''


def read_request(headers: Mapping[str, str], body: bytes) -> CniRequest:
    """The request that the CNI plugin has handed on.

    :param headers: CNI's variables, as the plugin writes them.
    :param body: the network configuration.
    :raises CniError: with the code that CNI has for what is wrong.
    """
    config = _read_config(body)
    version = config.get('cniVersion', '0.1.0')  # CNI's default, long gone
    if version not in VERSIONS:
        raise CniError(
            INCOMPATIBLE,
            f'cniVersion {version!r} is not supported; write one of '
            f'{", ".join(VERSIONS)} in the network configuration',
        )
    try:
        return _check_variables(headers, config, version)
    except CniError as error:
        error.version = version
        raise


def valid_container_ids(config: Mapping[str, Any]) -> frozenset[str] | None:
    """The sandboxes that GC is to keep; None where the runtime does not say.

    :raises CniError: they have another form than CNI 1.1.0 gives them.
    """
    if VALID_ATTACHMENTS not in config:
        return None
    found = config[VALID_ATTACHMENTS]
    items = found if isinstance(found, list) else [None]
    ids = [
        item.get('containerID') if isinstance(item, dict) else None
        for item in items
    ]
    if not all(isinstance(each, str) and each for each in ids):
        raise CniError(
            CONFIG,
            f'{VALID_ATTACHMENTS} is not a list of objects with containerID '
            'and ifname; nothing was deleted',
        )
    return frozenset(str(each) for each in ids)


def _read_config(body: bytes) -> Mapping[str, Any]:
    try:
        config = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise CniError(
            CONTENT, f'the network configuration is no JSON: {error}'
        ) from error
    if not isinstance(config, dict):
        raise CniError(CONTENT, 'the network configuration is no JSON object')
    return config


def _check_variables(
    headers: Mapping[str, str], config: Mapping[str, Any], version: str
) -> CniRequest:
    command = headers.get('X-CNI-Command', '')
    if command not in _NEEDED:
        raise CniError(
            ENVIRONMENT,
            f'CNI_COMMAND is {command!r}; this plugin knows '
            f'{", ".join(_NEEDED)} and VERSION',
        )
    values = {
        name: headers.get(header, '') for name, header in _HEADERS.items()
    }
    missing = [name for name in _NEEDED[command] if not values[name]]
    if missing:
        raise CniError(
            ENVIRONMENT, f'{command} needs {", ".join(missing)}; not set'
        )
    _check_form('CNI_CONTAINERID', values, _CONTAINER_ID)
    _check_form('CNI_IFNAME', values, _IFNAME)
    args = _read_args(values['CNI_ARGS'])
    if command == 'ADD' and not args.get('K8S_POD_NAME'):
        raise CniError(
            ENVIRONMENT,
            'CNI_ARGS has no K8S_POD_NAMESPACE and K8S_POD_NAME; only pods '
            'of Kubernetes get VFs',
        )
    return CniRequest(
        command=command,
        version=version,
        container_id=values['CNI_CONTAINERID'],
        netns=values['CNI_NETNS'],
        ifname=values['CNI_IFNAME'],
        pod_namespace=args.get('K8S_POD_NAMESPACE', ''),
        pod_name=args.get('K8S_POD_NAME', ''),
        pod_uid=args.get('K8S_POD_UID', ''),
        config=config,
    )


def _check_form(
    name: str, values: Mapping[str, str], form: re.Pattern[str]
) -> None:
    value = values[name]
    if value and not form.fullmatch(value):
        raise CniError(ENVIRONMENT, f'{name} {value!r} is not a valid one')


def _read_args(text: str) -> Mapping[str, str]:
    """``KEY=VALUE`` pairs; what has another form is not ours."""
    pairs = (part.partition('=') for part in text.split(';'))
    return {key: value for key, equals, value in pairs if equals}
