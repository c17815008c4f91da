"""What the pages promise exists: commands with their options, benchmarks, settings, tables, assets, files and targets.

Nothing is run. A page's examples are read as a shell would read them and held against the parsers of the commands.
"""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

import pytest
import typer.main
from typer.core import TyperGroup

from energy_assets.cli import app
from energy_assets.contracts import TABLES
from energy_assets.readings.quality import REASONS
from energy_assets.settings import Settings

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EVERY_PAGE = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
ENERGY = typer.main.get_command(app)

_FENCED = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}.*$", re.MULTILINE)
_SPAN = re.compile(r"`([^`]+)`")


def examples(text: str) -> list[str]:
    """Return the lines of a page's code blocks, each with those that continue it."""
    blocks = [block.group() for block in (*_FENCED.finditer(text), *_INDENTED.finditer(_FENCED.sub("", text)))]
    text = re.sub(r"\\\n\s*", " ", "\n".join(blocks))
    text = re.sub(r'(?<=sql )"[^"]*"', lambda quoted: " ".join(quoted.group().split()), text)
    return [line.strip().removeprefix("$ ") for line in text.splitlines()]


def mentions(text: str) -> list[str]:
    """Return what stands between backticks outside of code blocks, on one line each."""
    prose = _INDENTED.sub("", _FENCED.sub("", text))
    return [" ".join(span.split()).removeprefix("$ ") for span in _SPAN.findall(prose)]


def words_after(lines: Sequence[str], command: str) -> Iterator[list[str]]:
    """Yield the words of every call of a command, up to the first that is the shell's."""
    for line in lines:
        found = re.search(rf"(?:^|[=…] |exec code ){command}(?= [a-z]|$)", line)
        if found is None:
            continue
        words = shlex.split(line[found.end() :].replace("[", "").replace("]", ""), comments=True)
        ends = [place for place, word in enumerate(words) if word in {">", "<", "|", "||", "&&"}]
        yield words[: min(ends, default=len(words))]


def misread(words: Sequence[str], *, is_whole: bool) -> str:
    """Return why `energy` would not take these words, or nothing; a whole example names all that is required."""
    command, rest = ENERGY, list(words)
    while isinstance(command, TyperGroup):
        if not rest or rest[0].startswith(("-", "…")):
            return ""
        name = rest.pop(0)
        if name not in command.commands:
            return f"there is no {name}"
        command = command.commands[name]
    options = {name: each for each in command.params for name in (*each.opts, *each.secondary_opts)}
    places = [each for each in command.params if each.param_type_name == "argument"]
    given, seen = 0, {"--help"}
    while rest:
        name = rest.pop(0)
        if not name.startswith("-"):
            given += name != "…"
        elif name not in options and name != "--help":
            return f"there is no {name}"
        else:
            seen.add(name)
            takes_value = name != "--help" and not options[name].is_flag
            if takes_value and not (rest and rest.pop(0)) and is_whole:
                return f"{name} wants a value"
    if given > len(places) and all(each.nargs == 1 for each in places):
        return f"{given} words for {len(places)} places"
    lacking = [
        each.opts[0] for each in command.params if each.required and each not in places and seen.isdisjoint(each.opts)
    ]
    lacking += [each.name for each in places[given:] if each.required]
    return f"lacks {', '.join(lacking)}" if is_whole and lacking else ""


@EVERY_PAGE
def test_every_energy_command_is_one(page: Path) -> None:
    text = page.read_text("utf-8")
    calls = [(words, True) for words in words_after(examples(text), "energy")]
    calls += [(words, False) for words in words_after(mentions(text), "energy") if words]
    wrong = {" ".join(words): misread(words, is_whole=is_whole) for words, is_whole in calls}
    assert {words: why for words, why in wrong.items() if why} == {}


@pytest.mark.parametrize(
    ("words", "why"),
    [
        pytest.param("ledger prove --zone Z --date D --out O", "", id="right"),
        pytest.param("forecast", "", id="a group"),
        pytest.param("ledger proof", "there is no proof", id="no such command"),
        pytest.param("doctor --loud", "there is no --loud", id="no such option"),
        pytest.param("forecast rebuild --issued", "--issued wants a value", id="no value"),
        pytest.param("settlement show A B", "2 words for 1 places", id="one argument too many"),
        pytest.param("price --zone zone.toml", "lacks --net-load, --out", id="an option that is required"),
    ],
)
def test_what_is_wrong_with_a_command_is_told(words: str, why: str) -> None:
    assert misread(words.split(), is_whole=True) == why


@cache
def texts_of(bench: Path) -> frozenset[str]:
    """Return every text in a benchmark's code: among them are its options and the names of its parts."""
    nodes = ast.walk(ast.parse(bench.read_text("utf-8")))
    return frozenset(node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


@EVERY_PAGE
def test_every_benchmark_has_the_options_that_a_page_gives_it(page: Path) -> None:
    text = page.read_text("utf-8")
    calls = re.findall(r"(bench/\w+\.py)((?: +[^`|#\n]+)?)", re.sub(r"`\n", "` ", text))
    for file, rest in calls:
        bench = ROOT / file
        assert bench.exists(), file
        plain = {word.strip("`,;:.)") for word in rest.split() if word.startswith("--")}
        assert plain <= texts_of(bench), f"{file} has no {sorted(plain - texts_of(bench))}"


@EVERY_PAGE
def test_every_setting_table_asset_and_target_of_a_page_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    spans = [*mentions(text), *examples(text)]
    settings = {name.lower() for span in spans for name in re.findall(r"ENERGY_ASSETS_([A-Z_]*[A-Z])", span)}
    assert settings <= {*Settings.model_fields, "config"}
    tables = {table.qualified_name for table in TABLES}
    schemas = "|".join(sorted({table.schema for table in TABLES}))
    named = {
        name
        for span in spans
        for name in re.findall(rf"(?:^|FROM )((?:{schemas})\.(?!py\b|md\b)[a-z_]+)\b(?![./(])", span)
    }
    assert named <= tables
    assets = {line.split(" <- ")[0] for line in (ROOT / "energy_assets_tests" / "graph.txt").read_text().splitlines()}
    assert {span for span in spans if re.fullmatch(rf"(?:{schemas})/[a-z_]+", span)} <= assets
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    assert {name for span in spans for name in re.findall(r"^make ([a-z]+)", span)} <= targets


@EVERY_PAGE
def test_every_file_that_a_page_points_at_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)[^)]*\)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []
    files = [span for span in mentions(text) if re.fullmatch(r"[\w/]+\.py", span)]
    known = [
        f"/{path.relative_to(ROOT)}" for path in ROOT.rglob("*.py") if not path.parts[len(ROOT.parts)].startswith(".")
    ]
    assert [file for file in files if not any(path.endswith(f"/{file}") for path in known)] == []


def test_the_readme_leads_to_every_page() -> None:
    text = PAGES[0].read_text("utf-8")
    assert [page.name for page in PAGES[1:] if f"](docs/{page.name})" not in text] == []


def test_every_reason_of_cleaning_is_explained() -> None:
    text = (ROOT / "docs" / "readings.md").read_text("utf-8")
    assert [f"| `{name}` | {why} |" for name, why in REASONS.items() if f"| `{name}` | {why} |" not in text] == []
