# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov demo``: the how-to, on a simulated node."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kuryr_sriov import codec, model
from kuryr_sriov.cmd.demo import (
    howto_files,
    mortal_process,
    narrative,
    shared_kernel,
)
from kuryr_sriov.controller import Controller
from kuryr_sriov.node import Node
from kuryr_sriov.npwg import requests, status
from kuryr_sriov.testing.simulation.kubelet import Kubelet
from kuryr_sriov.testing.simulation.simulated_node import (
    FunctionState,
    SimulatedNode,
)

NETNS = '/run/netns/cni-5d1c8a9e'
CONTAINER_ID = 'b1946ac92492d2347c6235b4d2611184'


STEPS = (
    'allocate',
    'pair',
    'lock',
    'reclaim',
    'record',
    'connect',
    'report',
    'confirm',
    'confirmed',
    'restore',
    'forget',
)
"""Where it can be killed: the steps of an attach, then of a detach."""


def parse_kill_point(text: str) -> tuple[str, int]:
    """``STEP`` or ``STEP+CHANGES``.

    :raises ArgumentTypeError: it is neither.
    """
    step, _, changes = text.partition('+')
    if step not in STEPS or not (changes or '0').isdecimal():
        raise argparse.ArgumentTypeError(
            f'{text!r} is not STEP or STEP+N; steps: {", ".join(STEPS)}'
        )
    return step, int(changes or 0)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    parser.add_argument(
        '--files',
        type=Path,
        default=howto_files.default_folder(),
        metavar='FOLDER',
        help="the how-to's files (default: %(default)s)",
    )
    parser.add_argument(
        '--cloud',
        metavar='NAME',
        help='take the ports from the Neutron of this cloud in clouds.yaml',
    )
    parser.add_argument(
        '--node',
        default=howto_files.NODE,
        metavar='HOST',
        help='with --cloud: a host that runs an SR-IOV agent',
    )
    parser.add_argument(
        '--subnets',
        default='vlan-sriov-subnet-1,vlan-sriov-subnet-2',
        metavar='NAMES',
        help="with --cloud: names or ids of the two networks' subnets "
        '(default: %(default)s)',
    )
    parser.add_argument(
        '--kill-at',
        type=parse_kill_point,
        metavar='STEP[+N]',
        help='kill the attaching process when STEP begins, or N changes to '
        f'the node later, and recover; one of {", ".join(STEPS)}',
    )


def run(args: argparse.Namespace) -> int:
    """Play it; 0 if everything was given back."""
    with tempfile.TemporaryDirectory(prefix='kuryr-sriov-') as scratch:
        files = howto_files.read_howto(args.files, args.node)
        folder = Path(scratch)
        if args.cloud:
            from kuryr_sriov.cmd.demo import cloud_networks

            found = cloud_networks.read_cloud(
                args.cloud, args.subnets.split(','), folder
            )
            report = play_howto(
                found.adapted(files), folder, args.kill_at, found.conf
            )
        else:
            report = play_howto(files, folder, args.kill_at)
    if args.json:
        print(json.dumps(report, indent=2))
    else:
        print(*narrative.report_lines(report), sep='\n')
    return 0 if all(report['given_back'].values()) else 1


def play_howto(
    files: howto_files.HowTo,
    scratch: Path,
    kill_at: tuple[str, int] | None,
    *more: Path,
) -> dict[str, Any]:
    """The whole how-to; the report of it, as ``--json`` prints it."""
    (scratch / 'kube').mkdir()
    conf = files.conf(scratch, *more)
    with contextlib.ExitStack() as stack:
        simulated = SimulatedNode(scratch / 'node', files.pfs())
        stack.callback(simulated.close)
        kubelet = stack.enter_context(Kubelet(scratch / 'kube'))
        _offer_devices(files, conf, simulated, kubelet)
        published: dict[model.Pod, Sequence[model.Vif]] = {}
        controller = Controller(conf, files.get_nad, published.__setitem__)
        before = simulated.state()

        pod = requests.pod_of(files.pod)
        stack.callback(controller.release, pod)  # whatever happens
        vifs = controller.request(files.pod)
        kubelet.allocate(pod.namespace, pod.name, pod.uid, files.requests())
        sandbox = model.Sandbox(CONTAINER_ID, simulated.add_netns(NETNS), pod)
        report: dict[str, Any] = {
            'pod': str(pod),
            'requested': _requested_networks(files),
            'promised': codec.to_builtins(vifs),
        }
        node = stack.enter_context(Node(conf, host=simulated.host))
        if kill_at:
            server = stack.enter_context(
                shared_kernel.KernelServer(simulated.host.call)
            )
            task = mortal_process.Task(
                server.address,
                tuple(map(str, conf.config_file)),
                (
                    ('attach', (sandbox, tuple(vifs))),
                    ('detach', (sandbox.container_id,)),
                ),
                *kill_at,
            )
            report['killed'] = _kill_and_reconcile(
                task, simulated, node, before
            )
            # What was complete when the process died is the runtime's to end.
            node.detach(sandbox.container_id)
            report['killed']['recovered'] = simulated.state() == before
        attached = node.attach(sandbox, vifs)
        active = [
            controller.activate(pod, a.vif, a.location) for a in attached
        ]
        node.check(sandbox.container_id)
        report |= _describe_wiring(attached, active, simulated.state())

        node.detach(sandbox.container_id)
        controller.release(pod)
        report['given_back'] = {
            'node': simulated.state() == before,
            'ledger': not node.ledger.all(),
            'addresses': not list(controller.vifs.list_vifs()),
        }
    return report


def _offer_devices(
    files: howto_files.HowTo,
    conf: Any,
    simulated: SimulatedNode,
    kubelet: Kubelet,
) -> None:
    """What the device plugin does with its file."""
    for name, pfs in files.pools.items():
        kubelet.plug(
            f'{conf.sriov.device_plugin_resource_prefix}/{name}',
            [pci for pf in pfs for pci in simulated.vfs(pf)],
        )


def _requested_networks(files: howto_files.HowTo) -> list[dict[str, str]]:
    return [
        {
            'network': f'{entry.namespace}/{entry.name}',
            'interface': entry.ifname,
        }
        for entry in requests.entries_of(files.pod)
    ]


def _kill_and_reconcile(
    task: mortal_process.Task,
    simulated: SimulatedNode,
    node: Node,
    before: Mapping[str, FunctionState],
) -> dict[str, Any]:
    """Let a process die, then do what a daemon does when it starts."""
    mortal_process.run_until_killed(task)
    left = {
        'step': task.point,
        'changes': task.changes,
        'changed': narrative.describe_changes(before, simulated.state()),
        'on_record': [
            {'interface': record.vif.ifname, 'pci': record.pci}
            for record in node.ledger.all()
        ],
    }
    node.reconcile()
    return left


def _describe_wiring(
    attached: Sequence[model.AttachedVif],
    active: Sequence[model.Vif],
    state: Mapping[str, FunctionState],
) -> dict[str, Any]:
    bound = []
    for item, vif in zip(attached, active, strict=True):
        info = item.device_info
        vf = state[info.pci]
        bound.append(
            {
                'interface': vif.ifname,
                'pci': info.pci,
                'pf': info.pf_pci,
                'binding_driver': item.driver,
                'kernel_driver': vf.driver,
                'netns': vf.netns,
                'device_nodes': list(info.device_nodes),
                'settings': dataclasses.asdict(vf.settings)
                if vf.settings
                else None,
                'active': vif.active,
            }
        )
    return {
        'bound': bound,
        'network_status': status.network_status(attached),
        'device_info': {
            item.vif.ifname: status.device_info(item.device_info)
            for item in attached
        },
    }
