"""Merganser where libraries look for a driver of ADBC, as ``polars.read_database_uri`` does."""

from merganser import __version__

__all__ = ["__version__"]
