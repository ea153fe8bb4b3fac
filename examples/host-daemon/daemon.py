# SPDX-License-Identifier: Apache-2.0
"""A daemon for a cluster of one node: both roots, pod events, and CNI.

It reads pod events from standard input, one JSON object in a line as the
Kubernetes API writes them, and serves CNI as kuryr-daemon does: a POST of
the CNI variables to ``/addNetwork``, ``/checkNetwork`` or ``/delNetwork``.
"""

from __future__ import annotations

import argparse
import http.server
import json
import logging
import queue
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kuryr_sriov import (
    Controller,
    Kubernetes,
    KubernetesSession,
    KuryrSriovError,
    Node,
    Pod,
    Sandbox,
    TransientError,
    Vif,
    load_config,
    network_status,
    pod_of,
)

LOG = logging.getLogger('daemon')

WORKERS = 4
POLL = 0.1
"""Seconds until the CNI server sees that it is to stop."""

ENDED = 'Succeeded', 'Failed'
ALL_LISTED = 'k8s.io/initial-events-end'
"""Annotation of the bookmark that follows the pods there were at first."""


class Promises:
    """What the controller promised to pods, for the node to wait for."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self._changed = threading.Condition()
        self._answers: dict[str, Sequence[Vif] | KuryrSriovError] = {}

    def put(self, pod: Pod, answer: Sequence[Vif] | KuryrSriovError) -> None:
        """The pod's VIFs, or why it cannot have them."""
        with self._changed:
            self._answers[pod.uid] = answer
            self._changed.notify_all()

    def drop(self, pod: Pod) -> None:
        """Forget a pod that is gone."""
        with self._changed:
            self._answers.pop(pod.uid, None)

    def get(self, pod: Pod) -> Sequence[Vif]:
        """Wait for the pod's VIFs.

        :raises KuryrSriovError: it cannot have them, or not in time.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: pod.uid in self._answers, self._patience
            )
            answer = self._answers.get(pod.uid)
        if answer is None:
            raise TransientError(f'pod {pod}: no event of it so far')
        if isinstance(answer, KuryrSriovError):
            raise answer
        return answer


class Pods:
    """The controller's side: what pods there are, and what they need.

    Events only say which pod to look at; each is handled as it is then, by
    always the same thread.
    """

    def __init__(self, controller: Controller, promises: Promises) -> None:
        self._controller = controller
        self._promises = promises
        self._bodies: dict[str, Mapping[str, Any]] = {}
        self._gone: dict[str, Mapping[str, Any]] = {}
        self._queues = [queue.SimpleQueue[str]() for _ in range(WORKERS)]
        for work in self._queues:
            threading.Thread(
                target=self._run, args=[work], daemon=True
            ).start()

    def follow(self, events: Iterable[str]) -> None:
        """Take in events until there are no more."""
        for line in events:
            event = json.loads(line)
            body, kind = event['object'], event['type']
            metadata = body['metadata']
            if kind == 'BOOKMARK':
                if ALL_LISTED in (metadata.get('annotations') or {}):
                    self._controller.collect_orphans(self._is_there)
                continue
            uid = metadata['uid']
            ended = body.get('status', {}).get('phase') in ENDED
            if kind == 'DELETED' or ended:
                self._bodies.pop(uid, None)
                self._gone[uid] = body
            else:
                self._bodies[uid] = body
            self._look_at(uid)

    def _is_there(self, pod: Pod) -> bool:
        # A real one asks the API server: events may have been missed.
        return pod.uid in self._bodies

    def _look_at(self, uid: str) -> None:
        self._queues[hash(uid) % WORKERS].put(uid)

    def _run(self, work: queue.SimpleQueue[str]) -> None:
        while True:
            uid = work.get()
            try:
                self._handle(uid)
            except TransientError as error:
                LOG.warning('pod %s: %s', uid, error)
                again = threading.Timer(
                    error.retry_after, self._look_at, [uid]
                )
                again.daemon = True
                again.start()
            except Exception:
                LOG.exception('pod %s', uid)

    def _handle(self, uid: str) -> None:
        if uid in self._gone:
            pod = pod_of(self._gone[uid])
            self._controller.release(pod)
            self._promises.drop(pod)
            del self._gone[uid]
            return
        body = self._bodies.get(uid, {})
        if not body.get('spec', {}).get('nodeName'):
            return
        try:
            if not self._controller.request(body):
                self._promises.put(pod_of(body), ())
        except TransientError:
            raise
        except KuryrSriovError as error:
            self._promises.put(pod_of(body), error)


class Cni(http.server.ThreadingHTTPServer):
    """The node's side: a thread for each request of the CNI plugin."""

    daemon_threads = True

    def __init__(
        self,
        address: tuple[str, int],
        node: Node,
        controller: Controller,
        promises: Promises,
    ) -> None:
        super().__init__(address, Request)
        self._node = node
        self._controller = controller
        self._promises = promises

    def add(self, cni: Mapping[str, str]) -> Sequence[Mapping[str, Any]]:
        """CNI ADD; what the pod's network-status annotation would be."""
        args = dict(
            part.split('=', 1) for part in cni['CNI_ARGS'].split(';') if part
        )
        pod = Pod(
            args['K8S_POD_NAMESPACE'],
            args['K8S_POD_NAME'],
            args['K8S_POD_UID'],
        )
        vifs = self._promises.get(pod)
        if not vifs:
            return []
        sandbox = Sandbox(cni['CNI_CONTAINERID'], cni['CNI_NETNS'], pod)
        attached = self._node.attach(sandbox, vifs)
        for each in attached:
            self._controller.activate(pod, each.vif, each.location)
        return network_status(attached)

    def check(self, cni: Mapping[str, str]) -> None:
        """CNI CHECK; nothing to check where nothing was attached."""
        container_id = cni['CNI_CONTAINERID']
        if any(
            attachment.sandbox.container_id == container_id
            for attachment in self._node.attachments()
        ):
            self._node.check(container_id)

    def announce(self, cni: Mapping[str, str]) -> None:
        """Tell the neighbours; it waits for carriers, after the answer."""
        self._node.announce(cni['CNI_CONTAINERID'])

    def delete(self, cni: Mapping[str, str]) -> None:
        """CNI DEL."""
        self._node.detach(cni['CNI_CONTAINERID'])


class Request(http.server.BaseHTTPRequestHandler):
    """One request: its answer, or the error and whether to try again."""

    server: Cni

    def do_POST(self) -> None:
        """Do what the path says with the variables in the body."""
        methods = {
            '/addNetwork': self.server.add,
            '/checkNetwork': self.server.check,
            '/delNetwork': self.server.delete,
        }
        length = int(self.headers['Content-Length'])
        try:
            cni = json.loads(self.rfile.read(length))
            answer = methods[self.path](cni)
        except TransientError as error:
            self._answer(503, str(error), ('Retry-After', error.retry_after))
        except (KuryrSriovError, LookupError, ValueError) as error:
            LOG.exception('%s', self.path)
            self._answer(500, str(error))
        else:
            self._answer(200, answer)
            if answer:
                self.server.announce(cni)

    def _answer(
        self, status: int, body: object, *headers: tuple[str, float]
    ) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in (*headers, ('Content-Length', len(data))):
            self.send_header(name, f'{value:g}')
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, text: str, *args: object) -> None:
        """To the log."""
        LOG.debug(text, *args)


class Daemon:
    """Both roots in one process.

    :param conf: from ``load_config``.
    :param get_nad: returns a NetworkAttachmentDefinition object.
    :param address: of the CNI server; port 0 for any.
    :param patience: seconds that ADD waits for the pod's events.
    :param host: a simulated node, in tests.
    """

    def __init__(
        self,
        conf: Any,
        get_nad: Any,
        address: tuple[str, int] = ('127.0.0.1', 5036),
        patience: float = 30.0,
        host: Any = None,
    ) -> None:
        promises = Promises(patience)
        self._node = Node(conf, host=host)
        controller = Controller(conf, get_nad, promises.put)
        self._node.reconcile()
        self._pods = Pods(controller, promises)
        self._cni = Cni(address, self._node, controller, promises)
        self.port: int = self._cni.server_port

    def run(self, events: Iterable[str]) -> None:
        """Serve until there are no more events."""
        threading.Thread(
            target=self._cni.serve_forever, args=[POLL], daemon=True
        ).start()
        try:
            self._pods.follow(events)
        finally:
            self._cni.shutdown()
            self._cni.server_close()
            self._node.close()


def main() -> None:
    """The process; whoever supervises it starts it again when it ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--config-file', default='/etc/kuryr/kuryr.conf')
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    conf = load_config(files=[args.config_file])
    Daemon(conf, Kubernetes(KubernetesSession()).get_nad).run(sys.stdin)


if __name__ == '__main__':
    main()
