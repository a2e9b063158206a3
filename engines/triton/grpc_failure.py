"""What gRPC's words about a failed call mean: it has no codes for most of what can be wrong with a connection."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Any, NamedTuple

NOT_GRPC = "what listens there does not speak gRPC with this program"
TLS_REFUSED = "TLS was refused: "


class Cause(Enum):
    """Why a server cannot be used just now."""

    OVERLOADED = auto()
    """It has too many frames, and has not taken this one."""
    RESTRICTED = auto()
    """It wants a token for this call."""
    MODEL_NOT_READY = auto()
    TLS_REFUSED = auto()
    NOT_GRPC = auto()
    """All that gRPC reports about another protocol's port, about TLS that is required, or a missing certificate."""
    OTHER = auto()


class GrpcFailure(NamedTuple):
    """A failed call: its cause, and the informative part of gRPC's message, at most 200 characters."""

    cause: Cause
    facts: str

    @classmethod
    def of(cls, error: Any) -> GrpcFailure:
        """Return what `error`, an InferenceServerException of Triton's client, means."""
        text = " ".join(str(error.message() or error).split())
        for known in ("Connection refused", "Connection reset", "No route to host", "Network is unreachable"):
            if known.lower() in text.lower():
                return cls(Cause.OTHER, known.lower())
        if re.search(r"\bdns\b|name resolution|errors resolving|address lookup", text, re.IGNORECASE):
            return cls(Cause.OTHER, "there is no host of this name")
        # Before TLS, whose handshake ends like this too where the other side has never heard of it.
        if re.search(r"failed to connect.*(socket closed|parsing http/2)", text, re.IGNORECASE):
            return cls(Cause.NOT_GRPC, NOT_GRPC)
        if "ssl" in text.lower() or "certificate" in text.lower() or "handshake" in text.lower():
            why = re.search(r"OPENSSL_internal:(\w+(: [a-z][^:;]*)?)", text)
            return cls(Cause.TLS_REFUSED, f"{TLS_REFUSED}{why[1].replace('_', ' ').lower() if why else text[:160]}")
        for cause, words in (
            (Cause.OVERLOADED, "timeout expired|maximum queue size"),
            (Cause.RESTRICTED, "restricted"),
            (Cause.MODEL_NOT_READY, "model"),
        ):
            if re.search(words, text[:200]):
                return cls(cause, text[:200])
        return cls(Cause.OTHER, text[:200])
