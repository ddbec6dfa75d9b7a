"""What a provider's documents say of max_connections: for when nobody can ask the server itself.

An estimate is never better than its table, so the planner takes its lowest value. docs/endpoints.md
compares these rules with the formulas that are often quoted.
"""

from __future__ import annotations

import bisect
import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from poolbudget.capacity.tables import table
from poolbudget.resource.capacity import Estimate as EstimateSpec
from poolbudget.resource.endpoint import Endpoint, Provider

_GIB = 2**30


class NoEstimate(Exception):
    """The tables say nothing about this; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Connections by a provider's rule. `lowest` is what may be counted on.

    `reserved` are those that an ordinary role never gets, of `connections`; `rule` and `source` are for
    people.
    """

    connections: int
    reserved: int
    uncertainty_percent: int
    rule: str
    source: str

    @property
    def lowest(self) -> int:
        """The figure less its uncertainty, rounded down."""
        return self.connections * (100 - self.uncertainty_percent) // 100

    def __str__(self) -> str:
        margin = f", less {self.uncertainty_percent} % of uncertainty" if self.uncertainty_percent else ""
        return f"{self.lowest} by {self.rule}{margin} ({self.source})"


def estimate(endpoint: Endpoint, size: EstimateSpec) -> Estimate:
    """The estimate for an endpoint's provider. Raises NoEstimate."""
    rule = _RULES.get(endpoint.provider)
    if rule is None:
        raise NoEstimate("an estimate needs endpoint.provider, since the tables are the providers'")
    found = rule(size)
    if found.connections <= found.reserved:
        raise NoEstimate(f"{found.rule} gives {found.connections} connections: check the size")
    return found


def gibibytes(memory: str) -> float:
    """GiB in a quantity such as 8Gi or 512Mi."""
    number = float(memory[:-2])
    return number if memory.endswith("Gi") else number / 1024


def class_memory(name: str) -> float:
    """GiB of an instance class of AWS, such as db.r6g.large. Raises NoEstimate."""
    data = table("memory")
    if name in data["exceptions"]:
        return float(data["exceptions"][name])
    match = re.fullmatch(r"db\.([a-z])[0-9a-z-]*\.([0-9a-z]+)", name)
    family, size = match.groups() if match else ("", "")
    if family == "t" and size in data["burstable"]:
        return float(data["burstable"][size])
    if family in data["per_large"] and size in data["sizes"]:
        return float(data["per_large"][family] * data["sizes"][size])
    raise NoEstimate(f"the class {name} is not known: give estimate.memory instead")


def rds(size: EstimateSpec) -> Estimate:
    """RDS for PostgreSQL: by the class's memory, less what servers of that size were seen to lack."""
    memory = _memory(size, class_memory)
    return _by_memory_of_aws(memory, size.class_ or f"{memory:g} GiB")


def _by_memory_of_aws(memory: float, name: str) -> Estimate:
    data = table("rds")
    formula = memory * _GIB / data["divisor"]
    # What the system takes, in connections: between two servers that were looked at in a straight line.
    seen = [(float(gib), gib * _GIB / data["divisor"] - count) for gib, count in data["observed"].items()]
    lacking = _interpolated(seen, memory)
    connections = min(round(formula - lacking), data["most"])
    return Estimate(
        connections,
        data["reserved"],
        data["uncertainty"],
        f"LEAST(DBInstanceClassMemory/{data['divisor']}, {data['most']}) for {name}, {memory:g} GiB less "
        "what the system takes",
        _source(data),
    )


def aurora(size: EstimateSpec) -> Estimate:
    """Aurora PostgreSQL: the documented table, else as RDS."""
    data = table("aurora")
    if size.class_ in data["classes"]:
        connections, memory = data["classes"][size.class_], 0.0
    else:
        memory = _memory(size, class_memory)
        if memory < data["from_memory"]:
            return _by_memory_of_aws(memory, size.class_ or f"{memory:g} GiB")
        connections = data["most"]
    rule = f"the table of classes ({size.class_ or f'{memory:g} GiB'})"
    return Estimate(connections, data["reserved"], data["uncertainty"], rule, _source(data))


def aurora_serverless(size: EstimateSpec) -> Estimate:
    """Aurora Serverless v2: by the maximum of the range, and capped where it may go idle."""
    if size.acu is None:
        raise NoEstimate("Aurora Serverless v2 needs estimate.acu with min and max")
    data = table("aurora")
    least, most = float(size.acu.min), float(size.acu.max)
    points = [(float(units), float(count)) for units, count in data["serverless"].items()]
    if most < points[0][0]:
        raise NoEstimate("the maximum of Aurora Serverless v2 is at least 1 capacity unit")
    connections = min(int(_interpolated(points, most)), data["most"])
    rule = f"the maximum of {size.acu.max} capacity units"
    if least <= 0.5 and connections > data["serverless_idle_most"]:
        connections = data["serverless_idle_most"]
        rule = f"{rule}, at most {connections} with a minimum of {size.acu.min}"
    return Estimate(connections, data["reserved"], data["uncertainty"], rule, _source(data))


def cloud_sql(size: EstimateSpec) -> Estimate:
    """Cloud SQL for PostgreSQL: steps by memory."""
    data = table("cloud_sql")
    memory = _memory(size, _cloud_sql_memory)
    connections = _step(data["from_memory"], memory)
    rule = f"the default for {memory:g} GB"
    return Estimate(connections, data["reserved"], data["uncertainty"], rule, _source(data))


def _cloud_sql_memory(name: str) -> float:
    """GB of db-custom-CPUS-MEGABYTES, db-perf-optimized-N-CPUS or a shared machine type."""
    shared = table("cloud_sql")["shared"]
    if name in shared:
        return float(shared[name])
    if match := re.fullmatch(r"db-custom-[0-9]+-([0-9]+)", name):
        return int(match[1]) / 1024
    if match := re.fullmatch(r"db-perf-optimized-N-([0-9]+)", name):
        return 8.0 * int(match[1])
    raise NoEstimate(f"the machine type {name} is not known: give estimate.memory instead")


def alloy_db(_: EstimateSpec) -> Estimate:
    """AlloyDB: one default for all sizes."""
    data = table("alloy_db")
    return Estimate(data["any"], data["reserved"], data["uncertainty"], "the default", _source(data))


def azure(size: EstimateSpec) -> Estimate:
    """Azure Database for PostgreSQL, flexible server: by memory, but for the smallest sizes."""
    data = table("azure")
    name = f"standard_{(size.class_ or '').lower().removeprefix('standard_')}"
    if name in data["classes"]:
        connections, what = data["classes"][name], size.class_
    else:
        memory = _memory(size, _azure_memory)
        by_formula = min(int(memory * _GIB / data["divisor"]), data["most"])
        connections = data["documented"].get(memory, by_formula)
        what = f"{memory:g} GiB"
    rule = f"the table of sizes ({what}), if the server was created at this size"
    return Estimate(connections, data["reserved"], data["uncertainty"], rule, _source(data))


def _azure_memory(name: str) -> float:
    """GiB of a compute size such as Standard_D2ds_v5: its vCPUs times what its family has for each."""
    match = re.fullmatch(r"(?:standard_)?([bde])([0-9]+)[a-z]*(?:_v[0-9]+)?", name.lower())
    if match is None:
        raise NoEstimate(f"the compute size {name} is not known: give estimate.memory instead")
    return float(table("azure")["per_core"][match[1]] * int(match[2]))


def neon(size: EstimateSpec) -> Estimate:
    """Neon: by compute units."""
    data = table("neon")
    text = re.sub(r"\s*CU$", "", size.class_ or "", flags=re.IGNORECASE)
    try:
        units = float(text)
        if not math.isfinite(units):
            raise ValueError(text)
    except ValueError:
        raise NoEstimate("Neon needs estimate.class with its compute units, such as 2") from None
    connections = _step(data["from_size"], units)
    return Estimate(
        connections, data["reserved"], data["uncertainty"], f"{units:g} compute units", _source(data)
    )


def supabase(size: EstimateSpec) -> Estimate:
    """Supabase: direct connections by compute size; its pooler's clients are capacity.pooler's."""
    data = table("supabase")
    plan = (size.class_ or "").lower()
    if plan not in data["plans"]:
        known = ", ".join(data["plans"])
        raise NoEstimate(f"Supabase needs estimate.class with the compute size: one of {known}")
    direct, _ = data["plans"][plan]
    rule = f"compute size {size.class_}"
    return Estimate(direct, data["reserved"], data["uncertainty"], rule, _source(data))


_RULES: dict[Provider, Callable[[EstimateSpec], Estimate]] = {
    Provider.RDS: rds,
    Provider.AURORA: aurora,
    Provider.AURORA_SERVERLESS: aurora_serverless,
    Provider.CLOUD_SQL: cloud_sql,
    Provider.ALLOY_DB: alloy_db,
    Provider.AZURE: azure,
    Provider.NEON: neon,
    Provider.SUPABASE: supabase,
}


def cores(endpoint: Endpoint, size: EstimateSpec | None) -> int | None:
    """VCPUs of an instance class, None where its name does not tell."""
    name = None if size is None else size.class_
    if name is None:
        return None
    if endpoint.provider in (Provider.RDS, Provider.AURORA):
        suffix = name.rsplit(".", 1)[-1]
        multiple = table("memory")["sizes"].get(suffix)
        if suffix in table("memory")["burstable"] and (multiple is None or multiple < 1):
            return 2
        return None if multiple is None else max(1, int(2 * multiple))
    patterns = {
        Provider.CLOUD_SQL: r"db-custom-([0-9]+)-[0-9]+",
        Provider.AZURE: r"(?:standard_)?[bde]([0-9]+)[a-z]*(?:_v[0-9]+)?",
    }
    match = re.fullmatch(patterns.get(endpoint.provider, "(?!)"), name.lower())
    return int(match[1]) if match else None


def _memory(size: EstimateSpec, of_class: Callable[[str], float]) -> float:
    if size.memory is not None:
        return gibibytes(size.memory)
    if size.class_ is not None:
        return of_class(size.class_)
    raise NoEstimate("an estimate needs class or memory here")


def _source(data: dict[str, object]) -> str:
    believed = ", not read again" if data.get("believed") else ""
    return f"{data['source']}, {data['date']}{believed}"


def _step(steps: dict[float, int], value: float) -> int:
    """The entry of the largest step that is not above the value. Raises NoEstimate below the first."""
    bounds = sorted(steps)
    position = bisect.bisect_right(bounds, value)
    if not position:
        raise NoEstimate(f"{value:g} is below the smallest size of the table, {bounds[0]:g}")
    return steps[bounds[position - 1]]


def _interpolated(points: list[tuple[float, float]], at: float) -> float:
    """A value between known points in a straight line; beyond them in proportion to the nearest one."""
    points = sorted(points)
    first, last = points[0], points[-1]
    if at <= first[0]:
        return first[1] * at / first[0]
    for (left, low), (right, high) in itertools.pairwise(points):
        if at <= right:
            return low + (high - low) * (at - left) / (right - left)
    return last[1] * at / last[0]
