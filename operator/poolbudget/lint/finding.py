"""What a check found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from poolbudget.cluster.facts import Facts


class Severity(StrEnum):
    """Error: it will fail. Warning: it may fail, or wastes. Info: worth knowing."""

    ERROR = "Error"
    WARNING = "Warning"
    INFO = "Info"


@dataclass(frozen=True, slots=True)
class Finding:
    """One finding: `subject` is what it is about, `message` what is wrong and what to do."""

    code: str
    severity: Severity
    subject: str
    message: str

    def to_status(self) -> dict[str, str]:
        """As it stands in a PoolBudget's status."""
        return {
            "code": self.code,
            "severity": self.severity.value,
            "subject": self.subject,
            "message": self.message,
        }


@dataclass(frozen=True, slots=True)
class Check:
    """A named check. `look` yields the subject and the message of each finding."""

    code: str
    severity: Severity
    look: Callable[[Facts], Iterator[tuple[str, str]]]

    def findings(self, facts: Facts) -> Iterator[Finding]:
        """What it finds."""
        for subject, message in self.look(facts):
            yield Finding(self.code, self.severity, subject, message)
