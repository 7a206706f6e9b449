"""Merganser where libraries look for a driver of ADBC.

``polars.read_database_uri(sql, "merganser:///path/merganser.toml", engine="adbc")`` looks for
:mod:`adbc_driver_merganser.dbapi`. A driver manager, of any language, can load the driver in C itself:

>>> adbc_driver_manager.dbapi.connect(
...     driver=adbc_driver_merganser.driver_path(),
...     entrypoint=adbc_driver_merganser.ENTRYPOINT,
...     db_kwargs={"uri": "merganser:///path/merganser.toml"},
... )

``python -m merganser adbc-install`` writes a manifest, with which the name ``merganser`` is enough.
"""

from merganser import __version__, _merganser

__all__ = ["ENTRYPOINT", "__version__", "driver_path"]

#: The symbol of the library that makes the driver.
ENTRYPOINT = "AdbcMerganserInit"


def driver_path() -> str:
    """The library that has the driver: the native part of this package."""
    path: str = _merganser.__file__
    return path
