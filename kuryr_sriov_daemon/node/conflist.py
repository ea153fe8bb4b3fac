# SPDX-License-Identifier: Apache-2.0
"""The node's CNI configuration, with us as the last plugin of the list.

Container runtimes take the first file of ``/etc/cni/net.d`` by name, of those
ending in ``.conf``, ``.conflist`` and ``.json`` (libcni ``ConfFiles``; both
containerd and CRI-O). It belongs to the primary CNI, which may rewrite
it at any time.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kuryr_sriov import PermanentError, TransientError
from kuryr_sriov_daemon.node.cni_request import VERSIONS

LOG = logging.getLogger(__name__)

TYPE = 'kuryr-sriov'
"""Our ``type`` in a CNI configuration: the plugin's file name."""

ENTRY = {'type': TYPE}

MARK = 'kuryrSriovMadeOf'
"""Key of a list that we made of a single plugin's file: that file's name."""

SUFFIXES = '.conf', '.conflist', '.json'

NEW = '.kuryr-sriov.new'
"""What is being written; runtimes do not read it, for its suffix."""


class Conflist:
    """The active one of a folder.

    :param folder: ``/etc/cni/net.d``, as this process sees it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find_active(self) -> Path | None:
        """The file that runtimes use: the first that they can read."""
        for path, found in self._list_files():
            if _plugins_of(path, found):
                return path
        return None

    def list_types(self) -> list[tuple[Path, list[str]]]:
        """Each file that runtimes can read, with its plugins' types."""
        return [
            (path, [str(each.get('type')) for each in plugins])
            for path, found in self._list_files()
            if (plugins := _plugins_of(path, found))
        ]

    def insert(self) -> bool:
        """Make us the last plugin; whether that changed anything.

        A single plugin's configuration (``.conf``) becomes a list of the
        same name, since only a list has room for two.

        :raises TransientError: there is no primary CNI so far.
        :raises PermanentError: its configuration has no room for us.
        """
        path = self.find_active()
        if path is None:
            raise TransientError(
                f'{self._folder} has no CNI configuration yet; install a '
                'primary CNI'
            )
        found = json.loads(path.read_bytes())
        plugins = _plugins_of(path, found)
        others = [each for each in plugins if each.get('type') != TYPE]
        if not others:
            raise PermanentError(
                f'{path} has no primary CNI, only this plugin; remove it'
            )
        if plugins[:-1] == others:
            return False
        version = found.get('cniVersion', '0.1.0')
        if version not in VERSIONS:
            raise PermanentError(
                f'{path} has cniVersion {version!r}, but VFs need one of '
                f'{", ".join(VERSIONS)}; have the primary CNI write a newer '
                'one, or say [sriov_node] way = delegate and use Multus'
            )
        if path.suffix == '.conflist':
            self._replace_file(path, {**found, 'plugins': [*others, ENTRY]})
        else:
            self._convert_to_list(path, found)
        return True

    def remove(self, *, chains_only: bool = False) -> bool:
        """Take us out of every file; whether we were in any.

        What was a single plugin's configuration becomes one again.

        :param chains_only: leave files alone that name no other plugin:
            somebody has written them, for Multus to find by their name.
        """
        changed = False
        for path, found in tuple(self._list_files()):
            plugins = _plugins_of(path, found)
            others = [each for each in plugins if each.get('type') != TYPE]
            if others == plugins or (chains_only and not others):
                continue
            if not others:
                path.unlink()
            elif found.get(MARK):
                self._restore_single(path, found, others[0])
            else:
                self._replace_file(path, {**found, 'plugins': others})
            changed = True
        return changed

    def _list_files(self) -> Iterator[tuple[Path, Mapping[str, Any]]]:
        """Those that are JSON objects, in the order of the runtimes."""
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return
        for name in names:
            if name.endswith(SUFFIXES):
                path = self._folder / name
                try:
                    found = json.loads(path.read_bytes())
                except (FileNotFoundError, ValueError):
                    continue  # as runtimes do
                if isinstance(found, dict):
                    yield path, found

    def _convert_to_list(self, path: Path, found: Mapping[str, Any]) -> None:
        """A list in place of a single plugin's configuration."""
        keys = 'cniVersion', 'name'
        head = {key: found[key] for key in keys if key in found}
        whole = {**head, MARK: path.name, 'plugins': [found, ENTRY]}
        # ``.conf`` sorts before ``.conflist``: until it goes, it counts, and
        # there is no moment without a network.
        self._replace_file(path.with_suffix('.conflist'), whole, like=path)
        path.unlink()

    def _restore_single(
        self, path: Path, found: Mapping[str, Any], plugin: Mapping[str, Any]
    ) -> None:
        name = Path(str(found[MARK])).name
        self._replace_file(self._folder / name, plugin, like=path)
        path.unlink()

    def _replace_file(
        self, path: Path, value: Mapping[str, Any], like: Path | None = None
    ) -> None:
        """Replace a file at once, with the owner and mode it had."""
        status = os.stat(like or path)
        new = self._folder / NEW
        with open(new, 'w', encoding='utf-8') as file:
            json.dump(value, file, indent=2)
            file.write('\n')
            file.flush()
            # Not without CAP_CHOWN where it is another user's; the runtime
            # is root, and reads it all the same.
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            os.fsync(file.fileno())
        os.replace(new, path)


def _plugins_of(
    path: Path, found: Mapping[str, Any]
) -> list[Mapping[str, Any]]:
    """The plugins of a file; none where runtimes would not take it."""
    if path.suffix != '.conflist':
        return [found] if isinstance(found.get('type'), str) else []
    plugins = found.get('plugins')
    if not isinstance(plugins, list):
        return []
    return plugins if all(isinstance(p, dict) for p in plugins) else []
