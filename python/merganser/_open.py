"""Which databases a connection is of, and how tables are spread over them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from . import _merganser
from .errors import InterfaceError, ProgrammingError

__all__ = ["REPLICATED", "open_cluster"]

#: How ``connect(tables=...)`` is told of a table of which every shard holds all rows.
REPLICATED: dict[str, Any] = {"replicated": True}

_DEFAULT_FILE = "merganser.toml"
_URLS = ("postgresql://", "postgres://")


def open_cluster(
    targets: Sequence[str | os.PathLike[str]],
    *,
    shards: Sequence[str] | Mapping[str, str] | None = None,
    tables: Mapping[str, str | Mapping[str, Any]] | None = None,
    session: Mapping[str, Any] | None = None,
    finish: str | None = None,
    connections_per_shard: int | None = None,
) -> _merganser.Cluster:
    """The databases that the arguments of :func:`merganser.connect` name."""
    path, found = _targets(targets)
    if shards is not None:
        if path is not None or found:
            raise InterfaceError("connect takes a file, URLs, or shards=..: one of them")
        found = list(shards.items()) if isinstance(shards, Mapping) else _unnamed(shards)
        if not found:
            raise ProgrammingError("shards is empty", hint='shards=["postgresql://user@host/db"]')
    if path is None and not found:
        path = _default_file()
    if path is not None:
        for name, value in (("tables", tables), ("session", session), ("finish", finish)):
            if value is not None:
                raise InterfaceError(
                    f"{name} is for connections without a topology file",
                    hint=f"write it into {path}",
                )
    return _merganser.connect(
        path,
        found,
        [_table(name, kind) for name, kind in (tables or {}).items()],
        dict(session or {}),
        finish,
        connections_per_shard,
    )


def _targets(
    targets: Sequence[str | os.PathLike[str]],
) -> tuple[str | None, list[tuple[str | None, str]]]:
    """The topology file, or the shards."""
    urls = [target for target in targets if isinstance(target, str) and _is_connection(target)]
    if urls:
        if len(urls) < len(targets):
            raise InterfaceError("connect takes a file or URLs, not both")
        return None, _unnamed(urls)
    if len(targets) > 1:
        raise InterfaceError(
            "connect takes one topology file", hint="URLs begin with postgresql://"
        )
    for target in targets:
        if not isinstance(target, (str, os.PathLike)):
            raise InterfaceError(
                f"connect takes the path of a file or a URL, not {type(target).__name__}",
                hint="a list of URLs is given by name: connect(shards=[..])",
            )
        return os.fspath(target), []
    return None, []


def _is_connection(target: str) -> bool:
    """Whether it is a URL or libpq's key=value text, and no path."""
    return target.startswith(_URLS) or ("=" in target and not os.path.exists(target))


def _unnamed(urls: Iterable[str]) -> list[tuple[str | None, str]]:
    if isinstance(urls, str):
        raise InterfaceError("shards is a list of URLs, not one text", hint="shards=[url]")
    found: list[tuple[str | None, str]] = []
    for url in urls:
        if not isinstance(url, str):
            # Not shown: it may hold a password.
            raise InterfaceError(f"a shard is given by its URL, not by a {type(url).__name__}")
        found.append((None, url))
    return found


def _default_file() -> str:
    if not os.path.exists(_DEFAULT_FILE):
        raise ProgrammingError(
            f"no databases: no file, no URL, and no {_DEFAULT_FILE} in this folder",
            hint='merganser.connect("merganser.toml"), or connect(shards=["postgresql://.."])',
        )
    return _DEFAULT_FILE


def _table(
    name: str, kind: str | Mapping[str, Any]
) -> tuple[str, str | None, str | None, str | None]:
    """What the native module takes for a table: name, key, colocation group and shard index."""
    if isinstance(kind, str):
        return name, kind, None, None
    known = {"shard_key", "colocation", "shard_index", "replicated"}
    if not isinstance(kind, Mapping) or not kind.keys() <= known:
        raise InterfaceError(
            f"table {name!r}: expected its shard key, or a dict with {', '.join(sorted(known))}",
            hint='tables={"orders": "o_orderkey", "nation": merganser.REPLICATED}',
        )
    key = kind.get("shard_key")
    if bool(kind.get("replicated")) == (key is not None):
        raise InterfaceError(f"table {name!r}: either shard_key or replicated=True is needed")
    return name, key, kind.get("colocation"), kind.get("shard_index")
