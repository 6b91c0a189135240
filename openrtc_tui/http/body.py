"""Bytes of a body as they were meant, with a bound on what one small answer can blow up to."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Final, Protocol

from openrtc_tui.http.failure import HttpFailure

if TYPE_CHECKING:
    from collections.abc import Iterator

_PIECE: Final = 1 << 16
"""Decoded bytes handed on at a time: one compressed kilobyte can hold a megabyte."""


class Decoder(Protocol):
    """Turns received bytes into pieces of the body."""

    def __call__(self, chunk: bytes) -> Iterator[bytes]: ...


def decoder_for(encoding: str) -> Decoder | None:
    """The decoder of a ``Content-Encoding``; None when the bytes are the body.

    We ask for ``identity``, but a proxy between may compress all the same; gzip and deflate are what proxies use.

    Raises:
        HttpFailure: kind ``garbage``, an encoding that nobody asked for.
    """
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return None
    if name in {"gzip", "x-gzip", "deflate"}:
        return _Inflate()
    raise HttpFailure("garbage", f"the answer is encoded as {encoding}, which was not asked for", sent=True)


class _Inflate:
    def __init__(self) -> None:
        self._state = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)  # finds out itself whether gzip or zlib

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        try:
            while chunk:
                yield self._state.decompress(chunk, _PIECE)
                chunk = self._state.unconsumed_tail
        except zlib.error:
            raise HttpFailure("garbage", "the answer's compression is damaged", sent=True) from None
