# SPDX-License-Identifier: Apache-2.0
"""Take this node out: no CNI configuration names the plugin afterwards.

The node daemon does so itself when its DaemonSet is deleted; this is for a
node where it could not. The daemon must not run here. Other networks of the
node stay as they are, at every moment.
"""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any

from kuryr_sriov import Attachment, Node, PermanentError, load_config
from kuryr_sriov_daemon.node import installation
from kuryr_sriov_daemon.node.conflist import Conflist
from kuryr_sriov_daemon.node.instance import Instance
from kuryr_sriov_daemon.options import register_daemon_options


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the subcommand."""
    parser.add_argument(
        '--config-file', action='append', metavar='FILE', help='kuryr.conf'
    )
    parser.add_argument(
        '--take-vfs',
        action='store_true',
        help='take the VFs from pods that still run; their interfaces vanish',
    )


def run(args: argparse.Namespace) -> int:
    """Do it; 1 where pods still have VFs."""
    conf = register_daemon_options(load_config(files=args.config_file))
    with Node(conf) as node:
        left = uninstall(conf, node, args.take_vfs)
    pods = sorted({str(record.sandbox.pod) for record in left})
    if args.json:
        print(json.dumps({'pods_with_vfs': pods}))
    elif pods:
        print(
            'New pods get no VFs here. These pods still have theirs: '
            f'{", ".join(pods)}. Drain the node and do this again, or take '
            'their VFs at once with --take-vfs.'
        )
    else:
        print('This node is as it was without kuryr-sriov.')
    return 1 if pods else 0


def uninstall(conf: Any, node: Node, take_vfs: bool) -> list[Attachment]:
    """Take the node out.

    The plugin itself goes last, once no pod has VFs: until then a runtime
    that remembers its configuration (CRI-O does) may call it for a DEL.

    :return: the attachments that are left; the plugin then is, too.
    :raises PermanentError: the daemon runs, and would undo it.
    """
    own = conf.sriov_node
    instance = Instance(Path(own.cni_socket))
    stopped = threading.Event()
    stopped.set()
    try:
        if not instance.wait(stopped):
            raise PermanentError(
                'the node daemon runs here and would put everything back; '
                'delete its DaemonSet, or keep it from this node'
            )
        Conflist(Path(own.cni_conf_dir)).remove()
        node.reconcile()
        if take_vfs:
            for record in node.attachments():
                node.detach(*record.key)
        left = list(node.attachments())
        if not left:
            installation.remove_plugin(Path(own.cni_bin_dir))
            Path(own.cni_socket).unlink(missing_ok=True)
        return left
    finally:
        instance.close()
