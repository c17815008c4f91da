"""Fetching the public sets for people with internet: GEPIII from Kaggle with their own account, BDG2 from GitHub.

Neither is shipped with this project. Downloads resume where they broke off, are checked against the size and the hash
that the publisher states, and appear under their name only when whole. Reading them is the parsers' work.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import requests

from energy_assets.errors import ConfigError, SourceError
from energy_assets.readings.bdg2 import METER_TYPES, VARIANTS
from energy_assets.readings.fetching import Expected, Fetcher

KAGGLE_URL = "https://www.kaggle.com/api/v1"
KAGGLE_COMPETITION = "ashrae-energy-prediction"
ASHRAE_FILES = ("building_metadata.csv", "train.csv", "test.csv", "weather_train.csv", "weather_test.csv")

BDG2_POINTER_URL = "https://raw.githubusercontent.com/buds-lab/building-data-genome-project-2/master"
BDG2_MEDIA_URL = "https://media.githubusercontent.com/media/buds-lab/building-data-genome-project-2/master"
BDG2_ATTRIBUTION = """\
Building Data Genome Project 2, licensed under CC BY 4.0 (https://creativecommons.org/licenses/by/4.0/).
Miller, C., Kathirgamanathan, A., Picchetti, B. et al.: The Building Data Genome Project 2, energy meter data from the
ASHRAE Great Energy Predictor III competition. Scientific Data 7, 368 (2020). https://doi.org/10.1038/s41597-020-00712-x
Files as published at https://github.com/buds-lab/building-data-genome-project-2, unchanged.
"""

_POINTER_START = "version https://git-lfs.github.com/spec/"
_POINTER_BYTES = 1024
_COPY_BYTES = 1 << 20
_NEW_TOKEN_PREFIX = "KGAT_"  # noqa: S105 - how Kaggle marks its bearer tokens, not a token

Report = Callable[[str], None]


def _silent(_: str) -> None:
    return None


def download_ashrae(
    folder: Path,
    *,
    username: str,
    key: str,
    base_url: str = KAGGLE_URL,
    first_pause_s: float = 1.0,
    report: Report = _silent,
) -> list[Path]:
    """Fetch the five GEPIII files from Kaggle's API into `folder` and return them; files that are there are kept.

    Args:
        folder: where to put them.
        username: Kaggle account; it must have accepted the competition's rules.
        key: its API key (`kaggle.json`), or a newer `KGAT_` token, which needs no user name.
        base_url: root of the API.
        first_pause_s: pause before the first repetition; it doubles.
        report: called with a line of text now and then.

    Raises:
        SourceError: the account is refused, the server fails for good, or the archive is not what it should be.
    """
    targets = [folder / name for name in ASHRAE_FILES]
    if all(target.is_file() for target in targets):
        report(f"{folder} has all {len(targets)} files already")
        return targets
    with requests.Session() as session:
        if key.startswith(_NEW_TOKEN_PREFIX):
            session.headers["Authorization"] = f"Bearer {key}"
        else:
            session.auth = (username, key)
        fetcher = Fetcher(session=session, first_pause_s=first_pause_s, report=report, remedies=_KAGGLE_REMEDIES)
        archive = fetcher.fetch(
            f"{base_url}/competitions/data/download-all/{KAGGLE_COMPETITION}", folder / f"{KAGGLE_COMPETITION}.zip"
        )
    _extract(archive, targets, report=report)
    archive.unlink()
    return targets


def download_bdg2(
    folder: Path,
    *,
    variant: str = "raw",
    pointer_url: str = BDG2_POINTER_URL,
    media_url: str = BDG2_MEDIA_URL,
    first_pause_s: float = 1.0,
    report: Report = _silent,
) -> list[Path]:
    """Fetch the meters, metadata and weather of BDG2 into `folder` as in its repository, and write the attribution.

    The repository keeps the files in git LFS: a pointer states SHA-256 and size, the media address gives the content.

    Args:
        folder: where to put them; files that are there with the stated hash are kept.
        variant: raw or cleaned meters.
        pointer_url: root of the pointers.
        media_url: root of the contents.
        first_pause_s: pause before the first repetition; it doubles.
        report: called with a line of text now and then.

    Raises:
        ConfigError: the variant is unknown.
        SourceError: the server fails for good, or a file is not what its pointer states.
    """
    if variant not in VARIANTS:
        raise ConfigError(f"BDG2 has no variant {variant!r}; use one of {', '.join(VARIANTS)}.")
    ending = "_cleaned.csv" if variant == "cleaned" else ".csv"
    names = [
        "data/metadata/metadata.csv",
        "data/weather/weather.csv",
        *(f"data/meters/{variant}/{kind.name}{ending}" for kind in METER_TYPES),
    ]
    with requests.Session() as session:
        fetcher = Fetcher(session=session, first_pause_s=first_pause_s, report=report, remedies=_GITHUB_REMEDIES)
        targets = []
        for name in names:
            expected = read_pointer(fetcher.text(f"{pointer_url}/{name}", most_bytes=_POINTER_BYTES), place=name)
            targets.append(fetcher.fetch(f"{media_url}/{name}", folder / name, expected=expected))
    (folder / "ATTRIBUTION.txt").write_text(BDG2_ATTRIBUTION, encoding="utf-8")
    return targets


def read_pointer(text: str, *, place: str) -> Expected:
    """Return the hash and the size that a git LFS pointer states (https://github.com/git-lfs/git-lfs, docs/spec.md).

    Raises:
        SourceError: the text is no pointer; the message names `place`.
    """
    fields = dict(line.split(" ", 1) for line in text.splitlines() if " " in line)
    kind, _, digest = fields.get("oid", "").partition(":")
    if not text.startswith(_POINTER_START) or kind != "sha256" or not fields.get("size", "").isdigit():
        raise SourceError(
            f"{place} is no git LFS pointer (it begins {text[:40]!r}). "
            f"The repository may have changed: download the files by hand from its page."
        )
    return Expected(sha256=digest, size=int(fields["size"]))


def _extract(archive: Path, targets: list[Path], *, report: Report) -> None:
    try:
        with zipfile.ZipFile(archive) as opened:
            members = {Path(name).name: name for name in opened.namelist()}
            missing = [target.name for target in targets if target.name not in members]
            if missing:
                raise SourceError(f"{archive} lacks {', '.join(missing)}; delete it and download again.")
            for target in targets:
                report(f"extracting {target.name}")
                draft = target.with_name(f"{target.name}.part")
                with opened.open(members[target.name]) as packed, draft.open("wb") as stream:
                    while block := packed.read(_COPY_BYTES):
                        stream.write(block)
                draft.replace(target)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        archive.unlink(missing_ok=True)
        raise SourceError(f"{archive} was damaged ({error}) and has been deleted. Download again.") from error


_KAGGLE_REMEDIES = {
    401: "Kaggle does not know the user name and key: create a new API token on your account page.",
    403: "Kaggle refuses the file: sign in and accept the rules at "
    f"https://www.kaggle.com/c/{KAGGLE_COMPETITION}/rules, then try again.",
    404: "The competition or the address is not there: check the base URL.",
}
_GITHUB_REMEDIES = {
    401: "GitHub wants an account: download the files by hand from the repository's page.",
    403: "GitHub refuses: the repository's LFS quota may be used up; try tomorrow or download by hand.",
    404: "The file is not at that address: the repository may have changed; download the files by hand.",
}
