"""The front door: the ``webfw`` command; starts what the other rooms offer, no logic of its own."""
