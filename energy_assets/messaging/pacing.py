"""How long to wait before the next attempt to connect: longer each time, and anew after a connection that lasted."""

from __future__ import annotations

_LOST_S = (0.1, 5.0)
_REFUSED_S = (1.0, 30.0)
_SETTLED_AFTER_S = 10.0
_DOUBLINGS = 10


class Pace:
    """Counts attempts that failed or did not last; all times are monotonic seconds."""

    def __init__(self) -> None:
        self.due_at_s = 0.0
        self._attempts = 0
        self._settled_at_s = float("inf")

    def connected(self, now_s: float) -> None:
        """Note a connection; it counts as a success only once it has lasted.

        Two clients of one identifier throw each other out at once, and would do so at full speed.
        """
        self._settled_at_s = now_s + _SETTLED_AFTER_S

    def failed(self, now_s: float, *, is_refusal: bool) -> None:
        """Note an attempt that failed or a connection that ended, and put off the next one."""
        if now_s >= self._settled_at_s:
            self._attempts = 0
        self._settled_at_s = float("inf")
        first_s, longest_s = _REFUSED_S if is_refusal else _LOST_S
        self.due_at_s = now_s + min(first_s * 2 ** min(self._attempts, _DOUBLINGS), longest_s)
        self._attempts += 1
