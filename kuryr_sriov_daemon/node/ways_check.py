# SPDX-License-Identifier: Apache-2.0
"""Whether one of the two ways in is used, and not both or none.

For ``kuryr-sriov check``. Both ways read the same annotation: where both act,
the second finds the interface there and fails the pod. A running Multus also
fails pods whose networks have no ``spec.config``, which the chained way has
no need of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from kuryr_sriov import (
    ConfigurationError,
    KubernetesSession,
    KuryrSriovError,
    check_config,
)
from kuryr_sriov_daemon.node.conflist import TYPE, Conflist
from kuryr_sriov_daemon.node.deadlines import read_limits
from kuryr_sriov_daemon.options import SECTIONS, register_daemon_options

Finding = tuple[Literal['ok', 'warning', 'failed', 'skipped'], str, str]
"""Status, what was found, and what to do."""

KURYR = 'openstack.org/kuryr-config'
MULTUS = 'multus', 'multus-shim'
NADS = '/apis/k8s.cni.cncf.io/v1/network-attachment-definitions'
MOST_NAMES = 5


def examine_ways(conf: Any, connect: Any) -> Iterator[Finding]:
    """What is wrong with how pods come to the CNI plugin on this node.

    Nothing is told where the node daemon was never installed.

    :param conf: of the library; the daemons' options are added to it.
    :param connect: makes a session with the API server.
    """
    register_daemon_options(conf)
    try:
        check_config(conf, 'node', SECTIONS)
        read_limits(conf)
    except ConfigurationError as error:
        for problem in error.problems:
            yield 'failed', problem, ''
        return
    own = conf.sriov_node
    conflist = Conflist(Path(own.cni_conf_dir))
    files = conflist.list_types()
    plugin = Path(own.cni_bin_dir) / TYPE
    if not plugin.exists() and not any(TYPE in types for _, types in files):
        return
    multus = any(name in types for _, types in files for name in MULTUS)
    if own.way == 'chained':
        yield _examine_chain(conflist.find_active(), files)
    else:
        yield _examine_delegate(files, multus)
    yield from _examine_networks(connect, own.way == 'chained', multus)


def _examine_chain(
    active: Path | None, files: Iterable[tuple[Path, list[str]]]
) -> Finding:
    types = next((types for path, types in files if path == active), [])
    if types[-1:] == [TYPE]:
        return 'ok', f'{active} has {TYPE} as its last plugin', ''
    where = 'not the last plugin' if TYPE in types else 'not'
    return (
        'failed',
        f'{TYPE} is {where} in {active or "any CNI configuration"}: pods get '
        'no VFs.',
        'See whether kuryr-sriov-node runs here, and what it logs.',
    )


def _examine_delegate(
    files: Iterable[tuple[Path, list[str]]], multus: bool
) -> Finding:
    chained = [
        str(path) for path, types in files if TYPE in types and len(types) > 1
    ]
    if chained:
        return (
            'failed',
            f'Both ways would act: [sriov_node] way is delegate, and '
            f'{", ".join(chained)} has {TYPE} chained.',
            f'Take {TYPE} out of that file, or say way = chained and take '
            'Multus away.',
        )
    if not multus:
        return (
            'failed',
            '[sriov_node] way is delegate, and no CNI configuration here has '
            'Multus: nobody calls the plugin.',
            'Install Multus, or say way = chained.',
        )
    return 'ok', f'Multus calls {TYPE}', ''


def _examine_networks(
    connect: Any, chained: bool, multus: bool
) -> Iterator[Finding]:
    """The networks of the cluster, as far as we may list them."""
    try:
        nads = _list_networks(connect())
    except KuryrSriovError as error:
        yield (
            'skipped',
            f'The networks of the cluster were not looked at: {error}',
            'Name credentials that may list them by --kubeconfig.',
        )
        return
    bare: list[str] = []
    ours: list[str] = []
    foreign: list[str] = []
    for nad in nads:
        metadata = nad['metadata']
        name = f'{metadata["namespace"]}/{metadata["name"]}'
        is_kuryr = KURYR in (metadata.get('annotations') or {})
        config = (nad.get('spec') or {}).get('config')
        if TYPE in _types_of(config):
            (ours if is_kuryr else foreign).append(name)
        elif is_kuryr and not config:
            bare.append(name)
    if foreign:
        yield (
            'failed',
            f'Networks with a spec.config of {TYPE}, and without the '
            f'annotation {KURYR}: {_join(foreign)}. Their pods do not start.',
            'Add the annotation, as examples/howto/multus.yaml has it.',
        )
    if bare and multus:
        yield (
            'failed',
            f'Multus runs here, and fails pods of networks without '
            f'spec.config: {_join(bare)}.',
            'Give them one, as examples/howto/multus.yaml does, and say '
            '[sriov_node] way = delegate; or take Multus away.',
        )
    elif bare and not chained:
        yield (
            'warning',
            f'Networks without spec.config: {_join(bare)}. Multus does not '
            'call us for them.',
            'Give them one, as examples/howto/multus.yaml does.',
        )
    if ours and chained:
        yield (
            'failed' if multus else 'warning',
            f'Both ways {"would act" if multus else "are prepared"}: '
            f'[sriov_node] way is chained, and networks have a spec.config '
            f'of {TYPE}: {_join(ours)}.',
            'Say way = delegate, or take spec.config out of them.',
        )


def _list_networks(session: KubernetesSession) -> list[Mapping[str, Any]]:
    try:
        pages = session.list_objects(NADS)
        return [nad for page in pages for nad in page['items']]
    finally:
        session.close()


def _types_of(text: Any) -> list[Any]:
    """The plugin types of a ``spec.config``, which anybody may have written.

    It is a plugin's configuration, or a list of plugins.
    """
    try:
        found = json.loads(text or '{}')
    except (TypeError, ValueError, RecursionError):
        return []
    if not isinstance(found, dict):
        return []
    plugins = found.get('plugins', [found])
    plugins = plugins if isinstance(plugins, list) else []
    return [each.get('type') for each in plugins if isinstance(each, dict)]


def _join(names: list[str]) -> str:
    more = len(names) - MOST_NAMES
    shown = ', '.join(sorted(names)[:MOST_NAMES])
    return f'{shown} and {more} more' if more > 0 else shown
