# SPDX-License-Identifier: Apache-2.0
"""What pods with VFs may leave on a node: in its kernel, and on its disk."""

from __future__ import annotations

import json
from typing import Any

from .machine import Machine

LEDGER = '/var/lib/kuryr-sriov/ledger.sqlite'
READ_LEDGER = """\
import sqlite3, sys
ledger = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)
for (record,) in ledger.execute('SELECT record FROM attachment'):
    print(record)
"""

LOOK = """\
import json, pathlib, subprocess
told = {}
words = 'ip', '-json', '-details', 'link', 'show'
for link in json.loads(subprocess.check_output(words)):
    pf = pathlib.Path('/sys/class/net', link['ifname'], 'device')
    for vf in link.get('vfinfo_list', ()):
        path = (pf / f'virtfn{vf["vf"]}').resolve()
        driver = path / 'driver'
        told[path.name] = {
            'settings': vf,
            'driver': driver.resolve().name if driver.exists() else '',
            'override': (path / 'driver_override').read_text().strip(),
            'netdevs': sorted(each.name for each in path.glob('net/*')),
        }
print(json.dumps(told))
"""


class Traces:
    """Those on one machine."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._untouched: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        """What kernel and PF have of each VF, by its address."""
        text = self._machine.run('python3', '-Ic', LOOK)
        told: dict[str, Any] = json.loads(text)
        return told

    def remember(self) -> None:
        """What ``changes`` compares with; to be told after each boot."""
        self._untouched = self.state()

    def changes(self, now: dict[str, Any] | None = None) -> dict[str, str]:
        """What is not as it was when there were no pods, by VF.

        :param now: their state, if that is known.
        """
        before = self._untouched
        if now is None:
            now = self.state()
        return {
            pci: f'{before.get(pci)} is now {now.get(pci)}'
            for pci in sorted(before.keys() | now.keys())
            if before.get(pci) != now.get(pci)
        }

    def records(self) -> list[dict[str, Any]]:
        """What the ledger on the node holds."""
        text = self._machine.run('python3', '-Ic', READ_LEDGER, LEDGER)
        return [json.loads(line) for line in text.splitlines()]

    def agent_vfs(self) -> list[dict[str, str]]:
        """The VFs that Neutron's agent would find in use here.

        As its own code does: the MAC that the PF has for each VF that
        shows no network device.
        """
        return [
            {'mac': vf['settings']['address'], 'pci_slot': pci}
            for pci, vf in self.state().items()
            if not vf['netdevs']
        ]
