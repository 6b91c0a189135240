"""The one door to the Kubernetes API: lightkube, generic resources, and the boundary that catches what it raises.

Resources are generic (dict) ones: typed models drop fields that they do not know, and a rollback would then remove
these from the cluster. Reading goes through the types of :mod:`.objects`, writing through patches alone.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

import httpx2
import msgspec
from lightkube import ApiError, AsyncClient, ConfigError, SingleConfig
from lightkube.config.models import Cluster as LightCluster
from lightkube.config.models import Context, NameValue, User, UserExec
from lightkube.generic_resource import GenericGlobalResource, GenericNamespacedResource, create_api_info
from lightkube.types import PatchType

from openrtc_tui.operations.platforms.kubernetes import objects
from openrtc_tui.operations.platforms.kubernetes.failures import FORBIDDEN, RefusedError, UnansweredError
from openrtc_tui.operations.platforms.platform import PlatformError
from openrtc_worker.contract.text import printable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from lightkube.operators import Operator

    from openrtc_tui.operations.platforms.kubernetes.config import Cluster, Credentials
    from openrtc_tui.operations.platforms.kubernetes.patch import Operation
    from openrtc_tui.operations.platforms.kubernetes.rights import Right

DEADLINE: Final = 15.0
"""Seconds for one request, an exec plugin's run included."""
WATCH_SECONDS: Final = 60
"""How long the server holds one watch open; lightkube then asks for the next by itself."""
WATCH_SILENCE: Final = WATCH_SECONDS + 15.0
"""A watch that brought nothing for so long is taken for dead: lightkube sets it no read timeout."""
FIELD_MANAGER: Final = "openrtc-tui"
_PAGE: Final = 500


# Not made by lightkube's create_namespaced_resource: that registers them for the whole process, and a second module
# that loads the same kind would clash.
class _Deployment(GenericNamespacedResource):
    _api_info = create_api_info("apps", "v1", "Deployment", "deployments")


class _ReplicaSet(GenericNamespacedResource):
    _api_info = create_api_info("apps", "v1", "ReplicaSet", "replicasets")


class _Pod(GenericNamespacedResource):
    _api_info = create_api_info("", "v1", "Pod", "pods")


class _ResourceQuota(GenericNamespacedResource):
    _api_info = create_api_info("", "v1", "ResourceQuota", "resourcequotas")


class _AccessReview(GenericGlobalResource):
    _api_info = create_api_info(
        "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", verbs=["post"]
    )


_ReadT = TypeVar("_ReadT", objects.Deployment, objects.ReplicaSet, objects.Pod, objects.Quota, objects.AccessReview)


def _read(received: Mapping[str, Any], kind: type[_ReadT]) -> _ReadT:
    return msgspec.convert(dict(received), kind)


class KubernetesClient:
    """The few requests that the platform makes, in one namespace.

    Every method raises :class:`RefusedError` when the API said no, :class:`UnansweredError` when it did not answer,
    and nothing else; each is bounded by *deadline*.

    Args:
        cluster: where, and who asks.
        namespace: of the Deployment and its pods.
        deadline: seconds that one request may take.
        transport: for tests.
    """

    def __init__(
        self,
        cluster: Cluster,
        namespace: str,
        *,
        deadline: float = DEADLINE,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._deadline = deadline
        self._namespace = namespace
        self._where = printable(cluster.server)
        try:
            self._client = AsyncClient(
                _lightkube_config(cluster),
                namespace=namespace,
                timeout=httpx2.Timeout(deadline),
                field_manager=FIELD_MANAGER,
                trust_env=False,
                transport=transport,
                proxy=cluster.proxy,
            )
        except (ConfigError, OSError, ValueError, httpx2.InvalidURL) as error:  # files that it names, most often
            where = cluster.found_in or "the Kubernetes configuration"
            raise PlatformError(f"cannot use {where}: {_said(error)}") from error

    async def close(self) -> None:
        await self._client.close()

    async def deployment(self, name: str) -> objects.Deployment:
        async with self._request(f"get the Deployment {name}"):
            return _read(await self._client.get(_Deployment, name), objects.Deployment)

    async def replica_sets(self, selector: str) -> tuple[objects.ReplicaSet, ...]:
        async with self._request("list ReplicaSets"):
            listing = self._client.list(
                _ReplicaSet, namespace=self._namespace, labels=_labels(selector), chunk_size=_PAGE
            )
            return tuple([_read(item, objects.ReplicaSet) async for item in listing])

    async def pods(self, selector: str) -> tuple[objects.Pod, ...]:
        return (await self.pods_at(selector))[0]

    async def pods_at(self, selector: str) -> tuple[tuple[objects.Pod, ...], str]:
        """The pods, and the version of the list, which a watch goes on from."""
        async with self._request("list pods"):
            listing = self._client.list(_Pod, namespace=self._namespace, labels=_labels(selector), chunk_size=_PAGE)
            found = tuple([_read(item, objects.Pod) async for item in listing])
            return found, listing.resourceVersion

    async def quotas(self) -> tuple[objects.Quota, ...]:
        async with self._request("list resource quotas"):
            return tuple(
                [
                    _read(item, objects.Quota)
                    async for item in self._client.list(_ResourceQuota, namespace=self._namespace)
                ]
            )

    async def may(self, right: Right) -> bool:
        """Whether whoever asks has *right*."""
        async with self._request("ask for the rights"):
            review = _AccessReview(spec={"resourceAttributes": right.attributes(self._namespace)})
            return _read(await self._client.create(review), objects.AccessReview).status.allowed

    async def patch_deployment(
        self, name: str, operations: Sequence[Operation], *, dry_run: bool = False
    ) -> objects.Deployment:
        what = f"change the Deployment {name}"
        async with self._request(what, changes=not dry_run):
            answer = await self._client.patch(
                _Deployment, name, list(operations), patch_type=PatchType.JSON, dry_run=dry_run
            )
            return _read(answer, objects.Deployment)

    async def annotate_pod(
        self, name: str, uid: str, annotations: Mapping[str, str | None], manager: str
    ) -> objects.Pod:
        """Set annotations of this very pod under *manager*'s name; None takes one away."""
        body = {"metadata": {"uid": uid, "annotations": dict(annotations)}}  # a uid cannot change: another is refused
        async with self._request(f"annotate the pod {name}", changes=True):
            answer = await self._client.patch(_Pod, name, body, patch_type=PatchType.MERGE, field_manager=manager)
            return _read(answer, objects.Pod)

    async def delete_pod(self, name: str, *, grace_seconds: int | None = None) -> None:
        """Delete a pod under its own grace, or under *grace_seconds* where that is given."""
        async with self._request(f"delete the pod {name}", changes=True):
            await self._client.delete(_Pod, name, grace_period=grace_seconds)

    async def watch_pods(self, selector: str, since: str) -> AsyncGenerator[tuple[str, objects.Pod], None]:
        """Changes after *since*, as ``(ADDED | MODIFIED | DELETED, pod)``.

        Ends only by raising: RefusedError with 410 when *since* is too old (list again and compare: nobody tells what
        was deleted meanwhile), UnansweredError when the link broke or was silent for too long.
        """
        with self._boundary("watch pods"):
            watched = self._client.watch(
                _Pod,
                namespace=self._namespace,
                labels=_labels(selector),
                resource_version=since,
                server_timeout=WATCH_SECONDS,
            )
            # an async generator, which lightkube types as what it can be iterated with only
            async with contextlib.aclosing(cast("AsyncGenerator[tuple[str, _Pod], None]", watched)) as events:
                while True:
                    async with asyncio.timeout(WATCH_SILENCE):
                        kind, pod = await anext(events)
                    yield kind, _read(pod, objects.Pod)

    @contextlib.asynccontextmanager
    async def _request(self, what: str, *, changes: bool = False) -> AsyncIterator[None]:
        with self._boundary(what, changes=changes):
            async with asyncio.timeout(self._deadline):
                yield

    @contextlib.contextmanager
    def _boundary(self, what: str, *, changes: bool = False) -> Iterator[None]:
        """Everything that lightkube and its client raise, as one of ours.

        Among it: KeyError for an error without a content type, msgspec's errors and TypeError for a login page or
        other JSON with status 200, ValueError for what an exec plugin prints, ConfigError for one that fails.
        """
        try:
            yield
        except PlatformError:
            raise
        except ApiError as error:
            raise _said_by_api(what, error, changes=changes) from error
        except httpx2.HTTPStatusError as error:
            raise _said_by_http(what, error, changes=changes) from error
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, ConfigError) as error:
            raise UnansweredError(f"cannot {what} at {self._where}: {_said(error)}", happened=False) from error
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise UnansweredError(
                f"no answer from {self._where} in time: {what}", happened=None if changes else False
            ) from error
        except httpx2.TransportError as error:
            raise UnansweredError(
                f"the connection to {self._where} broke ({_said(error)}): {what}",
                happened=None if changes else False,
            ) from error
        except (
            httpx2.HTTPError,
            httpx2.InvalidURL,
            httpx2.StreamError,
            msgspec.MsgspecError,
            KeyError,
            ValueError,
            TypeError,
            OSError,
        ) as error:
            if isinstance(error.__context__, httpx2.HTTPStatusError):  # lightkube stumbled over the error's own shape
                raise _said_by_http(what, error.__context__, changes=changes) from error
            raise UnansweredError(
                f"the answer of {self._where} makes no sense ({_said(error)}): {what}",
                happened=None if changes else False,
            ) from error


def _said(error: Exception) -> str:
    return printable(str(error) or type(error).__name__, 160)


def _said_by_api(what: str, error: ApiError, *, changes: bool) -> PlatformError:
    status = error.status
    details = status.details.causes if status.details and status.details.causes else []
    causes = tuple(f"{cause.field or '?'}: {cause.message or cause.reason or '?'}" for cause in details)
    return _answer(what, status.code or 0, status.message or status.reason or "", causes, changes=changes)


def _said_by_http(what: str, error: httpx2.HTTPStatusError, *, changes: bool) -> PlatformError:
    """An HTTP error that lightkube does not take for the API's own: most often a proxy's, or a load balancer's.

    It looks for the bare content type, so that one which only names its charset is an API's all the same.
    """
    code = error.response.status_code
    with contextlib.suppress(msgspec.MsgspecError, httpx2.StreamError, ValueError):
        status = msgspec.json.decode(error.response.content, type=objects.Status)
        causes = tuple(map(str, status.details.causes))
        return _answer(what, code, status.message or status.reason, causes, changes=changes)
    hint = " (is the login still valid?)" if code in {401, FORBIDDEN} else ""
    return _answer(what, code, f"HTTP {code} without a word{hint}", (), changes=changes)


def _answer(what: str, code: int, message: str, causes: tuple[str, ...], *, changes: bool) -> PlatformError:
    """A no, or an error of the server's own: that one may come after the change was made."""
    if code < 500:
        return RefusedError(what, code, message, causes)
    return UnansweredError(
        f"the server failed to {what} ({printable(message, 160)})", happened=None if changes else False
    )


def _labels(selector: str) -> dict[str, str | Operator[Any] | Iterable[Any] | None]:
    """A selector as lightkube takes it: a key that has to exist is written as it stands, and so is all of it."""
    return {selector: None}


def _lightkube_config(cluster: Cluster) -> SingleConfig:
    ca_file, ca_data = _file_or_data(cluster.ca)
    return SingleConfig(
        context_name="openrtc",
        context=Context(cluster="openrtc", namespace=cluster.namespace),
        cluster=LightCluster(
            server=cluster.server,
            certificate_auth=ca_file,
            certificate_auth_data=ca_data,
            insecure=cluster.insecure,
        ),
        user=_user(cluster.credentials),
    )


def _user(credentials: Credentials) -> User:
    certificate, certificate_data = _file_or_data(credentials.certificate)
    key, key_data = _file_or_data(credentials.key)
    plugin = credentials.plugin
    return User(
        exec=None
        if plugin is None
        else UserExec(
            apiVersion=plugin.api_version,
            command=plugin.argv[0],
            args=list(plugin.argv[1:]),
            env=[NameValue(name=name, value=value) for name, value in plugin.env],
        ),
        username=credentials.username,
        password=credentials.password,
        token=credentials.token,
        token_file=str(credentials.token_file) if credentials.token_file else None,
        client_cert=certificate,
        client_cert_data=certificate_data,
        client_key=key,
        client_key_data=key_data,
    )


def _file_or_data(value: Path | bytes | None) -> tuple[str | None, str | None]:
    """``(file, base64)`` as lightkube takes a certificate."""
    if isinstance(value, bytes):
        return None, base64.b64encode(value).decode()
    return (None if value is None else str(value.absolute())), None
