"""How far a job of several parts is."""

from workers import protocol


class Phases(object):
    """Tells which part of a selfcheck is going on and how much of all is done, at most once a second.

    parts: [(name, how long it is, in pictures that an adapter trains on)], in their order.
    """

    def __init__(self, emit, now, parts):
        self._emit, self._now, self._parts = emit, now, list(parts)
        self._total = sum(length for _, length in self._parts)
        self._done, self._at, self._said = 0, -1, None
        self.seconds = {}
        self._began = now()

    def insert(self, parts):
        """Further parts, which come next."""
        self._parts[self._at + 1 : self._at + 1] = parts
        self._total += sum(length for _, length in parts)

    def enter(self, name):
        """The next part begins."""
        self.leave()
        self._at += 1
        assert self._parts[self._at][0] == name, name
        self._tell(0.0)

    def leave(self):
        """The part that is going on has ended."""
        now = self._now()
        if self._at >= 0:
            name, length = self._parts[self._at]
            self.seconds[name] = now - self._began
            self._done += length
        self._began = now

    def tell(self, share):
        """So much of the part is done, 0 to 1."""
        if self._now() - self._said >= protocol.PROGRESS_SECONDS:
            self._tell(share)

    def _tell(self, share):
        self._said = self._now()
        name, length = self._parts[self._at]
        phase = f"{name} ({self._at + 1} of {len(self._parts)})"
        self._emit("progress", epoch=0, step=int(self._done + share * length), steps=self._total, phase=phase)
