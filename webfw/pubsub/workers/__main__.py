"""Run the hub: ``python -m webfw.pubsub.workers --socket PATH``."""

from webfw.pubsub.workers.command import main

main()
