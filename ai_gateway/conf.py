"""`settings.AI_GATEWAY`, typed. The only module that reads Django's settings.

Values are read at the time of use and nothing is kept here, so `override_settings` simply works; what is built from
them is kept by `registry.py`. `checks/` tells what is wrong with a value; this module assumes that it is right.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from django.conf import settings as django_settings
from django.utils.crypto import salted_hmac

from ai_gateway.breakers import BreakerPolicy
from ai_gateway.bulkheads import Queue
from ai_gateway.cache_policy import CachePolicy
from ai_gateway.calls import Timeouts
from ai_gateway.recording_policy import RecordingPolicy
from ai_gateway.retries import RetryPolicy

MEBIBYTE = 1024 * 1024

DEFAULT_REDIS = "redis://localhost:6379/0"

REDIS_STORES = ("redis", "ai_gateway.limits.redis.RedisStore")
"""How LIMIT_STORE says that it is in Redis."""


class Settings:
    """One property per key of `settings.AI_GATEWAY`; the docstring is its documentation, the default is in the code."""

    def _get(self, key: str, default: Any) -> Any:
        return getattr(django_settings, "AI_GATEWAY", {}).get(key, default)

    @property
    def PROVIDERS(self) -> Mapping[str, Mapping[str, Any]]:
        """Providers by alias: `{"openai": {"BACKEND": "openai", "OPTIONS": {"api_key": "env:OPENAI_API_KEY"}}}`.

        `BACKEND` is a row of the catalogue (the alias by default) or a dotted path to a `Provider`; `OPTIONS` override
        its fields.
        """
        return self._get("PROVIDERS", {})  # type: ignore[no-any-return]

    @property
    def ROUTES(self) -> Mapping[str, Sequence[str] | Mapping[str, Any]]:
        """Public model names, each with its targets in order: `{"fast": ["openai/gpt-5-mini", "groq/llama-4"]}`, or
        `{"fast": {"targets": [...], "strategy": "lowest_latency", "sticky": "session"}}`."""
        return self._get("ROUTES", {})  # type: ignore[no-any-return]

    @property
    def KEYS(self) -> Mapping[str, str]:
        """Gateway keys by name: `{"team-a": "env:TEAM_A_KEY"}`; literal, `env:`, `file:` or `sha256:` and the hex
        digest."""
        return self._get("KEYS", {})  # type: ignore[no-any-return]

    @property
    def DEFAULT_PROVIDER(self) -> str:
        """Who is asked when neither `x-provider` nor the model nor the path's dialect names a provider."""
        return self._get("DEFAULT_PROVIDER", "openai")  # type: ignore[no-any-return]

    @property
    def PASSTHROUGH(self) -> bool:
        """Whether a caller without a gateway key is passed on with the provider credential that it brought along."""
        return self._get("PASSTHROUGH", True)  # type: ignore[no-any-return]

    @property
    def CLIENT_SECRETS(self) -> bool:
        """Whether holders of a gateway key may have what leads past the gateway: a provider's own keys for browsers,
        and its realtime sessions by WebRTC and telephone. What these use is neither seen nor limited here."""
        return self._get("CLIENT_SECRETS", False)  # type: ignore[no-any-return]

    @property
    def UNCOUNTED_WORK(self) -> bool:
        """Whether calls that a limit of tokens or money applies to may order what such a limit cannot count, because no
        answer that passes here tells what it used: batches, fine-tuning, responses in the background, whatever is
        posted to a path that the gateway does not know, and Google's answers in a form that is not JSON with all of its
        members (`alt=proto`, `fields`). Without such a limit they may."""
        return self._get("UNCOUNTED_WORK", False)  # type: ignore[no-any-return]

    @property
    def PREFIX(self) -> str:
        """Where `ai_gateway.urls` is included, for the direct door: "" or for example "/ai" (no slash at the end). The
        path at which the server itself is mounted (uvicorn's `--root-path`) is no part of it."""
        return self._get("PREFIX", "")  # type: ignore[no-any-return]

    @property
    def DIRECT_DOOR(self) -> bool:
        """Whether `ai_gateway.asgi` answers gateway paths itself; if not, Django's middleware and views do."""
        return self._get("DIRECT_DOOR", True)  # type: ignore[no-any-return]

    @property
    def MAX_BODY_BYTES(self) -> int:
        """The longest JSON body, in bytes: it is held in memory."""
        return self._get("MAX_BODY_BYTES", 32 * MEBIBYTE)  # type: ignore[no-any-return]

    @property
    def MAX_UPLOAD_BYTES(self) -> int:
        """The longest body of any other type, in bytes: it is streamed through."""
        return self._get("MAX_UPLOAD_BYTES", 512 * MEBIBYTE)  # type: ignore[no-any-return]

    @property
    def HEAD_TIMEOUT(self) -> float:
        """Seconds in which the head of a request must be whole, from its first byte on: under `rungateway`, or where
        `ai_gateway.server` has the protocol."""
        return self._get("HEAD_TIMEOUT", 30.0)  # type: ignore[no-any-return]

    @property
    def BODY_TIMEOUT(self) -> float:
        """Seconds in which a JSON body must be whole, and between two pieces of an upload."""
        return self._get("BODY_TIMEOUT", 30.0)  # type: ignore[no-any-return]

    @property
    def SEND_TIMEOUT(self) -> float:
        """Seconds after which a caller that takes no more of its answer is dropped."""
        return self._get("SEND_TIMEOUT", 60.0)  # type: ignore[no-any-return]

    @property
    def MAX_CALLS(self) -> int:
        """How many calls one process serves at once. 0: as many as come."""
        return self._get("MAX_CALLS", 1000)  # type: ignore[no-any-return]

    @property
    def QUEUE(self) -> Queue:
        """How many calls more may wait until one has ended, and for how many seconds: `{"size": 100, "seconds": 2}`."""
        return Queue(**self._get("QUEUE", {}))

    @property
    def TIMEOUTS(self) -> Timeouts:
        """Seconds to wait for an upstream, by phase: `{"connect": 5, "pool": 5, "write": 30, "first_byte": 600, "idle":
        300, "stream": 0, "total": 0}`; the last two are for an answer's body and for the whole call, 0 for no limit."""
        return Timeouts(**self._get("TIMEOUTS", {}))

    @property
    def KEEP_ALIVE_INTERVAL(self) -> float:
        """Seconds of silence on a stream after which the caller gets a comment or a ping. 0 switches that off."""
        return self._get("KEEP_ALIVE_INTERVAL", 15.0)  # type: ignore[no-any-return]

    @property
    def TRANSPORT(self) -> Mapping[str, Any]:
        """How upstreams are reached: `{"BACKEND": dotted path, "OPTIONS": {...}}`.

        `OPTIONS` of the built-in transport: `ca_file`, a file of certificates to trust in place of certifi's;
        `max_connections` to one provider (1000); `keep_alive`, seconds after which an idle one is closed (20.0);
        `max_response_bytes` (no limit). Of httpx's, `ai_gateway.transports.httpx.HttpxTransport`: `http2` (False),
        `proxy`, the address of an outbound proxy of HTTP or SOCKS5, `ca_file`, `max_connections` and `keep_alive`."""
        return self._get("TRANSPORT", {})  # type: ignore[no-any-return]

    @property
    def ALLOW_PRIVATE_UPSTREAMS(self) -> bool:
        """Whether every provider may live on a private address; else only those whose `allow_private` says so."""
        return self._get("ALLOW_PRIVATE_UPSTREAMS", False)  # type: ignore[no-any-return]

    @property
    def DRAIN_TIMEOUT(self) -> float:
        """Seconds that running calls get to finish after SIGTERM."""
        return self._get("DRAIN_TIMEOUT", 20.0)  # type: ignore[no-any-return]

    @property
    def DRAIN_DELAY(self) -> float:
        """Seconds after SIGTERM in which new connections are still taken, while `/health/ready` says 503 already."""
        return self._get("DRAIN_DELAY", 0.0)  # type: ignore[no-any-return]

    @property
    def METRICS_TOKEN(self) -> str | None:
        """A bearer token that opens `/health/providers` and `/metrics`, as `env:`, `file:` or literal; staff users need
        none."""
        return self._get("METRICS_TOKEN", None)  # type: ignore[no-any-return]

    @property
    def METRICS(self) -> bool | Sequence[str]:
        """Whether metrics are collected and shown at `/metrics`, for staff users and the METRICS_TOKEN; or a list of
        networks that may read them without: `["10.0.0.0/8"]`. It needs the extra `prometheus`."""
        return self._get("METRICS", False)  # type: ignore[no-any-return]

    @property
    def CAPABILITIES(self) -> Mapping[str, Mapping[str, Any]]:
        """What models can do, where the built-in table does not know or errs, by "provider/model" with `*` for
        anything: `{"our-gpu/*": {"images": False}}`. The columns are in docs/capabilities.md."""
        return self._get("CAPABILITIES", {})  # type: ignore[no-any-return]

    @property
    def RETRIES(self) -> RetryPolicy:
        """How often a call is tried: `{"attempts": 5, "rounds": 1, "ambiguous": False, "max_wait": 10, "percent": 20,
        "least": 3}`: at most so often, each target so often, also if nobody knows whether the work was done, after so
        many seconds at most, and repetitions of so many percent of the calls under way, or so many in any case."""
        return RetryPolicy.read(self._get("RETRIES", {}))

    @property
    def BREAKERS(self) -> BreakerPolicy:
        """When a target is asked last: `{"consecutive": 5, "volume": 20, "percent": 50, "window": 10, "open": 30,
        "longest": 300}`: after so many failures in a row, or if of at least so many calls so many percent failed within
        so many seconds; for so many seconds, longer each time in a row, up to so many."""
        return BreakerPolicy.read(self._get("BREAKERS", {}))

    @property
    def PROBES(self) -> Mapping[str, Any]:
        """Which providers are asked for their models now and then, to know whether they are there: `{"providers":
        ["openai"], "interval": 30, "timeout": 5}`, the latter in seconds. None by default."""
        return self._get("PROBES", {})  # type: ignore[no-any-return]

    @property
    def TIME_ZONE(self) -> str:
        """The time zone of accounting: in which days, weeks and months begin for reports and budgets."""
        return self._get("TIME_ZONE", "") or django_settings.TIME_ZONE or "UTC"

    @property
    def PRICES(self) -> Sequence[Mapping[str, Any]]:
        """What models cost, in dollars for a million tokens: `[{"provider": "our-gpu", "model": "*", "input": 0,
        "output": 0}]`. Rows of the database and of the settings win over the catalogue of prices."""
        return self._get("PRICES", ())  # type: ignore[no-any-return]

    @property
    def REQUIRE_PRICE(self) -> str:
        """Which calls are refused if nobody knows what they cost: "always" all, "budgeted" those that a limit of money
        applies to, "never" none; those count as nothing."""
        return self._get("REQUIRE_PRICE", "budgeted")  # type: ignore[no-any-return]

    @property
    def LIMITS(self) -> Sequence[Mapping[str, Any]]:
        """Limits: `[{"name": "each key", "scope": "key", "measure": "requests", "window": "minute", "amount": 60}]`."""
        return self._get("LIMITS", ())  # type: ignore[no-any-return]

    @property
    def LIMIT_STORE(self) -> Mapping[str, Any]:
        """Where limits are counted: `{"BACKEND": "memory", "database", "redis" or a dotted path, "OPTIONS": {...}}`.
        `ON_FAILURE` says what happens while it does not answer within `TIMEOUT` seconds (0.5): "closed" refuses, "open"
        admits, "local" counts in the process."""
        return self._get("LIMIT_STORE", {})  # type: ignore[no-any-return]

    @property
    def PEERS(self) -> Mapping[str, Any]:
        """The Redis over which the processes tell each other what they learn: `{"URL": "redis://...", "OPTIONS":
        {...}}`, the options as those of LIMIT_STORE's. By default that of LIMIT_STORE, if it is Redis; `{}`: none."""
        given = self._get("PEERS", None)
        if given is not None:
            return given  # type: ignore[no-any-return]
        store = self.LIMIT_STORE
        if store.get("BACKEND") not in REDIS_STORES:
            return {}
        options = {name: value for name, value in store.get("OPTIONS", {}).items() if name not in ("seed", "clock")}
        return {"URL": options.pop("url", DEFAULT_REDIS), "OPTIONS": options}

    @property
    def RESERVED_OUTPUT(self) -> int:
        """The tokens that are reserved for an answer if the caller sets no maximum."""
        return self._get("RESERVED_OUTPUT", 4096)  # type: ignore[no-any-return]

    @property
    def RESERVATION_TTL(self) -> float:
        """Seconds after which a reservation counts as spent if the process that made it is dead."""
        return self._get("RESERVATION_TTL", 300.0)  # type: ignore[no-any-return]

    @property
    def USAGE(self) -> bool:
        """Whether finished calls are written down in the database."""
        return self._get("USAGE", True)  # type: ignore[no-any-return]

    @property
    def USAGE_DURABILITY(self) -> str:
        """ "batched": calls are written down soon after they end; "committed": before their caller sees the end."""
        return self._get("USAGE_DURABILITY", "batched")  # type: ignore[no-any-return]

    @property
    def USAGE_INTERVAL(self) -> float:
        """Seconds between two batches. A process that is killed loses at most what ended in so many seconds."""
        return self._get("USAGE_INTERVAL", 0.5)  # type: ignore[no-any-return]

    @property
    def USAGE_QUEUE(self) -> int:
        """Finished calls that wait in memory to be written down. More than that go to the journal."""
        return self._get("USAGE_QUEUE", 10_000)  # type: ignore[no-any-return]

    @property
    def USAGE_JOURNAL(self) -> str:
        """A directory for what the database does not take at the moment. Empty: `usage_journal` in the site's BASE_DIR,
        or, without that, in the directory for temporary files."""
        return self._get("USAGE_JOURNAL", "")  # type: ignore[no-any-return]

    @property
    def USAGE_STREAM_OPTIONS(self) -> bool:
        """Whether providers are asked to tell the usage at the end of a stream of chat completions for callers that did
        not ask. They do not get to see it."""
        return self._get("USAGE_STREAM_OPTIONS", True)  # type: ignore[no-any-return]

    @property
    def GUARDRAILS(self) -> Mapping[str, Mapping[str, Any]]:
        """What calls have to pass, by name: `{"secrets": {"BACKEND": "redaction", "EVERYWHERE": True}}`. The keys
        are in `docs/guardrails.md`."""
        return self._get("GUARDRAILS", {})  # type: ignore[no-any-return]

    @property
    def BODY_LOGGING(self) -> RecordingPolicy | None:
        """Which calls have their bodies kept, encrypted: None for none, else `{"keys": ["team-a"], "routes": [],
        "percent": 100, "max_bytes": 262144, "headers": False, "retention_days": 30, "redact": "site.redaction.redact"}`
        or a part of it. Keys and routes of the database have a switch each, which counts if this is not None."""
        value = self._get("BODY_LOGGING", None)
        return None if value is None else RecordingPolicy.read(value)

    @property
    def RESPONSE_CACHE(self) -> CachePolicy | None:
        """Which calls get an answer again that was given before: None for none, else `{"alias": "default", "ttl": 3600,
        "scope": "key", "keys": ["*"], "routes": [], "max_bytes": 1048576, "tools": False, "only_deterministic": False,
        "encrypt": False, "wait": 30, "timeout": 0.25, "memory": 16777216, "replay": "at-once",
        "replay_seconds": 30}` or a part of it."""
        value = self._get("RESPONSE_CACHE", None)
        if value is None:
            return None
        secret = salted_hmac("ai_gateway.response_cache", "", algorithm="sha256").digest()
        return CachePolicy.read(value, secret)

    def base_directory(self) -> str | None:
        """Give the site's `BASE_DIR`, which Django's project template has; None for a site without."""
        found = getattr(django_settings, "BASE_DIR", None)
        return str(found) if found else None

    def carrier_keys(self) -> list[bytes]:
        """Give the secrets that seal what callers carry for providers: made of Django's SECRET_KEY, and of those that
        it replaced, so that a conversation goes on when the key is exchanged."""
        secrets = [django_settings.SECRET_KEY, *django_settings.SECRET_KEY_FALLBACKS]
        return [salted_hmac("ai_gateway.carrier", "", secret=secret, algorithm="sha256").digest() for secret in secrets]

    @property
    def DJANGO_THREADS(self) -> int:
        """How many threads Django's own synchronous code shares under `ai_gateway.asgi`."""
        return self._get("DJANGO_THREADS", 8)  # type: ignore[no-any-return]

    @property
    def ENCRYPTION_KEYS(self) -> Sequence[str]:
        """Where the keys are that encrypt secrets in the database, as `env:`, `file:` or literal. The first key
        encrypts, all of them decrypt; one value may hold several, separated by commas."""
        return self._get("ENCRYPTION_KEYS", ("env:AI_GATEWAY_ENCRYPTION_KEYS",))  # type: ignore[no-any-return]

    @property
    def STORED_REFERENCES(self) -> Sequence[str]:
        """Which references a credential in the database may hold, with `*` for anything. Whoever may edit providers
        could otherwise have any variable or file of the server sent to an address of their choice."""
        return self._get("STORED_REFERENCES", ("env:*_API_KEY", "file:/run/secrets/*"))  # type: ignore[no-any-return]

    @property
    def STORED_BACKENDS(self) -> Sequence[str]:
        """Which dotted paths the backend of a provider in the database may be, with `*` for anything. Whoever may edit
        providers could otherwise have any function of the server called. The catalogue's names are always permitted."""
        return self._get("STORED_BACKENDS", ())  # type: ignore[no-any-return]

    @property
    def ALERTS(self) -> Mapping[str, Any]:
        """Who is told of what goes wrong: `{"email": [...], "webhooks": [{"url": ..., "secret": "env:..."}], "events":
        [...], "every": 3600}`. `every` is in seconds, after which what goes on is told again."""
        return self._get("ALERTS", {})  # type: ignore[no-any-return]

    @property
    def POLL(self) -> float:
        """Seconds between two looks for changes of the configuration in the database."""
        return self._get("POLL", 2.0)  # type: ignore[no-any-return]


settings = Settings()

KEYS = frozenset(name for name in vars(Settings) if name.isupper())
"""Every key that `settings.AI_GATEWAY` may have."""
