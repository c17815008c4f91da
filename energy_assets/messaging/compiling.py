"""A mapping compiled for the topics at hand: which rules look at which topics, and one statement that reads them all.

Topics are matched once each, here; messages are then routed by number. Rules that look at the same paths share a
parse, rules of one zone a judgement: every further branch of a statement costs as much as thousands of rows.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from energy_assets.messaging.payloads import MessageRule, PayloadMapping, TopicRule, paths_of
from energy_assets.sql import Query

_PACKAGE = "energy_assets.messaging"
_OF_PAIRS = ("value_at", "time_at", "id_at", "where_at", "is_text", "is_spare", "group_number")


@dataclass(frozen=True, kw_only=True)
class Routes:
    """Where messages go.

    known: topic, is_ignored (nothing but ignored) of every topic that has a rule.
    routed: topic, pair, piece; a pair is a topic and a group of rules that looks at it.
    pairs: the rules of each pair, the meter that its topic names, and where its paths stand.
    rules: what the rules say of values.
    rows: the query of the judged rows; None where no message has a rule to judge it.
    pieces: how many parses that query has.
    """

    known: pl.DataFrame
    routed: pl.DataFrame
    pairs: pl.DataFrame
    rules: pl.DataFrame
    rows: Query | None
    pieces: int


@dataclass(frozen=True, kw_only=True)
class _Piece:
    """What is parsed in one go: messages whose rules look at the same paths."""

    zone: str
    has_lists: bool
    payload: str
    each: str | None
    paths: tuple[str, ...]

    @classmethod
    def of(cls, rules: Sequence[TopicRule], *, has_lists: bool) -> _Piece:
        first = rules[0]
        paths = tuple(paths_of(rules))
        if not isinstance(first, MessageRule):
            return cls(zone="UTC", has_lists=False, payload="json", each=None, paths=paths)
        return cls(
            zone=first.zone or "UTC",
            has_lists=first.payload == "csv" or (has_lists and first.each is None),
            payload=first.payload,
            each=first.each,
            paths=paths,
        )

    def query(self, number: int) -> Query:
        known: dict[str, object] = {"piece": number, "paths": list(self.paths)}
        if self.each is not None:
            return Query.from_file(_PACKAGE, "fields_of_records", **known, each=self.each)
        return Query.from_file(_PACKAGE, "fields_of_csv" if self.payload == "csv" else "fields_of_record", **known)


def routes_of(mapping: PayloadMapping, topics: pl.DataFrame, *, source: str) -> Routes:
    """Return the routes of messages. `topics` has topic and has_lists (an array may be in its payloads), each once."""
    rules = mapping.rules_frame()
    matched = mapping.topic_rules(topics["topic"], source=source).join(
        rules.select("rule", *_OF_PAIRS, "is_ignored", has_condition=pl.col("where_at").is_not_null()), on="rule"
    )
    overruling = [number for number, rule in enumerate(mapping.ignored, start=len(mapping.messages)) if rule.always]
    is_overruling = pl.col("rule").is_in(overruling)
    matched = matched.filter(is_overruling | ~is_overruling.any().over("topic"))
    # What is ignored whatever it says needs no parse: a topic with nothing else, and what other rules leave of one.
    always = pl.col("is_ignored") & ~pl.col("has_condition")
    matched = matched.with_columns(
        is_left_ignored=always.any().over("topic"),
        is_always=always,
        is_first=pl.col("rule") == pl.col("rule").min().over("topic"),
    )
    known = matched.group_by("topic").agg(is_ignored=pl.col("is_always").all())
    judged = matched.filter(~pl.col("is_always"))
    numbers = judged.select("topic", "group_number").unique(maintain_order=True).with_row_index("pair")
    pieces = _pieces(mapping, numbers.join(topics, on="topic"))
    by_group = pl.DataFrame(
        [(group, number) for number, groups in enumerate(pieces.values()) for group in groups],
        schema={"group_number": pl.Int32, "piece": pl.Int32},
        orient="row",
    )
    pairs = judged.join(numbers, on=["topic", "group_number"]).select(
        "pair", "rule", "meter", "is_first", "is_left_ignored", *_OF_PAIRS[:-1]
    )
    return Routes(
        known=known,
        routed=numbers.join(by_group, on="group_number").select("topic", "pair", "piece"),
        pairs=pairs,
        rules=rules.rename({"retained": "rules_retained"}).drop(_OF_PAIRS),
        rows=_rows(list(pieces)),
        pieces=len(pieces),
    )


def _pieces(mapping: PayloadMapping, present: pl.DataFrame) -> Mapping[_Piece, list[int]]:
    """Return the pieces of the groups that are present, each with its groups."""
    rules = [*mapping.messages, *mapping.ignored]
    with_lists = dict(present.group_by("group_number").agg(pl.col("has_lists").any()).iter_rows())
    found: dict[_Piece, list[int]] = {}
    for group, numbers in enumerate(mapping.rule_groups()):
        if group in with_lists:
            piece = _Piece.of([rules[number] for number in numbers], has_lists=with_lists[group])
            found.setdefault(piece, []).append(group)
    return found


def _rows(pieces: Sequence[_Piece]) -> Query | None:
    """Return the query of the rows of all pieces; those of one zone are judged together."""
    parts: dict[tuple[str, bool], list[Query]] = {}
    for number, piece in enumerate(pieces):
        parts.setdefault((piece.zone, piece.has_lists), []).append(piece.query(number))
    judged = Query.from_file(_PACKAGE, "rows").text
    found = []
    for (zone, has_lists), parses in parts.items():
        fields = _together(parses)
        cells = Query.from_file(_PACKAGE, "cells_listed" if has_lists else "cells_plain").text
        text = f"WITH parsed AS ({fields.text}), cells AS ({cells}), {judged}"
        found.append(Query(text=text, parameters={**fields.parameters, "zone": zone}))
    return _together(found) if found else None


def _together(parts: Sequence[Query]) -> Query:
    """Return the rows of several queries as those of one, their parameters told apart."""
    renamed = [_renamed(part, suffix=f"_{number}") for number, part in enumerate(parts)]
    return Query(
        text=" UNION ALL BY NAME ".join(f"SELECT * FROM ({part.text})" for part in renamed),
        parameters={name: value for part in renamed for name, value in part.parameters.items()},
    )


def _renamed(part: Query, *, suffix: str) -> Query:
    names = "|".join(part.parameters)
    return Query(
        text=re.sub(rf"\$({names})\b", rf"$\1{suffix}", part.text),
        parameters={f"{name}{suffix}": value for name, value in part.parameters.items()},
    )
