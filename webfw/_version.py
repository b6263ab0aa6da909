"""The version of the package, and nothing else: read by the build without importing webfw."""

__version__ = "0.1.0"
