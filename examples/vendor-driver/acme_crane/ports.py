# SPDX-License-Identifier: Apache-2.0
"""The hook ``crane_ports``: tells the NIC's daemon whose VF is whose."""

from __future__ import annotations

import json
from pathlib import Path

from oslo_config import cfg

from acme_crane import GROUP
from kuryr_sriov import Attachment, PermanentError
from kuryr_sriov.handlers.hooks import AttachmentHook


class PortFiles(AttachmentHook):
    """One file for each VF in use, with its port and its pod."""

    contract = 1
    group = GROUP
    options = (
        cfg.StrOpt(
            'port_dir',
            default='/run/acme/ports',
            help='Directory for a file for each VF in use, which the '
            'daemon of the NIC watches. A reboot has to empty it.',
        ),
    )

    def run(self, attachment: Attachment) -> None:
        """Write the file, all of it at once."""
        text = json.dumps(
            {
                'port': attachment.vif.id,
                'pod': str(attachment.sandbox.pod),
                'vlan': attachment.vif.vlan,
            }
        )
        path = self._path(attachment)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_suffix('.new')
            draft.write_text(text)
            draft.rename(path)
        except OSError as error:
            raise _failed('written', error) from error

    def undo(self, attachment: Attachment) -> None:
        """Remove the file, and what is left of a write."""
        path = self._path(attachment)
        try:
            path.unlink(missing_ok=True)
            path.with_suffix('.new').unlink(missing_ok=True)
        except OSError as error:
            raise _failed('removed', error) from error

    def _path(self, attachment: Attachment) -> Path:
        return Path(self.conf.port_dir) / f'{attachment.pci}.json'


def _failed(done: str, error: OSError) -> PermanentError:
    return PermanentError(
        f'{error.filename} cannot be {done}: {error.strerror}; see [{GROUP}] '
        'port_dir'
    )
