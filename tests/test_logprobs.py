"""Which requests ask for log probabilities, however it is written."""

from __future__ import annotations

import pytest

from ai_gateway.logprobs import are_asked_for


@pytest.mark.parametrize(
    "body",
    [
        b'{"logprobs": true}',
        b'{"logprobs": true, "logprobs": false}',
        b'{"logprobs": false, "logprobs": true}',
        b'{"logprob\\u0073": true}',
        b'{"logprob\\u0053": true}',
        b'{"\\u006c\\u006f\\u0067\\u0070\\u0072\\u006f\\u0062\\u0073": true}',
        b'{"LogProbs": true}',
        b'{"LOGPROBS": true, "messages": [{"content": "\xc3\xbc"}]}',
        b'{"logprobs": 0, "prompt": "hi"}',
        b'{"logprobs": "true"}',
        b'{"top_logprobs": 2}',
        b'{"include": ["message.output_text.logprobs"]}',
        b'{"include": ["message.output_text.logprob\\u0073"]}',
        b'{"generationConfig": {"responseLogprobs": true}}',
        b'{"generation_config": {"response_logprobs": true}}',
        b'{"additionalModelRequestFields": {"logprobs": true}}',
        b'{"requests": [{"logprobs": true}]}',
        b'{"input": {"logprobs": true}}',
        b'{"n_probs": 3}',
        b'[{"logprobs": true}]',
    ],
)
def test_log_probabilities_are_asked_for(body: bytes) -> None:
    assert are_asked_for(body)


@pytest.mark.parametrize(
    "body",
    [
        b'{"messages": [{"content": "logprobs"}]}',
        b'{"logprobs": false, "top_logprobs": 0, "caf\\u0065": 1}',
        b'{"logprobs": null, "generationConfig": {"responseLogprobs": false}}',
        b'{"include": ["reasoning.encrypted_content"], "top_logprobs": 0}',
        b'{"messages": [{"content": [{"type": "tool_use", "input": {"logprobs": true}}]}]}',
        b'{"tools": [{"input_schema": {"properties": {"logprobs": {"type": "boolean", "default": true}}}}]}',
        b'{"response_format": {"schema": {"properties": {"logprobs": {"type": "boolean"}}}}}',
        b'"logprobs"',
    ],
)
def test_log_probabilities_are_not_asked_for(body: bytes) -> None:
    assert not are_asked_for(body)


def test_a_number_of_any_length_is_read() -> None:
    assert are_asked_for(b'{"seed": %s, "logprobs": true}' % (b"1" * 10_000))
