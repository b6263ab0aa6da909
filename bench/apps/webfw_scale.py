"""The hello page in webfw, for ``webfw serve webfw_scale:app``."""

import webfw.web


class Hello(webfw.web.RequestHandler):
    def get(self) -> None:
        self.write("Hello, world")


app = webfw.web.Application([("/", Hello)])
