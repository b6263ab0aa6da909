"""``python -m webfw.autoreload``: the command, which is a function of the package."""

from webfw.autoreload.wrapper import main

main()
