"""The encrypted field: what goes in comes out for nobody but who asks for it by name."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.exceptions import FieldError
from django.core.management import call_command
from django.db import connection, transaction
from django.forms import modelform_factory

from ai_gateway import crypto
from ai_gateway.credentials import Secret
from ai_gateway.crypto import NoKey, WrongContext
from ai_gateway.fields import Sealed
from ai_gateway.models import ProviderCredential
from ai_gateway.stored import SECRET as FIELD
from tests.control.rows import SECRET, make_credential, make_provider

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encryption_key")]


@pytest.fixture
def credential() -> ProviderCredential:
    make_credential(make_provider())
    return ProviderCredential.objects.get()


def opened(credential: ProviderCredential) -> str:
    found = FIELD.open(credential)
    assert found is not None
    return found.reveal()


def column() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT secret FROM ai_gateway_providercredential")
        return str(cursor.fetchone()[0])


def test_the_column_holds_a_ciphertext_that_opens_again(credential: ProviderCredential) -> None:
    assert column().startswith("gw1:")
    assert SECRET not in column()
    assert opened(credential) == SECRET


def test_the_attribute_shows_nothing_before_and_after_it_is_saved(credential: ProviderCredential) -> None:
    fresh = ProviderCredential(provider=credential.provider, name="other", secret=SECRET)
    for each in (credential, fresh):
        assert SECRET not in repr(each.secret) + str(each.secret) + repr(vars(each)) + f"{each!r} {each}"
    assert isinstance(fresh.secret, Secret)
    assert isinstance(credential.secret, Sealed)


def test_saving_again_keeps_the_ciphertext_without_the_key(
    credential: ProviderCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = column()
    monkeypatch.delenv("AI_GATEWAY_ENCRYPTION_KEYS")
    credential.weight = 5
    credential.save()
    assert column() == before


def test_it_does_not_open_in_another_row(credential: ProviderCredential) -> None:
    other = make_credential(credential.provider, "other", secret="sk-other-0123456789abcdef")
    ProviderCredential.objects.filter(pk=other.pk).update(secret=credential.secret)
    other.refresh_from_db()
    with pytest.raises(WrongContext):
        FIELD.open(other)


def test_it_does_not_open_for_another_host(credential: ProviderCredential) -> None:
    provider = credential.provider
    provider.base_url = "https://evil.example/v1"
    provider.save()
    credential = ProviderCredential.objects.get()
    with pytest.raises(WrongContext):
        FIELD.open(credential)
    provider.base_url = "https://api.openai.com/other"
    provider.save()
    assert opened(ProviderCredential.objects.get()) == SECRET


def test_without_the_right_key_it_opens_for_nobody(
    credential: ProviderCredential, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AI_GATEWAY_ENCRYPTION_KEYS", crypto.generate_key())
    with pytest.raises(NoKey) as caught:
        FIELD.open(credential)
    assert SECRET not in str(caught.value)


def test_dumpdata_and_loaddata_carry_the_ciphertext(credential: ProviderCredential, tmp_path: Any) -> None:
    out = io.StringIO()
    call_command("dumpdata", "ai_gateway", stdout=out)
    assert SECRET not in out.getvalue()
    before = column()
    fixture = tmp_path / "dump.json"
    fixture.write_text(out.getvalue())
    ProviderCredential.objects.all().delete()
    call_command("loaddata", str(fixture), verbosity=0)
    assert column() == before
    assert opened(ProviderCredential.objects.get()) == SECRET
    rows = [row["fields"] for row in json.loads(out.getvalue()) if row["model"] == "ai_gateway.providercredential"]
    assert rows[0]["secret"] == before


def test_a_plain_text_never_gets_into_a_query(credential: ProviderCredential) -> None:
    rows = ProviderCredential.objects
    for secret in (SECRET, Secret(SECRET), 7, SECRET.encode()):
        with pytest.raises(FieldError) as caught:
            rows.update(secret=secret)
        assert SECRET not in str(caught.value)
        with pytest.raises(FieldError):
            rows.filter(secret=secret).exists()
        with pytest.raises(FieldError):
            rows.filter(secret__in=[secret]).exists()
    for lookup in ("contains", "startswith", "gt", "regex"):
        with pytest.raises(FieldError):
            ProviderCredential.objects.filter(**{f"secret__{lookup}": "sk"}).exists()


def test_a_ciphertext_and_nothing_may_be_in_a_query(credential: ProviderCredential) -> None:
    rows = ProviderCredential.objects
    assert rows.filter(secret=credential.secret).exists()
    assert rows.filter(secret__in=[column()]).exists()
    assert not rows.filter(secret="").exists()
    rows.update(secret=column())
    assert opened(rows.get()) == SECRET
    rows.update(secret="")
    assert rows.filter(secret="").exists()


def test_many_rows_are_written_encrypted(credential: ProviderCredential) -> None:
    credential.secret = "sk-other-0123456789abcdef"
    with pytest.raises(FieldError), transaction.atomic():  # Django asks for no pre_save() here.
        ProviderCredential.objects.bulk_update([credential], ["secret"])
    made = ProviderCredential(provider=credential.provider, name="other", secret=SECRET)
    ProviderCredential.objects.bulk_create([made])
    assert opened(ProviderCredential.objects.get(name="other")) == SECRET


def test_a_form_shows_nothing_and_keeps_what_is_stored(credential: ProviderCredential) -> None:
    form_class: Any = modelform_factory(ProviderCredential, fields=["name", "secret", "weight"])
    form = form_class(instance=credential)
    html = form.as_p()
    assert SECRET not in html
    assert column() not in html
    assert 'type="password"' in html
    form = form_class({"name": "main", "secret": "", "weight": 3}, instance=credential)
    assert form.is_valid(), form.errors
    form.save()
    assert opened(ProviderCredential.objects.get()) == SECRET
    form = form_class({"name": "main", "secret": "sk-new-0123456789abcdef", "weight": 3}, instance=credential)
    assert form.is_valid(), form.errors
    form.save()
    assert opened(ProviderCredential.objects.get()) == "sk-new-0123456789abcdef"


def test_a_deferred_value_is_fetched_when_it_is_needed(credential: ProviderCredential) -> None:
    assert opened(ProviderCredential.objects.defer("secret").get()) == SECRET
