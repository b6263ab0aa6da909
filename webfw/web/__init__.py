"""Request handlers and the application that routes to them: what a site is written with."""
