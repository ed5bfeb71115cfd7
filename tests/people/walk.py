"""What a site does with keys, from the first migration to a caller; run in a process of its own."""

from __future__ import annotations

import io

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from django.core.management import call_command  # noqa: E402

from ai_gateway import interchange, ledger_store, registry  # noqa: E402
from ai_gateway.crypto import public_id_of  # noqa: E402
from ai_gateway.ids import new_id  # noqa: E402
from ai_gateway.journal import read_line, write_line  # noqa: E402
from ai_gateway.key_store import caller_of, read_keys  # noqa: E402
from ai_gateway.meter import Entry  # noqa: E402
from ai_gateway.models import ConfigurationVersion, Route, UsageDaily, UsageRecord  # noqa: E402

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

# What she used is written down, also after a while in the journal, and summed up.
used = [Entry(id=new_id(), request_id="x", started_at=0.0, outcome="answered", user_id=key) for key in (ann.pk, ann.pk)]
ledger_store.write([used[0], read_line(write_line(used[1]))])
assert list(UsageRecord.objects.values_list("user_id", flat=True)) == [ann.pk, ann.pk]
assert UsageDaily.objects.get(user_id=ann.pk).requests == 2
call_command("gateway_reconcile_usage", stdout=io.StringIO())

before = ConfigurationVersion.objects.get().keys
ann.is_active = False
ann.save()
assert ConfigurationVersion.objects.get().keys == before + 1
assert read_keys([public_id])[public_id].problem == "The owner of this gateway key is not active."
print("done")
