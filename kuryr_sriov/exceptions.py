# SPDX-License-Identifier: Apache-2.0
"""Everything the library raises.

::

    KuryrSriovError
    ├── TransientError            the same call may succeed later
    │   ├── DeviceBusy            VF or PF is in use, or the NIC says EBUSY
    │   ├── KubeletUnavailable    no answer from the kubelet
    │   ├── ProviderUnavailable   no answer from the network provider
    │   ├── ProviderExhausted     no address, MAC or quota is free now
    │   ├── ProviderDenied        our credentials or roles do not suffice yet
    │   ├── NetworkMissing        a NAD that a pod names is not there yet
    │   ├── OrphansRefused        too many VIFs without a pod to be true
    │   ├── LedgerBusy            another process holds the ledger
    │   ├── ResourceConflict      another client changed the object first
    │   └── ResourceExpired       the API server's past is gone: list again
    └── PermanentError            somebody has to change something first
        ├── ConfigurationError    kuryr.conf; ``problems`` lists all mistakes
        ├── PluginError           a driver is missing, broken or outdated
        ├── InvalidAnnotation     the pod's annotation or its NAD
        ├── InvalidInput          what a host passed in; ``field`` says which
        ├── NotAllocated          the kubelet gave the pod too few VFs
        ├── DeviceMissing         no such PCI device, or not a VF
        ├── UnsupportedSetting    the NIC cannot do ``setting``
        ├── KernelError           the kernel refused; ``errno`` says why
        ├── SandboxDeleted        DEL came while ADD was under way
        ├── Drifted               a VF is not as it was attached
        ├── Owed                  a VF could not be restored, by any way
        ├── ProviderRefused       the network provider says no
        └── LedgerError           the ledger cannot be read or written

Whether to retry is the type, decided where the cause is known. Each message
says what was wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class KuryrSriovError(Exception):
    """Base of every error the library raises on purpose."""


class TransientError(KuryrSriovError):
    """The same call may succeed later.

    :param retry_after: seconds after which a retry makes sense.
    """

    def __init__(self, message: str, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class DeviceBusy(TransientError):
    """A VF or PF is in use by somebody else, or still settling."""


class KubeletUnavailable(TransientError):
    """The kubelet does not say what it allocated."""


class ProviderUnavailable(TransientError):
    """The network provider does not answer."""


class ProviderExhausted(TransientError):
    """No address or quota is left, or another pod has what is asked for.

    That may be the predecessor of the same name, on its way out.
    """


class ProviderDenied(TransientError):
    """Our credentials or roles do not suffice; it works once they do."""

    def __init__(self, message: str, retry_after: float = 30.0) -> None:
        super().__init__(message, retry_after)


class NetworkMissing(TransientError):
    """A pod names a NetworkAttachmentDefinition that is not there yet."""

    def __init__(self, message: str, retry_after: float = 30.0) -> None:
        super().__init__(message, retry_after)


class OrphansRefused(TransientError):
    """So many pods seem to be gone that the list of them is in doubt."""

    def __init__(self, message: str, retry_after: float = 600.0) -> None:
        super().__init__(message, retry_after)


class LedgerBusy(TransientError):
    """Another process holds the ledger."""


class ResourceConflict(TransientError):
    """Another client changed, or made, the Kubernetes object first."""


class ResourceExpired(TransientError):
    """The API server no longer has the past that was asked for (410)."""


class PermanentError(KuryrSriovError):
    """A retry changes nothing: somebody has to act first."""


class ConfigurationError(PermanentError):
    """kuryr.conf is wrong.

    :param problems: every mistake found, one sentence each.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__('\n'.join(problems))
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.problems,)


class PluginError(PermanentError):
    """A driver is not installed, does not load, or breaks its contract."""


class InvalidAnnotation(PermanentError):
    """The pod's networks annotation, or a NAD it names, cannot be used."""


class InvalidInput(PermanentError):
    """What a host passed in cannot be used; nothing was done.

    :param field: what is wrong: ``container_id``, ``netns``, ``pod``,
        ``ifname``, ``vif``, ``device``.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.field)


class NotAllocated(PermanentError):
    """The kubelet allocated fewer VFs than the pod's networks need."""


class DeviceMissing(PermanentError):
    """There is no such PCI device on this node, or it is not a VF."""


class UnsupportedSetting(PermanentError):
    """The NIC or its driver cannot do what the VIF asks for.

    :param setting: the refused setting, as ``model.VfSettings`` names it.
    """

    def __init__(self, message: str, setting: str) -> None:
        super().__init__(message)
        self.setting = setting

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.setting)


class KernelError(PermanentError):
    """The kernel refused an operation.

    :param errno: the error number, as in the module ``errno``.
    """

    def __init__(self, message: str, errno: int) -> None:
        super().__init__(message)
        self.errno = errno

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.errno)


class SandboxDeleted(PermanentError):
    """DEL came for a sandbox while its ADD was under way: it has no VF."""


class Drifted(PermanentError):
    """A VF or its interface is not as it was attached.

    :param may_settle: nothing differs but settings that the network provider
        may change while the pod runs. Its agent on the node may have set
        them already, before the node was told.
    """

    def __init__(self, message: str, may_settle: bool = False) -> None:
        super().__init__(message)
        self.may_settle = may_settle

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.may_settle)


class Owed(PermanentError):
    """What a VF was before cannot be restored, by any way there is.

    Binding drivers raise it from ``disconnect``. The attachment stays on
    record with the message, and DEL succeeds: a retry by the runtime would
    change nothing.

    :param usable: the VF is home and may be given to the next pod, but for
        what the message names; that is restored after that pod.
    """

    def __init__(self, message: str, usable: bool = False) -> None:
        super().__init__(message)
        self.usable = usable

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (self.args[0], self.usable)


class ProviderRefused(PermanentError):
    """The network provider will not do it, now or later."""


class LedgerError(PermanentError):
    """The ledger cannot be read or written."""
