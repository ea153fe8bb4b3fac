# SPDX-License-Identifier: Apache-2.0
"""The lab's node as tests see it: PFs, VFs, network namespaces.

Only ``ip``, sysfs and files: nothing of the project, so that what the
project did can be checked from outside.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

DEVICES = Path('/sys/bus/pci/devices')
DRIVERS = Path('/sys/bus/pci/drivers')
NO_MAC = '00:00:00:00:00:00'
VF_DRIVER = 'igbvf'
T = TypeVar('T')


def wait_for(
    what: str, look: Callable[[], T | None], deadline: float = 120
) -> T:
    """What *look* returns as soon as it is true.

    :raises TimeoutError: it was not, for *deadline* seconds.
    """
    end = time.monotonic() + deadline
    while not (found := look()):
        if time.monotonic() > end:
            raise TimeoutError(f'{what}: not in {deadline:.0f} s')
        time.sleep(0.02)
    return found


def run(*words: str, deadline: float = 60) -> str:
    """Standard output of a program that must succeed."""
    done = subprocess.run(
        words, capture_output=True, text=True, timeout=deadline, check=False
    )
    if done.returncode:
        raise RuntimeError(
            f'{" ".join(words)}: {done.returncode}: {done.stdout}{done.stderr}'
        )
    return done.stdout


def has_udev() -> bool:
    """Whether udev runs: it renames network devices as they appear."""
    return os.path.exists('/run/udev/control')


def settle() -> None:
    """Wait until udev has dealt with every device, if there is a udev."""
    if has_udev():
        run('udevadm', 'settle', '--timeout=60')


class Device:
    """A PCI device by its address."""

    def __init__(self, pci: str) -> None:
        self.pci = pci
        self.path = DEVICES / pci

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.pci!r})'

    def read(self, name: str) -> str:
        """What a file of its folder in sysfs says."""
        return (self.path / name).read_text().strip()

    @property
    def driver(self) -> str | None:
        """Name of the driver that is bound to it."""
        try:
            return os.path.basename(os.readlink(self.path / 'driver'))
        except FileNotFoundError:
            return None

    @property
    def iommu_group(self) -> str:
        """Number of its IOMMU group."""
        return os.path.basename(os.readlink(self.path / 'iommu_group'))

    @property
    def netdev(self) -> str | None:
        """Name of its network device, if it has one in this namespace."""
        folder = self._find_net()
        names = os.listdir(folder) if folder else []
        return names[0] if names else None

    def _find_net(self) -> Path | None:
        """Its folder of network devices: of a virtio card's device its own."""
        found = [self.path / 'net', *self.path.glob('virtio*/net')]
        return next((path for path in found if path.is_dir()), None)

    @property
    def ifname(self) -> str:
        """Name of its network device, which must be there.

        It is the final one: udev has seen the device.
        """
        return wait_for(f'netdev of {self.pci}', self._final_name)

    def _final_name(self) -> str | None:
        name = self.netdev
        if name is None or not has_udev():
            return name
        folder = self._find_net()
        if folder is None:
            return None
        try:
            index = (folder / name / 'ifindex').read_text().strip()
            record = Path(f'/run/udev/data/n{index}').read_text()
        except FileNotFoundError:
            return None
        # udev writes the record just before it renames, and again after
        return None if 'ID_RENAMING' in record else self.netdev

    def rdma_devices(self) -> list[str]:
        """Names of its RDMA devices in this namespace."""
        folder = self.path / 'infiniband'
        return sorted(os.listdir(folder)) if folder.is_dir() else []

    def link(self) -> dict[str, Any]:
        """What ``ip -j link`` says of its network device here."""
        shown = run('ip', '-j', '-d', 'link', 'show', self.ifname)
        return dict(json.loads(shown)[0])

    def state(self) -> dict[str, Any]:
        """All that an attachment could leave changed."""
        settle()
        state: dict[str, Any] = {
            'driver': self.driver,
            'override': self.read('driver_override'),
            'rdma': self.rdma_devices(),
        }
        if self.driver not in (None, 'vfio-pci'):
            link = self.link()
            for name in ('ifname', 'address', 'mtu', 'ifalias', 'altnames'):
                state[name] = link.get(name)
            state['up'] = 'UP' in link['flags']
        return state

    def unbind(self) -> None:
        """Take its driver away, if it has one."""
        if self.driver:
            # sysfs refuses while a driver is still probing
            unbind = self.path / 'driver/unbind'
            wait_for(f'unbind of {self.pci}', unbind.exists)
            unbind.write_text(self.pci)

    def bind(self, driver: str, deadline: float = 120) -> None:
        """Bind it to a driver, whatever it is bound to now."""
        (self.path / 'driver_override').write_text(f'{driver}\n')
        self.unbind()
        Path('/sys/bus/pci/drivers_probe').write_text(self.pci)
        (self.path / 'driver_override').write_text('\n')
        wait_for(
            f'{self.pci} on {driver}',
            lambda: self.driver == driver,
            deadline,
        )


class VirtualFunction(Device):
    """A VF: *index* is its number on its PF."""

    def __init__(self, pf: PhysicalFunction, index: int) -> None:
        link = os.readlink(pf.path / f'virtfn{index}')
        super().__init__(os.path.basename(link))
        self.pf = pf
        self.index = index

    def info(self) -> dict[str, Any]:
        """What the PF's driver says of it: address, vlan_list, trust, ..."""
        infos = self.pf.infos()
        return next(info for info in infos if info['vf'] == self.index)

    def state(self) -> dict[str, Any]:
        """All that an attachment could leave changed, here and on the PF."""
        return {**super().state(), 'pf': self.info()}

    def reset(self) -> None:
        """As if made anew: nothing set by the PF, its driver bound anew.

        Ten times faster than making it, wherever its network device is.
        """
        (self.path / 'driver_override').write_text('\n')
        self.unbind()
        before = self.info()
        self.configure('vlan', '0', 'qos', '0')
        self.configure('spoofchk', 'on', 'trust', 'off', 'rate', '0')
        if before['address'] != NO_MAC:
            self.configure('mac', NO_MAC)
        self.bind(VF_DRIVER)
        assert self.ifname

    def configure(self, *words: str) -> None:
        """``ip link set PF vf N ...``."""
        run('ip', 'link', 'set', self.pf.ifname, 'vf', str(self.index), *words)


class PlainFunction(Device):
    """A card without SR-IOV: what a VF is to a VM.

    :param mac: as it was set outside of the machine.
    """

    def __init__(self, pci: str, name: str, wire: str, mac: str) -> None:
        super().__init__(pci)
        self.name = name
        self.wire = wire
        self.mac = mac


class PhysicalFunction(Device):
    """A PF: its name in the topology, its wire, its usual count of VFs."""

    def __init__(self, pci: str, name: str, wire: str, vfs: int) -> None:
        super().__init__(pci)
        self.name = name
        self.wire = wire
        self.usual_vfs = vfs

    def infos(self) -> list[dict[str, Any]]:
        """What its driver says of its VFs."""
        return list(self.link().get('vfinfo_list', ()))

    def rename(self, name: str) -> None:
        """Give its network device another name, as an operator may."""
        ifname = self.ifname
        run('ip', 'link', 'set', ifname, 'down')
        settle()
        if name in self.link().get('altnames', ()):  # udev's doing
            altname = ('altname', name)
            run('ip', 'link', 'property', 'del', 'dev', ifname, *altname)
        run('ip', 'link', 'set', ifname, 'name', name)
        run('ip', 'link', 'set', name, 'up')
        settle()

    def set_up(self) -> None:
        """Up, with its link: without one its driver sets no rate."""
        run('ip', 'link', 'set', self.ifname, 'up', 'mtu', '1500')
        wait_for(f'link of {self.pci}', self._has_link)

    def _has_link(self) -> bool:
        return 'LOWER_UP' in self.link()['flags']

    def lend_vfs(self, count: int) -> list[VirtualFunction]:
        """The first VFs, as if made anew; the PF is up.

        Those that are there are reset; if there are too few, or one cannot
        be reset, all are made anew.
        """
        if int(self.read('sriov_numvfs')) < count:
            return self.make_vfs(count)
        self.set_up()
        vfs = [VirtualFunction(self, index) for index in range(count)]
        try:
            for vf in vfs:
                vf.reset()
        except (OSError, RuntimeError) as error:
            print(f'{self} made anew: {error}')
            return self.make_vfs(count)
        return vfs

    def make_vfs(self, count: int) -> list[VirtualFunction]:
        """VFs made anew, each with its final name; the PF is up."""
        self.remove_vfs()
        self.set_up()
        (self.path / 'sriov_numvfs').write_text(str(count))
        vfs = [VirtualFunction(self, index) for index in range(count)]
        for vf in vfs:
            assert vf.ifname
        return vfs

    def remove_vfs(self) -> None:
        """No VF is left, wherever its network device is."""
        if self.read('sriov_numvfs') != '0':
            (self.path / 'sriov_numvfs').write_text('0')
            settle()


@dataclass(frozen=True)
class Netns:
    """A network namespace, as ``ip netns`` makes them."""

    name: str

    @property
    def path(self) -> str:
        """What a container runtime would pass as CNI_NETNS."""
        return f'/run/netns/{self.name}'

    def run(self, *words: str) -> str:
        """Run a program in it."""
        return run('ip', 'netns', 'exec', self.name, *words)

    def delete(self) -> None:
        """Its VFs come home as the kernel sends them."""
        run('ip', 'netns', 'delete', self.name)

    def clear(self) -> None:
        """Delete it; no VF comes home under a name that a test may want."""
        for link in json.loads(self.run('ip', '-j', 'link', 'show')):
            if link['ifname'] != 'lo':
                spare = f'{self.name}-{link["ifindex"]}'
                self.run('ip', 'link', 'set', link['ifname'], 'down')
                self.run('ip', 'link', 'set', link['ifname'], 'name', spare)
        self.delete()

    def take(self, vf: Device, name: str, *addresses: str) -> None:
        """Move a VF's network device in, name it, address it, set it up."""
        ifname = vf.ifname
        run('ip', 'link', 'set', ifname, 'down')
        run('ip', 'link', 'set', ifname, 'netns', self.name, 'name', name)
        for address in addresses:
            nodad = ('nodad',) if ':' in address else ()
            self.run('ip', 'address', 'add', address, 'dev', name, *nodad)
        self.run('ip', 'link', 'set', name, 'up')

    def link(self, name: str) -> dict[str, Any]:
        """What ``ip -j link`` says of a network device in it."""
        shown = self.run('ip', '-j', '-d', 'link', 'show', name)
        return dict(json.loads(shown)[0])

    def reaches(self, address: str, tries: int = 60) -> bool:
        """Whether a ping is answered within *tries* half seconds."""
        count = ('-c', '1', '-W', '1')
        for _ in range(tries):
            try:
                self.run('ping', '-q', *count, address)
            except RuntimeError:
                time.sleep(0.5)
            else:
                return True
        return False


class Lab:
    """The node: its PFs in the order of the topology."""

    def __init__(self) -> None:
        with open(os.environ['KURYR_SRIOV_LAB'], encoding='utf-8') as source:
            described = json.load(source)
        self.pfs = [PhysicalFunction(**pf) for pf in described['pfs']]
        self.plain = [PlainFunction(**card) for card in described['plain']]
        self.results = Path(os.environ['KURYR_SRIOV_LAB_RESULTS'])

    def state(self) -> list[object]:
        """All PFs with what they hold for VFs, and all network devices."""
        settle()
        links = json.loads(run('ip', '-j', '-d', 'link', 'show'))
        names = (
            *('ifname', 'address', 'mtu', 'flags', 'ifalias', 'altnames'),
            'vfinfo_list',
        )
        return sorted(
            ([link.get(name) for name in names] for link in links), key=str
        )

    def on_wire(self, wire: str) -> list[PhysicalFunction]:
        """The PFs that share a wire."""
        return [pf for pf in self.pfs if pf.wire == wire]


def topology() -> str:
    """Which machine this is; ``default`` is the one without a file."""
    with open(os.environ['KURYR_SRIOV_LAB'], encoding='utf-8') as source:
        return str(json.load(source)['name'])


def in_lab() -> bool:
    """Whether this process runs in the lab."""
    return 'KURYR_SRIOV_LAB' in os.environ and bool(shutil.which('udevadm'))
