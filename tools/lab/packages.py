# SPDX-License-Identifier: Apache-2.0
"""Debian packages without installing them.

apt runs with state of its own inside the cache folder, against the archive
that this machine's apt is configured with, and downloads; nothing of the
machine's own package database is read or changed.
"""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeAlias

from tools.lab.errors import LabError
from tools.lab.process import need, run

KEYRING = '/usr/share/keyrings/debian-archive-keyring.gpg'
Data: TypeAlias = IO[bytes]
REMEDY = 'check that "apt-get update" works on this machine'


def host_release() -> str:
    """Codename of the Debian that this machine runs, e.g. ``bookworm``.

    :raises LabError: it is not a Debian that the lab knows.
    """
    facts: dict[str, str] = {}
    try:
        with open('/etc/os-release', encoding='utf-8') as source:
            for line in source:
                key, _, value = line.strip().partition('=')
                facts[key] = value.strip('"')
    except FileNotFoundError:
        pass
    codename = facts.get('VERSION_CODENAME', '')
    if facts.get('ID') != 'debian' or not codename:
        raise LabError(
            f'this is {facts.get("PRETTY_NAME", "an unknown system")}',
            'the lab needs Debian 12 (bookworm) or 13 (trixie) on amd64',
        )
    return codename


@dataclass(frozen=True, slots=True)
class Source:
    """One line of a sources.list."""

    uri: str
    suite: str


def configured_sources(release: str) -> list[Source]:
    """The Debian sources this machine's apt is configured with, main first.

    :raises LabError: none of them is *release*.
    """
    listed = run(
        [
            need('apt-get', 'apt'),
            '--no-release-info',
            'indextargets',
            '--format',
            '$(REPO_URI) $(RELEASE) $(COMPONENT)',
            'Identifier: Packages',
        ],
        doing='asking apt for its sources',
        remedy=REMEDY,
    )
    found: dict[Source, None] = {}
    for line in listed.splitlines():
        uri, suite, component = line.split()
        if component == 'main' and suite in (release, f'{release}-security'):
            found[Source(uri, suite)] = None
    sources = sorted(found, key=lambda source: source.suite != release)
    if not sources or sources[0].suite != release:
        raise LabError(
            f'apt has no source for {release} main',
            'add a "deb ... main" line for it to /etc/apt/sources.list',
        )
    return sources


def other_release(release: str, wanted: str) -> list[Source]:
    """The source of another Debian release, on the same archive."""
    return [Source(configured_sources(release)[0].uri, wanted)]


class Apt:
    """An apt with a root of its own: knows *sources*, has nothing installed.

    :param root: folder for its state; made when missing.
    """

    def __init__(self, root: Path, sources: Sequence[Source]) -> None:
        self.root = root
        self._apt_get = need('apt-get', 'apt')
        self._apt_cache = need('apt-cache', 'apt')
        for name in ('etc', 'lists/partial', 'archives/partial'):
            (root / name).mkdir(parents=True, exist_ok=True)
        (root / 'status').touch()
        (root / 'etc/sources.list').write_text(
            ''.join(
                f'deb [arch=amd64 signed-by={KEYRING}]'
                f' {source.uri} {source.suite} main\n'
                for source in sources
            ),
            encoding='utf-8',
        )

    def update(self) -> None:
        """Fetch the package lists."""
        self._run('update')

    def closure(self, names: Sequence[str]) -> list[Path]:
        """Download the packages and all they depend on."""
        self._run(
            'install',
            '--yes',
            '--download-only',
            '--no-install-recommends',
            *names,
        )
        return sorted((self.root / 'archives').glob('*.deb'))

    def depends(self, name: str) -> list[str]:
        """Names of the packages that one depends on directly."""
        said = run(
            [self._apt_cache, *self._options(), 'depends', name],
            doing=f'looking for what {name} depends on',
            remedy=REMEDY,
        )
        words = [line.strip().partition(' ') for line in said.splitlines()]
        return [name for word, _, name in words if word == 'Depends:']

    def newest_kernel(self) -> str:
        """Name of the package that holds Debian's default kernel."""
        for name in self.depends('linux-image-amd64'):
            if name.startswith('linux-image-'):
                return name
        raise LabError('linux-image-amd64 names no kernel', REMEDY)

    def download(self, name: str) -> Path:
        """Download one package without what it depends on."""
        folder = self.root / 'archives'
        said = run(
            [
                self._apt_get,
                *self._options(),
                '--print-uris',
                'download',
                name,
            ],
            doing=f'looking for {name}',
            remedy=REMEDY,
        )
        self._run('download', name, cwd=folder)
        return folder / said.split()[1]

    def _options(self) -> list[str]:
        values = {
            'Dir::Etc::sourcelist': self.root / 'etc/sources.list',
            'Dir::Etc::sourceparts': os.devnull,
            'Dir::Etc::preferences': os.devnull,
            'Dir::Etc::preferencesparts': os.devnull,
            'Dir::State': self.root,
            'Dir::State::lists': self.root / 'lists',
            'Dir::State::status': self.root / 'status',
            'Dir::Cache': self.root,
            'Dir::Cache::archives': self.root / 'archives',
            'APT::Sandbox::User': 'root',
            'APT::Install-Recommends': 'false',
            'Acquire::Languages': 'none',
            'Acquire::Retries': '3',
            'Acquire::IndexTargets::deb::DEP-11::DefaultEnabled': 'false',
        }
        return [
            word
            for key, value in values.items()
            for word in ('-o', f'{key}={value}')
        ]

    def _run(self, *words: str, cwd: Path | None = None) -> None:
        argv: list[str | Path] = [self._apt_get, '-q', *self._options()]
        if cwd is not None:
            argv = [need('env', 'coreutils'), '-C', cwd, *argv]
        run(
            [*argv, *words],
            doing=f'apt-get {" ".join(words)}',
            remedy=REMEDY,
            env={'DEBIAN_FRONTEND': 'noninteractive'},
        )


def contents(package: Path) -> Iterator[tuple[tarfile.TarInfo, Data | None]]:
    """What a package would install: each entry with its data.

    Names have no leading dot, and are those of a system where ``/bin``,
    ``/sbin`` and ``/lib`` are links into ``/usr``.
    """
    process = subprocess.Popen(
        [need('dpkg-deb', 'dpkg'), '--fsys-tarfile', str(package)],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    with process, tarfile.open(fileobj=process.stdout, mode='r|') as archive:
        for entry in archive:
            entry.name = merged_usr(entry.name)
            if entry.islnk():
                entry.linkname = merged_usr(entry.linkname)
            if entry.name:
                data = archive.extractfile(entry) if entry.isreg() else None
                yield entry, data
    if process.returncode:
        raise LabError(f'{package} cannot be read', 'remove it and try again')


def merged_usr(name: str) -> str:
    """The name on a system with a merged ``/usr``."""
    name = name.removeprefix('.').strip('/')
    if name.split('/')[0] in ('bin', 'sbin', 'lib', 'lib64'):
        return f'usr/{name}'
    return name
