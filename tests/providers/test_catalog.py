"""Every row of the catalogue keeps the same promises; what its URLs are is written out here once more, by hand."""

from __future__ import annotations

import msgspec
import pytest

from ai_gateway.calls import Caller
from ai_gateway.errors import BadRequest, InvalidCredential, ModelNotFound, ProviderNotConfigured, UnsupportedDialect
from ai_gateway.protocols import DIALECTS
from ai_gateway.protocols.segments import path_segment, path_segments
from ai_gateway.providers import CATALOG, Auth, Provider, build_provider
from ai_gateway.providers.base import check_target, exchange_prefix, forwarded_query
from ai_gateway.uploads import read_form
from tests.factories import run
from tests.providers.samples import (
    GATEWAY_KEY,
    GENERATION,
    NOBODY,
    TEAM,
    header,
    json_body,
    make_call,
    passed_through,
    pieces,
    url,
)

STORED = "sk-stored-in-the-gateway"
OWN = "sk-the-callers-own"

OPTIONS = {"azure": {"resource": "our-resource"}, "custom": {"base_url": "https://models.example.com/api/v1"}}
"""What a row needs before it can be called."""

URLS = {
    ("openai", "openai_chat"): "https://api.openai.com/v1/chat/completions",
    ("openai", "openai_responses"): "https://api.openai.com/v1/responses",
    ("anthropic", "anthropic_messages"): "https://api.anthropic.com/v1/messages",
    ("gemini", "openai_chat"): "https://generativelanguage.googleapis.com/v1beta/openai/chat/completions",
    ("gemini", "gemini"): "https://generativelanguage.googleapis.com/v1beta/models/some-model:generateContent",
    ("azure", "openai_chat"): "https://our-resource.openai.azure.com/openai/v1/chat/completions",
    ("azure", "openai_responses"): "https://our-resource.openai.azure.com/openai/v1/responses",
    ("bedrock", "openai_chat"): "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/chat/completions",
    ("bedrock", "openai_responses"): "https://bedrock-runtime.us-east-1.amazonaws.com/openai/v1/responses",
    ("bedrock", "bedrock_converse"): "https://bedrock-runtime.us-east-1.amazonaws.com/model/some-model/converse",
    ("bedrock", "anthropic_messages"): "https://bedrock-runtime.us-east-1.amazonaws.com/anthropic/v1/messages",
    ("groq", "openai_chat"): "https://api.groq.com/openai/v1/chat/completions",
    ("groq", "openai_responses"): "https://api.groq.com/openai/v1/responses",
    ("fireworks", "openai_chat"): "https://api.fireworks.ai/inference/v1/chat/completions",
    ("fireworks", "openai_responses"): "https://api.fireworks.ai/inference/v1/responses",
    ("fireworks", "anthropic_messages"): "https://api.fireworks.ai/inference/v1/messages",
    ("together", "openai_chat"): "https://api.together.ai/v1/chat/completions",
    ("mistral", "openai_chat"): "https://api.mistral.ai/v1/chat/completions",
    ("deepseek", "openai_chat"): "https://api.deepseek.com/chat/completions",
    ("deepseek", "anthropic_messages"): "https://api.deepseek.com/anthropic/v1/messages",
    ("xai", "openai_chat"): "https://api.x.ai/v1/chat/completions",
    ("xai", "openai_responses"): "https://api.x.ai/v1/responses",
    ("openrouter", "openai_chat"): "https://openrouter.ai/api/v1/chat/completions",
    ("openrouter", "openai_responses"): "https://openrouter.ai/api/v1/responses",
    ("openrouter", "anthropic_messages"): "https://openrouter.ai/api/v1/messages",
    ("perplexity", "openai_chat"): "https://api.perplexity.ai/chat/completions",
    ("perplexity", "openai_responses"): "https://api.perplexity.ai/v1/responses",
    ("cohere", "openai_chat"): "https://api.cohere.ai/compatibility/v1/chat/completions",
    ("cerebras", "openai_chat"): "https://api.cerebras.ai/v1/chat/completions",
    ("nvidia", "openai_chat"): "https://integrate.api.nvidia.com/v1/chat/completions",
    ("huggingface", "openai_chat"): "https://router.huggingface.co/v1/chat/completions",
    ("huggingface", "openai_responses"): "https://router.huggingface.co/v1/responses",
    ("moonshot", "openai_chat"): "https://api.moonshot.ai/v1/chat/completions",
    ("moonshot", "openai_responses"): "https://api.moonshot.ai/v1/responses",
    ("moonshot", "anthropic_messages"): "https://api.moonshot.ai/anthropic/v1/messages",
    ("zai", "openai_chat"): "https://api.z.ai/api/paas/v4/chat/completions",
    ("zai", "anthropic_messages"): "https://api.z.ai/api/anthropic/v1/messages",
    ("qwen", "openai_chat"): "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/chat/completions",
    ("qwen", "openai_responses"): "https://dashscope-intl.aliyuncs.com/compatible-mode/v1/responses",
    ("qwen", "anthropic_messages"): "https://dashscope-intl.aliyuncs.com/apps/anthropic/v1/messages",
    ("ollama", "openai_chat"): "http://localhost:11434/v1/chat/completions",
    ("ollama", "openai_responses"): "http://localhost:11434/v1/responses",
    ("ollama", "anthropic_messages"): "http://localhost:11434/v1/messages",
    ("vllm", "openai_chat"): "http://localhost:8000/v1/chat/completions",
    ("vllm", "openai_responses"): "http://localhost:8000/v1/responses",
    ("vllm", "anthropic_messages"): "http://localhost:8000/v1/messages",
    ("lmstudio", "openai_chat"): "http://localhost:1234/v1/chat/completions",
    ("lmstudio", "openai_responses"): "http://localhost:1234/v1/responses",
    ("lmstudio", "anthropic_messages"): "http://localhost:1234/v1/messages",
    ("llamacpp", "openai_chat"): "http://localhost:8080/v1/chat/completions",
    ("llamacpp", "anthropic_messages"): "http://localhost:8080/v1/messages",
    ("custom", "openai_chat"): "https://models.example.com/api/v1/chat/completions",
    ("echo", "openai_chat"): "http://echo.invalid/v1/chat/completions",
    ("echo", "openai_responses"): "http://echo.invalid/v1/responses",
    ("echo", "anthropic_messages"): "http://echo.invalid/v1/messages",
    ("echo", "gemini"): "http://echo.invalid/v1beta/models/some-model:generateContent",
}

REMOTE = [name for name, row in CATALOG.items() if row.auth is not Auth.NONE]
"""The rows that need a credential."""

LOCAL = ["ollama", "vllm", "lmstudio", "llamacpp"]

CREDENTIAL_HEADERS = ("authorization", "x-api-key", "api-key", "x-goog-api-key")

LEAKS = [
    ("cookie", "sessionid=secret"),
    ("x-provider", "openai"),
    ("x-project-id", "p"),
    ("x-organization-id", "o"),
    ("x-user-id", "u"),
    ("x-experiment-id", "e"),
    ("x-request-id", "req_of_the_caller"),
    ("x-forwarded-for", "10.0.0.1"),
    ("x-real-ip", "10.0.0.1"),
    ("forwarded", "for=10.0.0.1"),
    ("x-gateway-anything", "anything"),
    ("x-aws-secret-access-key", "secret"),
    ("proxy-authorization", "Basic c2VjcmV0"),
    ("x-portkey-api-key", "secret"),
    ("x-litellm-api-key", "secret"),
    ("host", "gateway.example.com"),
    ("transfer-encoding", "chunked"),
    ("accept-encoding", "br"),
    ("connection", "close, x-hop"),
    ("x-hop", "a-hop"),
    ("origin", "https://site.example.com"),
    ("sec-fetch-mode", "cors"),
]
"""Headers that no provider may see."""

KEPT = [
    ("anthropic-beta", "one,two"),
    ("openai-beta", "assistants=v2"),
    ("x-stainless-lang", "python"),
    ("idempotency-key", "abc"),
    ("x-from-next-month", "new"),
    ("user-agent", "openai-python"),
]


def configured(name: str, **options: object) -> Provider:
    """A row as the settings would set it up, with a stored credential."""
    return build_provider(name, {"OPTIONS": {"api_key": STORED, **OPTIONS.get(name, {}), **options}})


def credentials(provider: Provider, caller: Caller, path: str) -> dict[str, str]:
    """The credential headers that a provider is sent, of a caller that sent something in every one of them."""
    given = [(name, GATEWAY_KEY.decode()) for name in CREDENTIAL_HEADERS]
    request = provider.build(make_call(path, {"model": "m"}, headers=given), caller, None)
    return {name: value for name in CREDENTIAL_HEADERS if (value := header(request, name)) is not None}


def a_path(provider: Provider) -> str:
    """A path on which a provider generates text."""
    return GENERATION[min(provider.dialects)]


def test_the_expectations_cover_every_row_and_dialect() -> None:
    assert set(URLS) == {(name, dialect) for name, row in CATALOG.items() for dialect in row.dialects}


@pytest.mark.parametrize(("name", "dialect"), URLS)
def test_url(name: str, dialect: str) -> None:
    path = GENERATION[dialect]
    request = configured(name).build(make_call(path, {"model": "m"}, query="beta=true&a=%20b"), TEAM, None)
    assert url(request) == URLS[name, dialect] + "?beta=true&a=%20b"
    assert request.method == "POST"


@pytest.mark.parametrize("name", CATALOG)
def test_a_row_is_complete(name: str) -> None:
    row = CATALOG[name]
    assert row.name == name
    assert row.label
    assert row.endpoints
    assert row.api_key is None
    assert not row.base_url.endswith("/")
    assert row.dialects <= {dialect.name for dialect in DIALECTS.values() if dialect.is_generation}
    assert row.lists_models or "models" not in row.endpoints or name == "cohere"
    assert {configured(name), configured(name)} == {configured(name)}, "providers are kept in dicts"


@pytest.mark.parametrize("name", CATALOG)
def test_other_paths_keep_their_end_and_their_method(name: str) -> None:
    request = configured(name).build(make_call("/v1/files/file-1/content", method="GET"), TEAM, None)
    assert request.method == "GET"
    assert request.target.endswith(b"/files/file-1/content")


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("dialect", GENERATION)
def test_a_dialect_that_it_does_not_speak_is_refused(name: str, dialect: str) -> None:
    provider = configured(name)
    call = make_call(GENERATION[dialect], {"model": "m"})
    if dialect in provider.dialects:
        assert provider.build(call, TEAM, None).method == "POST"
        return
    with pytest.raises(UnsupportedDialect, match=name):
        provider.build(call, TEAM, None)


@pytest.mark.parametrize("name", REMOTE)
def test_a_holder_of_a_gateway_key_is_served_with_the_stored_credential(name: str) -> None:
    provider = configured(name)
    found = credentials(provider, TEAM, a_path(provider))
    style = provider.auth_of(make_call(a_path(provider)))
    assert found == {style.value.decode(): f"Bearer {STORED}" if style is Auth.BEARER else STORED}


@pytest.mark.parametrize("name", REMOTE)
@pytest.mark.parametrize("style", [Auth.BEARER, Auth.X_API_KEY, Auth.API_KEY, Auth.X_GOOG_API_KEY])
def test_a_caller_without_one_is_passed_through_with_its_own(name: str, style: Auth) -> None:
    provider = configured(name)
    sent = f"Bearer {OWN}" if style is Auth.BEARER else OWN
    found = credentials(provider, passed_through(style.value.decode(), sent), a_path(provider))
    needed = style if style in provider.accepts else provider.auth_of(make_call(a_path(provider)))
    if name == "gemini":
        needed = Auth.X_GOOG_API_KEY
    assert found == {needed.value.decode(): f"Bearer {OWN}" if needed is Auth.BEARER else OWN}


@pytest.mark.parametrize("name", REMOTE)
def test_a_caller_without_any_credential_is_refused(name: str) -> None:
    provider = configured(name)
    with pytest.raises(InvalidCredential):
        provider.build(make_call(a_path(provider), {"model": "m"}), NOBODY, None)


@pytest.mark.parametrize("name", REMOTE)
def test_without_a_stored_credential_a_gateway_key_is_of_no_use(name: str) -> None:
    provider = build_provider(name, {"OPTIONS": OPTIONS.get(name, {})})
    assert not provider.is_configured
    with pytest.raises(ProviderNotConfigured, match="api_key"):
        provider.build(make_call(a_path(provider), {"model": "m"}), TEAM, None)
    assert configured(name).is_configured


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("openai/gpt-5", "The provider 'openai' has no credential"),
        ("gtp-5", "The provider 'openai' that the model 'gtp-5' leads to has no credential"),
    ],
    ids=["named", "default"],
)
def test_without_a_stored_credential_a_call_that_does_not_name_the_provider_is_told_how_it_came_there(
    model: str, words: str
) -> None:
    call = make_call("/v1/chat/completions", {"model": model})
    with pytest.raises(ProviderNotConfigured, match=words):
        build_provider("openai", {}).build(call, TEAM, "gpt-5")


@pytest.mark.parametrize("name", CATALOG)
@pytest.mark.parametrize("caller", [TEAM, passed_through("authorization", f"Bearer {OWN}")], ids=["key", "own"])
def test_headers_that_concern_the_gateway_stay_and_unknown_ones_pass(name: str, caller: Caller) -> None:
    provider = configured(name)
    sent = [*LEAKS, *KEPT, *((name, GATEWAY_KEY.decode()) for name in CREDENTIAL_HEADERS)]
    request = provider.build(make_call(a_path(provider), {"model": "m"}, headers=sent), caller, None)
    for leak, value in LEAKS:
        assert header(request, leak) in (None, "identity"), leak
        assert value not in [sent.decode() for _, sent in request.headers]
    assert GATEWAY_KEY.decode() not in repr(request.headers)
    for kept, value in KEPT:
        assert header(request, kept) == value
    assert header(request, "accept-encoding") == "identity"
    assert header(request, "content-type") == "application/json"


@pytest.mark.parametrize("name", CATALOG)
def test_the_model_is_rewritten_and_nothing_else(name: str) -> None:
    provider = configured(name)
    dialect = min(provider.dialects - {"gemini"})
    sent = {"model": "fast", "messages": [], "unknown": [1, None]}
    call = make_call(GENERATION[dialect], sent)
    assert json_body(provider.build(call, TEAM, "the-real-one")) == {**sent, "model": "the-real-one"}
    assert provider.build(call, TEAM, "fast").body is call.body
    assert provider.build(call, TEAM, None).body is call.body


def test_an_upload_is_passed_on_as_it_comes() -> None:
    body = pieces(b"one", b"two")
    headers = [("content-type", "multipart/form-data; boundary=x"), ("content-length", "6")]
    request = configured("openai").build(make_call("/v1/files", body, headers=headers), TEAM, "other")
    assert request.body is body
    assert request.body_length == 6
    assert header(request, "content-type") == "multipart/form-data; boundary=x"


def test_a_form_gets_the_name_of_the_model_that_is_asked() -> None:
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nspeech\r\n--x--\r\n'
    headers = [("content-type", "multipart/form-data; boundary=x"), ("content-length", str(len(form)))]

    async def upload(model: str) -> tuple[int | None, bytes]:
        body = await read_form(b"multipart/form-data; boundary=x", pieces(form), 1000, 10)
        call = make_call("/v1/audio/transcriptions", body, headers=headers)
        call = msgspec.structs.replace(call, model="speech")
        request = configured("openai").build(call, TEAM, model)
        assert not isinstance(request.body, bytes)
        return request.body_length, b"".join([piece async for piece in request.body])

    assert run(upload("speech")) == (len(form), form)
    assert run(upload("whisper-1")) == (len(form) + 3, form.replace(b"speech", b"whisper-1"))


def test_anthropic_gets_a_version_unless_the_caller_sent_one() -> None:
    call = make_call("/v1/messages", {"model": "m"})
    assert header(configured("anthropic").build(call, TEAM, None), "anthropic-version") == "2023-06-01"
    call = make_call("/v1/messages", {"model": "m"}, headers=[("anthropic-version", "2026-10-21")])
    assert header(configured("anthropic").build(call, TEAM, None), "anthropic-version") == "2026-10-21"


@pytest.mark.parametrize(
    "path", ["/v1/messages/count_tokens", "/v1/complete", "/v1/messages/batches", "/v1/files", "/v1/models/claude"]
)
def test_anthropics_other_paths(path: str) -> None:
    request = configured("anthropic").build(make_call(path, {"model": "m"}), TEAM, None)
    assert url(request) == f"https://api.anthropic.com{path}"
    assert header(request, "x-api-key") == STORED


def test_a_callers_own_bearer_token_stays_one_for_anthropic() -> None:
    caller = passed_through("authorization", "Bearer sk-ant-oat01-token")
    request = configured("anthropic").build(make_call("/v1/messages", {"model": "m"}), caller, None)
    assert header(request, "authorization") == "Bearer sk-ant-oat01-token"
    assert header(request, "x-api-key") is None


@pytest.mark.parametrize(
    ("name", "path", "expected"),
    [
        ("deepseek", "/v1/messages/count_tokens", "https://api.deepseek.com/anthropic/v1/messages/count_tokens"),
        ("deepseek", "/v1/models", "https://api.deepseek.com/models"),
        ("cohere", "/v1/rerank", "https://api.cohere.ai/v2/rerank"),
        ("cohere", "/v1/embed", "https://api.cohere.ai/v2/embed"),
        ("cohere", "/v1/embeddings", "https://api.cohere.ai/compatibility/v1/embeddings"),
        ("perplexity", "/v1/agent", "https://api.perplexity.ai/v1/agent"),
    ],
)
def test_paths_beside_the_base_url(name: str, path: str, expected: str) -> None:
    assert url(configured(name).build(make_call(path, {"model": "m"}), TEAM, None)) == expected


@pytest.mark.parametrize(
    ("name", "base_url", "expected"),
    [
        ("moonshot", "https://api.moonshot.cn/v1", "https://api.moonshot.cn/anthropic/v1/messages"),
        ("zai", "https://api.z.ai/api/coding/paas/v4", "https://api.z.ai/api/anthropic/v1/messages"),
        ("qwen", "https://w.cn-hongkong.maas.aliyuncs.com/compatible-mode/v1", "https://w.cn-hongkong.maas.aliyuncs.com/apps/anthropic/v1/messages"),
    ],
)  # fmt: skip
def test_another_region_has_its_other_apis_on_the_same_host(name: str, base_url: str, expected: str) -> None:
    provider = configured(name, base_url=base_url)
    assert url(provider.build(make_call("/v1/messages", {"model": "m"}), TEAM, None)) == expected
    chat = provider.build(make_call("/v1/chat/completions", {"model": "m"}), TEAM, None)
    assert url(chat) == f"{base_url}/chat/completions"


def test_a_path_of_another_api_is_refused() -> None:
    with pytest.raises(UnsupportedDialect, match="/v1beta/files"):
        CATALOG["groq"].path("/v1beta/files")


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_program_is_out_of_reach_until_it_is_named(name: str) -> None:
    row = CATALOG[name]
    assert not row.is_configured
    assert not row.passthrough
    with pytest.raises(ProviderNotConfigured, match=name):
        row.build(make_call(body={"model": "m"}), TEAM, None)
    provider = build_provider(name, {})
    assert provider.is_configured
    assert provider.base.origin.allow_private
    request = provider.build(make_call(body={"model": "m"}, headers=[("authorization", "Bearer gw_x")]), TEAM, None)
    assert all(header(request, each) is None for each in CREDENTIAL_HEADERS)


@pytest.mark.parametrize("name", LOCAL)
def test_a_local_program_may_want_a_token(name: str) -> None:
    request = configured(name).build(make_call(body={"model": "m"}), TEAM, None)
    assert header(request, "authorization") == f"Bearer {STORED}"


@pytest.mark.parametrize("name", ["custom", "azure"])
def test_a_row_without_an_address_cannot_be_called(name: str) -> None:
    with pytest.raises(ProviderNotConfigured, match="base_url"):
        CATALOG[name].build(make_call(body={"model": "m"}), TEAM, None)


def test_no_repr_shows_a_credential() -> None:
    assert STORED not in repr(configured("openai"))
    assert STORED not in repr(configured("openai").build(make_call(body={"model": "m"}), TEAM, None))


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("a=1&b=%2F", "a=1&b=%2F"),
        ("key=secret&alt=sse", "alt=sse"),
        ("alt=sse&KEY=secret", "alt=sse"),
        ("k%65y=secret", ""),
        ("api_key=s&access_token=s&oauth_token=s&x=1", "x=1"),
        ("$alt=sse&$key=s&%24access_token=s", "$alt=sse"),
        ("$httpHeaders=x-goog-fieldmask:a&$httpMethod=GET&alt=sse", "alt=sse"),
        ("x=1&$ct=application/x-protobuf&%24REQ=e30", "x=1"),
        ("monkey=1&token_limit=2", "monkey=1&token_limit=2"),
        ("flag&&x", "flag&&x"),
    ],
)
def test_forwarded_query(query: str, expected: str) -> None:
    assert forwarded_query(query.encode()) == expected.encode()


def test_exchange_prefix__ends_at_a_segment() -> None:
    rules = (("/v1/embed", "/v2/embed"), ("/v1", ""))
    assert exchange_prefix("/v1/embed", rules) == "/v2/embed"
    assert exchange_prefix("/v1/embeddings", rules) == "/embeddings"
    assert exchange_prefix("/v1:x", rules) == ":x"
    assert exchange_prefix("/v1beta/x", rules) is None


@pytest.mark.parametrize("target", [b"", b"v1", b"/v1/a b", b"/v1/a#b", b"/v1/\xc3", b"/v1/../x", b"/v1/.", b"/a\r\nb"])
def test_a_target_that_is_none_goes_to_nobody(target: bytes) -> None:
    with pytest.raises(BadRequest):
        check_target(target)


def test_a_target_may_have_everything_else() -> None:
    for target in (b"/", b"/v1/.well/x..y?q=/../z", b"/v1/files/a%20b", b"/v1/models/m:generateContent?alt=sse"):
        check_target(target)


def test_path_segments() -> None:
    assert path_segments("tunedModels/a b") == "tunedModels/a%20b"
    for name in ("", "/", "a//b", "a/../b", "../a", "a/"):
        with pytest.raises(ModelNotFound):
            path_segments(name)


def test_path_segment() -> None:
    assert path_segment("gpt-5:mini") == "gpt-5:mini"
    assert path_segment("a/../b?c#d%2e") == "a%2F..%2Fb%3Fc%23d%252e"
    for name in ("", ".", "..", "x" * 1025, "\ud800"):
        with pytest.raises(ModelNotFound):
            path_segment(name)
