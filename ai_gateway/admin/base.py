"""What all pages of the admin have in common: lists that count nothing, readable history, forms for people.

A list asks for one row more than it shows, and so knows whether there is a next page. How many there are in all it does
not know: to count a million rows takes a database longer than anything else that a list does.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from django.contrib import admin
from django.contrib.admin.exceptions import NotRegistered
from django.contrib.admin.options import BaseModelAdmin, IncorrectLookupParameters
from django.contrib.admin.views.main import ChangeList
from django.contrib.admin.widgets import ManyToManyRawIdWidget
from django.core.exceptions import ValidationError
from django.core.paginator import Paginator
from django.db.models import Field, JSONField, Model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.decorators import method_decorator
from django.utils.translation import gettext_lazy as _
from django.views.decorators.debug import sensitive_post_parameters

from ai_gateway.admin import audit, formfields, theme
from ai_gateway.fields import EncryptedField
from ai_gateway.models.base import TimeStamped

MOST_PAGES = 10**6
"""Pages of a list that there may be: a database counts rows with 64 bits."""


class Tool(NamedTuple):
    """A link beside the title of a page. `icon` is a name of Material Symbols, which unfold shows."""

    title: str
    url: str
    icon: str


class UncountedChangeList(ChangeList):
    """A page of a list, and whether there is another one."""

    has_next = False

    def get_filters_params(self, params: Any = None) -> Any:
        """Refuse numbers that no row has: a database cannot be asked for them."""
        found: dict[str, Any] = super().get_filters_params(params)
        for name, values in found.items():
            if name.partition("__")[0] in self.relations and any(map(is_too_great, values)):
                raise IncorrectLookupParameters
        return found

    @property
    def relations(self) -> set[str]:
        """The fields that refer to something by its number."""
        return {field.name for field in self.lookup_opts.concrete_fields if field.is_relation}

    def get_results(self, request: HttpRequest) -> None:
        """Read the rows of the page, and one more."""
        size = self.list_per_page
        self.page_num = max(self.page_num, 1)
        if self.page_num > MOST_PAGES:
            raise IncorrectLookupParameters
        first = (self.page_num - 1) * size
        rows = list(self.queryset[first : first + size + 1])
        if not rows and self.page_num > 1:
            raise IncorrectLookupParameters
        self.has_next = len(rows) > size
        self.result_list = rows[:size]
        self.result_count = len(self.result_list)
        self.full_result_count = self.result_count
        self.show_full_result_count = False
        self.show_admin_actions = bool(rows)
        self.can_show_all = False
        self.multi_page = self.has_next or self.page_num > 1
        self.paginator = Paginator(self.result_list, size)

    @property
    def previous_query(self) -> str:
        """The query string of the page before."""
        return self.get_query_string({"p": self.page_num - 1})

    @property
    def next_query(self) -> str:
        """The query string of the next page."""
        return self.get_query_string({"p": self.page_num + 1})


def is_too_great(value: object) -> bool:
    """Whether it is a number of more than 64 bits."""
    text = str(value)
    return text.isdecimal() and (len(text) > 19 or int(text) >= 2**63)


class FormMixin(BaseModelAdmin):  # type: ignore[type-arg]
    """Form fields of the gateway's models, in pages and in inlines."""

    looked_up: tuple[str, ...] = ()
    """Fields that refer to people or groups, of which there may be very many."""

    def formfield_for_dbfield(self, db_field: Field[Any, Any], request: HttpRequest, **kwargs: Any) -> Any:
        """Give the fields that Django's own cannot fit their own form."""
        if isinstance(db_field, JSONField):
            return formfields.for_json(db_field)
        if isinstance(db_field, EncryptedField):
            kwargs["widget"] = formfields.SecretInput()
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def get_autocomplete_fields(self, request: HttpRequest) -> list[str]:
        """Find people and groups by typing, if this site's admin can search them."""
        searched = [name for name in self.looked_up if self.can_search(name, request)]
        return [*super().get_autocomplete_fields(request), *searched]

    def can_search(self, name: str, request: HttpRequest) -> bool:
        """Whether the admin can search what a field refers to. Users of a site's own may not be in it."""
        related: Any = self.model._meta.get_field(name).related_model
        try:
            return bool(self.admin_site.get_model_admin(related).get_search_fields(request))
        except NotRegistered:
            return False

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Take the id of what cannot be searched: a list of all users would be too long."""
        if db_field.name in self.looked_up and not self.can_search(db_field.name, request):
            kwargs["widget"] = theme.RawIdInput(db_field.remote_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Take the ids of what cannot be searched."""
        if db_field.name in self.looked_up and not self.can_search(db_field.name, request):
            kwargs["widget"] = ManyToManyRawIdWidget(db_field.remote_field, self.admin_site)
        return super().formfield_for_manytomany(db_field, request, **kwargs)


SEEN = "gateway_seen"
"""The field of a form that says which state it shows."""


class StaleForm:
    """A form of what was changed since it was opened. It comes back once, to be looked at."""

    def clean(self) -> Any:
        """Raise ValidationError."""
        super().clean()  # type: ignore[misc]
        raise ValidationError(
            _("Somebody changed this while the form was open. Open it again, or save once more to write over it."),
            code="stale",
        )


@method_decorator(sensitive_post_parameters(), name="changeform_view")
class ControlAdmin(FormMixin, theme.ModelAdmin):  # type: ignore[type-arg]
    """The base of the gateway's pages. What a form posts is kept out of error reports: it may be a secret."""

    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    list_per_page = 50
    change_list_template = "ai_gateway/admin/change_list.html"
    change_form_template = "ai_gateway/admin/change_form.html"

    when_empty: Any = ""
    """What a list in which there is nothing says: what that means, and what to do next."""

    has_history = True
    """Whether people change what is listed, which Django writes down."""

    class Media:
        css = {"all": ["ai_gateway/admin.css"]}  # noqa: RUF012

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """List without counting."""
        return UncountedChangeList

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        """Note in the history what was changed from what to what."""
        return audit.change_message(form, formsets, add)

    def seen(self, obj: Any) -> str:
        """Give what a form notes of the state that it shows, to tell whether somebody changed it since."""
        return obj.updated_at.isoformat() if isinstance(obj, TimeStamped) else ""

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        """Refuse a form that would undo what somebody changed while it was open."""
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        noted = request.POST.get(SEEN) if change else None
        if not noted or noted == self.seen(obj):
            return form
        return type(form.__name__, (StaleForm, form), {})

    def tools(self, request: HttpRequest, obj: Any) -> Iterable[Tool]:
        """Give the links beside the title of an object's page."""
        return ()

    def list_tools(self, request: HttpRequest) -> Iterable[Tool]:
        """Give the links beside the title of the list."""
        return ()

    def render_change_form(
        self,
        request: HttpRequest,
        context: dict[str, Any],
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: Any = None,
    ) -> Any:
        """Add the tools."""
        tools = [] if obj is None else list(self.tools(request, obj))
        seen = self.seen(obj) if obj is not None and change else ""
        context.update(gateway_tools=tools, tool_template=theme.TOOL_TEMPLATE, gateway_seen=seen)
        context["gateway_has_history"] = self.has_history
        return super().render_change_form(request, context, add, change, form_url, obj)

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        """Add the tools, and what is said if there is nothing."""
        context = {
            "gateway_when_empty": self.when_empty,
            "gateway_tools": list(self.list_tools(request)),
            "tool_template": theme.TOOL_TEMPLATE,
            "is_unfold": theme.IS_UNFOLD,
        }
        return super().changelist_view(request, {**context, **(extra_context or {})})

    def url_of(self, view: str, obj: Model | None = None) -> str:
        """Give the address of a page: "change", or one of this app's own, about an object or none."""
        name = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}_{view}"
        return reverse(name, args=[] if obj is None else [obj.pk], current_app=self.admin_site.name)

    def page(self, request: HttpRequest, template: str, title: str, obj: Model | None, **context: Any) -> HttpResponse:
        """Show a page of our own in the admin's frame."""
        request.current_app = self.admin_site.name
        common = {
            **self.admin_site.each_context(request),
            "title": title,
            "subtitle": None,
            "opts": self.opts,
            "original": obj,
            "back_url": self.url_of("change", obj) if obj is not None else None,
            "media": self.media,
            "is_unfold": theme.IS_UNFOLD,
        }
        return TemplateResponse(request, f"ai_gateway/admin/{template}", {**common, **context})


class ReadOnlyAdmin(ControlAdmin):
    """The base of pages about what nobody makes, changes or deletes by hand."""

    has_history = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Nobody adds any."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes any."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes any: what is old is deleted by a command."""
        return False


class PageAdmin(ReadOnlyAdmin):
    """The base of what is one page, in the place where other models have their list, and no table."""

    def get_urls(self) -> list[Any]:
        """Give the page alone."""
        return super().get_urls()[:1]
