from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from energy_assets.errors import ConfigError
from energy_assets.readings.source import Counts, Source, load_source, load_sources, save_source

TEXT = st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=20)
OPTIONS = st.dictionaries(
    TEXT, st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
)


@given(options=OPTIONS, delay=st.integers(0, 10_000))
def test_a_saved_source_is_loaded_as_it_was(tmp_path: Path, options: dict[str, bool | int | float | str], delay: int):
    source = Source(
        name="campus", kind="table", path=tmp_path / "a.csv", mapping=tmp_path / "m.toml",
        reporting_delay_minutes=delay, options=options,
    )  # fmt: skip
    save_source(tmp_path / "sources", source)
    assert load_sources(tmp_path / "sources") == [source]


def test_relative_paths_start_at_the_folder_of_the_file(tmp_path: Path):
    (tmp_path / "campus.toml").write_text('name = "campus"\nkind = "table"\npath = "a.csv"\nmapping = "m.toml"\n')
    source = load_source(tmp_path / "campus.toml")
    assert (source.path, source.mapping) == (tmp_path / "a.csv", tmp_path / "m.toml")


def test_sources_come_by_name_and_an_absent_folder_declares_none(tmp_path: Path):
    for name in ("zeta", "alpha"):
        save_source(tmp_path, Source(name=name, kind="ashrae", path=tmp_path))
    assert [source.name for source in load_sources(tmp_path)] == ["alpha", "zeta"]
    assert load_sources(tmp_path / "nowhere") == []


def test_saving_again_replaces_the_declaration_and_leaves_no_draft(tmp_path: Path):
    save_source(tmp_path, Source(name="campus", kind="ashrae", path=tmp_path / "old"))
    save_source(tmp_path, Source(name="campus", kind="ashrae", path=tmp_path / "new"))
    assert load_sources(tmp_path)[0].path == tmp_path / "new"
    assert [path.name for path in tmp_path.iterdir()] == ["campus.toml"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        pytest.param('name = "campus"\nkind = "ashrae"\npath = "x"\nmaping = "m"\n', ["maping"], id="unknown key"),
        pytest.param('name = "campus"\nkind = "csv"\npath = "x"\n', ["kind", "csv"], id="unknown kind"),
        pytest.param('name = "campus"\nkind = "ashrae"\n', ["path"], id="key missing"),
        pytest.param('name = "Campus 1"\nkind = "ashrae"\npath = "x"\n', ["name"], id="name is no slug"),
        pytest.param('name = "other"\nkind = "ashrae"\npath = "x"\n', ["name", "other.toml"], id="named otherwise"),
        pytest.param(
            'name = "campus"\nkind = "ashrae"\npath = "x"\nreporting_delay_minutes = -1\n',
            ["reporting_delay_minutes", "-1"],
            id="out of range",
        ),
        pytest.param('name = "campus\n', ["TOML", "line 1"], id="not TOML"),
    ],
)
def test_a_broken_declaration_names_file_and_key(tmp_path: Path, text: str, names: list[str]):
    path = tmp_path / "campus.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_sources(tmp_path)
    for part in (str(path), *names):
        assert part in str(caught.value)


def test_a_missing_declaration_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"nowhere\.toml cannot be read"):
        load_source(tmp_path / "nowhere.toml")


def test_the_account_is_balanced_only_when_every_row_went_somewhere():
    assert Counts(rows_in=6, stored=3, duplicate=2, quarantined=1).is_balanced
    assert not Counts(rows_in=7, stored=3, duplicate=2, quarantined=1).is_balanced


def test_a_home_that_is_moved_takes_its_sources_along(tmp_path: Path):
    home, far = tmp_path / "home", tmp_path / "far.csv"
    (home / "community" / "households").mkdir(parents=True)
    inside = home / "community" / "households"
    options = {"weather_observed": str(home / "community" / "w.csv"), "weather_forecast": "../f.csv", "note": str(home)}
    save_source(
        home / "sources",
        Source(name="homes", kind="table", path=inside, mapping=inside / "m.toml", options=options),
    )
    save_source(home / "sources", Source(name="outside", kind="table", path=far))
    home.rename(tmp_path / "moved")
    moved, outside = load_sources(tmp_path / "moved" / "sources")
    there = tmp_path / "moved" / "community"
    assert moved.path == there / "households"
    assert {key: path.resolve() for key, path in moved.files().items()} == {
        "path": there / "households",
        "mapping": there / "households" / "m.toml",
        "weather_observed": there / "w.csv",
        "weather_forecast": there / "f.csv",
    }
    assert moved.options["note"] == str(home)
    assert outside.path == far


def test_paths_into_a_home_that_is_reached_by_a_link_stay_whole(tmp_path: Path):
    (tmp_path / "disk" / "gepiii").mkdir(parents=True)
    (tmp_path / "home").symlink_to(tmp_path / "disk")
    save_source(tmp_path / "home" / "sources", Source(name="a", kind="ashrae", path=tmp_path / "home" / "gepiii"))
    assert 'path = "../gepiii"' in (tmp_path / "disk" / "sources" / "a.toml").read_text()
    assert load_sources(tmp_path / "home" / "sources")[0].path == tmp_path / "home" / "gepiii"
