#!/usr/bin/env python
"""A blog: users in signed cookies, forms with XSRF tokens, templates with modules, slow work in a thread."""

import asyncio
import hashlib
import os.path
import re
import unicodedata

import tornado.escape
import tornado.httpserver
import tornado.ioloop
import tornado.netutil
import tornado.options
import tornado.web
from tornado.options import define, options

define("port", default=8888, help="run on the given port", type=int)


class NoResultError(Exception):
    pass


class Application(tornado.web.Application):
    def __init__(self):
        self.entries, self.authors = [], {}
        handlers = [
            (r"/", HomeHandler),
            (r"/archive", ArchiveHandler),
            (r"/feed", FeedHandler),
            (r"/entry/([^/]+)", EntryHandler),
            (r"/compose", ComposeHandler),
            (r"/auth/create", AuthCreateHandler),
            (r"/auth/login", AuthLoginHandler),
            tornado.web.url(r"/auth/logout", AuthLogoutHandler, name="logout"),
        ]
        settings = {
            "blog_title": "A <Blog>",
            "template_path": os.path.join(os.path.dirname(__file__), "templates"),
            "static_path": os.path.join(os.path.dirname(__file__), "static"),
            "ui_modules": {"Entry": EntryModule},
            "xsrf_cookies": True,
            "cookie_secret": "__TODO:_GENERATE_YOUR_OWN_RANDOM_VALUE_HERE__",
            "login_url": "/auth/login",
            "debug": True,
            "serve_traceback": False,
            "autoreload": False,
        }
        super().__init__(handlers, **settings)


class BaseHandler(tornado.web.RequestHandler):
    def queryone(self, slug):
        for entry in self.application.entries:
            if entry["slug"] == slug:
                return entry
        raise NoResultError()

    async def prepare(self):
        user_id = self.get_signed_cookie("blogdemo_user")
        if user_id:
            self.current_user = self.application.authors.get(tornado.escape.to_unicode(user_id))

    def any_author_exists(self):
        return bool(self.application.authors)


class HomeHandler(BaseHandler):
    def get(self):
        entries = self.application.entries[-5:]
        if not entries:
            self.redirect("/compose")
            return
        self.render("home.html", entries=entries)


class EntryHandler(BaseHandler):
    async def get(self, slug):
        try:
            entry = self.queryone(slug)
        except NoResultError:
            raise tornado.web.HTTPError(404) from None
        self.render("entry.html", entry=entry)


class ArchiveHandler(BaseHandler):
    def get(self):
        self.render("archive.html", entries=self.application.entries)


class FeedHandler(BaseHandler):
    def get(self):
        self.set_header("Content-Type", "application/atom+xml")
        self.render("feed.xml", entries=self.application.entries)


class ComposeHandler(BaseHandler):
    @tornado.web.authenticated
    async def get(self):
        slug = self.get_argument("id", None)
        self.render("compose.html", entry=self.queryone(slug) if slug else None)

    @tornado.web.authenticated
    async def post(self):
        title = self.get_argument("title")
        text = self.get_argument("markdown")
        slug = unicodedata.normalize("NFKD", title)
        slug = re.sub(r"[^\w]+", " ", slug)
        slug = "-".join(slug.lower().strip().split())
        slug = slug.encode("ascii", "ignore").decode("ascii") or "entry"
        html = await tornado.ioloop.IOLoop.current().run_in_executor(None, tornado.escape.linkify, text)
        entry = {"slug": slug, "title": title, "html": html, "author": self.current_user}
        self.application.entries.append(entry)
        self.redirect("/entry/" + slug)


class AuthCreateHandler(BaseHandler):
    def get(self):
        self.render("create_author.html", error=None)

    async def post(self):
        if self.any_author_exists():
            raise tornado.web.HTTPError(400, "author already created")
        digest = await tornado.ioloop.IOLoop.current().run_in_executor(
            None, lambda: hashlib.sha256(tornado.escape.utf8(self.get_argument("password"))).hexdigest()
        )
        author = {"id": "1", "name": self.get_argument("name"), "digest": digest}
        self.application.authors["1"] = author
        self.set_signed_cookie("blogdemo_user", "1", expires_days=None)
        self.redirect(self.get_argument("next", "/"))


class AuthLoginHandler(BaseHandler):
    async def get(self):
        self.render("login.html" if self.any_author_exists() else "create_author.html", error=None)

    async def post(self):
        author = self.application.authors.get("1")
        digest = hashlib.sha256(tornado.escape.utf8(self.get_argument("password"))).hexdigest()
        if author and digest == author["digest"]:
            self.set_signed_cookie("blogdemo_user", "1", expires_days=None)
            self.redirect(self.get_argument("next", "/"))
        else:
            self.render("login.html", error="incorrect password")


class AuthLogoutHandler(BaseHandler):
    def get(self):
        self.clear_cookie("blogdemo_user")
        self.redirect(self.get_argument("next", "/"))


class EntryModule(tornado.web.UIModule):
    def render(self, entry):
        return self.render_string("modules/entry.html", entry=entry)

    def css_files(self):
        return "entry.css"


async def main():
    tornado.options.parse_command_line()
    server = tornado.httpserver.HTTPServer(Application())
    sockets = tornado.netutil.bind_sockets(options.port, "127.0.0.1")
    server.add_sockets(sockets)
    print("port", sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
