# SPDX-License-Identifier: Apache-2.0
"""One pod's whole story: from its annotation to its port.

What the API server, the kubelet, the ledger, the kernel and Neutron say of
it; the first thing that is wrong, and what to do, comes first. Nothing is
changed, and no daemon has to run. Run it on the pod's node, or in the node
daemon's container. The exit status is 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Iterable, Iterator
from typing import Any

from kuryr_sriov import model
from kuryr_sriov.clients.kubernetes.objects import Kubernetes
from kuryr_sriov.cmd import arguments, output
from kuryr_sriov.cmd.pod_story.chapters import (
    Chapter,
    Line,
    Story,
    Trouble,
    read_chapter,
)
from kuryr_sriov.cmd.pod_story.cluster_chapters import ClusterSide
from kuryr_sriov.cmd.pod_story.node_chapters import NodeSide
from kuryr_sriov.config import loading

WIDTH = 12
"""Of the column with the titles of the chapters."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    parser.add_argument('pod', metavar='[NAMESPACE/]NAME', type=_parse_name)
    arguments.add_arguments(parser)
    arguments.add_cluster_arguments(parser)


def _parse_name(text: str) -> tuple[str, str]:
    namespace, _, name = text.rpartition('/')
    if not name or '/' in namespace:
        raise argparse.ArgumentTypeError(f'{text!r} is not NAMESPACE/NAME')
    return namespace or 'default', name


def run(args: argparse.Namespace) -> int:
    """Tell it, and whether nothing is wrong."""
    conf = arguments.load_conf(args)
    session = arguments.connect(args)
    try:
        story = read_story(
            Kubernetes(session), arguments.make_host(args), conf, *args.pod
        )
    finally:
        session.close()
    if args.json:
        print(output.to_json(story))
    else:
        print(*story_lines(story), sep='\n')
    return 1 if story.troubles else 0


def read_story(
    kubernetes: Kubernetes, host: Any, conf: Any, namespace: str, name: str
) -> Story:
    """Ask all who know something of the pod."""
    cluster = ClusterSide(kubernetes, namespace, name)
    chapters = [
        read_chapter('Pod', cluster.read_pod),
        read_chapter('Networks', cluster.read_networks),
        read_chapter('Port object', cluster.read_port_object),
    ]
    pod = cluster.pod or model.Pod(namespace, name, '')
    node = NodeSide(host, conf, pod)
    ledger = read_chapter('Ledger', node.read_ledger)
    if node.records or pod.node in ('', *_names_of_this_node(conf)):
        chapters += [
            read_chapter('Kubelet', node.read_allocation),
            ledger,
            read_chapter('VFs', node.read_vfs),
        ]
    else:
        there = f'It is on {pod.node}. Run this there to see its VFs, too.'
        chapters.append(Chapter('Node', (there,)))
    vifs = [record.vif for record in node.records]
    if cluster.port is not None:
        # which port a promise is, is not known before its VF is there
        vifs = [vif for vif in cluster.port.reported_vifs if vif.id]
    if vifs and conf.sriov.vif_driver == 'neutron':
        chapters.append(
            read_chapter('Neutron', lambda: _read_neutron(conf, vifs))
        )
    chapters.append(read_chapter('Events', cluster.read_events))
    return Story(f'{namespace}/{name}', tuple(chapters))


def _names_of_this_node(conf: Any) -> Iterable[str]:
    return (
        conf.sriov.node_name,
        os.environ.get('NODE_NAME', ''),
        socket.gethostname(),
    )


def _read_neutron(conf: Any, vifs: Iterable[model.Vif]) -> Iterator[Line]:
    """What Neutron says of the pod's ports."""
    with arguments.needs_extra('controller'):
        from kuryr_sriov.clients import neutron
        from kuryr_sriov.drivers.neutron import NeutronVIFDriver
    section = loading.read_section(conf, NeutronVIFDriver)
    client = neutron.NeutronClient(section)
    try:
        for vif in vifs:
            port = client.get('ports', 'port', vif.id)
            profile = port.get('binding:profile') or {}
            yield (
                f'{vif.ifname}: {port["status"]} on host '
                f'{port.get("binding:host_id") or "none"}, '
                f'{port.get("binding:vif_type") or "binding not shown"}, VF '
                f'{profile.get("pci_slot", "none")}'
            )
            if port['status'] != 'ACTIVE':
                yield Trouble(
                    f'Neutron has port {vif.id} of {vif.ifname} as '
                    f'{port["status"]}.',
                    'See whether neutron-sriov-nic-agent runs on that host, '
                    'and has the PF in its physical_device_mappings.',
                )
    finally:
        client.close()


def story_lines(story: Story) -> Iterator[str]:
    """The verdict, then chapter by chapter."""
    yield from _verdict_lines(story)
    for chapter in story.chapters:
        title = chapter.title
        unread = f'not known: {chapter.unread}' if chapter.unread else ''
        for line in filter(None, (*chapter.facts, unread)):
            yield from _indent_text(title, line)
            title = ''
        for trouble in chapter.troubles:
            yield from _indent_text(title, f'!! {trouble.message}')
            title = ''
            if trouble.remedy:
                yield from _indent_text('', f'-> {trouble.remedy}')


def _verdict_lines(story: Story) -> Iterator[str]:
    if story.troubles:
        first, *others = story.troubles
        yield from output.wrap_text(f'Pod {story.pod}: {first.message}')
        if first.remedy:
            yield from output.wrap_text(first.remedy, '-> ', '   ')
        if others:
            yield f'What else is wrong, {len(others)}, may follow from that.'
    elif any(chapter.unread for chapter in story.chapters):
        yield f'Pod {story.pod}: nothing is known to be wrong, but not all'
        yield 'could be read.'
    else:
        yield f'Pod {story.pod}: nothing is wrong.'
    yield ''


def _indent_text(title: str, text: str) -> list[str]:
    return output.wrap_text(text, f'{title:{WIDTH}}', ' ' * (WIDTH + 3))
