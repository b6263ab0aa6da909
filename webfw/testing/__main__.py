"""``python -m webfw.testing test_module``: runs tests with unittest and webfw's options; see `webfw.testing.main`."""

from webfw.testing.runner import main

main()
