# SPDX-License-Identifier: Apache-2.0
"""The discs in the machine's CD drives, made when it starts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tools.lab.process import run
from tools.lab.recipes import Toolbox
from tools.lab.topology import Disc


def make_discs(
    discs: Sequence[Disc], repository: Path, toolbox: Toolbox, folder: Path
) -> list[Path]:
    """An image of each in *folder*, made as Nova has its config drives made.

    :raises LabError: a file is not there.
    """
    images: list[Path] = []
    for number, disc in enumerate(discs):
        image = folder / f'disc{number}.iso'
        run(
            [
                # Nova's nova/virt/configdrive.py has the same program, and
                # these options, Joliet's and Rock Ridge's names among them
                *toolbox.command('bin/genisoimage'),
                *('-quiet', '-allow-lowercase', '-allow-multidot'),
                *('-ldots', '-l', '-J', '-r', '-V', disc.label),
                *('-o', image, '-graft-points'),
                *(
                    f'{name}={repository / file}'
                    for name, file in disc.files.items()
                ),
            ],
            doing=f'making the disc {disc.label}',
            remedy='correct "discs" in the topology',
        )
        images.append(image)
    return images


def disc_words(images: Sequence[Path]) -> list[str]:
    """QEMU's words for one drive each, on the SATA ports of the q35."""
    words: list[str] = []
    for number, image in enumerate(images):
        words += [
            '-drive',
            f'if=none,id=disc{number},media=cdrom,format=raw,file={image}',
            '-device',
            f'ide-cd,bus=ide.{number},drive=disc{number}',
        ]
    return words
