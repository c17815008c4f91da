"""One file over HTTP: resumed where it broke off, repeated while that can heal, checked, and renamed when whole."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import requests

from energy_assets.errors import SourceError

# With doubling from one second, seven tries wait for about a minute: longer than a restart of a server, shorter than a
# person's patience. A try that brought bytes starts the count again.
_TRIES = 7
_LONGEST_PAUSE_S = 60.0
_HEALING = frozenset({408, 425, 429, 500, 502, 503, 504})
# What is lost of a block when the line breaks.
_BLOCK_BYTES = 1 << 16
_TIMEOUT_S = (10.0, 60.0)


class _Report(Protocol):
    def __call__(self, text: str, /) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Expected:
    """What the publisher states about a file."""

    sha256: str
    size: int


class _BrokenError(Exception):
    """A try failed in a way that another may not."""

    def __init__(self, why: str, *, pause_s: float = 0.0) -> None:
        super().__init__(why)
        self.pause_s = pause_s


@dataclass(frozen=True, kw_only=True)
class Fetcher:
    """Fetches files over one session. `remedies` says what to do about a status that no repetition heals."""

    session: requests.Session
    first_pause_s: float
    report: _Report
    remedies: Mapping[int, str] = field(default_factory=dict)

    def fetch(self, url: str, target: Path, *, expected: Expected | None = None) -> Path:
        """Bring `url` to `target` and return it; a target that has the expected hash is kept as it is.

        Raises:
            SourceError: the server refuses, fails for good, or sends other bytes than expected.
        """
        if expected and target.is_file() and _hash_of(target) == expected.sha256:
            self.report(f"{target.name} is here already")
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(f"{target.name}.part")
        self.report(f"fetching {target.name}")
        self._repeat(url, draft)
        _check(draft, expected, url=url)
        draft.replace(target)
        _validator_of(draft).unlink(missing_ok=True)
        return target

    def text(self, url: str, *, most_bytes: int) -> str:
        """Return the first bytes of a small text.

        Raises:
            SourceError: as `fetch`.
        """
        tries = 0
        while True:
            try:
                with self._get(url, {}) as answer:
                    return next(answer.iter_content(most_bytes), b"").decode("utf-8", errors="replace")
            except (_BrokenError, requests.RequestException) as error:
                tries += 1
                self._pause(url, error, tries)

    def _repeat(self, url: str, draft: Path) -> None:
        tries = 0
        while True:
            had = _size_of(draft)
            try:
                self._continue(url, draft)
                return
            except (_BrokenError, requests.RequestException) as error:
                tries = tries + 1 if _size_of(draft) <= had else 1
                self._pause(url, error, tries)

    def _continue(self, url: str, draft: Path) -> None:
        """Append what is missing of a draft, or begin anew where the server's file is another one."""
        had, validator = _size_of(draft), _read_validator(draft)
        wanted = {"Range": f"bytes={had}-", "If-Range": validator} if had and validator else {}
        with self._get(url, wanted) as answer:
            is_rest = answer.status_code == requests.codes.partial_content
            if is_rest and not answer.headers.get("Content-Range", "").startswith(f"bytes {had}-"):
                draft.unlink()
                raise _BrokenError(f"it answered {answer.headers.get('Content-Range')!r} when asked for the rest")
            if not is_rest:
                _validator_of(draft).write_text(_strong_validator(answer), encoding="utf-8")
            due = int(answer.headers["Content-Length"]) if "Content-Length" in answer.headers else None
            came = 0
            with draft.open("ab" if is_rest else "wb") as stream:
                for block in answer.iter_content(_BLOCK_BYTES):
                    stream.write(block)
                    came += len(block)
        if due is not None and came != due:
            raise _BrokenError(f"the connection ended after {came} of {due} bytes")

    def _get(self, url: str, headers: Mapping[str, str]) -> requests.Response:
        # Sizes and ranges count the bytes of the file only when the server does not compress on the way.
        answer = self.session.get(
            url, headers={"Accept-Encoding": "identity", **headers}, stream=True, timeout=_TIMEOUT_S
        )
        status = answer.status_code
        if status in (requests.codes.ok, requests.codes.partial_content):
            return answer
        answer.close()
        if status in _HEALING:
            after = answer.headers.get("Retry-After", "")
            raise _BrokenError(f"it answered {status}", pause_s=float(after) if after.isdigit() else 0.0)
        remedy = self.remedies.get(status, "Check the address and try again later.")
        raise SourceError(f"{url} answered {status} {answer.reason}. {remedy}")

    def _pause(self, url: str, error: Exception, tries: int) -> None:
        if tries >= _TRIES:
            raise SourceError(
                f"{url} failed {tries} times in a row, at last because {error}. "
                f"Check the connection and try again: what has come is kept and will be resumed."
            ) from error
        asked = error.pause_s if isinstance(error, _BrokenError) else 0.0
        pause_s = min(_LONGEST_PAUSE_S, max(asked, self.first_pause_s * 2 ** (tries - 1)))
        self.report(f"{error}; trying again in {pause_s:g} s")
        time.sleep(pause_s)


def _check(draft: Path, expected: Expected | None, *, url: str) -> None:
    if expected is None:
        return
    size, digest = _size_of(draft), _hash_of(draft)
    if (size, digest) == (expected.size, expected.sha256):
        return
    draft.unlink()
    _validator_of(draft).unlink(missing_ok=True)
    raise SourceError(
        f"{url} sent {size} bytes with SHA-256 {digest}, but {expected.size} bytes with {expected.sha256} were stated. "
        f"Nothing was kept; download again."
    )


def _strong_validator(answer: requests.Response) -> str:
    tag = str(answer.headers.get("ETag", ""))
    return "" if tag.startswith("W/") else tag


def _validator_of(draft: Path) -> Path:
    return draft.with_name(f"{draft.name}.etag")


def _read_validator(draft: Path) -> str:
    path = _validator_of(draft)
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _hash_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
