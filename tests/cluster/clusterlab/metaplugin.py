# SPDX-License-Identifier: Apache-2.0
"""A CNI plugin that calls others as Multus calls its delegates.

The real one is in no package index. This one follows its documentation: the
networks of the pod's annotation in their order, after the cluster's own
network; the ``spec.config`` of each NetworkAttachmentDefinition, to which
``deviceID`` and ``pciBusID`` are added where the annotation ``resourceName``
names a resource, with what the kubelet has allocated of it; ``runtimeConfig``
for the capability ``CNIDeviceInfoFile``; DEL in reverse order, with what ADD
had kept, going on past errors; and the annotation ``network-status``.
"""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import ssl
import subprocess
import sys
import urllib.request
from typing import Any

KEPT = pathlib.Path('/var/lib/cni/metaplugin')
DEVICE_INFORMATION = '/var/run/k8s.cni.cncf.io/devinfo/cni'
CHECKPOINT = pathlib.Path(
    '/var/lib/kubelet/device-plugins/kubelet_internal_checkpoint'
)
PREFIX = 'k8s.v1.cni.cncf.io'


class Failed(Exception):
    """A plugin failed; has its error object."""


class Api:
    """The little that is asked of the API server.

    :param known: its URL, a token, and the file of its certificate.
    """

    def __init__(self, known: dict[str, str]) -> None:
        self._known = known

    def call(self, path: str, method: str = 'GET', body: Any = None) -> Any:
        request = urllib.request.Request(
            self._known['server'] + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                'Authorization': f'Bearer {self._known["token"]}',
                'Content-Type': 'application/merge-patch+json',
            },
        )
        context = ssl.create_default_context(cafile=self._known['ca'])
        with urllib.request.urlopen(
            request, timeout=60, context=context
        ) as answer:
            return json.load(answer)


def call_plugin(config: dict[str, Any], ifname: str) -> Any:
    """What a plugin answers, as a runtime asks it.

    :raises Failed: it failed.
    """
    folders = os.environ['CNI_PATH'].split(os.pathsep)
    paths = [pathlib.Path(each, config['type']) for each in folders]
    done = subprocess.run(
        [next(path for path in paths if path.exists())],
        env=os.environ | {'CNI_IFNAME': ifname},
        input=json.dumps(config).encode(),
        stdout=subprocess.PIPE,
        check=False,
    )
    answer = json.loads(done.stdout) if done.stdout.strip() else None
    if done.returncode:
        raise Failed(answer)
    return answer


def allocated(uid: str, resource: str) -> list[str]:
    """The devices of a resource that the kubelet has given to a pod."""
    data = json.loads(CHECKPOINT.read_text())['Data']
    return [
        device
        for entry in data['PodDeviceEntries']
        if (entry['PodUID'], entry['ResourceName']) == (uid, resource)
        for devices in entry['DeviceIDs'].values()
        for device in devices
    ]


def read_networks(
    api: Api, args: dict[str, str]
) -> list[tuple[str, dict[str, Any]]]:
    """Interface and configuration for each network of the pod."""
    namespace, name = args['K8S_POD_NAMESPACE'], args['K8S_POD_NAME']
    pod = api.call(f'/api/v1/namespaces/{namespace}/pods/{name}')
    text = pod['metadata'].get('annotations', {}).get(f'{PREFIX}/networks', '')
    found, used = [], set()
    for number, word in enumerate(filter(None, text.split(',')), start=1):
        place = f'/apis/k8s.cni.cncf.io/v1/namespaces/{namespace}'
        nad = api.call(f'{place}/network-attachment-definitions/{word}')
        config = json.loads(nad['spec']['config'])
        notes = nad['metadata'].get('annotations', {})
        if resource := notes.get(f'{PREFIX}/resourceName'):
            devices = allocated(args['K8S_POD_UID'], resource)
            pci = next(each for each in devices if each not in used)
            used.add(pci)
            config |= {'deviceID': pci, 'pciBusID': pci}
        ifname = f'net{number}'
        if config.get('capabilities', {}).get('CNIDeviceInfoFile'):
            file = f'{DEVICE_INFORMATION}/{namespace}-{name}-{ifname}'
            config['runtimeConfig'] = {'CNIDeviceInfoFile': file}
        found.append((ifname, config))
    return found


def add(own: dict[str, Any], kept: pathlib.Path) -> Any:
    """All networks or none; the answer is that of the cluster's own."""
    args = dict(
        word.partition('=')[::2] for word in os.environ['CNI_ARGS'].split(';')
    )
    api = Api(own['api'])
    eth0 = os.environ['CNI_IFNAME']
    todo = [(eth0, own['clusterNetwork']), *read_networks(api, args)]
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps(todo))
    answers, status = [], []
    try:
        for ifname, config in todo:
            answer = call_plugin(config, ifname)
            answers.append(answer)
            status.append(
                {
                    'name': config['name'],
                    'interface': ifname,
                    'default': ifname == eth0,
                    'ips': [
                        each['address'].partition('/')[0]
                        for each in answer.get('ips', ())
                    ],
                    'mac': answer['interfaces'][-1].get('mac'),
                }
            )
    except Failed:
        with contextlib.suppress(Failed):
            delete(kept)
        raise
    notes = {f'{PREFIX}/network-status': json.dumps(status)}
    path = f'/api/v1/namespaces/{args["K8S_POD_NAMESPACE"]}/pods/'
    body = {'metadata': {'annotations': notes}}
    api.call(path + args['K8S_POD_NAME'], 'PATCH', body)
    return answers[0]


def delete(kept: pathlib.Path) -> None:
    """Of all networks; the cluster's own alone may fail."""
    if not kept.exists():
        return
    own, *others = json.loads(kept.read_text())
    for ifname, config in reversed(others):
        with contextlib.suppress(Failed):
            call_plugin(config, ifname)
    call_plugin(own[1], own[0])
    kept.unlink()


def main() -> int:
    """One call of the container runtime."""
    own = json.load(sys.stdin)
    command = os.environ['CNI_COMMAND']
    kept = KEPT / os.environ.get('CNI_CONTAINERID', '')
    try:
        if command == 'ADD':
            print(json.dumps(add(own, kept)))
        elif command == 'DEL':
            delete(kept)
        elif command == 'VERSION':
            versions = ['0.4.0', '1.0.0']
            answer = {'cniVersion': '1.0.0', 'supportedVersions': versions}
            print(json.dumps(answer))
    except Failed as error:
        print(json.dumps(error.args[0]))
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
