"""Template filters of the desk."""

from django import template
from django.utils.safestring import SafeString

from dualchannel_site.desk.markdown import render_markdown

register = template.Library()


@register.filter
def markdown(text: str) -> SafeString:
    """Return `text`, which is Markdown that nobody vouches for, as HTML that is safe to show."""
    return render_markdown(text)
