# SPDX-License-Identifier: Apache-2.0
"""What the subcommands that look at this node have in common."""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from kuryr_sriov import exceptions
from kuryr_sriov.config import loading

if TYPE_CHECKING:
    from kuryr_sriov.clients.kubernetes.session import KubernetesSession
    from kuryr_sriov.host.linux import NodeHost


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where kuryr.conf and the node are."""
    parser.add_argument(
        '--config-file',
        action='append',
        metavar='FILE',
        help='read this instead of kuryr.conf and kuryr-sriov.conf where '
        'oslo.config looks for them, such as /etc/kuryr; may be repeated',
    )
    parser.add_argument(
        '--root',
        default='/',
        metavar='FOLDER',
        help="where the node's sys and proc are, as in a container that "
        'mounts them elsewhere (default: %(default)s); interfaces are those '
        "of this process's own network namespace",
    )


def add_cluster_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the API server is, and how it knows us."""
    parser.add_argument(
        '--kubeconfig',
        default='',
        metavar='FILE',
        help='credentials for the API server; by default those of the '
        'service account, or of the file that KUBECONFIG names',
    )
    parser.add_argument(
        '--api-root',
        default='',
        metavar='URL',
        help='of an API server that needs none, such as "kubectl proxy"',
    )


def connect(args: argparse.Namespace) -> KubernetesSession:
    """A session with the API server that the arguments name.

    :raises ConfigurationError: there are no credentials.
    """
    from kuryr_sriov.clients.kubernetes import session

    return session.KubernetesSession(args.api_root, args.kubeconfig)


def load_conf(args: argparse.Namespace) -> Any:
    """The configuration that the arguments name, not yet validated.

    :raises ConfigurationError: a file cannot be read or parsed.
    """
    return loading.load_config(files=args.config_file)


def make_host(args: argparse.Namespace) -> NodeHost:
    """The node that the arguments name.

    :raises PluginError: what only nodes need is not installed.
    """
    with needs_extra('node'):
        from kuryr_sriov.host import linux
    return linux.NodeHost(args.root)


@contextlib.contextmanager
def needs_extra(name: str) -> Iterator[None]:
    """Guard an import of what an extra of this distribution brings.

    :raises PluginError: it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise exceptions.PluginError(
            f"{error}; pip install 'kuryr-sriov[{name}]'"
        ) from error
