"""What the admin's look is made of: the stock admin's classes, or those of django-unfold where it is installed.

Nothing else here knows of unfold. It needs its own base classes and widgets, whose style is in their CSS classes, and
tools beside a page's title written its own way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.apps import apps

IS_UNFOLD = apps.is_installed("unfold")

if TYPE_CHECKING or not IS_UNFOLD:
    from django.contrib.admin import ModelAdmin, StackedInline
    from django.contrib.admin.widgets import AdminTextareaWidget as Textarea
    from django.contrib.admin.widgets import AdminTextInputWidget as TextInput
    from django.contrib.admin.widgets import ForeignKeyRawIdWidget as RawIdInput
    from django.forms import CheckboxSelectMultiple as Checkboxes
    from django.forms import PasswordInput, Select
else:
    from unfold.admin import ModelAdmin, StackedInline
    from unfold.widgets import UnfoldAdminCheckboxSelectMultipleWidget as Checkboxes
    from unfold.widgets import UnfoldAdminPasswordWidget as PasswordInput
    from unfold.widgets import UnfoldAdminSelectWidget as Select
    from unfold.widgets import UnfoldAdminTextareaWidget as Textarea
    from unfold.widgets import UnfoldAdminTextInputWidget as TextInput
    from unfold.widgets import UnfoldForeignKeyRawIdWidget as RawIdInput

TOOL_TEMPLATE = "ai_gateway/admin/tool_unfold.html" if IS_UNFOLD else "ai_gateway/admin/tool.html"
"""Writes one link beside the title of a page."""

__all__ = [
    "IS_UNFOLD",
    "TOOL_TEMPLATE",
    "Checkboxes",
    "ModelAdmin",
    "PasswordInput",
    "RawIdInput",
    "Select",
    "StackedInline",
    "TextInput",
    "Textarea",
]
