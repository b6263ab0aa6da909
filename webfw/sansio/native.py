"""The C module, where it has been built and is wanted; what its functions are for stands beside their twins."""

import os
from types import ModuleType
from typing import Final

__all__ = ["IMPLEMENTATION", "native"]

#: Which functions the C module has, and what they take: `_native.REVISION` must be the same.
REVISION: Final = 2

_CURE: Final = (
    "install webfw from source with a C compiler and the same setting"
    " (WEBFW_SPEEDUPS=1 pip install --editable . in a checkout)"
)


def _choose(wanted: str | None) -> ModuleType | None:
    """The C module as the environment variable ``WEBFW_SPEEDUPS`` wants it: 0 never, 1 it must be there, else if it is.

    :raises ImportError: it must be there, and is not, or is a build of other sources.
    """
    if wanted == "0":
        return None
    try:
        from webfw.sansio import _native
    except ImportError as error:
        if wanted == "1":
            raise ImportError(
                f"WEBFW_SPEEDUPS=1 wants webfw's C module, which has not been built: {_CURE}"
            ) from error
        return None
    if getattr(_native, "REVISION", 0) != REVISION:  # in a checkout that has moved on
        if wanted == "1":
            raise ImportError(
                f"WEBFW_SPEEDUPS=1 wants webfw's C module, which was built of other sources: {_CURE}"
            )
        return None
    return _native


#: The C module; None where the twins in Python are used.
native: Final = _choose(os.environ.get("WEBFW_SPEEDUPS"))

#: Which twins are used: ``"native"`` or ``"pure"``.
IMPLEMENTATION: Final = "pure" if native is None else "native"
