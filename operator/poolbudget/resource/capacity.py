"""`spec.capacity` and `spec.reserved`: how many connections there are, and who else needs some."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from poolbudget.resource.model import (
    MAX_CONNECTIONS,
    Connections,
    Model,
    Name,
    SecretKey,
    SecretKeyRef,
    list_map,
    rules,
)
from poolbudget.resource.quantities import Duration, duration_rule

_ROLE = Annotated[str, Field(min_length=1, max_length=63)]


class Probe(Model):
    """Asks the database itself, over one connection that the operator keeps open."""

    model_config = ConfigDict(json_schema_extra=rules(duration_rule("interval", "5s", "1h")))

    url_secret_key_ref: SecretKeyRef = Field(
        description="Where the URL to connect with stands, such as "
        "postgresql://monitor:password@host:5432/orders?sslmode=require. Any role that may connect "
        "will do, better one with pg_monitor; the Secret is read only because it is named here."
    )
    interval: Duration = Field(
        default="60s", description="Time between two looks at the database, from 5s to 1h."
    )
    application_role: _ROLE | None = Field(
        default=None,
        description="Role that the targets connect as: its connection limit counts, and its connections are "
        "told apart from those of others. Needed behind proxies, and with host networking.",
    )
    password_file: SecretKey | None = Field(
        default=None,
        description="A file with the password, read anew at each connect (tokens that expire): its name in "
        "the folder of this namespace below the operator's --password-folder.",
    )


class AcuRange(Model):
    """Aurora capacity units, as text such as "0.5"."""

    min: Annotated[str, Field(max_length=6, pattern=r"^[0-9]+(\.[05])?$")] = Field(
        description="Least capacity units, such as 0.5."
    )
    max: Annotated[str, Field(max_length=6, pattern=r"^[0-9]+(\.[05])?$")] = Field(
        description="Most capacity units, such as 16."
    )


class Estimate(Model):
    """What the provider's documents say about the server's size: for when nobody can ask it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "[has(self.class), has(self.memory), has(self.acu)].filter(given, given).size() == 1",
                "message": "an estimate needs one of class, memory, acu",
            }
        )
    )

    class_: Annotated[str, Field(min_length=1, max_length=63)] | None = Field(
        default=None,
        alias="class",
        description="The instance class or plan: db.t3.medium (RDS, Aurora), db-custom-2-7680 (Cloud SQL), "
        "Standard_D2ds_v5 (Azure), 2 (Neon's CU), Small (Supabase).",
    )
    memory: Annotated[str, Field(max_length=12, pattern=r"^[0-9]+(\.[0-9]+)?(Mi|Gi)$")] | None = Field(
        default=None, description="The server's memory, such as 8Gi, where the class is not known."
    )
    acu: AcuRange | None = Field(default=None, description="Range of Aurora Serverless v2.")


class Capacity(Model):
    """How many connections the endpoint accepts: the probe's word, else maxConnections, else the estimate."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            {
                "rule": "has(self.probe) || has(self.maxConnections) || has(self.estimate)",
                "message": "capacity needs a source: set probe, maxConnections or estimate, or several",
            }
        )
    )

    probe: Probe | None = Field(default=None, description="Ask the database itself.")
    max_connections: Connections | None = Field(
        default=None,
        description="max_connections of the server, used where no probe is given or until it has "
        "answered for the first time.",
    )
    estimate: Estimate | None = Field(
        default=None, description="Used where neither of the two others says anything."
    )


class Consumer(Model):
    """Somebody else who opens connections."""

    name: Name = Field(description="Name of the Job, CronJob or service, for people.")
    parallelism: Annotated[int, Field(ge=1, le=100_000)] = Field(
        default=1, description="Pods or instances that run at a time: a Job's parallelism."
    )
    connections: Connections = Field(description="Connections that each of them opens.")

    @property
    def total(self) -> int:
        """Connections of all of them."""
        return self.parallelism * self.connections


class Reserved(Model):
    """Connections that the targets never get, on top of what the server reserves itself."""

    admin: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = Field(
        default=10, description="For administrators, migrations and monitoring."
    )
    replication: Annotated[int, Field(ge=0, le=MAX_CONNECTIONS)] = Field(
        default=0,
        description="For replication over ordinary connections. Streaming replicas of PostgreSQL 12 "
        "and later take none.",
    )
    percent: Annotated[int, Field(ge=0, le=90)] = Field(
        default=0, description="Safety margin in percent of max_connections, rounded up."
    )
    jobs: Annotated[list[Consumer], Field(max_length=32)] = Field(
        default=[],
        description="Jobs and CronJobs with connections of their own, such as migrations.",
        json_schema_extra=list_map("name"),
    )
    external: Annotated[list[Consumer], Field(max_length=32)] = Field(
        default=[],
        description="Consumers outside the cluster, such as serverless functions.",
        json_schema_extra=list_map("name"),
    )
