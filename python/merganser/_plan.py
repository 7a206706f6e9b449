"""Plans: ``q.explain()``."""

from __future__ import annotations

import json
from html import escape
from typing import Any

__all__ = ["Plan"]


class Plan:
    """How a query runs, and, if it was analyzed, what each step did.

    ``str(plan)`` is for reading, :meth:`json` for programs; a notebook shows a diagram.
    """

    __slots__ = ("_json", "_text")

    def __init__(self, text: str, json_text: str) -> None:
        self._text = text
        self._json = json_text

    def json(self) -> dict[str, Any]:
        """The plan as a dict; its fields are those of ``merganser explain --format json``."""
        plan: dict[str, Any] = json.loads(self._json)
        return plan

    @property
    def arm(self) -> str:
        """``"single"``, ``"union"``, ``"ordered"``, ``"combine"`` or ``"gather"``."""
        return str(self.json()["arm"])

    @property
    def exactness(self) -> str:
        """``"exact"``, or ``"exact_up_to_float_order"``."""
        return str(self.json()["exactness"])

    @property
    def reasons(self) -> list[str]:
        """Why no cheaper arm was taken."""
        return list(self.json()["reasons"])

    @property
    def steps(self) -> list[dict[str, Any]]:
        """The steps in their order; the last one gives the answer."""
        return list(self.json()["steps"])

    def __str__(self) -> str:
        return self._text

    def __repr__(self) -> str:
        return f"<merganser.Plan: {self.arm}, {len(self.steps)} steps>"

    def _repr_html_(self) -> str:
        return _html(self.json())


def _html(plan: dict[str, Any]) -> str:
    shards = plan["shards"]
    head = f"<b>{escape(plan['arm'])}</b>, {escape(plan['exactness'].replace('_', ' '))}"
    reasons = "".join(f"<li>{escape(reason)}</li>" for reason in plan["reasons"])
    arrow = '<div style="text-align:center">&darr;</div>'
    steps = arrow.join(_step(step, shards) for step in plan["steps"])
    return (
        f'<div style="max-width:60em">{head}{f"<ul>{reasons}</ul>" if reasons else ""}{steps}</div>'
    )


def _step(step: dict[str, Any], shards: list[str]) -> str:
    analysis = step.get("analysis")
    title = f"step {step['step']}, {escape(_place(step['place'], shards))}"
    if analysis is not None:
        title += f": {analysis['rows']:,} rows in {analysis['seconds']:.3f} s"
        if analysis["handed_bytes"]:
            title += f", handed on as {analysis['handed_bytes']:,} bytes"
    uses = ", ".join(str(used) for used in step["uses"])
    return (
        '<div style="border:1px solid #888;border-radius:4px;padding:.4em .6em">'
        f"<b>{title}</b>{f' (with the rows of step {uses})' if uses else ''}"
        f'<details><summary>SQL</summary><pre style="white-space:pre-wrap">{escape(step["sql"])}'
        f"</pre></details>{_bars(analysis)}<div>{escape(_merge(step['merge']))}</div></div>"
    )


def _place(place: dict[str, Any], shards: list[str]) -> str:
    match place["kind"]:
        case "shards" if len(place["shards"]) == len(shards):
            return f"on all {len(shards)} shards"
        case "shards":
            return "on " + (", ".join(place["shards"]) or "no shard")
        case "any_shard":
            return "on any one shard"
        case "finish_server":
            return "on the server that finishes"
        case _:
            return "on one of the shards, the finish"


def _merge(merge: dict[str, Any]) -> str:
    kind = {
        "concatenate": "merge: rows as they come",
        "ordered": "merge: rows in order",
        "aggregate": "merge: groups of the shards, aggregated again",
    }.get(merge["kind"], f"merge: {merge['kind']}")
    if merge.get("fetch") is not None:
        kind += f", {merge['fetch']:,} of them"
    if merge.get("skip"):
        kind += f", without the first {merge['skip']:,}"
    return kind


def _bars(analysis: dict[str, Any] | None) -> str:
    """A bar for each server, as long as it took."""
    if analysis is None or not analysis["shards"]:
        return ""
    longest = max(shard["seconds"] for shard in analysis["shards"]) or 1.0
    lines = (
        f"<tr><td>{escape(shard['shard'])}</td><td>{shard['rows']:,} rows</td>"
        f"<td>{shard['bytes']:,} bytes</td><td>{shard['seconds']:.3f} s</td>"
        '<td style="width:12em"><div style="background:#4a90d9;height:.7em;'
        f'width:{100 * shard["seconds"] / longest:.0f}%"></div></td></tr>'
        for shard in analysis["shards"]
    )
    return f"<table>{''.join(lines)}</table>"
