# SPDX-License-Identifier: Apache-2.0
"""What is written in the files of a node before its services start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import images

CONTAINERD = f"""\
version = 3
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = '{images.POD_IMAGE}'
[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ['/opt/cni/bin']
conf_dir = '/etc/cni/net.d'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = 'io.containerd.runc.v2'
"""

SOCKET = '/run/containerd/containerd.sock'

KUBELET = {
    'apiVersion': 'kubelet.config.k8s.io/v1beta1',
    'kind': 'KubeletConfiguration',
    'authentication': {
        'anonymous': {'enabled': True},
        'webhook': {'enabled': False},
    },
    'authorization': {'mode': 'AlwaysAllow'},
    'cgroupDriver': 'cgroupfs',
    'containerRuntimeEndpoint': f'unix://{SOCKET}',
    'enforceNodeAllocatable': [],
    'failSwapOn': False,
    # an emulated processor on a busy host takes its time
    'nodeStatusUpdateFrequency': '20s',
    'runtimeRequestTimeout': '15m',
    'staticPodPath': '/etc/kubernetes/manifests',
}

BRIDGE: Mapping[str, Any] = {
    'type': 'bridge',
    'bridge': 'cni0',
    'isGateway': True,
    'ipMasq': True,
    'ipMasqBackend': 'nftables',
    'ipam': {
        'type': 'host-local',
        'ranges': [[{'subnet': '10.22.0.0/24'}]],
        'routes': [{'dst': '0.0.0.0/0'}],
    },
}
"""What the cluster's first network would have installed."""

NETWORK = {'cniVersion': '1.0.0', 'name': 'primary'}

SERVICES = """\
table ip services {{
    chain local {{
        type nat hook output priority -100
        ip daddr 10.0.0.1 tcp dport 443 dnat to {address}
    }}
    chain pods {{
        type nat hook prerouting priority -100
        ip daddr 10.0.0.1 tcp dport 443 dnat to {address}
    }}
}}
"""
"""The one service that pods need, ``kubernetes``; no kube-proxy runs."""
