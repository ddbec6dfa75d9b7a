"""What people see, for 100 columns."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from poolbudget.commands.outlook import Outlook, TargetOutlook
from poolbudget.lint.finding import Severity
from poolbudget.planning.inputs import PoolSizes
from poolbudget.planning.plan import TargetPlan

_COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def grid() -> Table:
    """Pairs of a word and what it stands for."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def columns(*names: str, title: str | None = None) -> Table:
    """A table whose first column is text and whose others are numbers."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, title=title, title_justify="left")
    for position, name in enumerate(names):
        table.add_column(name, justify="left" if position == 0 else "right", overflow="fold")
    return table


def show_outlook(console: Console, found: Outlook) -> None:
    """One PoolBudget: targets, sums, the rollout, and what the checks found."""
    verdict = "[green]fits[/]" if found.fits else "[red]does not fit[/]"
    console.print(f"[bold]{found.namespace}/{found.name}[/]  {found.endpoint}  {verdict}", highlight=False)
    table = columns("target", "pods", "pool", "per pod", "max pods", "pool then")
    for item in found.targets:
        table.add_row(*_target_row(item))
    console.print(table)
    words = grid()
    for name, text in _lines(found):
        words.add_row(name, escape(text))
    console.print(words, highlight=False)
    for finding in found.findings:
        console.print(
            f"[{_COLOURS[finding.severity]}]{finding.code} {finding.severity.value}[/] "
            f"{escape(finding.subject)}: {escape(finding.message)}",
            highlight=False,
        )
    console.print()


def _target_row(item: TargetOutlook) -> tuple[str, ...]:
    return (
        str(item.key),
        _change(str(item.pods_before), str(item.pods_after)),
        _change(_told(item.before), _told(item.after)),
        str(item.each),
        str(item.maximum),
        "" if item.at_maximum is None else str(item.at_maximum),
    )


def _lines(found: Outlook) -> list[tuple[str, str]]:
    if found.usable is None:
        return [("Usable", "not known: nobody has said how many connections there are")]
    lines = [("Usable", f"{found.arithmetic} ({(found.source or '').lower()})")]
    lines.append(("Sum", f"{found.sum_in_words} of {found.usable}{_over(found.sum_after, found.usable)}"))
    lines.append(
        ("Formula", f"{found.formula_in_words} of {found.usable}{_over(found.formula, found.usable)}")
    )
    if found.rollout_worst is not None:
        surge = found.safe_max_surge
        advice = "no maxSurge is safe" if surge is None else f"maxSurge up to {surge} stays within"
        lines.append(("Rollout", f"at most {found.rollout_worst} while old pods terminate; {advice}"))
    lines.append(
        (
            "At most",
            f"{found.expected_pods} pods need {found.floor_sum} at their floors; {found.max_pods} pods fit",
        )
    )
    if not found.alone.is_true:
        lines.append(("Shared", found.alone.message))
    return lines


def _over(connections: int, usable: int) -> str:
    return f", {connections - usable} too many" if connections > usable else ""


def _told(planned: TargetPlan) -> str:
    """What a target's pods get: the largest share of those that follow theirs, else what is published."""
    if planned.shares:
        return _sizes(max((share.sizes for share in planned.shares), key=lambda sizes: sizes.cap))
    return _sizes(planned.sizes)


def _sizes(sizes: PoolSizes | None) -> str:
    return "none" if sizes is None else str(sizes)


def _change(before: str, after: str) -> str:
    return before if before == after else f"{before} -> {after}"
