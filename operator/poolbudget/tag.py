"""The tag in `application_name` by which a pod's pools say in the database what they have applied.

    orders pb:3f2a9c51d7e0.k3j9x2.7f2e.0.t6a1c0.13

The application's own name, then the pod, the process in it, the PoolBudget, which of the process's pools,
the revision of the share that it has applied (in base 36), and that share's cap. Both sides know it: the
client library writes it, the operator reads it in pg_stat_activity, where every role sees it.

PostgreSQL cuts the name at the end, after 63 bytes, and replaces what is not ASCII (manual, 19.8.3,
`application_name`): so the application's own name is cut before that, and the tag stands last.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

MOST_BYTES = 63
"""What PostgreSQL keeps of `application_name` (NAMEDATALEN - 1)."""

POD_DIGITS = 12
"""The last group of a pod's UID: 48 random bits."""

_PATTERN = re.compile(
    r"(?:^| )pb:(?P<pod>[0-9a-f]{12})\.(?P<process>[0-9a-z]{1,8})\.(?P<budget>[0-9a-f]{4})"
    r"\.(?P<pool>[0-9]{1,2})\.(?P<revision>[0-9a-z]{1,10})\.(?P<cap>[0-9]{1,6})$"
)


@dataclass(frozen=True, slots=True)
class Tag:
    """What one connection says: its pool has applied `revision`, with at most `cap` connections.

    Revision 0 is the share that a container starts with, before it is given one of its own.
    """

    pod: str
    process: str
    budget: str
    pool: int
    revision: int
    cap: int

    def __str__(self) -> str:
        revision = base_36(self.revision)
        return f"pb:{self.pod}.{self.process}.{self.budget}.{self.pool}.{revision}.{self.cap}"


def pod_part(uid: str) -> str:
    """What stands in a tag for a pod. Raises ValueError for what is no UID."""
    part = uid.strip().lower().rpartition("-")[2]
    if not re.fullmatch(r"[0-9a-f]{12}", part):
        raise ValueError(f"not the UID of a pod: {uid[:40]!r}")
    return part


def budget_part(name: str) -> str:
    """What stands in a tag for a PoolBudget: enough to tell those apart that one pod belongs to."""
    return hashlib.blake2b(name.encode(), digest_size=2).hexdigest()


def base_36(number: int) -> str:
    """A number from 0 in digits and letters, as `int(text, 36)` reads it."""
    digits = ""
    while True:
        number, digit = divmod(number, 36)
        digits = "0123456789abcdefghijklmnopqrstuvwxyz"[digit] + digits
        if not number:
            return digits


def labelled(name: str, tag: Tag) -> str:
    """The application's own name, as much of it as there is room for, and the tag."""
    ending = str(tag)
    own = "".join(sign if " " <= sign <= "~" and sign != "\\" else "?" for sign in without_tag(name))
    own = own[: MOST_BYTES - len(ending) - 1].strip()
    return f"{own} {ending}" if own else ending


def without_tag(name: str) -> str:
    """The application's own name."""
    return _PATTERN.sub("", name).strip()


def read_tag(name: str) -> Tag | None:
    """The tag in an `application_name`; None where there is none."""
    found = _PATTERN.search(name)
    if found is None:
        return None
    return Tag(
        pod=found["pod"],
        process=found["process"],
        budget=found["budget"],
        pool=int(found["pool"]),
        revision=int(found["revision"], 36),
        cap=int(found["cap"]),
    )
