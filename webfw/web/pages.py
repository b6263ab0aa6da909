"""Pages: templates, what they know, and addresses in them; the parts of a page stay out (see `web.ui`)."""

import os.path
import sys
from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from webfw import escape, template
from webfw.web.state import HandlerState
from webfw.web.ui import Resources, UIModule, UINamespace

if TYPE_CHECKING:
    from webfw.web.application import Application

__all__ = ["Pages"]

# The loaders of each application, by template directory and by the function that made them (a subclass may
# have its own).
_Key = tuple[str, Callable[..., template.BaseLoader]]
_loaders: "WeakKeyDictionary[Application, dict[_Key, template.BaseLoader]]" = WeakKeyDictionary()


def _caller_directory() -> str:
    """Find the directory of the file whose code asks for a template: the first outside the framework."""
    frame = sys._getframe(1)
    while True:
        names = frame.f_globals
        inside = (names.get("__name__") or "").startswith("webfw.")
        # A template that asks for another, by a UI module, runs in frames of its own: they all know this
        # name.
        if not inside and "_tt_utf8" not in names:
            return os.path.dirname(os.path.abspath(frame.f_code.co_filename))
        if frame.f_back is None:
            return os.getcwd()
        frame = frame.f_back


def _is_absolute(path: str) -> bool:
    return path.startswith(("/", "http:", "https:"))


class Pages(HandlerState):
    """Templates and the addresses in them: the part of a handler that makes whole pages."""

    #: Whether `static_url` gives whole URLs, with scheme and host, unless its caller says otherwise.
    include_host: bool = False

    _active_modules: "dict[str, UIModule] | None" = None
    _loader_refreshed: bool = False

    # --- rendering ---

    def render(self, template_name: str, **kwargs: Any) -> Awaitable[None]:
        """Render a template as the answer and finish it.

        The scripts, styles and markup of the UI modules on the page are put before its ``</head>`` and
        ``</body>``.

        :param template_name: the template's file, relative to `get_template_path`.
        :param kwargs: names for the template, beside those of `get_template_namespace`.
        :return: what `finish` returns.  A template that awaits (``{% await %}`` or an ``await`` in an
            expression) is rendered while what is returned here is awaited, so await it or return it from
            the handler's method.
        :raises RuntimeError: when the answer is finished already.
        """
        if self._finished:
            raise RuntimeError(f"Cannot render() {template_name!r} after finish()")
        page = self._load_template(template_name)
        namespace = self.get_template_namespace()
        namespace.update(kwargs)
        if page.is_async:
            return self._render_async(page, namespace)
        return self.finish(self._with_resources(page.generate(**namespace)))

    async def _render_async(self, page: template.Template, namespace: dict[str, Any]) -> None:
        await self.finish(self._with_resources(await page.generate_async(**namespace)))

    def render_string(self, template_name: str, **kwargs: Any) -> bytes:
        """Render a template and return it, without sending it or adding the resources of UI modules."""
        page = self._load_template(template_name)
        namespace = self.get_template_namespace()
        namespace.update(kwargs)
        return page.generate(**namespace)

    async def render_string_async(self, template_name: str, **kwargs: Any) -> bytes:
        """Render a template that may await and return it, without sending it."""
        page = self._load_template(template_name)
        namespace = self.get_template_namespace()
        namespace.update(kwargs)
        return await page.generate_async(**namespace)

    def get_template_namespace(self) -> dict[str, Any]:
        """Return the names every template knows; override it to add more.

        Names given to `render` come on top, those of the template module (``escape``, ``json_encode`` ...)
        are below.
        """
        locale = self.locale
        namespace: dict[str, Any] = {
            "handler": self,
            "request": self.request,
            "current_user": self.current_user,
            "locale": locale,
            "_": locale.translate,
            "pgettext": locale.pgettext,
            "translate": locale.translate,
            "static_url": self.static_url,
            "xsrf_form_html": self.xsrf_form_html,
            "reverse_url": self.reverse_url,
        }
        namespace.update(self.ui)
        return namespace

    @cached_property
    def ui(self) -> Any:
        """The application's UI methods by name, and its UI modules under ``modules``."""
        if self._active_modules is None:
            self._active_modules = {}
        application = self.application
        return UINamespace(self, application.ui_methods, application.ui_modules, self._active_modules)  # type: ignore[arg-type]

    # --- templates and where they are ---

    def get_template_path(self) -> str | None:
        """Return the directory of the templates: the setting ``template_path``.

        None means the directory of the file that calls `render`.
        """
        path: str | None = self.settings.get("template_path")
        return path

    def create_template_loader(self, template_path: str) -> template.BaseLoader:
        """Return a new loader for a directory; called once per application and directory.

        The setting ``template_loader`` replaces it.  The settings ``autoescape`` (a function's name, or
        None) and ``template_whitespace`` ("all", "single" or "oneline") are handed to the default loader.
        """
        loader: template.BaseLoader | None = self.settings.get("template_loader")
        if loader is not None:
            return loader
        options = {}
        if "autoescape" in self.settings:
            options["autoescape"] = self.settings["autoescape"]
        if "template_whitespace" in self.settings:
            options["whitespace"] = self.settings["template_whitespace"]
        return template.Loader(template_path, **options)

    def _load_template(self, template_name: str) -> template.Template:
        path = self.get_template_path() or _caller_directory()
        loaders = _loaders.get(self.application)
        if loaders is None:
            loaders = _loaders[self.application] = {}
        key = (path, type(self).create_template_loader)
        loader = loaders.get(key)
        if loader is None:
            loader = loaders[key] = self.create_template_loader(path)
        if not self._loader_refreshed:
            # Without the cache every request reads its templates anew, but only once, so that one page is
            # of one piece.
            self._loader_refreshed = True
            if not self.settings.get("compiled_template_cache", True):
                for known in loaders.values():
                    known.reset()
        return loader.load(template_name)

    # --- what UI modules add ---

    def _with_resources(self, html: bytes) -> bytes:
        """Put what the modules of the page ask for before its ``</head>`` and ``</body>``."""
        if not self._active_modules:
            return html
        wanted = Resources(self._active_modules.values())
        head = b""
        if wanted.css_files:
            head += escape.utf8(self.render_linked_css(wanted.css_files)) + b"\n"
        if wanted.css_embed:
            head += self.render_embed_css(wanted.css_embed) + b"\n"
        if wanted.html_heads:
            head += b"".join(wanted.html_heads) + b"\n"
        body = b""
        if wanted.js_files:
            body += escape.utf8(self.render_linked_js(wanted.js_files)) + b"\n"
        if wanted.js_embed:
            body += self.render_embed_js(wanted.js_embed) + b"\n"
        if wanted.html_bodies:
            body += b"".join(wanted.html_bodies) + b"\n"
        if head:
            # The end tags may be left out (HTML section 13.1.2.4): then the head's part comes first, the
            # body's last.
            at = max(html.find(b"</head>"), 0)
            html = html[:at] + head + html[at:]
        if body:
            at = html.rfind(b"</body>")
            html = html + body if at < 0 else html[:at] + body + html[at:]
        return html

    def _resource_url(self, path: str) -> str:
        return escape.xhtml_escape(path if _is_absolute(path) else self.static_url(path))

    def render_linked_js(self, js_files: Iterable[str]) -> str:
        """Return the markup for the script files of UI modules; override it to change it.

        :param js_files: paths and URLs; one that is repeated is linked once, where it first stood.
        """
        return "".join(
            f'<script src="{self._resource_url(path)}" type="text/javascript"></script>'
            for path in dict.fromkeys(js_files)
        )

    def render_embed_js(self, js_embed: Iterable[bytes]) -> bytes:
        """Return the markup for the embedded JavaScript of UI modules; override it to change it."""
        script = b"\n".join(js_embed)
        return b'<script type="text/javascript">\n//<![CDATA[\n' + script + b"\n//]]>\n</script>"

    def render_linked_css(self, css_files: Iterable[str]) -> str:
        """Return the markup for the style sheets of UI modules; override it to change it."""
        return "".join(
            f'<link href="{self._resource_url(path)}" type="text/css" rel="stylesheet"/>'
            for path in dict.fromkeys(css_files)
        )

    def render_embed_css(self, css_embed: Iterable[bytes]) -> bytes:
        """Return the markup for the embedded CSS of UI modules; override it to change it."""
        return b'<style type="text/css">\n' + b"\n".join(css_embed) + b"\n</style>"

    # --- addresses ---

    def static_url(self, path: str, include_host: bool | None = None, **kwargs: Any) -> str:
        """Return the URL of a static file, with a version that changes when its content does.

        :param path: the file, relative to the setting ``static_path``.
        :param include_host: give a whole URL with scheme and host; by default the handler's
            ``include_host`` attribute, else False.
        :param kwargs: handed to ``make_static_url`` of the setting ``static_handler_class``;
            ``include_version=False`` leaves the version out.
        :raises Exception: when the setting ``static_path`` is missing.
        :raises HTTPError: 403 when the path leads out of ``static_path``.
        """
        self.require_setting("static_path", "static_url")
        static_handler = self.settings.get("static_handler_class")
        if static_handler is None:
            from webfw.web.static import StaticFileHandler  # a handler, which is made with this chapter

            static_handler = StaticFileHandler
        if include_host is None:
            include_host = self.include_host
        url: str = static_handler.make_static_url(self.settings, path, **kwargs)
        if include_host:
            return f"{self.request.protocol}://{self.request.host}{url}"
        return url

    def reverse_url(self, name: str, *args: Any) -> str:
        """Return the path of a named route; ``args`` fill the groups of its pattern."""
        return self.application.reverse_url(name, *args)
