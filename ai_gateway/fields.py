"""A model field that stores a secret encrypted and never shows it.

    secret = EncryptedField(_("secret"), blank=True)

What is assigned is encrypted when the row is saved, for this row, this field and this purpose alone: the model says
which by `encryption_context(field_name)`. What comes out of the database is a `Sealed`, which shows nothing and opens
only by `field.open(instance)`. A fixture (`dumpdata`) holds the ciphertext. There is nothing to search by.
"""

from __future__ import annotations

from typing import Any

from django.core.exceptions import FieldError
from django.db import models
from django.forms import PasswordInput

from ai_gateway.credentials import Secret
from ai_gateway.crypto import Keyring, is_ciphertext
from ai_gateway.keyring import keyring


class Sealed:
    """A ciphertext out of the database."""

    __slots__ = ("ciphertext",)

    def __init__(self, ciphertext: str) -> None:
        self.ciphertext = ciphertext

    def __repr__(self) -> str:
        return "Sealed(***)"

    __str__ = __repr__

    def __bool__(self) -> bool:
        return bool(self.ciphertext)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sealed) and self.ciphertext == other.ciphertext

    def __hash__(self) -> int:
        return hash(self.ciphertext)


NOTHING = Sealed("")


class EncryptedAttribute:
    """Keeps what is assigned from showing itself: plain text becomes a `Secret` at once."""

    def __init__(self, field: EncryptedField) -> None:
        self.field = field

    def __get__(self, instance: models.Model | None, owner: type[models.Model]) -> Any:
        if instance is None:
            return self
        if self.field.attname not in instance.__dict__:  # It was deferred.
            instance.refresh_from_db(fields=[self.field.attname])
        return instance.__dict__[self.field.attname]

    def __set__(self, instance: models.Model, value: object) -> None:
        if value is None or value == "":
            value = NOTHING
        elif isinstance(value, str):
            value = Secret(value)
        instance.__dict__[self.field.attname] = value


class EncryptedField(models.TextField):  # type: ignore[type-arg]
    """A text that is encrypted in the database. See the module's docstring."""

    descriptor_class = EncryptedAttribute

    def open(self, instance: models.Model, keys: Keyring | None = None) -> Secret | None:
        """Decrypt the value, or give None if there is none. `keys` saves reading them for each of many rows. Raises
        CryptoError: a value that does not open is never replaced by anything else."""
        value = getattr(instance, self.attname)
        if isinstance(value, Secret):
            return value
        if not value:
            return None
        return Secret((keys or keyring()).decrypt(value.ciphertext, context(instance, self.attname)))

    def pre_save(self, model_instance: models.Model, add: bool) -> str:
        """Encrypt what was assigned since the row was loaded; keep the ciphertext of what was not."""
        value = getattr(model_instance, self.attname)
        if isinstance(value, Secret):
            value = Sealed(keyring().encrypt(value.reveal(), context(model_instance, self.attname)))
            setattr(model_instance, self.attname, value)
        return str(value.ciphertext)

    def from_db_value(self, value: str | None, *_: object) -> Sealed:
        """Wrap what the database holds."""
        return Sealed(value) if value else NOTHING

    def to_python(self, value: Any) -> Any:
        """Take a ciphertext from a fixture as what it is, and everything else as a new secret."""
        if isinstance(value, str) and is_ciphertext(value):
            return Sealed(value)
        return Secret(value) if isinstance(value, str) and value else value

    def get_prep_value(self, value: Any) -> Any:
        """Give the ciphertext, which save() has made; nothing stays nothing. Raises FieldError for all else: a plain
        text never gets into a query."""
        if isinstance(value, Sealed):
            return value.ciphertext
        if value is None or value == "" or (type(value) is str and is_ciphertext(value)):
            return value
        raise FieldError(f"{self.name} cannot be written or searched by a query: assign it to a row and save() that.")

    def value_to_string(self, obj: models.Model) -> str:
        """Write the ciphertext into a fixture."""
        value = getattr(obj, self.attname)
        return self.pre_save(obj, add=False) if isinstance(value, Secret) else str(value.ciphertext)

    def formfield(self, **kwargs: Any) -> Any:
        """Ask for it in a field that hides what is typed, and that browsers do not fill in."""
        widget = PasswordInput(attrs={"autocomplete": "new-password"})
        return super().formfield(**{"widget": widget, "strip": False, **kwargs})

    def save_form_data(self, instance: models.Model, data: Any) -> None:
        """Take what was entered; nothing entered keeps what is stored."""
        if data:
            setattr(instance, self.attname, data)

    def value_from_object(self, obj: models.Model) -> str:
        """Give nothing to forms: what is stored is replaced or kept, never shown."""
        return ""

    def get_lookup(self, lookup_name: str) -> Any:
        """Refuse to search, except for whether there is something, and for a ciphertext: get_prep_value() takes no
        other text."""
        return super().get_lookup(lookup_name) if lookup_name in ("exact", "isnull", "in") else None

    def clean(self, value: Any, model_instance: models.Model | None) -> Any:
        """Validate without looking inside."""
        return value if isinstance(value, (Sealed, Secret)) else super().clean(value, model_instance)


def context(instance: models.Model, field: str) -> str:
    """Name the model, the field, the row and the purpose that a secret belongs to."""
    purpose: str = instance.encryption_context(field)  # type: ignore[attr-defined]
    return f"{instance._meta.label_lower}.{field}:{purpose}"
