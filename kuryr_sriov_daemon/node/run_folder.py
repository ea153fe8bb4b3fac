# SPDX-License-Identifier: Apache-2.0
"""The folder of the socket and of the instance's lock: root's alone."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from kuryr_sriov import PermanentError

LOCK = 'node.lock'


def make_private(socket: Path) -> None:
    """Let nobody else into the folder of a socket; make it if need be.

    A kubelet that makes it for a hostPath volume (DirectoryOrCreate) lets
    everybody in, and so does whoever made it by hand. One that others use as
    well, such as ``/run`` itself, is not touched.

    :raises PermanentError: others use it, or it cannot be had.
    """
    folder = socket.parent
    ours = {socket.name, f'{socket.name}.new', LOCK}
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        mode = stat.S_IMODE(folder.stat().st_mode)
        if not mode & 0o077:
            return
        others = sorted(set(os.listdir(folder)) - ours)
        if not others:
            folder.chmod(mode & 0o700)
    except OSError as error:
        raise PermanentError(
            f'{error}; see [sriov_node] cni_socket, and what is mounted there'
        ) from error
    if others:
        raise PermanentError(
            f'{folder} is open to others, and has {others[0]} of somebody '
            f'else; give [sriov_node] cni_socket a folder of its own, or run '
            f'chmod go= {folder}'
        )
