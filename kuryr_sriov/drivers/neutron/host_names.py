# SPDX-License-Identifier: Apache-2.0
"""Neutron's names of Kubernetes' nodes: ``binding:host_id``. Pure.

An SR-IOV agent calls its host what its ``[DEFAULT] host`` says, by default
``gethostname()``; the kubelet has a name of its own. Only the controller needs
both: the node and its port objects go by that of Kubernetes.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg, types

from kuryr_sriov.config.options import Pairs, pairs_option
from kuryr_sriov.spelling import most_alike

_PLACES = {'{node}': '(.+)', '{short}': '[^.]+'}
_TEMPLATE = re.compile(r'[^{}]*(\{node\}|\{short\})[^{}]*')


@dataclass(frozen=True, slots=True)
class HostNames:
    """The host of each node.

    :param template: has ``{node}``, or ``{short}`` for the part of it before
        its first dot.
    :param exceptions: host by node, where the template is wrong.
    """

    template: str = '{node}'
    exceptions: Mapping[str, str] = field(default_factory=dict)

    def host_of(self, node: str) -> str:
        """Neutron's name of a node; empty for none."""
        if not node or node in self.exceptions:
            return self.exceptions.get(node, '')
        short = node.partition('.')[0]
        return self.template.format(node=node, short=short)

    def node_of(self, host: str) -> str:
        """The node of a host; empty where its name cannot be told."""
        for node, each in self.exceptions.items():
            if each == host:
                return node
        match = self._match(host)
        return match[1] if match and match.groups() else ''

    def find_strangers(self, hosts: Collection[str]) -> Iterator[str]:
        """What does not fit the hosts of the agents that Neutron knows.

        :param hosts: of SR-IOV agents; none where they are not known.
        """
        if not hosts:
            return
        for node, host in self.exceptions.items():
            if host not in hosts:
                yield (
                    f'[neutron] node_hosts: node {node} has host {host}, '
                    f'which no SR-IOV agent has; {suggest(host, hosts)}'
                )
        others = set(hosts) - set(self.exceptions.values())
        if others and not any(map(self._match, others)):
            yield (
                f'[neutron] host_template: {self.template} makes the name of '
                'no host that has an SR-IOV agent; '
                f'{suggest(self.template, others)}'
            )

    def find_hostless(
        self, nodes: Iterable[str], agents: Mapping[str, bool]
    ) -> Iterator[str]:
        """Nodes to which Neutron binds no port, each with what to do.

        :param nodes: that have VFs for pods.
        :param agents: by host, whether its SR-IOV agent is alive.
        """
        for node in sorted(nodes):
            host = self.host_of(node)
            if host not in agents:
                yield (
                    f'node {node} is host {host} in Neutron, which has no '
                    'SR-IOV agent, so that its pods get no VF; start '
                    'neutron-sriov-nic-agent there, or correct [neutron] '
                    'host_template or node_hosts: '
                    f'{suggest(host, agents)}'
                )
            elif not agents[host]:
                yield (
                    f'node {node} is host {host} in Neutron, whose SR-IOV '
                    'agent is down, so that its pods get no VF; see whether '
                    'neutron-sriov-nic-agent runs there, and what it logs'
                )

    def _match(self, host: str) -> re.Match[str] | None:
        """How the template may make a host's name; a group has the node."""
        form = re.escape(self.template)
        for place, pattern in _PLACES.items():
            form = form.replace(re.escape(place), pattern)
        return re.fullmatch(form, host)


def suggest(host: str, hosts: Collection[str]) -> str:
    """The hosts of agents that are most like one that has none."""
    return f'Neutron knows agents of {", ".join(most_alike(host, hosts))}'


class _Template(types.String):
    """A template; refused where it would give all nodes one host."""

    def __call__(self, value: Any) -> Any:
        text = super().__call__(value)
        if not _TEMPLATE.fullmatch(text):
            raise ValueError(f'{text!r} needs one of {{node}} and {{short}}')
        return text


class _Hosts(Pairs):
    """Hosts by node; refused where two nodes have one."""

    def __call__(self, value: Any) -> dict[str, Any]:
        pairs = super().__call__(value)
        nodes: dict[str, str] = {}
        for node, host in pairs.items():
            if host in nodes:
                raise ValueError(
                    f'nodes {nodes[host]!r} and {node!r} have one host, '
                    f'{host!r}'
                )
            nodes[host] = node
        return pairs


def _template_option() -> cfg.Opt:
    # a StrOpt, so that the documentation calls it one
    option = cfg.StrOpt(
        'host_template',
        default='{node}',
        help="Neutron's name of a node (the [DEFAULT] host of its SR-IOV "
        'agent): {node} stands for its name in Kubernetes, {short} for the '
        'part of that before its first dot. {node}.cloud.example.org for '
        'agents that have the domain in their names.',
    )
    option.type = _Template()
    return option


OPTIONS = (
    _template_option(),
    pairs_option(
        'node_hosts',
        "Neutron's names of single nodes, where host_template is wrong: "
        'NODE:HOST,NODE:HOST.',
        _Hosts(),
    ),
)
