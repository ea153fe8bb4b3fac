# SPDX-License-Identifier: Apache-2.0
"""The one error a user of the lab sees."""

BROKEN = 125
TIMED_OUT = 124


class LabError(Exception):
    """The lab cannot go on: one line of reason, one of remedy.

    :param status: exit status that tells the caller which kind it is.
    """

    def __init__(self, reason: str, remedy: str, status: int = BROKEN) -> None:
        super().__init__(f'{reason}\n  {remedy}')
        self.status = status
        self.reason = reason
        self.remedy = remedy
