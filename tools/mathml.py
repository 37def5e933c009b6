"""A Markdown extension: ``$x$`` and ``$$x$$`` in TeX become MathML, which browsers draw themselves.

So the pages need no script and no network for their formulas. Formulas and tables of docstrings,
which are in reStructuredText, come along. Relies on latex2mathml.
"""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.preprocessors import Preprocessor

_BLOCK = re.compile(r"^\.\. math::[ ]*(.*\n(?:\n?[ ]+\S.*\n?)*)", re.M)
_ROLE = re.compile(r":math:`([^`]+)`")
_RULE = re.compile(r"^=+( +=+)+$")


class _Formula(InlineProcessor):
    def handleMatch(self, m: re.Match[str], data: str) -> tuple[str, int, int]:
        display = "block" if m[1] == "$$" else "inline"
        text = convert(m[2], display=display)
        return self.md.htmlStash.store(text), m.start(0), m.end(0)


class _Docstrings(Preprocessor):
    """Formulas of reStructuredText as ``$x$``, its simple tables as they stand."""

    def run(self, lines: list[str]) -> list[str]:
        text = _ROLE.sub(r"$\1$", "\n".join(_tables(lines)) + "\n")
        return _BLOCK.sub(lambda m: f"\n$${' '.join(m[1].split())}$$\n\n", text).split("\n")


def _tables(lines: list[str]) -> list[str]:
    found: list[str] = []
    inside = False
    for line in lines:
        if not inside and _RULE.match(line):
            inside = True
            found.append("")
        inside = inside and bool(line.strip())
        found.append("    " + line if inside else line)
    return found


class MathML(Extension):
    """Formulas between dollars."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Add the patterns, below those of code."""
        md.preprocessors.register(_Docstrings(md), "docstrings", 5)
        md.inlinePatterns.register(_Formula(r"(\$\$?)(.+?)\1", md), "mathml", 185)


def makeExtension(**options: Any) -> MathML:
    """Return the extension, by the name that Markdown looks for."""
    return MathML(**options)
