"""The elements of a page, read with the standard library."""

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "br", "hr", "img", "input", "link", "col", "wbr", "source"}


@dataclass
class Element:
    tag: str
    attributes: dict = field(default_factory=dict)
    children: list = field(default_factory=list)
    parent: "Element | None" = None

    def all(self, *tags):
        """The elements below this one with one of the tags; without tags, all of them."""
        for child in self.children:
            if isinstance(child, Element):
                if child.tag in tags or not tags:
                    yield child
                yield from child.all(*tags)

    @property
    def classes(self):
        return (self.attributes.get("class") or "").split()

    @property
    def text(self):
        parts = [c if isinstance(c, str) else c.text for c in self.children]
        return " ".join(" ".join(parts).split())


class Tree(HTMLParser):
    """Fails on elements that are not closed or closed in the wrong order."""

    def __init__(self, page):
        super().__init__(convert_charrefs=True)
        self.root = self.here = Element("")
        self.feed(page)
        self.close()
        assert self.here is self.root, f"<{self.here.tag}> is not closed"

    def handle_starttag(self, tag, attributes):
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names)), f"<{tag}> has an attribute twice"
        element = Element(tag, dict(attributes), parent=self.here)
        self.here.children.append(element)
        if tag not in VOID:
            self.here = element

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self.here.tag == tag, f"</{tag}> closes <{self.here.tag}>"
        self.here = self.here.parent

    def handle_data(self, data):
        self.here.children.append(data)


def table(tree, label):
    (found,) = [
        next(region.all("table"))
        for region in tree.all("div")
        if region.attributes.get("aria-label") == label
    ]
    return found


def rows(table):
    return [[cell.text for cell in row.all("th", "td")] for row in table.all("tr")]


def section(tree, anchor):
    (found,) = [s for s in tree.all("section") if s.attributes.get("aria-labelledby") == anchor]
    return found
