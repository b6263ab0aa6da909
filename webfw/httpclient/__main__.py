"""``python -m webfw.httpclient URL...``: fetch and print; nothing else."""

from webfw.httpclient.command import main

main()
