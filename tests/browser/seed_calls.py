"""Two calls for the walk through the explorer, one of them with what was said. Run in the shell of the site."""

SEED = r"""
import json
from datetime import timedelta
from uuid import UUID
from django.utils import timezone
from ai_gateway import recorded
from ai_gateway.ids import new_id
from ai_gateway.models import UsageRecord
from ai_gateway.recorder import Body, Recording

now = timezone.now()
common = {"status": 200, "provider": "openai", "dialect": "openai_chat", "endpoint": "chat/completions", "model": "m"}
trail = [{"provider": "groq", "model": "llama", "status": 503, "error": "overloaded", "at": 3, "ms": 400}]
times = {"overhead_us": 410_000, "first_byte_ms": 900, "first_token_ms": 950, "duration_ms": 3200}
call = UsageRecord.objects.create(
    id=UUID(new_id()), request_id="req_of_the_walk", started_at=now, outcome="answered", served_model="gpt-5-mini",
    is_stream=True, attempts=2, trail=trail, session="walk", input_tokens=900, output_tokens=80, cost_nanos=385_000,
    **times, **common,
)
UsageRecord.objects.create(
    id=UUID(new_id()), request_id="req_that_failed", started_at=now - timedelta(minutes=7), outcome="failed",
    error_code="overloaded", served_model="gpt-5-mini", session="walk", duration_ms=700, **common | {"status": 503},
)
question = {"model": "fast", "messages": [{"role": "user", "content": "<b>Is it</b> sunny?"}]}
answer = {"id": "c", "model": "m", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "It is."}}]}
bodies = [json.dumps(each).encode() for each in (question, answer)]
recorded.store([
    Recording(
        id=call.pk.hex, at=now.timestamp(), dialect="openai_chat", path="/v1/chat/completions", is_stream=False,
        key_id=None, user_id=None, request_headers=[], request=Body(bodies[0], len(bodies[0])), status=200,
        response_headers=[], response=Body(bodies[1], len(bodies[1])), keeps_headers=False,
    )
])
"""
