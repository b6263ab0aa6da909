"""Only what pyproject.toml cannot say: the one C module, which webfw also does without."""

import os
import platform
import sysconfig

from setuptools import Extension, setup

# 0: never; 1: it must build; anything else: if it builds.  webfw/sansio/native.py reads the same variable.
wanted = os.environ.get("WEBFW_SPEEDUPS")

if wanted == "0" or platform.python_implementation() != "CPython":
    setup()
else:
    # One file for every Python from 3.11 on, but free-threaded ones, which have no stable ABI.
    stable = not sysconfig.get_config_var("Py_GIL_DISABLED")
    setup(
        ext_modules=[
            Extension(
                "webfw.sansio._native",
                sources=["webfw/sansio/_native.c", "webfw/sansio/_native_http1.c"],
                depends=["webfw/sansio/_native.h"],
                optional=wanted != "1",
                py_limited_api=stable,
                define_macros=[("Py_LIMITED_API", "0x030b0000")] if stable else [],
            )
        ],
        options={"bdist_wheel": {"py_limited_api": "cp311"}} if stable else {},
    )
