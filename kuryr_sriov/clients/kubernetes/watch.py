# SPDX-License-Identifier: Apache-2.0
"""A live copy of the API server's objects of one kind."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from kuryr_sriov.clients.kubernetes.refusals import explain_refusal
from kuryr_sriov.clients.kubernetes.session import (
    KubernetesSession,
    WatchStream,
)
from kuryr_sriov.exceptions import (
    KuryrSriovError,
    ResourceExpired,
    TransientError,
)

LOG = logging.getLogger(__name__)

T = TypeVar('T')

SILENCE = 150.0
"""Seconds: an idle API server sends a bookmark about once a minute."""

LONGEST_PAUSE = 30.0


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """What happened to one object.

    :param old: as it was known before; None where it was not.
    :param new: as it is now; None where it is gone or not of interest.
    :param deleted: whether the API server has told its deletion. Where that
        is False and ``new`` is None it was merely missing in a list, which
        is no proof.
    """

    key: Hashable
    old: T | None
    new: T | None
    deleted: bool = False


def uid_of(body: Mapping[str, Any]) -> Hashable:
    """The object's uid."""
    return str(body['metadata']['uid'])


def name_of(body: Mapping[str, Any]) -> Hashable:
    """Namespace and name of the object."""
    metadata = body['metadata']
    return metadata.get('namespace', ''), metadata['name']


class ObjectCache(Generic[T]):
    """Lists and watches objects until it is stopped. Thread-safe.

    The list comes in pages, the changes by a watch with bookmarks that goes
    on where the last one ended. Where the API server no longer knows that
    place (410) the list is read again; whatever else fails is tried again,
    with growing pauses, so that credentials and roles heal once cured.

    :param path: of the list.
    :param keep: what is kept of an object; None for nothing.
    :param changed: is told each change of what is kept, one at a time, by
        the thread that is in ``run``. It must not raise.
    :param query: selectors, such as ``{'fieldSelector': …}``.
    :param key: what tells objects apart.
    :param silence: seconds after which a silent watch is given up.
    """

    def __init__(
        self,
        session: KubernetesSession,
        path: str,
        keep: Callable[[Mapping[str, Any]], T | None],
        changed: Callable[[Change[T]], None] = lambda change: None,
        *,
        query: Mapping[str, str] | None = None,
        key: Callable[[Mapping[str, Any]], Hashable] = uid_of,
        silence: float = SILENCE,
    ) -> None:
        self._session = session
        self._path = path
        self._keep = keep
        self._changed = changed
        self._query = query or {}
        self._key = key
        self._silence = silence
        self._objects: dict[Hashable, T] = {}
        self._version = ''
        self._lock = threading.Lock()
        self._stream: WatchStream | None = None
        self._stopping = threading.Event()
        self._complete = threading.Event()
        self._trouble: KuryrSriovError | None = None

    @property
    def trouble(self) -> KuryrSriovError | None:
        """Why the copy may be old; None while it is up to date."""
        return self._trouble

    @property
    def is_complete(self) -> bool:
        """Whether all objects have been listed once."""
        return self._complete.is_set()

    def wait_complete(self, timeout: float) -> bool:
        """Whether all objects have been listed within ``timeout`` seconds."""
        return self._complete.wait(timeout)

    def get(self, key: Hashable) -> T | None:
        """What is kept of that object; None for nothing."""
        return self._objects.get(key)

    def all(self) -> dict[Hashable, T]:
        """What is kept of all objects, by key."""
        return dict(self._objects)

    def __len__(self) -> int:
        return len(self._objects)

    def run(self) -> None:
        """Follow the objects until ``stop``."""
        failures = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            try:
                self._list_and_watch()
            except ResourceExpired as error:
                LOG.info('%s', error)
                self._version = ''
                failures += 1
            except KuryrSriovError as error:
                if self._stopping.is_set():
                    return
                self._report_trouble(error)
                failures += 1
            except Exception:
                # a defect in whoever is told; nobody else would restart us
                LOG.exception('%s: listed again', self._path)
                self._version = ''
                failures += 1
            else:
                failures += 1
            if time.monotonic() - began > LONGEST_PAUSE:
                failures = 0
            if failures > 1:
                pause = min(LONGEST_PAUSE, 0.25 * 2 ** min(failures, 8))
                self._stopping.wait(pause * random.uniform(0.5, 1.0))

    def stop(self) -> None:
        """End ``run``, at once. Idempotent."""
        self._stopping.set()
        with self._lock:
            if self._stream is not None:
                self._stream.interrupt()

    def _report_trouble(self, error: KuryrSriovError) -> None:
        level = logging.DEBUG if self._trouble else logging.WARNING
        LOG.log(level, '%s; what is known of it may be old', error)
        self._trouble = error

    def _list_and_watch(self) -> None:
        """One list, if need be, and one watch, to its end."""
        if not self._version:
            self._version = self._list_all()
            self._complete.set()
            self._trouble = None
        query = {
            **self._query,
            'resourceVersion': self._version,
            # Without them the place grows old while nothing happens, and the
            # next watch begins with a list of everything.
            'allowWatchBookmarks': 'true',
            # not all watches of a cluster at the same time
            'timeoutSeconds': random.randint(300, 600),
        }
        with self._session.open_watch(
            self._path, query, self._silence
        ) as stream:
            with self._lock:
                self._stream = stream
                if self._stopping.is_set():
                    return
            self._trouble = None
            try:
                for event in stream:
                    self._take_in(event)
            finally:
                with self._lock:
                    self._stream = None

    def _list_all(self) -> str:
        """Take in every object; return the list's resource version."""
        seen = set()
        version = ''
        # Without a resourceVersion in the query it is the newest list there
        # is, and not what some API server has in its cache.
        for page in self._session.list_objects(self._path, self._query):
            for body in page.get('items') or ():
                seen.add(self._key(body))
                self._keep_object(body)
            # All pages of a list have the same one.
            version = page['metadata']['resourceVersion']
            if self._stopping.is_set():
                raise TransientError('stopped while listing')
        for key in self._objects.keys() - seen:
            self._tell_change(key, None)
        return version

    def _take_in(self, event: Mapping[str, Any]) -> None:
        kind, body = event.get('type'), event.get('object') or {}
        if kind == 'ERROR' or 'metadata' not in body:
            # The stream began with HTTP status 200, so that errors come as
            # events.
            where = f'watch of {self._path}'
            raise explain_refusal(where, int(body.get('code') or 500), body)
        if kind == 'DELETED':
            self._tell_change(self._key(body), None, deleted=True)
        elif kind != 'BOOKMARK':
            self._keep_object(body)
        self._version = body['metadata']['resourceVersion']

    def _keep_object(self, body: Mapping[str, Any]) -> None:
        self._tell_change(self._key(body), self._keep(body))

    def _tell_change(
        self, key: Hashable, new: T | None, deleted: bool = False
    ) -> None:
        if new is None:
            old = self._objects.pop(key, None)
        else:
            old = self._objects.get(key)
            self._objects[key] = new
        if old != new or deleted:
            self._changed(Change(key, old, new, deleted))
