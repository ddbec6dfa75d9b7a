"""A thin client for plain dictionaries, on the kubernetes package's asyncio client.

Typed models are not used: they cost 30 MiB and nothing here needs them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import aiohttp
from kubernetes.aio import config
from kubernetes.aio.client import ApiClient, Configuration

from poolbudget import __version__

Object = dict[str, Any]

MANAGER = "poolbudget"

_TIMEOUT = 10.0
"""Seconds for an ordinary request."""

_CLOSING = 0.25

_WATCH_SECONDS = 300
_WATCH_SILENCE = 75.0
"""The API server sends a bookmark each minute; a watch that is silent for longer is cut off."""

_APPLY = "application/apply-patch+yaml"
_JSON = "application/json"
_METADATA = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


CONFLICT = 409
UNPROCESSABLE = 422
"""What the API server answers where a test of a JSON patch fails (apiserver, patch.go), and where an object
is invalid or a policy refuses it."""


class ApiError(Exception):
    """The API server said no: HTTP status, reason and message; status 0: it gave no answer."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message

    @property
    def is_not_found(self) -> bool:
        """The object, or its namespace, is not there."""
        return self.status == 404

    @property
    def is_conflict(self) -> bool:
        """Somebody else wrote first."""
        return self.status == CONFLICT

    @property
    def is_uncertain(self) -> bool:
        """Whether a write may have gone through, or may still do so."""
        return self.status == 0 or self.status >= 500

    @property
    def is_gone(self) -> bool:
        """A watch from a version that the server no longer has."""
        return self.status == 410


class Reader(Protocol):
    """Whoever gives objects by their paths: the API server, or files."""

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Object:
        """An object or a list. Raises ApiError."""

    async def find(self, path: str) -> Object | None:
        """An object, None where there is none. Raises ApiError."""


class Api:
    """Requests against one API server, with plain dictionaries."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    @classmethod
    async def connect(cls) -> Api:
        """Connect as the kubeconfig of `KUBECONFIG` or the pod's service account says."""
        configuration = Configuration()
        in_cluster = "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ
        if in_cluster:
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        return cls(_client(configuration))

    @classmethod
    async def from_kubeconfig(cls, path: Path) -> Api:
        """Connect as one kubeconfig file says."""
        configuration = Configuration()
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            str(path), client_configuration=configuration
        )
        return cls(_client(configuration))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()  # type: ignore[no-untyped-call]
        # TLS connections need a moment to close after their session (aiohttp, "Graceful shutdown").
        await asyncio.sleep(_CLOSING)

    async def get(self, path: str, query: Mapping[str, str | int] | None = None) -> Object:
        """Read an object or a list. Raises ApiError."""
        return await self._request("GET", path, query)

    async def get_metadata(self, path: str, query: Mapping[str, str | int]) -> Object:
        """Read a list, only the metadata of each object. Raises ApiError."""
        return await self._request("GET", path, query, accept=_METADATA)

    async def find(self, path: str) -> Object | None:
        """Read an object that may not be there. Raises ApiError for anything but that."""
        try:
            return await self.get(path)
        except ApiError as error:
            if error.is_not_found:
                return None
            raise

    async def create(self, path: str, body: Object) -> Object:
        """Create an object. Raises ApiError."""
        return await self._request("POST", path, None, body)

    async def apply(self, path: str, body: Object, manager: str) -> Object:
        """Server-side apply. Raises ApiError; a conflict where `metadata.resourceVersion` is older.

        A `resourceVersion` that no object has ever had is refused where the object exists and not
        where it does not: "create it, but only if nobody else has" (tests/integration/test_api.py).
        """
        query = {"fieldManager": manager, "force": "true"}
        return await self._request("PATCH", path, query, body, _APPLY)

    async def patch(self, path: str, body: Object, manager: str = MANAGER) -> Object:
        """JSON merge patch. Raises ApiError; a conflict where `metadata.resourceVersion` is older."""
        query = {"fieldManager": manager}
        return await self._request("PATCH", path, query, body, "application/merge-patch+json")

    async def json_patch(self, path: str, operations: list[Object], manager: str) -> Object:
        """JSON patch (RFC 6902). Raises ApiError; UNPROCESSABLE where a test in it fails, too."""
        query = {"fieldManager": manager}
        content_type = "application/json-patch+json"
        return await self._request("PATCH", path, query, operations, content_type)

    async def watch(self, path: str, version: str, query: Mapping[str, str]) -> AsyncIterator[Object]:
        """Events since a version, until the server ends the watch. Raises ApiError."""
        parameters: dict[str, str | int] = {
            **query,
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": _WATCH_SECONDS,
        }
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_TIMEOUT, sock_read=_WATCH_SILENCE)
        with _as_api_errors():
            response = await self._send("GET", path, parameters, None, None, timeout)
            try:
                await _check(response)
                async for line in response.content:
                    event = json.loads(line)
                    if event.get("type") == "ERROR":
                        raise _error(event.get("object", {}))
                    yield event
            finally:
                response.close()

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None = None,
        body: Object | list[Object] | None = None,
        content_type: str | None = None,
        accept: str = _JSON,
    ) -> Object:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        with _as_api_errors():
            response = await self._send(method, path, query, body, content_type, timeout, accept)
            try:
                await _check(response)
                answer: Object = json.loads(await response.read())
                return answer
            finally:
                response.release()

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str | int] | None,
        body: Object | list[Object] | None,
        content_type: str | None,
        limits: aiohttp.ClientTimeout,
        accept: str = _JSON,
    ) -> aiohttp.ClientResponse:
        headers = {"Accept": accept}
        if content_type is not None:
            headers["Content-Type"] = content_type
        verb, url, all_headers, content, _ = await self._client.param_serialize(
            method,
            path,
            query_params=list((query or {}).items()),
            header_params=headers,
            body=body,
            auth_settings=["BearerToken"],
        )
        answer = await self._client.call_api(verb, url, all_headers, content, _request_timeout=limits)
        response: aiohttp.ClientResponse = answer.response
        return response


@contextlib.contextmanager
def _as_api_errors() -> Iterator[None]:
    """Whatever goes wrong on the way is an ApiError, so that callers need to know one kind only."""
    try:
        yield
    except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
        raise ApiError(0, "NoAnswer", repr(error)) from error


def _client(configuration: Configuration) -> ApiClient:
    client = ApiClient(configuration)
    client.user_agent = f"poolbudget/{__version__}"
    return client


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = await response.text()
        try:
            status = json.loads(text)
        except ValueError:
            status = {"code": response.status, "reason": response.reason, "message": text[:500]}
        raise _error({**status, "code": response.status})


def _error(status: Object) -> ApiError:
    return ApiError(int(status.get("code", 0)), str(status.get("reason")), str(status.get("message")))
