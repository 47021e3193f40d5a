"""What can be chosen on the start pages."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any, cast

from django import forms
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminRadioSelectWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminSingleDateWidget,
    UnfoldAdminTextareaWidget,
)

from dualchannel_site.desk.jobs.configs import chosen_config, config_names
from maintenance.steps import STEPS
from memory.admin.filters import midnight


class ExtractionForm(forms.Form):
    """Which conversations to extract from."""

    which = forms.ChoiceField(
        choices=[("all", "All conversations"), ("since", "Only what was said since a day")],
        initial="all",
        widget=UnfoldAdminRadioSelectWidget,
        label="Conversations",
        help_text="What is stored already is left alone, so that all of them can be gone through again and again.",
    )
    since = forms.DateField(
        required=False,
        widget=UnfoldAdminSingleDateWidget(attrs={"type": "date"}),
        label="Since",
        help_text="For the second choice. Counts when a thing was said, not when it was imported.",
    )

    def clean(self) -> dict[str, Any]:
        """Refuse a choice without its day, and a day that is yet to come."""
        chosen = super().clean() or {}
        if chosen.get("which") == "since" and "since" not in self.errors:
            day = chosen.get("since")
            if day is None:
                self.add_error("since", "got no day, allowed a day such as 2026-01-31")
            elif day > timezone.localdate():
                self.add_error("since", f"got {day}, allowed today or an earlier day")
            else:
                chosen["since_moment"] = self._moment(day)
        return chosen

    def options(self) -> dict[str, Any]:
        """Return the choice as a job's options."""
        moment = self.cleaned_data.get("since_moment")
        return {"since": None if moment is None else moment.isoformat()}

    def _moment(self, day: date) -> datetime | None:
        try:
            return midnight(day).astimezone(UTC)
        except OverflowError:
            # The first day of all, east of Greenwich.
            self.add_error("since", f"got {day}, allowed a day such as 2026-01-31")
            return None


class TrainingForm(forms.Form):
    """By which config to train."""

    config = forms.ChoiceField(widget=UnfoldAdminSelectWidget, label="Config")
    overrides = forms.CharField(
        required=False,
        max_length=4_000,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 4, "placeholder": "max_steps=100\nbeta=0.2"}),
        label="Values over the config's",
        help_text="One key=value a line, such as max_steps=100. Keys that name models, files or folders are the "
        "config's alone.",
    )

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        cast(forms.ChoiceField, self.fields["config"]).choices = [(name, name) for name in config_names()]

    def clean(self) -> dict[str, Any]:
        """Refuse what no run could use, with every problem named."""
        chosen = super().clean() or {}
        if "config" in chosen and "overrides" in chosen:
            chosen["overrides"] = [line.strip() for line in chosen["overrides"].splitlines() if line.strip()]
            try:
                chosen_config(chosen["config"], chosen["overrides"])
            except ValueError as error:
                # A ConfigError, of one problem a line.
                self.add_error("overrides", list(getattr(error, "problems", [str(error)])))
        return chosen

    def options(self) -> dict[str, Any]:
        """Return the choice as a job's options."""
        return {"config": self.cleaned_data["config"], "overrides": self.cleaned_data["overrides"]}


class NightForm(forms.Form):
    """Which steps a night takes, and whether it changes anything."""

    how = forms.ChoiceField(
        choices=[("real", "For real"), ("dry_run", "As a dry run: count what would be done, change nothing")],
        initial="real",
        widget=UnfoldAdminRadioSelectWidget,
        label="Run",
    )
    steps = forms.MultipleChoiceField(
        choices=[(step, step) for step in STEPS],
        initial=list(STEPS),
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        label="Steps",
        help_text="Taken in this order. Train and evaluate do nothing unless the night's config enables training.",
    )

    def options(self) -> dict[str, Any]:
        """Return the choice as a job's options."""
        chosen = self.cleaned_data["steps"]
        return {"steps": [step for step in STEPS if step in chosen], "dry_run": self.cleaned_data["how"] == "dry_run"}
