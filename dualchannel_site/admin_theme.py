"""How the admin looks: its name, its colours, its navigation."""

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy


def _entry(title: str, icon: str, model: str) -> dict[str, Any]:
    """Return a line of the navigation: the list of one model (`app.model`), for those who may see it."""
    app, name = model.split(".")

    def may_see(request: HttpRequest) -> bool:
        return request.user.has_perm(f"{app}.view_{name}") or request.user.has_perm(f"{app}.change_{name}")

    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": may_see,
    }


def _review(title: str, icon: str, channel: str, model: str) -> dict[str, Any]:
    """Return the line of a channel's review queue, for those who may see its pairs."""
    return {**_entry(title, icon, model), "link": reverse_lazy("desk:review", args=[channel])}


def _jobs() -> dict[str, Any]:
    """Return the line of the jobs, for those who may see them."""
    return {
        "title": "Jobs",
        "icon": "play_circle",
        "link": reverse_lazy("desk:jobs"),
        "permission": lambda request: request.user.has_perm("desk.view_job"),
    }


def _stylesheet(request: HttpRequest) -> str:
    return static("memory/desk.css")


def _list_stylesheet(request: HttpRequest) -> str:
    return static("memory/lists.css")


def _icon(request: HttpRequest) -> str:
    return static("desk/favicon.svg")


def _theme_stylesheet(request: HttpRequest) -> str:
    return static("desk/theme.css")


NAVIGATION = [
    {
        "title": "Review",
        "items": [
            _review("Review: Memory", "rate_review", "memory", "memory.sftpair"),
            _review("Review: Preferences", "compare_arrows", "preference", "memory.preferencepair"),
        ],
    },
    {
        "title": "Memory",
        "separator": True,
        "items": [
            _entry("Memory pairs", "psychology", "memory.sftpair"),
            _entry("Conversations", "forum", "memory.conversation"),
            _entry("Messages", "chat_bubble", "memory.message"),
            _entry("Imports", "download", "memory.importbatch"),
            _entry("Decisions on many", "checklist", "memory.bulkdecision"),
            _entry("Embeddings", "scatter_plot", "memory.pairembedding"),
        ],
    },
    {
        "title": "Reward",
        "separator": True,
        "items": [
            _entry("Preference pairs", "thumbs_up_down", "memory.preferencepair"),
            _entry("Replay buffer", "replay", "memory.replayentry"),
        ],
    },
    {
        "title": "Training",
        "separator": True,
        "items": [
            _jobs(),
            _entry("Runs", "model_training", "training.trainingrun"),
            _entry("Ledger of uses", "receipt_long", "training.pairuse"),
        ],
    },
    {
        "title": "Night",
        "separator": True,
        "items": [
            _entry("Nights", "bedtime", "maintenance.maintenancerun"),
            _entry("Proposals", "rule", "maintenance.proposal"),
            _entry("Topics", "bubble_chart", "maintenance.clustering"),
            _entry("Archive", "inventory_2", "maintenance.archivefile"),
            _entry("Journal", "history", "maintenance.rowchange"),
        ],
    },
    {
        "title": "Live switches",
        "separator": True,
        "items": [_entry("Switches", "toggle_on", "constance.config")],
    },
    {
        "title": "People",
        "separator": True,
        "collapsible": True,
        "items": [
            _entry("Users", "person", "auth.user"),
            _entry("Groups", "group", "auth.group"),
            _entry("Lockouts", "lock", "axes.accessattempt"),
            _entry("Failed logins", "gpp_bad", "axes.accessfailurelog"),
            _entry("Logins", "login", "axes.accesslog"),
        ],
    },
]

THEME = {
    "SITE_TITLE": "Dual Channel",
    "SITE_HEADER": "Dual Channel",
    "SITE_SUBHEADER": "memory and reward, night after night",
    "SITE_SYMBOL": "graph_2",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    # The admin is the whole site: there is nothing to return to.
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "BORDER_RADIUS": "6px",
    "DASHBOARD_CALLBACK": "dualchannel_site.desk.dashboard.page.dashboard_callback",
    "STYLES": [_theme_stylesheet, _stylesheet, _list_stylesheet],
    "COLORS": {
        "primary": {
            "50": "oklch(98.4% .014 180.72)",
            "100": "oklch(95.3% .051 180.801)",
            "200": "oklch(91% .096 180.426)",
            "300": "oklch(85.5% .138 181.071)",
            "400": "oklch(77.7% .152 181.912)",
            "500": "oklch(70.4% .14 182.503)",
            "600": "oklch(52.5% .1 184.704)",
            "700": "oklch(47% .09 186.391)",
            "800": "oklch(40% .07 188.216)",
            "900": "oklch(36% .063 188.416)",
            "950": "oklch(27.7% .046 192.524)",
        },
    },
    "SIDEBAR": {"show_search": False, "navigation": NAVIGATION},
}
