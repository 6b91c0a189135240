"""The JWTs of LiveKit's worker protocol: whose word is taken, and the token that a job gets for its room."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import jwt
from livekit import api

if TYPE_CHECKING:
    from collections.abc import Mapping

    from livekit.protocol import models

_BEARER = "Bearer "


class UnauthorizedError(Exception):
    """The caller did not prove that it has the key and the secret (HTTP 401)."""


def verify(authorization: str | None, *, api_key: str, api_secret: str) -> api.VideoGrants | None:
    """What the bearer token grants, or None without a token. Raises :class:`UnauthorizedError` for a bad one."""
    if authorization is None:
        return None
    if not authorization.startswith(_BEARER):
        raise UnauthorizedError("invalid authorization header. Must start with Bearer")
    try:
        claims = api.TokenVerifier(api_key, api_secret).verify(authorization.removeprefix(_BEARER))
    except jwt.InvalidTokenError as error:
        raise UnauthorizedError(f"invalid token: {error}") from error
    return claims.video


def room_token(
    *,
    api_key: str,
    api_secret: str,
    room: str,
    identity: str,
    name: str,
    metadata: str,
    attributes: Mapping[str, str],
    permissions: models.ParticipantPermission,
) -> str:
    """The join token of an assignment, as LiveKit builds it: for an agent, for one hour.

    It is a real token, but there is no room behind it here: an entrypoint that joins fails to connect.
    """
    grants = api.VideoGrants(
        room_join=True,
        agent=True,
        room=room,
        can_subscribe=permissions.can_subscribe,
        can_publish=permissions.can_publish,
        can_publish_data=permissions.can_publish_data,
        can_update_own_metadata=permissions.can_update_metadata,
        hidden=permissions.hidden,
    )
    return (
        api.AccessToken(api_key, api_secret)
        .with_identity(identity)
        .with_name(name)
        .with_metadata(metadata)
        .with_attributes(dict(attributes))
        .with_kind("agent")
        .with_grants(grants)
        .with_ttl(timedelta(hours=1))
        .to_jwt()
    )
