"""Settings of the commands people run at their own machine, ``dev`` and ``static``: not those of the deployment."""

import argparse
import os
from collections.abc import Collection
from dataclasses import replace

from webfw.cli.serve import configuration_of
from webfw.cli.settings import SETTINGS
from webfw.cli.sources import Configuration, Value

__all__ = ["local_configuration"]


def local_configuration(
    arguments: argparse.Namespace, sections: Collection[str] = (), host: str = ""
) -> Configuration:
    """The settings: from flags, from the environment, and from a file those that belong to the application.

    A file that lies in the directory says how the program is deployed: its addresses, log files and users are those of
    another machine.  A file that ``--config`` names counts as a whole.

    :param sections: of the table of settings, those that are taken from the file.
    :param host: where to listen on ``$PORT``, all addresses by default.
    :raises CommandError: a setting is wrong.
    """
    configuration = configuration_of(arguments)
    port = os.environ.get("PORT")
    bind = Value([f"{host}:{port}"], "PORT") if port else Value(["127.0.0.1:8000"], "default")
    values = dict(configuration.values)
    for name, value in values.items():
        in_file = configuration.file is not None and value.origin.startswith(str(configuration.file))
        if in_file and arguments.config is None and SETTINGS[name].section not in sections:
            values[name] = bind if name == "bind" else Value(SETTINGS[name].default, "default")
    if values["bind"].origin == "PORT":
        values["bind"] = bind
    return replace(configuration, values=values)
