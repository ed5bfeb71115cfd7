"""Who is compared, in the order of the tables."""

from __future__ import annotations

from collections.abc import Mapping

from tests.benchmarks.peers import AnyLLM, Bifrost, Ferro, LiteLLM, Portkey, TensorZero
from tests.benchmarks.servers import ACCOUNTED, Featured, FeaturedInRedis, Gateway, Nginx, Peer, Uvicorn
from tests.benchmarks.wire import GATEWAY_KEY

BARE, OBVIOUS, NGINX, PLAIN_UVICORN = "bare", "obvious", "nginx", "direct-plain-uvicorn"
TWO_WORKERS = "direct-everything-two"
ACCOUNTING, ACCOUNTING_IN_REDIS = "direct-accounting", "direct-accounting-redis"
PASSTHROUGH, DIRECT, DJANGO = "direct-passthrough", "direct-door", "django-door"
EVERYTHING, EVERYTHING_IN_REDIS, DJANGO_EVERYTHING = "direct-everything", "direct-everything-redis", "django-everything"
TENSORZERO, FERRO, PORTKEY, LITELLM, ANY_LLM, BIFROST = (
    "tensorzero", "ferro", "portkey", "litellm", "any-llm", "bifrost"
)  # fmt: skip

PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Uvicorn(BARE, "tests.benchmarks.bare", "bare ASGI application, calls nobody"),
        Nginx(),
        Gateway(PASSTHROUGH, "gateway, caller's own credential", "direct"),
        Gateway(DIRECT, "gateway, a key of the settings", "direct", GATEWAY_KEY),
        Featured(ACCOUNTING, "gateway, usage, prices and limits", "direct", ACCOUNTED),
        FeaturedInRedis(ACCOUNTING_IN_REDIS, "gateway, usage, prices, and limits in Redis", "direct", ACCOUNTED),
        Featured(EVERYTHING, "gateway, everything on", "direct"),
        FeaturedInRedis(EVERYTHING_IN_REDIS, "gateway, everything on, limits in Redis", "direct"),
        Featured(TWO_WORKERS, "gateway, everything on, two workers", "direct", workers=2),
        Gateway(DJANGO, "gateway, Django door", "django", GATEWAY_KEY),
        Featured(DJANGO_EVERYTHING, "gateway, Django door, everything on", "django"),
        Uvicorn(PLAIN_UVICORN, "tests.benchmarks.gateway", "gateway under plain uvicorn", "direct", GATEWAY_KEY),
        Uvicorn(OBVIOUS, "tests.benchmarks.obvious", "Django async view with httpx"),
        TensorZero(),
        Ferro(),
        Portkey(),
        LiteLLM(),
        AnyLLM(),
        Bifrost(),
    )
}
