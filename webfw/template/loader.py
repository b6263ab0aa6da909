"""Where templates come from by name: the cache all loaders share, directories, and dicts; no grammar here."""

import os.path
import posixpath
import threading
from typing import Any

from webfw.template.errors import ParseError
from webfw.template.template import Template

__all__ = ["BaseLoader", "DictLoader", "Loader"]


class BaseLoader:
    """Loads templates by name and keeps them; a subclass says where they lie.

    A subclass overrides `resolve_path` and ``_create_template(name)``, which returns a `Template` made with
    ``loader=self``, and `source_path` when its templates are files.

    :param autoescape: what `Template` takes, for all templates of this loader.
    :param namespace: names known to all templates of this loader.
    :param whitespace: what `Template` takes, for all templates of this loader.
    """

    def __init__(
        self,
        autoescape: str | None = "xhtml_escape",
        namespace: dict[str, Any] | None = None,
        whitespace: str | None = None,
    ) -> None:
        self.autoescape = autoescape
        self.namespace = namespace or {}
        self.whitespace = whitespace
        #: The templates loaded so far by resolved name.
        self.templates: dict[str, Template] = {}
        #: Held while a template is made; a thread that holds it may take it again.
        self.lock = threading.RLock()
        self._loading: list[str] = []  # names being loaded, each for the one before it; guarded by the lock

    def reset(self) -> None:
        """Forget all templates: each is made anew when it is next asked for."""
        with self.lock:
            self.templates = {}

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """Return the name that `name` means when the template `parent_path` uses it."""
        raise NotImplementedError

    def source_path(self, name: str) -> str | None:
        """Return the path of the file that template `name`, resolved, lies in; None when it is no file."""
        return None

    def load(self, name: str, parent_path: str | None = None) -> Template:
        """Return the template `name`, made at the first call; safe to call from several threads.

        :param parent_path: the name of the template whose directory `name` is relative to, if any.
        :raises ParseError: when it is not well-formed, or includes or extends itself through others.
        """
        name = self.resolve_path(name, parent_path=parent_path)
        template = self.templates.get(name)
        if template is not None:
            return template
        with self.lock:
            template = self.templates.get(name)
            if template is None:
                if name in self._loading:
                    circle = " -> ".join([*self._loading[self._loading.index(name) :], name])
                    raise ParseError(f"templates include or extend each other in a circle: {circle}")
                self._loading.append(name)
                try:
                    template = self._create_template(name)
                finally:
                    self._loading.pop()
                self.templates[name] = template
        return template

    def _create_template(self, name: str) -> Template:
        raise NotImplementedError


def _is_relative_to_parent(name: str, parent_path: str | None) -> bool:
    return bool(parent_path) and parent_path is not None and parent_path[0] not in "</" and name[:1] != "/"


class Loader(BaseLoader):
    """Loads templates from one directory.

    A name is relative to that directory; in ``include`` and ``extends`` it is relative to the directory of
    the template the directive stands in. ``..`` and absolute paths may lead out of it: names are for the
    program to choose.

    :param root_directory: the directory.
    :param kwargs: what `BaseLoader` takes.
    """

    def __init__(self, root_directory: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        #: The absolute path of the directory.
        self.root = os.path.abspath(root_directory)

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """Return `name` relative to the root directory, with ``/`` between directories.

        Without a parent, or when either is an absolute path, `name` stays as it is.
        """
        if parent_path is None or not _is_relative_to_parent(name, parent_path) or os.path.isabs(parent_path):
            return name
        return posixpath.normpath(posixpath.join(posixpath.dirname(parent_path), name))

    def source_path(self, name: str) -> str:
        """Return the path of the file of the template `name`."""
        return os.path.join(self.root, *name.split("/")) if not os.path.isabs(name) else name

    def _create_template(self, name: str) -> Template:
        with open(self.source_path(name), "rb") as file:
            return Template(file.read(), name=name, loader=self)


class DictLoader(BaseLoader):
    """Loads templates from a dict of names and texts; names in it are resolved as POSIX paths.

    :param dict: the templates, str or UTF-8 bytes by name.
    :param kwargs: what `BaseLoader` takes.
    """

    def __init__(self, dict: "dict[str, str] | dict[str, bytes]", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dict = dict

    def resolve_path(self, name: str, parent_path: str | None = None) -> str:
        """Return `name` taken relative to the directory of `parent_path`, when there is one."""
        if parent_path is None or not _is_relative_to_parent(name, parent_path):
            return name
        return posixpath.normpath(posixpath.join(posixpath.dirname(parent_path), name))

    def _create_template(self, name: str) -> Template:
        return Template(self.dict[name], name=name, loader=self)
