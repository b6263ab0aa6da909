"""The page that shows a developer an exception: frames, source, nothing of what the variables hold.

It is one HTML document that loads nothing.  Who may see it is decided elsewhere.
"""

import linecache
import platform
import sys
import sysconfig
from collections.abc import Iterator
from traceback import FrameSummary, TracebackException
from typing import Final

from webfw._version import __version__
from webfw.escape import xhtml_escape

__all__ = ["traceback_page"]

#: Lines of source shown before and behind the one that was running.
CONTEXT: Final = 5
#: Frames shown of one exception; of a longer traceback, as of an endless recursion, the first and last ones.
MAX_FRAMES: Final = 60
#: Exceptions shown: causes, contexts and members of groups.
MAX_EXCEPTIONS: Final = 20

_PAGE: Final = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><meta name="robots" content="noindex"><title>{title}</title><style>
:root {{ --text: #1c2128; --soft: #5b6570; --back: #fff; --box: #f5f7f9; --line: #d5dbe1; --hot: #c4231c;
  --mark: #ffe3e0 }}
@media (prefers-color-scheme: dark) {{ :root {{ --text: #dbe1e8; --soft: #8f9aa6; --back: #14181d; --box: #1c2229;
  --line: #323b45; --hot: #ff7b72; --mark: #4a2322 }} }}
* {{ box-sizing: border-box }}
body {{ margin: 0 auto; padding: 2rem 1.25rem; max-width: 70rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif }}
h1 {{ font-size: 1rem; font-weight: 600; color: var(--soft); margin: 0; overflow-wrap: anywhere }}
h2 {{ font-size: 1.4rem; line-height: 1.35; margin: .3rem 0 1rem; overflow-wrap: anywhere; white-space: pre-wrap }}
h2 b {{ color: var(--hot) }}
p {{ color: var(--soft); margin: 2rem 0 .3rem }}
details {{ background: var(--box); border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0 }}
summary {{ padding: .45rem .8rem; cursor: pointer; overflow-wrap: anywhere }}
summary span {{ color: var(--soft) }}
pre, code {{ font: .85rem/1.55 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace }}
pre {{ margin: 0; padding: .5rem 0; overflow-x: auto; border-top: 1px solid var(--line) }}
pre span, pre strong {{ display: block; width: fit-content; min-width: 100%; padding: 0 .8rem; font-weight: inherit }}
pre strong {{ background: var(--mark) }}
pre i {{ display: inline-block; width: 4ch; margin-right: 2ch; text-align: right; font-style: normal;
  color: var(--soft); user-select: none }}
pre mark {{ background: none; color: inherit; border-bottom: 2px solid var(--hot) }}
pre.plain {{ padding: .8rem }}
footer {{ margin-top: 2rem; color: var(--soft); font-size: .85rem }}
</style></head><body>
<h1>{title} &middot; {request}</h1>
<main>
{exceptions}
<details><summary>The whole traceback as text</summary><pre class="plain">{plain}</pre></details>
</main>
<footer>{versions}. This page is shown because the <code>serve_traceback</code> setting is on, which is part of
<code>debug</code>; leave it off in production.</footer>
</body></html>
"""


def traceback_page(exception: BaseException, title: str, request: str) -> str:
    """Make the HTML page that shows an exception with its causes.

    :param title: the status and reason.
    :param request: the request in a few words.
    """
    summary = TracebackException.from_exception(exception, limit=None, compact=True)
    versions = f"webfw {__version__}, {platform.python_implementation()} {platform.python_version()}"
    return _PAGE.format(
        title=xhtml_escape(title),
        request=xhtml_escape(request),
        exceptions="\n".join(_sections(summary)),
        plain=xhtml_escape("".join(summary.format())),
        versions=xhtml_escape(f"{versions} on {sys.platform}"),
    )


def _sections(summary: TracebackException) -> Iterator[str]:
    """Each exception with its frames, the one that reached the server first."""
    waiting: list[tuple[str, TracebackException]] = [("", summary)]
    shown = 0
    while waiting:
        if shown == MAX_EXCEPTIONS:
            yield f"<p>{len(waiting)} or more further exceptions are left to the text below.</p>"
            return
        relation, current = waiting.pop(0)
        shown += 1
        yield _exception(relation, current)
        if current.__cause__ is not None:
            waiting.append(("It was raised directly because of:", current.__cause__))
        elif current.__context__ is not None and not current.__suppress_context__:
            waiting.append(("It was raised while this was being handled:", current.__context__))
        members = getattr(current, "exceptions", None) or ()
        waiting += [("It is a group, and this is a member of it:", member) for member in members]


def _exception(relation: str, summary: TracebackException) -> str:
    lines = "".join(summary.format_exception_only()).strip().split(": ", 1)
    name = f"<b>{xhtml_escape(lines[0])}</b>"
    message = f": {xhtml_escape(lines[1])}" if len(lines) > 1 else ""
    frames = list(summary.stack)
    left_out = max(0, len(frames) - MAX_FRAMES)
    head, tail = frames[: MAX_FRAMES // 2], frames[MAX_FRAMES // 2 + left_out :]
    parts = [f"<p>{relation}</p>"] if relation else []
    parts.append(f"<h2>{name}{message}</h2>")
    # The frame that raised is the one to look at, and so is every frame of the program's own.
    parts += [_frame(frame, frame is frames[-1] or _is_own(frame)) for frame in head]
    if left_out:
        parts.append(f"<p>{left_out} frames are left to the text below.</p>")
    parts += [_frame(frame, frame is frames[-1] or _is_own(frame)) for frame in tail]
    return "\n".join(parts)


_PATHS: Final = sysconfig.get_paths()
_LIBRARIES: Final = tuple({_PATHS[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")})
_HOUSE: Final = __file__.rpartition("web")[0]


def _is_own(frame: FrameSummary) -> bool:
    """Whether a frame belongs to the program, and not to a library, to Python or to webfw."""
    return not frame.filename.startswith(("<", *_LIBRARIES, _HOUSE))


def _frame(frame: FrameSummary, is_open: bool) -> str:
    number = frame.lineno or 0
    where = f"{xhtml_escape(frame.filename)}<span>:{number} in </span>{xhtml_escape(frame.name)}"
    lines = linecache.getlines(frame.filename)
    if not 0 < number <= len(lines):
        return f"<details><summary>{where}</summary></details>"
    first = max(1, number - CONTEXT)
    source = [
        _running(frame, line.rstrip("\r\n"), n)
        if n == number
        else f"<span><i>{n}</i>{xhtml_escape(line.rstrip())}</span>"
        for n, line in enumerate(lines[first - 1 : number + CONTEXT], first)
    ]
    attribute = " open" if is_open else ""
    return f"<details{attribute}><summary>{where}</summary><pre>{''.join(source)}</pre></details>"


def _running(frame: FrameSummary, line: str, number: int) -> str:
    """The line that was running, with the part marked that was (PEP 657)."""
    start, end = frame.colno, frame.end_colno
    if start is None or end is None or frame.end_lineno not in (None, number):
        marked = xhtml_escape(line)
    else:
        data = line.encode("utf-8", "replace")  # columns count bytes
        before, part, after = (
            xhtml_escape(piece.decode("utf-8", "replace"))
            for piece in (data[:start], data[start:end], data[end:])
        )
        marked = f"{before}<mark>{part}</mark>{after}"
    return f"<strong><i>{number}</i>{marked}</strong>"
