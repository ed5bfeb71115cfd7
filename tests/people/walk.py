"""What a site does with keys, from the first migration to a caller; run in a process of its own."""

from __future__ import annotations

import io

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402

from ai_gateway import interchange, registry  # noqa: E402
from ai_gateway.crypto import public_id_of  # noqa: E402
from ai_gateway.key_store import caller_of, read_keys  # noqa: E402
from ai_gateway.models import ConfigurationVersion, Route  # noqa: E402

call_command("migrate", run_syncdb=True, verbosity=0)
call_command("check", databases=["default"])
ann = get_user_model().objects.create(email="ann@example.org")

out = io.StringIO()
call_command("gateway_key", "create", "--user", "ann@example.org", "--name", "x", stdout=out, stderr=io.StringIO())
public_id = public_id_of(out.getvalue().strip().encode()) or ""
record = read_keys([public_id])[public_id]
assert record.is_verifiable
assert record.problem is None
assert record.caller.user_id == ann.pk

route = Route.objects.create(name="mine", is_public=False)
route.users.add(ann)
route.targets.create(provider="echo", model="echo-1")
assert registry.refresh().rules["mine"].users == {ann.pk}
assert caller_of(ann).user_id == ann.pk
assert interchange.export()["routes"]["mine"]["users"] == ["ann@example.org"]

before = ConfigurationVersion.objects.get().keys
ann.is_active = False
ann.save()
assert ConfigurationVersion.objects.get().keys == before + 1
assert read_keys([public_id])[public_id].problem == "The owner of this gateway key is not active."
print("done")
