"""Who is calling, where proxies stand in front of the site."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def client_address(request: HttpRequest) -> str | None:
    """Return the address of the client, by which failed logins are counted.

    Each proxy appends the address that it was called from to `X-Forwarded-For`, so that with `PROXY_COUNT` proxies the
    client is that many places from the right. What stands further left came from the client itself, who can write
    anything there. Without a proxy the header is not looked at.
    """
    direct: str | None = request.META.get("REMOTE_ADDR")
    if settings.PROXY_COUNT == 0:
        return direct
    forwarded = [each.strip() for each in request.META.get("HTTP_X_FORWARDED_FOR", "").split(",") if each.strip()]
    return forwarded[-settings.PROXY_COUNT] if len(forwarded) >= settings.PROXY_COUNT else direct
