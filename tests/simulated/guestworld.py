# SPDX-License-Identifier: Apache-2.0
"""A simulated node that is a VM: its VFs are ports of Nova's making."""

from metadata import NETWORK_A, write_config_drive
from worlds import World

from kuryr_sriov import model
from kuryr_sriov.testing.simulation.simulated_node import Vf

RESOURCE = 'intel.com/physnet22'
ENS6, ENS7, ENS8 = '0000:00:06.0', '0000:00:07.0', '0000:00:08.0'
"""VFs: ports of networks A, B and A."""

TEXT = """
[sriov]
node_name = vm-1
physnet_resource_mappings = physnet22:physnet22
resource_driver_mappings = physnet22:{driver}
instance_metadata = {drive}
{more}
"""


class GuestWorld(World):
    """One VM with three VFs, and what its config drive says of them."""

    def __init__(
        self, path, driver='netdevice', vf_driver='', more='', pinned=True
    ):
        drive = path / 'drive'
        vfs = [
            Vf(pci, f'ens{number}', pinned=pinned, vf_driver=vf_driver)
            for number, pci in enumerate((ENS6, ENS7, ENS8), 6)
        ]
        text = TEXT.format(driver=driver, drive=drive, more=more)
        super().__init__(path, vfs, text)
        self.drive = drive
        self.macs = {
            pci: state.link.mac if state.link else ''
            for pci, state in self.node.state().items()
        }
        self.tell(*self.macs.values())

    def tell(self, *macs):
        """Write the config drive, for ports with these MACs."""
        write_config_drive(self.drive, macs)

    def vf(self, pci):
        return model.Device(RESOURCE, pci)

    def promise(self, ifname='net1', network=NETWORK_A, **more):
        """What the controller promises."""
        return model.Vif(
            id='',
            ifname=ifname,
            network=f'default/{ifname}',
            resource=RESOURCE,
            physnet='physnet22',
            mac='',
            provider_network=network,
            **more,
        )
