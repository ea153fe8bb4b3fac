# SPDX-License-Identifier: Apache-2.0
"""Is kuryr.conf valid, and do the drivers it names load?"""

from __future__ import annotations

from collections.abc import Iterator

from kuryr_sriov import exceptions, plugins
from kuryr_sriov.cmd.check.findings import (
    Result,
    Subject,
    failed,
    ok,
    skipped,
    warning,
)
from kuryr_sriov.config import loading, misspellings


def check_files(subject: Subject) -> Iterator[Result]:
    """The files can be read and parsed."""
    if subject.error:
        yield from map(failed, subject.error.problems)
    elif subject.conf.config_file:
        yield ok(', '.join(subject.conf.config_file))
    else:
        yield warning(
            'There is no kuryr.conf; all options have their defaults.',
            'Write /etc/kuryr/kuryr.conf, or name one by --config-file.',
        )


def check_options(subject: Subject) -> Iterator[Result]:
    """The values of ``[sriov]`` make sense; all that is set is read."""
    for sentence in misspellings.find_misspellings(
        subject.conf, misspellings.list_known_options()
    ):
        yield warning(sentence)
    try:
        loading.validate_config(subject.conf, plugins.list_installed())
    except exceptions.ConfigurationError as error:
        yield from map(failed, error.problems)
        return
    yield ok('valid, and fit each other')


def check_drivers(subject: Subject) -> Iterator[Result]:
    """Each configured driver loads, and so do the options it brings."""
    for kind in plugins.KINDS:
        for name in sorted(kind.chosen_by(subject.conf.sriov[kind.option])):
            try:
                driver = plugins.load_plugin(kind, name)
                loading.read_section(subject.conf, driver)
            except exceptions.PluginError as error:
                yield _report_broken(kind, name, error)
            except exceptions.ConfigurationError as error:
                yield from map(failed, error.problems)
            else:
                yield ok(f'{_describe_kind(kind)} {name}')


def check_provider(subject: Subject) -> Iterator[Result]:
    """The VIF driver has what it needs of its provider."""
    name = subject.conf.sriov.vif_driver
    try:
        driver = plugins.load_plugin(plugins.VIF_DRIVERS, name)
        problems = driver.preflight(loading.read_section(subject.conf, driver))
    except exceptions.PluginError:
        yield skipped(f'vif driver {name} does not load here')
    except exceptions.KuryrSriovError as error:
        yield warning(
            f'vif driver {name}: {error}',
            'Where the controller runs, this has to be right; a node does '
            'not need it.',
        )
    else:
        yield from map(failed, problems)
        if not problems:
            yield ok(f'vif driver {name} finds nothing wrong')


def _describe_kind(kind: plugins.Kind) -> str:
    return kind.group.rpartition('.')[2].replace('_', ' ').removesuffix('s')


def _report_broken(
    kind: plugins.Kind, name: str, error: exceptions.PluginError
) -> Result:
    """A node can do without the drivers of a controller."""
    cause = error.__cause__
    missing = isinstance(cause, ModuleNotFoundError)
    if kind.side == 'node' or not missing:
        return failed(str(error))
    return warning(
        f'{_describe_kind(kind)} {name} does not load here: {cause}. A node '
        'does not need it.',
        'Where the controller runs:',
        "pip install 'kuryr-sriov[controller]'",
    )
