"""Payload mappings: every message becomes readings or a refusal with its reason; wrong mappings are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from energy_assets.errors import ConfigError
from energy_assets.messaging.payloads import BUILT_IN, load_payload_mapping
from energy_assets_tests.messaging.judging import judged

PULSE = {"meterId": "household_1", "timestamp": "2026-11-21T07:00:02+01:00", "temperature": 9.1, "consumptionKwh": 1.25}
RULE = """[[messages]]
topic = "m/{meter}"
meter = "{source}.{meter}"
value = "$.v"
measure = "power"
unit = "W"
interval_minutes = 15
"""
TEXT = RULE.replace("$.v", "$")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        pytest.param("garbage{", "not_json", id="not JSON"),
        pytest.param("", "not_json", id="empty"),
        pytest.param(PULSE | {"consumptionKwh": None}, "missing_value", id="null"),
        pytest.param(PULSE | {"consumptionKwh": "much"}, "unreadable_number", id="no number"),
        pytest.param(PULSE | {"consumptionKwh": True}, "unreadable_number", id="a truth value"),
        pytest.param(PULSE | {"consumptionKwh": {"kwh": 1}}, "unreadable_number", id="an object"),
        pytest.param(PULSE | {"consumptionKwh": "inf"}, "not_finite", id="infinite"),
        pytest.param(PULSE | {"consumptionKwh": []}, "empty_list", id="an empty list"),
        pytest.param(PULSE | {"timestamp": "soon"}, "unreadable_time", id="no time"),
        pytest.param(PULSE | {"timestamp": None}, "unreadable_time", id="null time"),
    ],
)
def test_a_message_that_does_not_fit_is_refused_with_its_reason(tmp_path: Path, payload: object, reason: str) -> None:
    rows, _ = judged(tmp_path, "system_003", ("energy/meters/household_1", payload))
    assert [row[3] for row in rows] == [reason]


@pytest.mark.parametrize(
    ("head", "rule", "payload", "expected"),
    [
        pytest.param("", RULE + "sign = -1\n", {"v": 5}, ("s.a", "11-21 06:00:00", -5.0, None), id="sign"),
        pytest.param("", RULE + "factor = 0.5\n", {"v": 5}, ("s.a", "11-21 06:00:00", 2.5, None), id="factor"),
        pytest.param(
            "", RULE + 'part = "positive"\n', {"v": -5}, ("s.a", "11-21 06:00:00", 0.0, None), id="positive part"
        ),
        pytest.param(
            "", RULE + 'part = "negative"\n', {"v": -5}, ("s.a", "11-21 06:00:00", 5.0, None), id="negative part"
        ),
        pytest.param(
            "",
            RULE + 'part = "negative"\n',
            {"v": "x"},
            (None, "11-21 06:00:00", None, "unreadable_number"),
            id="no part of no number",
        ),
        pytest.param(
            "",
            RULE + 'time = "$.t"\nformat = "unix_s"\n',
            {"v": 5, "t": 1767225600.5},
            ("s.a", "01-01 00:00:00", 5.0, None),
            id="seconds since 1970",
        ),
        pytest.param(
            "",
            RULE + 'time = "$.t"\nformat = "unix_ms"\n',
            {"v": 5, "t": "1767225600000"},
            ("s.a", "01-01 00:00:00", 5.0, None),
            id="milliseconds, as text",
        ),
        pytest.param(
            "",
            RULE + 'time = "$.t"\nformat = "unix_s"\n',
            {"v": 5, "t": 0},
            (None, None, 5.0, "unreadable_time"),
            id="a clock that was never set",
        ),
        pytest.param(
            "",
            RULE + 'time = "$.t"\ntimeless = "arrival"\n',
            {"v": 5},
            ("s.a", "11-21 06:00:00", 5.0, None),
            id="timeless at arrival",
        ),
        pytest.param(
            "",
            RULE + 'time = "$.t"\n',
            {"v": 5, "t": "2026-01-01T01:00:00+0100"},
            ("s.a", "01-01 00:00:00", 5.0, None),
            id="offset without colon",
        ),
        pytest.param(
            "",
            RULE + 'time = "$.t"\n',
            {"v": 5, "t": "2026-01-01 01:00:00+01"},
            ("s.a", "01-01 00:00:00", 5.0, None),
            id="offset of hours",
        ),
        pytest.param(
            "",
            RULE + 'time = "$.t"\n',
            {"v": 5, "t": "2026-01-01T00:00:00.25Z"},
            ("s.a", "01-01 00:00:00", 5.0, None),
            id="Z",
        ),
        pytest.param(
            "", RULE + 'time = "$.t"\n', {"v": 5, "t": "2026-01-01"}, ("s.a", "01-01 00:00:00", 5.0, None), id="a date"
        ),
        pytest.param(
            'zone = "Europe/Rome"\n',
            RULE + 'time = "$.t"\n',
            {"v": 5, "t": "2026-07-01T02:00:00"},
            ("s.a", "07-01 00:00:00", 5.0, None),
            id="zone of the file, in summer",
        ),
        pytest.param(
            'zone = "Europe/Rome"\n',
            RULE + 'time = "$.t"\nzone = "UTC"\n',
            {"v": 5, "t": "2026-07-01T02:00:00"},
            ("s.a", "07-01 02:00:00", 5.0, None),
            id="zone of the rule",
        ),
        pytest.param("", RULE + 'absent = "ignore"\n', {"w": 5}, (None, None, None, "ignored"), id="absent, ignored"),
        pytest.param(
            "",
            RULE + 'where = "$.k"\nequals = "x"\n',
            {"v": 5, "k": "y"},
            (None, None, None, "no_rule_fits"),
            id="another kind",
        ),
        pytest.param(
            "",
            RULE + 'where = "$.k"\nequals = "x"\n',
            {"v": 5, "k": "x"},
            ("s.a", "11-21 06:00:00", 5.0, None),
            id="of the kind",
        ),
        pytest.param(
            "",
            TEXT + 'nulls = ["off"]\n',
            "off",
            (None, "11-21 06:00:00", None, "missing_value"),
            id="a text for no value",
        ),
        pytest.param("", TEXT, "12.5", ("s.a", "11-21 06:00:00", 12.5, None), id="a bare number"),
        pytest.param("", TEXT, " 12.5\n", ("s.a", "11-21 06:00:00", 12.5, None), id="a bare number between blanks"),
        pytest.param(
            "", TEXT, "12,5 kWh", (None, "11-21 06:00:00", None, "unreadable_number"), id="a number with its unit"
        ),
        pytest.param(
            'others = "ignore"\n',
            RULE.replace("m/", "n/"),
            {"v": 5},
            (None, None, None, "ignored"),
            id="other topics ignored",
        ),
        pytest.param(
            "", RULE.replace("m/", "n/"), {"v": 5}, (None, None, None, "no_mapping"), id="other topics refused"
        ),
        pytest.param(
            "",
            RULE.replace("m/{meter}", "m/#").replace("{meter}", "x"),
            {"v": 5},
            ("s.x", "11-21 06:00:00", 5.0, None),
            id="all below",
        ),
        pytest.param(
            "",
            RULE.replace("m/{meter}", "m/a/#").replace("{meter}", "x"),
            {"v": 5},
            ("s.x", "11-21 06:00:00", 5.0, None),
            id="the level above all below",
        ),
        pytest.param(
            "", RULE.replace("m/{meter}", "+/{meter}"), {"v": 5}, ("s.a", "11-21 06:00:00", 5.0, None), id="one level"
        ),
        pytest.param(
            "",
            RULE + '[[ignored]]\ntopic = "m/#"\n',
            {"v": 5},
            ("s.a", "11-21 06:00:00", 5.0, None),
            id="a rule goes before what is ignored",
        ),
        pytest.param(
            "",
            RULE + 'absent = "ignore"\n[[ignored]]\ntopic = "m/a"\nwhere = "$.k"\nequals = "x"\n',
            "junk",
            (None, "11-21 06:00:00", None, "not_json"),
            id="junk is refused though others are ignored",
        ),
    ],
)
def test_what_a_rule_says(tmp_path: Path, head: str, rule: str, payload: object, expected: tuple[object, ...]) -> None:
    (tmp_path / "m.toml").write_text(head + rule)
    assert judged(tmp_path, tmp_path / "m.toml", ("m/a", payload))[0] == [expected]


def test_an_array_loses_no_value_to_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(RULE.replace('{meter}"\nvalue', '{meter}{index}"\nvalue'))
    rows, counts = judged(tmp_path, tmp_path / "m.toml", ("m/a", {"v": [1, None, "x", 4]}))
    assert [(row[0], row[2], row[3]) for row in rows] == [
        ("s.a1", 1.0, None),
        (None, None, "missing_value"),
        (None, None, "unreadable_number"),
        ("s.a4", 4.0, None),
    ]
    assert (counts.rows_in, counts.stored, counts.quarantined) == (4, 2, 2)


@pytest.mark.parametrize(
    ("payload", "values"),
    [
        pytest.param("100,200.5,-3", [100.0, 200.5, -3.0], id="numbers"),
        pytest.param("100", [100.0], id="one"),
        pytest.param("100,x", ["not_json"], id="a word"),
        pytest.param("", ["empty_list"], id="nothing"),
    ],
)
def test_comma_separated_values(tmp_path: Path, payload: str, values: list[object]) -> None:
    (tmp_path / "m.toml").write_text(TEXT.replace('{meter}"\nvalue', '{meter}{index}"\nvalue') + 'payload = "csv"\n')
    rows, _ = judged(tmp_path, tmp_path / "m.toml", ("m/a", payload))
    assert [row[3] or row[2] for row in rows] == values


def test_payloads_that_are_no_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(TEXT)
    assert judged(tmp_path, tmp_path / "m.toml", ("m/a", "/w=="), encoding="base64")[0] == [
        (None, None, None, "not_text")
    ]


def test_retained_messages_can_be_ignored(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text(RULE + 'retained = "ignore"\n')
    assert judged(tmp_path, tmp_path / "m.toml", ("m/a", {"v": 1}), retained=True)[0][0][3] == "ignored"
    assert judged(tmp_path, tmp_path / "m.toml", ("m/a", {"v": 1}))[0][0][3] is None


def test_included_mappings_have_the_zone_of_the_file_that_includes_them(tmp_path: Path) -> None:
    (tmp_path / "m.toml").write_text('zone = "Europe/Rome"\ninclude = ["tasmota", "other.toml"]\n')
    (tmp_path / "other.toml").write_text(RULE)
    plug = {"Time": "2026-07-01T02:00:00", "ENERGY": {"Total": 1.5}}
    rows, _ = judged(tmp_path, tmp_path / "m.toml", ("tele/plug/SENSOR", plug), ("m/a", {"v": 2}))
    assert rows == [("s.plug.1", "07-01 00:00:00", 1.5, None), ("s.a", "11-21 06:00:00", 2.0, None)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param(
            '[[messages]]\ntopic = "a/{b}"\nmeter = "{c}"\nvalue = "$"\nunit = "kWh"\n',
            "lacks measure, interval_minutes",
            id="incomplete",
        ),
        pytest.param(RULE.replace('{meter}"\nvalue', '{nobody}"\nvalue'), "names {nobody}", id="unknown capture"),
        pytest.param(RULE + 'where = "$.a"\n', "both where and equals", id="half a condition"),
        pytest.param(RULE + 'payload = "csv"\n', "csv has the value", id="paths into csv"),
        pytest.param(RULE + 'zone = "Mars/Olympus"\n', "no time zone", id="no zone"),
        pytest.param("", "neither", id="nothing"),
        pytest.param(
            RULE + '[[ignored]]\ntopic = "a"\nalways = true\nwhere = "$.a"\nequals = "b"\n',
            "has always and where",
            id="ignored always, on a condition",
        ),
        pytest.param('include = ["nobody"]\n', "cannot be read", id="unknown include"),
        pytest.param(RULE.replace('"W"', '"kWh"'), "no unit of measure power", id="unit and measure"),
    ],
)
def test_a_wrong_mapping_is_named(tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ConfigError, match=says):
        load_payload_mapping(tmp_path / "m.toml")


@pytest.mark.parametrize("name", sorted(file.stem for file in BUILT_IN.glob("*.toml")))
def test_built_in_mappings_take_any_json_on_their_topics(tmp_path: Path, name: str) -> None:
    mapping = load_payload_mapping(Path(name))
    payloads = ["1", '"x"', "{}", "[]", "[{}]", "null", "junk", json.dumps({"value": [1]})]
    topics = [
        rule.topic.replace("{", "").replace("}", "").replace("+", "x").replace("#", "y/z")
        for rule in (*mapping.messages, *mapping.ignored)
    ]
    judged(tmp_path, name, *[(topic, payload) for topic in topics for payload in payloads])
