"""Parts of pages: UI modules and methods, as templates know them; whole pages stay out (see `web.pages`)."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from webfw import escape
from webfw.util import ObjectDict

if TYPE_CHECKING:
    from webfw.httputil import HTTPServerRequest
    from webfw.web.handler import RequestHandler

__all__ = [
    "BUILTIN_MODULES",
    "Resources",
    "TemplateModule",
    "UIModule",
    "UINamespace",
]


class UIModule:
    """A re-usable part of a page: markup, and the scripts and styles it needs.

    ``{% module Entry(entry) %}`` in a template renders the module registered as ``Entry`` in the
    application's ``ui_modules``.  One instance serves all uses of a module on one page, so its resources
    are put on the page once.

    :param handler: the handler that renders the page.  It is held weakly: handler and module would
        otherwise keep each other alive after the request.
    """

    def __init__(self, handler: "RequestHandler") -> None:
        self._handler = weakref.ref(handler)
        self.request: HTTPServerRequest = handler.request

    @property
    def handler(self) -> "RequestHandler":
        """The handler that renders the page."""
        handler = self._handler()
        if handler is None:
            raise RuntimeError(f"the handler of this {type(self).__name__} has ended")
        return handler

    @property
    def ui(self) -> Any:
        """The UI modules and methods of the application, as templates see them."""
        return self.handler.ui

    @property
    def locale(self) -> Any:
        """The locale of the request."""
        return self.handler.locale

    @property
    def current_user(self) -> Any:
        """The authenticated user of the request."""
        return self.handler.current_user

    def render(self, *args: Any, **kwargs: Any) -> str | bytes:
        """Return the markup of this part; every module must define it."""
        raise NotImplementedError(f"{type(self).__name__} does not define render()")

    def embedded_javascript(self) -> str | bytes | None:
        """Return JavaScript to be embedded in the page, or None."""
        return None

    def javascript_files(self) -> Iterable[str] | None:
        """Return a script's path or several, or None; relative paths are those of static files."""
        return None

    def embedded_css(self) -> str | bytes | None:
        """Return CSS to be embedded in the page, or None."""
        return None

    def css_files(self) -> Iterable[str] | None:
        """Return a style sheet's path or several, or None; relative paths are those of static files."""
        return None

    def html_head(self) -> str | bytes | None:
        """Return markup to be put before ``</head>``, or None."""
        return None

    def html_body(self) -> str | bytes | None:
        """Return markup to be put before ``</body>``, or None."""
        return None

    def render_string(self, path: str, **kwargs: Any) -> bytes:
        """Render a template and return it, as `RequestHandler.render_string` does."""
        return self.handler.render_string(path, **kwargs)


class _Linkify(UIModule):
    """Turns addresses in a text into links, by `webfw.escape.linkify`: ``{% module linkify(text) %}``."""

    def render(self, text: str | bytes, **kwargs: Any) -> str:
        return escape.linkify(text, **kwargs)


class _XsrfFormHTML(UIModule):
    """The hidden form field against cross-site forgery: ``{% module xsrf_form_html() %}``."""

    def render(self) -> str:
        return self.handler.xsrf_form_html()


class TemplateModule(UIModule):
    """Renders a template as a module: ``{% module Template("part.html", item=item) %}``.

    Unlike ``{% include %}`` the template sees only its own arguments.  It may call ``set_resources`` with the
    names of the resource methods of `UIModule` as keywords: ``{{ set_resources(embedded_css="...") }}``.
    Resources are put on the page once per template file, so they must not depend on the arguments.
    """

    def __init__(self, handler: "RequestHandler") -> None:
        super().__init__(handler)
        self._resources: dict[str, dict[str, Any]] = {}

    def render(self, path: str, **kwargs: Any) -> bytes:
        """Return the rendered template.

        :raises ValueError: when the template names other resources than it did earlier on this page.
        """

        def set_resources(**resources: Any) -> str:
            known = self._resources.setdefault(path, resources)
            if known != resources:
                raise ValueError(
                    f"set_resources called with different resources for the same template {path!r}"
                )
            return ""

        return self.render_string(path, set_resources=set_resources, **kwargs)

    def _collect(self, name: str) -> list[Any]:
        return [resources[name] for resources in self._resources.values() if resources.get(name)]

    def _joined(self, name: str) -> str | None:
        parts = self._collect(name)
        return "\n".join(escape.to_unicode(part) for part in parts) if parts else None

    def _files(self, name: str) -> list[str]:
        files: list[str] = []
        for given in self._collect(name):
            files.extend([escape.to_unicode(given)] if isinstance(given, str | bytes) else given)
        return files

    def embedded_javascript(self) -> str | None:
        return self._joined("embedded_javascript")

    def javascript_files(self) -> list[str]:
        return self._files("javascript_files")

    def embedded_css(self) -> str | None:
        return self._joined("embedded_css")

    def css_files(self) -> list[str]:
        return self._files("css_files")

    def html_head(self) -> str | None:
        return self._joined("html_head")

    def html_body(self) -> str | None:
        return self._joined("html_body")


#: The modules every application has.
BUILTIN_MODULES: Mapping[str, type[UIModule]] = {
    "linkify": _Linkify,
    "xsrf_form_html": _XsrfFormHTML,
    "Template": TemplateModule,
}


# --- what templates are given ---


class _ModuleNamespace:
    """The UI modules by name, as functions that render them on one page: ``modules.Entry(entry)``."""

    __slots__ = ("_active", "_classes", "_handler")

    def __init__(
        self,
        handler: "weakref.ref[RequestHandler]",
        classes: Mapping[str, type[UIModule]],
        active: dict[str, UIModule],
    ) -> None:
        self._handler = handler
        self._classes = classes
        self._active = active

    def __getitem__(self, name: str) -> Callable[..., str | bytes]:
        active = self._active.get(name)
        if active is None:
            handler = self._handler()
            if handler is None:
                raise RuntimeError("the handler of this page has ended")
            active = self._active[name] = self._classes[name](handler)
        return active.render

    def __getattr__(self, name: str) -> Callable[..., str | bytes]:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"no UI module is named {name!r}") from None


def _bind(method: Callable[..., Any], reference: "weakref.ref[RequestHandler]") -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        return method(reference(), *args, **kwargs)

    call.__name__ = getattr(method, "__name__", "call")
    return call


class UINamespace(ObjectDict):
    """The names an application adds to its templates: its UI methods, and its UI modules under ``modules``.

    Nothing in it holds the handler strongly, so that keeping it on the handler makes no cycle.  `active` is
    what has been rendered on the page so far, by name.
    """

    def __init__(
        self,
        handler: "RequestHandler",
        methods: Mapping[str, Callable[..., Any]],
        classes: Mapping[str, type[UIModule]],
        active: dict[str, UIModule],
    ) -> None:
        reference = weakref.ref(handler)
        super().__init__((name, _bind(method, reference)) for name, method in methods.items())
        # The code that ``{% module %}`` is compiled to knows the modules by the second name.
        self["modules"] = self["_tt_modules"] = _ModuleNamespace(reference, classes, active)


# --- what modules add to the page ---


class Resources:
    """What the modules of one page ask for beside their markup, each file once, in order of first use."""

    __slots__ = ("css_embed", "css_files", "html_bodies", "html_heads", "js_embed", "js_files")

    def __init__(self, modules: Iterable[UIModule]) -> None:
        self.js_embed: list[bytes] = []
        self.js_files: list[str] = []
        self.css_embed: list[bytes] = []
        self.css_files: list[str] = []
        self.html_heads: list[bytes] = []
        self.html_bodies: list[bytes] = []
        for module in modules:
            _add_text(self.js_embed, module.embedded_javascript())
            _add_files(self.js_files, module.javascript_files())
            _add_text(self.css_embed, module.embedded_css())
            _add_files(self.css_files, module.css_files())
            _add_text(self.html_heads, module.html_head())
            _add_text(self.html_bodies, module.html_body())


def _add_text(texts: list[bytes], text: str | bytes | None) -> None:
    if text:
        texts.append(escape.utf8(text))


def _add_files(files: list[str], given: "Iterable[str] | bytes | None") -> None:
    if not given:
        return
    for file in [given] if isinstance(given, str | bytes) else given:
        path = escape.to_unicode(file)
        if path not in files:
            files.append(path)
