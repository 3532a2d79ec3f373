"""MkDocs hook: tables that are wider than the window can be scrolled with the keyboard."""

from __future__ import annotations

import re

_BOX = '<div class="table-box" role="group" aria-label="Table" tabindex="0">'


def on_page_content(html: str, **_: object) -> str:
    """Puts each table into a focusable box that scrolls.

    The theme puts tables without a class into a box as well, which is not focusable.
    """
    html = html.replace("<table>", f'{_BOX}<table class="table">')
    return re.sub(r'(<table class="table">.*?</table>)', r"\1</div>", html, flags=re.DOTALL)
