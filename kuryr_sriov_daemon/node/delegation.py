# SPDX-License-Identifier: Apache-2.0
"""What Multus tells its delegates, held against what we know.

Multus passes the device that it counted out as ``deviceID``, what the pod's
annotation asks for in ``runtimeConfig``, and there the file for the device
information of the NPWG (device-info 1.1.0) as ``CNIDeviceInfoFile``. What
the NAD's author wrote arrives in the same places, so that nothing of it is
believed.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from kuryr_sriov import AttachedVif, Device, NotAllocated, Vif, device_info
from kuryr_sriov_daemon.node.cni_request import CONFIG, CniError, CniRequest

FOLDERS = (
    Path('/var/run/k8s.cni.cncf.io/devinfo/cni'),
    Path('/run/k8s.cni.cncf.io/devinfo/cni'),
)
"""Where a delegate's device information may be; the same on most hosts."""


def vif_of(request: CniRequest, vifs: Sequence[Vif]) -> Vif:
    """The VIF of the interface that a delegate is to make.

    :raises CniError: there is none, or not what ``runtimeConfig`` says.
    """
    vif = next((vif for vif in vifs if vif.ifname == request.ifname), None)
    if vif is None:
        names = ', '.join(vif.ifname for vif in vifs) or 'none'
        raise CniError(
            CONFIG,
            f'no VIF was promised for {request.ifname} of pod '
            f'{request.pod_namespace}/{request.pod_name} (there is {names}); '
            'a NetworkAttachmentDefinition with spec.config of this plugin '
            'needs the annotation openstack.org/kuryr-config as well',
        )
    wanted = request.runtime_config
    ips = [str(ip).partition('/')[0] for ip in wanted.get('ips') or ()]
    have = [address.partition('/')[0] for address in vif.addresses]
    mac = str(wanted.get('mac') or '').lower()
    wrong = [ip for ip in ips if ip not in have]
    wrong += [mac] if mac not in ('', vif.mac) else []
    if wrong:
        raise CniError(
            CONFIG,
            f'runtimeConfig asks for {", ".join(wrong)}, but the port of '
            f'{vif.ifname} has {", ".join([*have, vif.mac])}; recreate '
            'the pod to get new ports',
        )
    return vif


def devices_of(
    request: CniRequest,
    vif: Vif,
    allocated: Callable[[], Collection[Device]],
) -> Collection[Device]:
    """The VF that Multus chose; nothing where it chose none.

    :param allocated: asks the kubelet.
    :raises NotAllocated: the kubelet did not give the pod that VF.
    """
    if not request.device_id:
        return ()
    chosen = Device(vif.resource, request.device_id)
    if chosen not in allocated():
        raise NotAllocated(
            f'Multus has chosen VF {chosen.pci} for {vif.ifname}, but the '
            f'kubelet has not allocated it to the pod as {chosen.resource}; '
            'see the annotation k8s.v1.cni.cncf.io/resourceName of '
            f'NetworkAttachmentDefinition {vif.network}'
        )
    return (chosen,)


def write_device_info(
    request: CniRequest, attached: Sequence[AttachedVif]
) -> None:
    """Write the file that Multus asks for, if it does.

    :raises CniError: it cannot be written, or would be elsewhere.
    """
    path = _device_info_file(request)
    if path is None or not attached:
        return
    text = json.dumps(device_info(attached[0].device_info))
    new = path.with_name(f'.{path.name}.new')
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        new.write_text(text)
        # Multus may read it at any moment.
        os.replace(new, path)
    except OSError as error:
        raise CniError(
            5, f'{path}: {error}; mount {path.parent} into the node daemon'
        ) from error


def remove_device_info(request: CniRequest) -> None:
    """Remove that file; Multus does too, where it has its configuration."""
    with contextlib.suppress(OSError, CniError):
        path = _device_info_file(request)
        if path is not None:
            path.unlink()


def _device_info_file(request: CniRequest) -> Path | None:
    name = request.runtime_config.get('CNIDeviceInfoFile')
    if not name:
        return None
    path = Path(str(name))
    if path.parent not in FOLDERS or path.name.startswith('.'):
        raise CniError(
            CONFIG, f'CNIDeviceInfoFile {name} is not in {FOLDERS[0]}'
        )
    return path
