from collections.abc import Callable
from typing import Any

import pytest

from webfw.web.ui import BUILTIN_MODULES, Resources, TemplateModule, UIModule, UINamespace


class Handler:
    """What UI modules ask of a handler."""

    request = object()
    current_user = "ann"
    locale = "locale"
    ui = "ui"

    def __init__(self) -> None:
        self.rendering: Callable[..., bytes] = lambda path, **kwargs: f"{path} {kwargs}".encode()

    def render_string(self, path: str, **kwargs: Any) -> bytes:
        return self.rendering(path, **kwargs)

    def xsrf_form_html(self) -> str:
        return "<input>"


@pytest.fixture
def handler() -> Any:
    return Handler()


def test_a_module_sees_its_handler(handler: Any) -> None:
    module = UIModule(handler)
    assert module.handler is handler
    assert (module.request, module.current_user, module.locale, module.ui) == (
        handler.request,
        "ann",
        "locale",
        "ui",
    )
    assert module.render_string("a", x=1) == b"a {'x': 1}"
    with pytest.raises(NotImplementedError, match=r"UIModule does not define render\(\)"):
        module.render()
    nothing = Resources([module])
    assert [getattr(nothing, name) for name in Resources.__slots__] == [[]] * 6


def test_a_module_outlives_its_handler(handler: Any) -> None:
    module = UIModule(Handler())  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="the handler of this UIModule has ended"):
        module.handler  # noqa: B018


def test_built_in_modules(handler: Any) -> None:
    assert b"href" in str(BUILTIN_MODULES["linkify"](handler).render("see http://x.org")).encode()
    assert BUILTIN_MODULES["xsrf_form_html"](handler).render() == "<input>"
    assert BUILTIN_MODULES["Template"] is TemplateModule


def test_template_module_collects_resources_once_per_file(handler: Any) -> None:
    resources = {
        "a.html": {"javascript_files": "a.js", "css_files": ["a.css", "b.css"], "embedded_css": ".a"},
        "b.html": {"javascript_files": ["a.js", "b.js"], "embedded_css": b".b", "html_head": "<h>"},
        "c.html": {"html_body": "<b>", "embedded_javascript": "c()"},
        "d.html": {},
    }

    def rendering(path: str, set_resources: Any, **kwargs: Any) -> bytes:
        assert set_resources(**resources[path]) == ""
        return path.encode()

    handler.rendering = rendering
    module = TemplateModule(handler)
    for path in ("a.html", "b.html", "a.html", "c.html", "d.html"):
        assert module.render(path, extra=1) == path.encode()
    assert module.embedded_css() == ".a\n.b"
    assert module.embedded_javascript() == "c()"
    assert module.html_head() == "<h>"
    assert module.html_body() == "<b>"
    found = Resources([module])
    assert found.js_files == ["a.js", "b.js"]
    assert found.css_files == ["a.css", "b.css"]
    assert found.css_embed == [b".a\n.b"]


def test_template_module_without_resources(handler: Any) -> None:
    module = TemplateModule(handler)
    assert module.embedded_css() is None
    assert module.css_files() == []


def test_template_module_refuses_changing_resources(handler: Any) -> None:
    handler.rendering = lambda path, set_resources, css: set_resources(embedded_css=css).encode()
    module = TemplateModule(handler)
    module.render("a.html", css="1")
    with pytest.raises(ValueError, match="different resources for the same template 'a.html'"):
        module.render("a.html", css="2")


def test_the_namespace(handler: Any) -> None:
    class Counter(UIModule):
        count = 0

        def render(self) -> str:
            self.count += 1
            return str(self.count)

    def shout(handler: Any, text: str) -> str:
        return f"{handler.current_user}: {text}!"

    active: dict[str, UIModule] = {}
    namespace = UINamespace(handler, {"shout": shout}, {"Counter": Counter}, active)
    assert namespace["shout"]("hi") == "ann: hi!"
    assert namespace.shout.__name__ == "shout"
    modules = namespace["modules"]
    assert modules is namespace["_tt_modules"]
    assert [modules.Counter(), modules["Counter"](), modules.Counter()] == ["1", "2", "3"]
    assert list(active) == ["Counter"]
    with pytest.raises(AttributeError, match="no UI module is named 'Other'"):
        modules.Other()
    with pytest.raises(KeyError):
        modules["Other"]


def test_the_namespace_of_a_handler_that_has_ended() -> None:
    namespace = UINamespace(Handler(), {}, BUILTIN_MODULES, {})  # type: ignore[arg-type]
    with pytest.raises(RuntimeError, match="has ended"):
        namespace["modules"].linkify("x")


def test_files_are_named_once_in_order_of_first_use(handler: Any) -> None:
    class Files(UIModule):
        def __init__(self, handler: Any, files: Any) -> None:
            super().__init__(handler)
            self.files = files

        def javascript_files(self) -> Any:
            return self.files

    found = Resources(
        [Files(handler, "b.js"), Files(handler, b"a.js"), Files(handler, ("a.js", b"c.js", "b.js"))]
    )
    assert found.js_files == ["b.js", "a.js", "c.js"]
