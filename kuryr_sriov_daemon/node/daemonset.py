# SPDX-License-Identifier: Apache-2.0
"""Whether this installation is being removed, or merely renewed."""

from __future__ import annotations

from kuryr_sriov import KubernetesSession, KuryrSriovError, TransientError


class DaemonSet:
    """The DaemonSet that this process belongs to.

    A pod of it is told to end in the same way for an upgrade, where it has
    to stay in the node's CNI configuration, and for good.

    :param name: empty where there is none: it is never gone then.
    """

    def __init__(
        self, session: KubernetesSession, namespace: str, name: str
    ) -> None:
        self._session = session
        self._path = f'/apis/apps/v1/namespaces/{namespace}/daemonsets/{name}'
        self._known = bool(namespace and name)
        self._seen = False

    def check_access(self) -> None:
        """Find out, while it is there, whether we may look at it."""
        try:
            self._seen = self._known and not self._is_deleted()
        except KuryrSriovError:
            self._seen = False

    def is_gone(self) -> bool:
        """Whether it has been deleted.

        Where the API server does not answer it is not; where it no longer
        lets us look, our role has been deleted, and so has it.
        """
        if not self._seen:
            return False
        try:
            return self._is_deleted()
        except TransientError:
            return False
        except KuryrSriovError:
            return True

    def _is_deleted(self) -> bool:
        body = self._session.call('GET', self._path)
        return bool(body['metadata'].get('deletionTimestamp'))
