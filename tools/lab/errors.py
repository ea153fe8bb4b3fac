# SPDX-License-Identifier: Apache-2.0
"""The one error a user of the lab sees."""


class LabError(Exception):
    """The lab cannot go on: one line of reason, one of remedy."""

    def __init__(self, reason: str, remedy: str) -> None:
        super().__init__(f'{reason}\n  {remedy}')
        self.reason = reason
        self.remedy = remedy
