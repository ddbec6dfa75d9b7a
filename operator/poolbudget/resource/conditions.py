"""Conditions of a PoolBudget: types, reasons, and how an older list becomes a newer one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum


class ConditionType(StrEnum):
    """Positive polarity: True is what an administrator wants to see."""

    READY = "Ready"
    CAPACITY_KNOWN = "CapacityKnown"
    TARGETS_RESOLVED = "TargetsResolved"
    FEASIBLE = "Feasible"
    WITHIN_BUDGET = "WithinBudget"
    CONVERGED = "Converged"
    EXCLUSIVE = "Exclusive"


class Reason(StrEnum):
    """Every reason that a condition can have; docs/conditions.md says what each means."""

    BALANCED = "Balanced"
    INVALID_SPEC = "InvalidSpec"

    PROBED = "Probed"
    DECLARED = "Declared"
    WAITING_FOR_PROBE = "WaitingForProbe"
    SECRET_NOT_FOUND = "SecretNotFound"
    SECRET_KEY_NOT_FOUND = "SecretKeyNotFound"
    URL_INVALID = "UrlInvalid"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    CONNECTION_REFUSED = "ConnectionRefused"
    HOST_NOT_FOUND = "HostNotFound"
    TLS_FAILED = "TlsFailed"
    TIMED_OUT = "TimedOut"
    TOO_MANY_CONNECTIONS = "TooManyConnections"
    DATABASE_NOT_FOUND = "DatabaseNotFound"
    ROLE_NOT_FOUND = "RoleNotFound"
    PASSWORD_NOT_FOUND = "PasswordNotFound"
    PROBE_FAILED = "ProbeFailed"
    ESTIMATED = "Estimated"
    POOLER_LIMITS = "PoolerLimits"
    ENDPOINT_MISMATCH = "EndpointMismatch"
    POOLER_IN_FRONT = "PoolerInFront"
    NO_ESTIMATE = "NoEstimate"

    ALL_FOUND = "AllFound"
    TARGET_NOT_FOUND = "TargetNotFound"
    CONFIG_MAP_NOT_OURS = "ConfigMapNotOurs"
    CONFIG_MAP_TAKEN = "ConfigMapTaken"
    CONFIG_MAP_NOT_WRITTEN = "ConfigMapNotWritten"
    PODS_NOT_TOLD = "PodsNotTold"

    PODS_FIT = "PodsFit"
    MAX_PODS_DO_NOT_FIT = "MaxPodsDoNotFit"
    NOTHING_USABLE = "NothingUsable"
    CAPACITY_UNKNOWN = "CapacityUnknown"

    ALLOCATED_FITS = "AllocatedFits"
    ALLOCATED_EXCEEDS = "AllocatedExceeds"
    MAY_EXCEED = "MayExceed"
    UNBOUNDED = "Unbounded"

    PUBLISHED = "Published"
    WAITING_TO_RAISE = "WaitingToRaise"
    HELD_BY_PODS = "HeldByPods"
    PODS_FOLLOW = "PodsFollow"
    WAITING_FOR_PODS = "WaitingForPods"
    PODS_NOT_FOLLOWING = "PodsNotFollowing"
    NOT_PUBLISHED = "NotPublished"

    ONLY_BUDGET = "OnlyBudget"
    TARGET_BOUND_TWICE = "TargetBoundTwice"
    ENDPOINT_SHARED = "EndpointShared"
    SHARED_BY_SHARES = "SharedByShares"
    SHARES_EXCEED = "SharesExceed"


@dataclass(frozen=True, slots=True)
class Condition:
    """A metav1.Condition before it has a time: status is "True", "False" or "Unknown"."""

    type: ConditionType
    status: str
    reason: Reason
    message: str

    @property
    def is_true(self) -> bool:
        """Whether this is what an administrator wants to see."""
        return self.status == "True"


# Messages are bounded so that a status with many targets stays readable (metav1.Condition: 32768).
_MESSAGE_LENGTH = 1000


def true(type_: ConditionType, reason: Reason, message: str) -> Condition:
    """A condition that holds."""
    return Condition(type_, "True", reason, message[:_MESSAGE_LENGTH])


def false(type_: ConditionType, reason: Reason, message: str) -> Condition:
    """A condition that does not hold."""
    return Condition(type_, "False", reason, message[:_MESSAGE_LENGTH])


def unknown(type_: ConditionType, reason: Reason, message: str) -> Condition:
    """A condition that cannot be judged yet."""
    return Condition(type_, "Unknown", reason, message[:_MESSAGE_LENGTH])


def ready(conditions: Sequence[Condition]) -> Condition:
    """Ready sums up the others: the first that is not True gives the reason and the message.

    Converged does not count: waiting a few seconds before a raise is not a fault.
    """
    for condition in conditions:
        if not condition.is_true and condition.type is not ConditionType.CONVERGED:
            return false(ConditionType.READY, condition.reason, condition.message)
    return true(ConditionType.READY, Reason.BALANCED, "every pod has its share")


def merged(
    old: Iterable[dict[str, object]],
    new: Iterable[Condition],
    generation: int,
    now: str,
) -> list[dict[str, object]]:
    """The list to write: `lastTransitionTime` moves only where a status changed (metav1.Condition)."""
    before = {str(item.get("type")): item for item in old}
    result: list[dict[str, object]] = []
    for condition in new:
        previous = before.get(condition.type.value, {})
        same = previous.get("status") == condition.status
        result.append(
            {
                "type": condition.type.value,
                "status": condition.status,
                "observedGeneration": generation,
                "lastTransitionTime": previous.get("lastTransitionTime", now) if same else now,
                "reason": condition.reason.value,
                "message": condition.message,
            }
        )
    return result
