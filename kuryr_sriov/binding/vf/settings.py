# SPDX-License-Identifier: Apache-2.0
"""What a PF is to hold for a VF: pure functions over ``VfSettings``."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Sequence

from kuryr_sriov import exceptions, model
from kuryr_sriov.host.vf_settings import GROUPS

RATES = frozenset({'min_tx_rate', 'max_tx_rate'})

# What a hypervisor gives its guest; a guest need not, and cannot, set it.
GUEST = model.VfSettings(
    min_tx_rate=0,
    max_tx_rate=0,
    spoofchk=True,
    trust=False,
    link_state='auto',
    vlan_qos=0,
    vlan_proto='802.1q',
)

NO_MAC = '00:00:00:00:00:00'


def wanted(vif: model.Vif) -> model.VfSettings:
    """What the PF is to hold for the VIF's VF.

    :raises UnsupportedSetting: values that no NIC can take.
    """
    # 4095 is reserved (IEEE 802.1Q, table 9-2).
    if not 0 <= vif.vlan <= 4094:
        raise unsupported(vif.ifname, 'vlan', vif.vlan, 'use 0 to 4094')
    if not 0 <= vif.vlan_qos <= 7:
        raise unsupported(vif.ifname, 'vlan_qos', vif.vlan_qos, 'use 0 to 7')
    if not vif.vlan and vif.vlan_qos:
        raise unsupported(
            vif.ifname, 'vlan_qos', vif.vlan_qos, 'it needs a VLAN'
        )
    if not vif.vlan and vif.vlan_proto != '802.1q':
        raise unsupported(
            vif.ifname, 'vlan_proto', vif.vlan_proto, 'it needs a VLAN'
        )
    return model.VfSettings(
        mac=vif.mac,
        vlan=vif.vlan,
        vlan_qos=vif.vlan_qos,
        vlan_proto=vif.vlan_proto,
        min_tx_rate=vif.min_tx_rate,
        max_tx_rate=vif.max_tx_rate,
        spoofchk=vif.spoofchk,
        trust=vif.trust,
        link_state=vif.link_state,
        node_guid=vif.guid or None,
        port_guid=vif.guid or None,
    )


def wanted_while_running(
    vif: model.Vif, original: model.VfSettings
) -> model.VfSettings:
    """What the PF is to hold of those settings that may change.

    :param original: before the VF was attached; counts where the VIF says
        nothing, as after a QoS policy was taken away.
    """
    values = {
        name: getattr(original, name)
        if getattr(vif, name) is None
        else getattr(vif, name)
        for name in model.CHANGEABLE
    }
    return model.VfSettings(**values)


def only_changeable(settings: model.VfSettings) -> model.VfSettings:
    """Those settings that may change while a pod has the VF."""
    names = model.CHANGEABLE
    return model.VfSettings(
        **{name: getattr(settings, name) for name in names}
    )


def list_drifting(
    attachment: model.Attachment, current: model.VfSettings
) -> list[str]:
    """Names of the settings that are not as the VIF, in its change, says.

    While it changes, either value will do: a kill may have come between.
    """
    names = list_differing(wanted(attachment.vif), current)
    if attachment.pending is None:
        return names
    later = list_differing(wanted(attachment.pending), current)
    return [name for name in names if name in later]


def settings_to_send(
    target: model.VfSettings, current: model.VfSettings
) -> model.VfSettings | None:
    """The settings to send so that ``current`` becomes ``target``.

    A group of which one member differs is sent whole. None: nothing to do.
    """
    changes: dict[str, object] = {}
    for group in GROUPS:
        if any(_is_different(target, current, name) for name in group):
            for name in group:
                value = getattr(target, name)
                if value is None:
                    value = getattr(current, name)
                changes[name] = value
    if not changes:
        return None
    return dataclasses.replace(
        model.VfSettings(),
        **changes,  # type: ignore[arg-type]
    )


def _is_different(
    target: model.VfSettings, current: model.VfSettings, name: str
) -> bool:
    value = getattr(target, name)
    if name == 'vlan_proto' and not target.vlan:
        return False  # an untagged VF has none
    return value is not None and value != getattr(current, name)


def list_differing(
    target: model.VfSettings, current: model.VfSettings
) -> list[str]:
    """Names of the settings that are not as they should be, in order."""
    return [
        name
        for group in GROUPS
        for name in group
        if _is_different(target, current, name)
    ]


def name_refused(names: Sequence[str], number: int) -> str:
    """Which of the settings that were not applied the NIC refuses.

    :param names: in the order in which the kernel applies them.
    :param number: the kernel's error; 0 for none.
    """
    if number == errno.EPROTONOSUPPORT and 'vlan_proto' in names:
        return 'vlan_proto'
    return names[0]


def is_pinned(
    settings: model.VfSettings, link: model.Link | None, assigned: bool
) -> bool:
    """Whether the PF has set the MAC it shows, and not the VF itself.

    No request tells. But a VF that has another MAC has not told this one,
    and one that has had this one since its driver was bound has it from the
    PF: where the PF has set none, drivers make one up (eth_hw_addr_random in
    igbvf_probe, ixgbevf_sw_init and iavf_process_config).

    :param assigned: nobody has changed the VF's own MAC, or made it up.
    """
    if settings.mac in (None, NO_MAC):
        return False
    return link is None or link.mac != settings.mac or assigned


def unpin_mac(
    original: model.VfState, current: model.VfSettings
) -> model.VfSettings:
    """What the PF is to hold while the VF gets its own MAC back.

    A VF cannot set its MAC while its PF has pinned another one. One that
    the PF had pinned, the VF takes when its driver is bound.
    """
    settings = original.settings
    assert settings is not None
    if original.pinned and original.mac == settings.mac:
        return settings
    another = settings.mac not in (original.mac, None)
    if original.mac and (another or settings.mac != current.mac):
        return dataclasses.replace(settings, mac=NO_MAC)
    return settings


def unsupported(
    where: str, setting: str, value: object, remedy: str
) -> exceptions.UnsupportedSetting:
    """The error to raise, with the remedy."""
    return exceptions.UnsupportedSetting(
        f'{where}: {setting} {value} cannot be set: {remedy}', setting
    )
