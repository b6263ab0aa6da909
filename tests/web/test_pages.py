import gc
import os
import weakref
from collections.abc import Awaitable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from webfw import template
from webfw.httputil import HTTPHeaders, HTTPServerRequest, RequestStartLine
from webfw.web import pages
from webfw.web.pages import Pages
from webfw.web.ui import BUILTIN_MODULES, UIModule


class Done:
    """What `finish` returns."""

    def __await__(self) -> Any:
        return iter(())


DONE = Done()


class Locale:
    def translate(self, text: str, *more: object) -> str:
        return f"<{text}>"

    def pgettext(self, context: str, text: str, *more: object) -> str:
        return f"<{context}:{text}>"


class Application:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.ui_modules = dict(BUILTIN_MODULES) | settings.get("ui_modules", {})
        self.ui_methods = settings.get("ui_methods", {})

    def reverse_url(self, name: str, *args: object) -> str:
        return "/".join(["", name, *map(str, args)])


class StaticURLs:
    """Stands in for a static handler class."""

    @classmethod
    def make_static_url(cls, settings: dict[str, Any], path: str, include_version: bool = True) -> str:
        return f"/s/{path}" + ("?v=1" if include_version else "")


class Handler(Pages):
    current_user = "ann"
    locale = Locale()

    def __init__(self, application: Any, **attributes: Any) -> None:
        self.application = application
        self.request = HTTPServerRequest(
            start_line=RequestStartLine("GET", "/", "HTTP/1.1"), headers=HTTPHeaders({"Host": "example.com"})
        )
        self.sent = b""
        for name, value in attributes.items():
            setattr(self, name, value)

    def finish(self, chunk: Any = None) -> Awaitable[None]:
        self.sent = chunk
        self._finished = True
        return DONE

    def require_setting(self, name: str, feature: str = "this feature") -> None:
        if not self.application.settings.get(name):
            raise Exception(f"You must define the {name!r} setting to use {feature}")

    def xsrf_form_html(self) -> str:
        return "<input name=_xsrf>"


def page(sources: dict[str, str] | str, **settings: Any) -> Handler:
    if isinstance(sources, str):
        sources = {"page.html": sources}
    loader = template.DictLoader(sources)
    return Handler(Application(template_loader=loader, template_path="/", **settings))


def rendered(sources: dict[str, str] | str, /, **settings: Any) -> str:
    arguments = settings.pop("arguments", {})
    handler = page(sources, **settings)
    handler.render("page.html", **arguments)
    return handler.sent.decode()


# --- rendering ---


def test_render_finishes_with_the_page() -> None:
    handler = page("<p>{{ name }}</p>")
    assert handler.render("page.html", name="<you>") is DONE
    assert handler.sent == b"<p>&lt;you&gt;</p>"


def test_render_after_finish() -> None:
    handler = page("x")
    handler.finish()
    with pytest.raises(RuntimeError, match=r"Cannot render\(\) 'page.html' after finish\(\)"):
        handler.render("page.html")


def test_render_string_does_not_finish() -> None:
    handler = page("{{ a }}")
    assert handler.render_string("page.html", a=3) == b"3"
    assert not handler._finished


def test_the_namespace() -> None:
    source = "{{ current_user }} {{ _('a') }} {{ translate('b') }} {{ pgettext('c', 'd') }} {{ reverse_url('e', 1) }}"
    assert rendered("{% autoescape None %}" + source) == "ann <a> <b> <c:d> /e/1"
    source = (
        "{{ request.host }} {{ handler.request.method }} {{ static_url('x.js') }} {% raw xsrf_form_html() %}"
    )
    settings = {"static_path": "/s", "static_handler_class": StaticURLs}
    assert rendered(source, **settings) == "example.com GET /s/x.js?v=1 <input name=_xsrf>"
    assert rendered("{{ locale.translate('a') }}") == "&lt;a&gt;"


def test_arguments_win_over_the_namespace() -> None:
    assert rendered("{{ current_user }}", arguments={"current_user": "bob"}) == "bob"


def test_the_namespace_can_be_extended() -> None:
    class Extended(Handler):
        def get_template_namespace(self) -> dict[str, Any]:
            return super().get_template_namespace() | {"site": "S"}

    handler = Extended(page("{{ site }}").application)
    handler.render("page.html")
    assert handler.sent == b"S"


async def test_an_async_template_is_rendered_while_it_is_awaited() -> None:
    async def slow() -> str:
        return "late"

    handler = page("<head></head>{{ await slow() }}{% module M() %}", ui_modules={"M": WithResources})
    handler.application.settings |= {"static_path": "/s", "static_handler_class": StaticURLs}
    rest = handler.render("page.html", slow=slow)
    assert not handler._finished
    await rest
    assert b"late" in handler.sent
    assert b"<head><link" in handler.sent
    assert await page("{{ await slow() }}").render_string_async("page.html", slow=slow) == b"late"
    assert await page("{{ slow }}").render_string_async("page.html", slow="no") == b"no"
    with pytest.raises(TypeError, match="generate_async"):
        page("{{ await slow() }}").render_string("page.html", slow=slow)


# --- loaders ---


def test_templates_lie_in_the_template_path(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("{{ x }}  \n  y")
    application = Application(template_path=str(tmp_path), autoescape=None, template_whitespace="oneline")
    assert Handler(application).render_string("page.html", x="<") == b"< y"


def test_templates_lie_beside_their_handler(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("beside")
    code = compile(
        "def show(handler): return handler.render_string('page.html')", str(tmp_path / "views.py"), "exec"
    )
    names: dict[str, Any] = {"__name__": "views"}
    exec(code, names)
    assert names["show"](Handler(Application())) == b"beside"


def test_a_template_module_finds_its_template_beside_the_handler(tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("[{% module Template('part.html', a=1) %}]")
    (tmp_path / "part.html").write_text("part {{ a }}")
    code = compile("def show(handler): handler.render('page.html')", str(tmp_path / "views.py"), "exec")
    names: dict[str, Any] = {"__name__": "views"}
    exec(code, names)
    handler = Handler(Application())
    names["show"](handler)
    assert handler.sent == b"[part 1]"


def test_without_a_caller_the_working_directory_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = SimpleNamespace(f_globals={"__name__": "webfw.cli"}, f_code=None, f_back=None)
    monkeypatch.setattr(pages, "sys", SimpleNamespace(_getframe=lambda depth: frame))
    assert pages._caller_directory() == os.getcwd()


def test_one_loader_per_application_and_directory(tmp_path: Path) -> None:
    made = []

    class Counting(Handler):
        def create_template_loader(self, template_path: str) -> template.BaseLoader:
            made.append(template_path)
            return template.DictLoader({"p": "x"})

    application = Application(template_path="/a")
    for _ in range(3):
        Counting(application).render_string("p")
    Counting(Application(template_path="/a")).render_string("p")
    assert made == ["/a", "/a"]
    # Another class with the same directory does not get this one's loader.
    (tmp_path / "p").write_text("file")
    application.settings["template_path"] = str(tmp_path)
    assert Handler(application).render_string("p") == b"file"


def test_templates_are_read_anew_without_the_cache(tmp_path: Path) -> None:
    def show(application: Application) -> bytes:
        return Handler(application).render_string("p.html")

    cached = Application(template_path=str(tmp_path))
    fresh = Application(template_path=str(tmp_path), compiled_template_cache=False)
    (tmp_path / "p.html").write_text("1")
    assert show(cached) == show(fresh) == b"1"
    (tmp_path / "p.html").write_text("2")
    assert show(cached) == b"1"
    assert show(fresh) == b"2"


# --- resources of UI modules ---


class WithResources(UIModule):
    def render(self) -> str:
        return "M"

    def embedded_javascript(self) -> str:
        return "js()"

    def javascript_files(self) -> list[str]:
        return ["a.js", "/b.js", "https://cdn/c.js"]

    def embedded_css(self) -> bytes:
        return b".m {}"

    def css_files(self) -> str:
        return "m.css"

    def html_head(self) -> str:
        return "<meta name=m>"

    def html_body(self) -> str:
        return "<p>end"


EXPECTED_HEAD = (
    '<link href="/s/m.css?v=1" type="text/css" rel="stylesheet"/>\n'
    '<style type="text/css">\n.m {}\n</style>\n<meta name=m>\n'
)
EXPECTED_BODY = (
    '<script src="/s/a.js?v=1" type="text/javascript"></script><script src="/b.js" type="text/javascript"></script>'
    '<script src="https://cdn/c.js" type="text/javascript"></script>\n'
    '<script type="text/javascript">\n//<![CDATA[\njs()\n//]]>\n</script>\n<p>end\n'
)
SETTINGS = {"ui_modules": {"M": WithResources}, "static_path": "/s", "static_handler_class": StaticURLs}


def test_resources_go_to_the_ends_of_head_and_body() -> None:
    html = rendered("<head></head><body>{% module M() %}{% module M() %}</body></html>", **SETTINGS)
    assert html == f"<head>{EXPECTED_HEAD}</head><body>MM{EXPECTED_BODY}</body></html>"


def test_resources_of_a_page_without_end_tags() -> None:
    assert rendered("{% module M() %}", **SETTINGS) == f"{EXPECTED_HEAD}M{EXPECTED_BODY}"


def test_a_page_whose_modules_want_nothing() -> None:
    assert rendered("<head></head>{% module linkify('http://x.org') %}").startswith("<head></head><a href=")


def test_resources_are_linked_once() -> None:
    handler = Handler(page("", **SETTINGS).application)
    scripts = handler.render_linked_js(["/a.js", "/b.js", "/a.js"])
    assert scripts == handler.render_linked_js(["/a.js"]) + handler.render_linked_js(["/b.js"])
    sheets = handler.render_linked_css(["/a.css", "/a.css"])
    assert sheets == handler.render_linked_css(["/a.css"])


def test_resource_markup_can_be_overridden() -> None:
    class Overridden(Handler):
        def render_linked_js(self, js_files: Any) -> str:
            return f"JS{js_files}"

        def render_embed_js(self, js_embed: Any) -> bytes:
            return b"EJ"

        def render_linked_css(self, css_files: Any) -> str:
            return f"CSS{css_files}"

        def render_embed_css(self, css_embed: Any) -> bytes:
            return b"EC"

    handler = Overridden(page("</head>{% module M() %}</body>", **SETTINGS).application)
    handler.render("page.html")
    assert handler.sent == (
        b"CSS['m.css']\nEC\n<meta name=m>\n</head>M"
        b"JS['a.js', '/b.js', 'https://cdn/c.js']\nEJ\n<p>end\n</body>"
    )


# --- addresses ---


def test_static_url() -> None:
    application = Application(static_path="/s", static_handler_class=StaticURLs)
    handler = Handler(application)
    assert handler.static_url("x") == "/s/x?v=1"
    assert handler.static_url("x", include_host=True) == "http://example.com/s/x?v=1"
    assert handler.static_url("x", include_version=False) == "/s/x"
    assert Handler(application, include_host=True).static_url("x") == "http://example.com/s/x?v=1"
    assert Handler(application, include_host=True).static_url("x", include_host=False) == "/s/x?v=1"
    with pytest.raises(Exception, match="static_path"):
        Handler(Application()).static_url("x")


# --- no cycles ---


def test_rendering_leaves_no_cycle() -> None:
    def method(handler: Any) -> str:
        return "m"

    class Caller(UIModule):
        def render(self) -> str:
            return f"{self.ui.method()} {self.current_user} {self.locale.translate('x')}"

    settings: dict[str, Any] = {
        "ui_methods": {"method": method},
        "ui_modules": {"M": WithResources, "C": Caller},
    }
    handler = page("{% module C() %}{{ method() }}", **settings)
    handler.render("page.html")
    assert handler.sent == b"m ann <x>m"
    gone = weakref.ref(handler)
    gc.disable()
    try:
        del handler
        assert gone() is None
    finally:
        gc.enable()
