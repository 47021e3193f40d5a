"""What the pages of runs, nights and topics show above their rows.

Importing the theme renders a form, for which Django imports every library of tags, this one too: what needs the theme
is imported where it is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import template

if TYPE_CHECKING:
    from maintenance.models import MaintenanceRun
    from training.models import TrainingRun

register = template.Library()


@register.inclusion_tag("desk/runs/run.html", takes_context=True)
def run_details(context: dict[str, Any], run: TrainingRun) -> dict[str, Any]:
    """Show the curves, the figures, the answers of a run, and the pairs that did not stick."""
    from dualchannel_site.desk.runs import pages

    return pages.of_run(run, context["user"])


@register.inclusion_tag("desk/runs/morning.html")
def morning_report(run: MaintenanceRun) -> dict[str, Any]:
    """Show the morning report of a night."""
    from dualchannel_site.desk.runs import pages

    return pages.of_night(run)


@register.inclusion_tag("desk/charts/chart.html")
def topics_chart() -> dict[str, Any]:
    """Show the coverage of the topics over time."""
    from dualchannel_site.desk.runs import pages

    return pages.of_topics()
