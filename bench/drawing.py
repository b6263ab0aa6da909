"""A picture of texts, bars and lines, and the SVG of it: it knows how much room each text takes."""

from dataclasses import dataclass, field
from xml.sax.saxutils import escape, quoteattr

__all__ = ["Bar", "Drawing", "Line", "Text", "width_of", "wrapped"]

#: Shares of the font's size, of DejaVu Sans, the widest of the fonts that may be taken, so that no text is wider.
NARROW, WIDE, CAPITAL, OTHER = 0.42, 1.0, 0.76, 0.64
BOLD = 1.12

STYLE = """
  .ground { fill: #ffffff; stroke: #d5dbe1; }
  text {
    fill: #1f2933;
    font-family: system-ui, -apple-system, "Segoe UI", Helvetica, Arial, "DejaVu Sans", sans-serif;
  }
  .title, .ours { font-weight: 600; }
  .quiet { fill: #5b6875; }
  .bar { fill: #a9b6c2; }
  .bar.ours { fill: #0f766e; }
  .bar.floor { fill: none; stroke: #8895a3; stroke-dasharray: 3 2; }
  .grid { stroke: #e6eaee; }
  .axis { stroke: #9aa7b3; }
  .range { stroke: #1f2933; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    .ground { fill: #151a21; stroke: #2f3843; }
    text { fill: #e8edf2; }
    .quiet { fill: #a3b0bd; }
    .bar { fill: #566473; }
    .bar.ours { fill: #2bb5a5; }
    .bar.floor { stroke: #8895a3; }
    .grid { stroke: #2a323c; }
    .axis { stroke: #64717e; }
    .range { stroke: #e8edf2; }
  }
"""


def width_of(text: str, size: float, bold: bool = False) -> float:
    """No less than the width of a text in pixels."""

    def share(letter: str) -> float:
        if letter in "iIjl.,:;'|!() ft-r":
            return NARROW
        if letter in "mMwW%@":
            return WIDE
        return CAPITAL if letter.isupper() else OTHER

    return size * sum(map(share, text)) * (BOLD if bold else 1)


def wrapped(text: str, size: float, room: float) -> list[str]:
    """A text in lines that have room, broken at spaces."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer, size) <= room or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


@dataclass(frozen=True)
class Text:
    """A line of text at its base line; `anchor` is start, middle or end."""

    x: float
    y: float
    content: str
    size: float = 13
    anchor: str = "start"
    kind: str = ""

    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom."""
        width = width_of(self.content, self.size, self.kind in ("title", "ours"))
        left = self.x - {"start": 0.0, "middle": width / 2, "end": width}[self.anchor]
        return left, self.y - self.size * 0.8, left + width, self.y + self.size * 0.25

    def svg(self) -> str:
        kind = f" class={quoteattr(self.kind)}" if self.kind else ""
        return (
            f'<text x="{self.x:g}" y="{self.y:g}" font-size="{self.size:g}" text-anchor="{self.anchor}"{kind}>'
            f"{escape(self.content)}</text>"
        )


@dataclass(frozen=True)
class Bar:
    """A rectangle that stands for a figure."""

    x: float
    y: float
    width: float
    height: float
    kind: str = "bar"

    def svg(self) -> str:
        return (
            f'<rect class={quoteattr(self.kind)} x="{self.x:g}" y="{self.y:g}" width="{self.width:.2f}" '
            f'height="{self.height:g}" rx="2"/>'
        )


@dataclass(frozen=True)
class Line:
    """A straight line."""

    x1: float
    y1: float
    x2: float
    y2: float
    kind: str

    def svg(self) -> str:
        return (
            f'<line class={quoteattr(self.kind)} x1="{self.x1:.2f}" y1="{self.y1:g}" '
            f'x2="{self.x2:.2f}" y2="{self.y2:g}"/>'
        )


@dataclass
class Drawing:
    """What has been drawn so far; later things lie above earlier ones.

    :ivar title: what it is called where it cannot be seen.
    :ivar about: what it shows, in words, for the same.
    """

    width: float
    title: str
    about: str
    height: float = 0.0
    parts: list[Text | Bar | Line] = field(default_factory=list)

    def add(self, *parts: Text | Bar | Line) -> None:
        self.parts += parts

    def texts(self) -> list[Text]:
        return [part for part in self.parts if isinstance(part, Text)]

    def bars(self) -> list[Bar]:
        return [part for part in self.parts if isinstance(part, Bar)]

    def svg(self) -> str:
        """The file: it has its own ground, so that it can be read on a page of any colour."""
        size = f'width="{self.width:g}" height="{self.height:g}" viewBox="0 0 {self.width:g} {self.height:g}"'
        ground = f'x="0.5" y="0.5" width="{self.width - 1:g}" height="{self.height - 1:g}" rx="8"'
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title about">',
            f'<title id="title">{escape(self.title)}</title>',
            f'<desc id="about">{escape(self.about)}</desc>',
            f"<style>{STYLE}</style>",
            f'<rect class="ground" {ground}/>',
            *(part.svg() for part in self.parts),
            "</svg>",
        ]
        return "\n".join(lines) + "\n"
