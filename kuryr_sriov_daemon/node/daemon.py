# SPDX-License-Identifier: Apache-2.0
"""``kuryr-sriov-node``: one process on each node, between runtime and VFs."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kuryr_sriov import (
    Kubernetes,
    KubernetesSession,
    Node,
)
from kuryr_sriov_daemon.health import HealthServer
from kuryr_sriov_daemon.node import installation
from kuryr_sriov_daemon.node.cni_commands import CniCommands
from kuryr_sriov_daemon.node.cni_server import CniServer
from kuryr_sriov_daemon.node.conflist import Conflist
from kuryr_sriov_daemon.node.daemonset import DaemonSet
from kuryr_sriov_daemon.node.deadlines import read_limits
from kuryr_sriov_daemon.node.drift_watch import DriftWatch
from kuryr_sriov_daemon.node.instance import Instance
from kuryr_sriov_daemon.node.node_metrics import NodeMetrics
from kuryr_sriov_daemon.node.node_view import NodeView
from kuryr_sriov_daemon.node.port_questions import PortQuestions
from kuryr_sriov_daemon.node.reports import StatusReports
from kuryr_sriov_daemon.node.upkeep import Upkeep
from kuryr_sriov_daemon.node.vf_changes import VfChanges
from kuryr_sriov_daemon.podevents import PodEvents
from kuryr_sriov_daemon.process import run_daemon

LOG = logging.getLogger(__name__)

NAME = 'kuryr-sriov-node'


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this process is, from its environment (the downward API).

    :param node: the node's name in Kubernetes.
    :param namespace: of the pod that this is; empty outside of one.
    :param daemonset: that the pod belongs to; empty for none.
    """

    node: str
    namespace: str = ''
    daemonset: str = ''


def read_identity(environment: Mapping[str, str], conf: Any) -> Identity:
    """The identity that a manifest gives."""
    return Identity(
        node=environment.get('NODE_NAME')
        or conf.sriov.node_name
        or os.uname().nodename,
        namespace=environment.get('POD_NAMESPACE', ''),
        daemonset=environment.get('DAEMONSET_NAME', ''),
    )


class NodeDaemon:
    """Everything of one node.

    :param conf: from ``load_config``, with the options of ``node_options``.
    :param options: for ``Node``: a simulated host, in tests.
    :raises ConfigurationError: listing every mistake in kuryr.conf.
    """

    def __init__(
        self,
        conf: Any,
        kubernetes: Kubernetes,
        identity: Identity,
        **options: Any,
    ) -> None:
        own, limits = conf.sriov_node, read_limits(conf)
        self._own = own
        self._stopping = threading.Event()
        self._metrics = NodeMetrics()
        self._instance = Instance(Path(own.cni_socket))
        self._view = NodeView(kubernetes, identity.node)
        questions = PortQuestions(kubernetes, self._view, limits.vifs)
        self._node = Node(
            conf,
            observe=self._metrics.observe,
            ask_port=questions.ask,
            **options,
        )
        self._events = PodEvents(kubernetes.session, NAME, identity.node)
        self._reports = StatusReports(
            self._node, self._view, kubernetes, own.way == 'chained'
        )
        drift_watch = DriftWatch(self._node, own.settle_time)
        self._vf_changes = VfChanges(
            self._node, self._view, self._events.tell, own.check_interval
        )
        self._upkeep = Upkeep(
            self._node,
            drift_watch,
            self._view,
            self._reports,
            self._events.tell,
            own.reconcile_interval,
            own.check_interval,
        )
        self._commands = CniCommands(
            self._node,
            drift_watch,
            self._view,
            self._reports,
            own.way,
            limits,
            self._upkeep.reconcile_soon,
        )
        self._daemonset = DaemonSet(
            kubernetes.session, identity.namespace, identity.daemonset
        )
        self._health = HealthServer(
            (own.http_host, own.http_port),
            self._metrics.registry,
            live=(),
            ready=(self._why_not_ready,),
        )
        self._server: CniServer | None = None
        self._keeper: installation.Keeper | None = None

    def stop(self) -> None:
        """Have ``run`` end. Safe in a signal handler."""
        self._stopping.set()

    def run(self) -> int:
        """Serve until ``stop``; requests in progress are then finished."""
        started: list[Callable[[], object]] = []
        try:
            self._health.start()
            started.append(self._health.stop)
            if self._instance.wait(self._stopping):
                self._start_parts(started)
                self._stopping.wait()
                LOG.info('ending: no new requests')
        finally:
            self._commands.drain()
            for stop in reversed(started):
                stop()
            self._node.close()
            self._instance.close()
        return 0

    def _start_parts(self, started: list[Callable[[], object]]) -> None:
        """Start the parts; ``started`` gets what ends each."""
        # Before anybody is served: VFs that a killed process left half-way.
        self._upkeep.reconcile()
        self._view.start()
        started.append(self._view.stop)
        self._run_in_thread(started, self._events.run, self._events.stop)
        self._reports.start()
        started.append(self._reports.stop)
        self._vf_changes.start()
        started.append(self._vf_changes.stop)
        self._upkeep.start()
        started.append(self._upkeep.stop)
        self._metrics.follow(self._node, self._upkeep)
        server = CniServer(
            Path(self._own.cni_socket),
            self._commands,
            self._metrics.observe_request,
        )
        self._server = server
        started.append(lambda: server.stop(self._own.drain_timeout))
        self._daemonset.check_access()
        started.append(self._uninstall_if_gone)
        if self._own.plugin:
            self._install_plugin(started)
        LOG.info('serving CNI on %s', self._own.cni_socket)

    def _install_plugin(self, started: list[Callable[[], object]]) -> None:
        folder = Path(self._own.cni_bin_dir)
        installation.install_plugin(Path(self._own.plugin), folder)
        configurations = Path(self._own.cni_conf_dir)
        if self._own.way == 'chained':
            keeper = installation.Keeper(configurations)
            keeper.start()
            started.append(keeper.stop)
        elif Conflist(configurations).remove(chains_only=True):
            # The way was another one before; each ADD of each pod on this
            # node would fail.
            LOG.info('no longer chained in %s', configurations)

    def _uninstall_if_gone(self) -> None:
        """Leave the node as it was without us.

        While requests are still served: no pod comes in between.
        """
        if self._own.plugin and self._daemonset.is_gone():
            LOG.warning('the DaemonSet is deleted; leaving this node')
            Conflist(Path(self._own.cni_conf_dir)).remove()
            installation.remove_plugin(Path(self._own.cni_bin_dir))

    def _run_in_thread(
        self,
        started: list[Callable[[], object]],
        run: Callable[[], None],
        stop: Callable[[], None],
    ) -> None:
        thread = threading.Thread(target=run)
        thread.start()

        def end() -> None:
            stop()
            thread.join()

        started.append(end)

    def _why_not_ready(self) -> str:
        if self._stopping.is_set():
            return 'the daemon ends'
        if self._server is None:
            return 'another process is the node daemon here'
        if not self._view.is_complete:
            return f'the API server is asked; {self._view.trouble}'
        return ''


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until SIGTERM; the exit status, 2 for kuryr.conf.

    The kubelet starts the process again when it ends.
    """
    return run_daemon('node', _make_daemon, arguments)


def _make_daemon(conf: Any) -> NodeDaemon:
    shared = conf.sriov_daemon
    session = KubernetesSession(
        shared.api_root, shared.kubeconfig, user_agent=NAME
    )
    return NodeDaemon(
        conf, Kubernetes(session), read_identity(os.environ, conf)
    )
