"""What all parts of the resource's models share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

MAX_TARGETS = 64
NAME_LENGTH = 253
MAX_CONNECTIONS = 262_143  # PostgreSQL's own upper limit of max_connections (MAX_BACKENDS)

Connections = Annotated[int, Field(ge=1, le=MAX_CONNECTIONS)]
_NAME_PATTERN = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"  # RFC 1123 subdomain, as Kubernetes' names

Name = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=_NAME_PATTERN)]
SecretKey = Annotated[str, Field(min_length=1, max_length=NAME_LENGTH, pattern=r"^[-._a-zA-Z0-9]+$")]


def rules(*items: dict[str, str]) -> dict[str, Any]:
    """CEL rules of a model, for the schema."""
    return {"x-kubernetes-validations": list(items)}


def list_map(*keys: str) -> dict[str, Any]:
    """A list whose items are told apart by these keys, for the schema."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


class Model(BaseModel):
    """Camel case outside, frozen; a field of a later version is passed over."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore")


class SecretKeyRef(Model):
    """A key of a Secret in the PoolBudget's namespace."""

    name: Name = Field(description="Name of the Secret.")
    key: SecretKey = Field(default="url", description="Key within the Secret.")
