"""What a page of the site may load and run: nothing but its own files.

No script stands in a page. Two things are looser than they could be, both because of the admin theme:

- `unsafe-eval`: the theme's pages carry Alpine expressions in attributes, such as
  `localStorage.getItem('sidebarDesktopOpen')`, which Alpine turns into functions. The theme ships Alpine's usual build;
  the one for strict policies knows no globals, so that it could not run them. Nothing of a conversation is evaluated:
  its text is escaped or sanitised and brings no attributes along.
- `unsafe-inline` for styles alone: the theme writes its colours into a `<style>` of the page, and widths and heights
  into `style` attributes.
"""

POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'unsafe-eval'"],
        "style-src": ["'self'", "'unsafe-inline'"],
        # The theme's icons of form fields are data addresses within its stylesheet.
        "img-src": ["'self'", "data:"],
        "object-src": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "frame-ancestors": ["'none'"],
    }
}
