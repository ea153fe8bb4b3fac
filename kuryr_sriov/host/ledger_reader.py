# SPDX-License-Identifier: Apache-2.0
"""The ledger's records, for those who only look."""

from __future__ import annotations

import os
import pathlib
import sqlite3
import urllib.parse

from kuryr_sriov import exceptions, model
from kuryr_sriov.host import ledger


def path(state_dir: str) -> pathlib.Path:
    """Where the ledger is, as ``node.Node`` has it."""
    return pathlib.Path(state_dir, 'ledger.sqlite')


def read(state_dir: str) -> tuple[model.Attachment, ...]:
    """All records; none where there is no ledger yet.

    Nothing is made, migrated or changed, not even for a moment.

    :raises LedgerBusy: another process holds it.
    :raises LedgerError: it cannot be read.
    """
    file = path(state_dir)
    try:
        size = os.stat(file).st_size
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise exceptions.LedgerError(
            f'{file}: {error.strerror}; [sriov] state_dir must be a '
            'directory; run as a user who can read it'
        ) from error
    if not size:
        return ()
    reader = _Reader(file)
    try:
        return reader.all()
    finally:
        reader.close()


class _Reader(ledger.Ledger):
    """A ledger that opens its file for reading."""

    def _connect(self) -> sqlite3.Connection:
        # A reader that shares a WAL file leaves it and its index behind if
        # it is the last to close. Without that file nobody has the ledger
        # open, so that nothing need be shared.
        shared = os.path.exists(f'{self.path}-wal')
        mode = 'mode=ro' if shared else 'immutable=1'
        connection = sqlite3.connect(
            f'file:{urllib.parse.quote(str(self.path))}?{mode}',
            uri=True,
            timeout=self._timeout,
            check_same_thread=False,
        )
        try:
            self._migrate(connection)  # which refuses another schema
        except BaseException:
            connection.close()
            raise
        return connection
