"""The flight record of one child: which deliveries run, and which have run and are not settled yet.

A memory-mapped file, written by the child without a system call, read by its supervisor when the child is dead, or
by the next start on this host when both are. What it says decides what runs again: only what is in a slot and not
in the ring of outcomes. Whoever has the file open holds its lock, so that a file whose lock is free belongs
to nobody alive.

Layout, little endian: a head of 512 bytes (magic, control word, ready flag, ring positions, counts, freeze, time of the
fetcher's last turn, what to cancel, names), one slot of 32 bytes for each task that can run at a time (tag, start,
deadline, key), then the ring: entries of a 4-byte length and an encoded `Settlement`, or just its tag where there is no
more to it. Positions count bytes since the beginning; they are written after what they point at, and in one piece, for
they are read while the child lives too (`started`).

Freeze: while that word is not 0 nothing starts. The supervisor sets it before it looks into the slots, the child reads
it after it has written its slot, so what the supervisor sees in no slot has not started and will not. Only the
child ends a freeze, and only a FROZEN one. See `stuck`.
"""

import fcntl
import mmap
import os
import struct
from pathlib import Path

import msgspec

from celeriac.broker import Settlement

_MAGIC = b"CELFLT01"
_HEAD = 512
_SLOT = 32
_RING = 512 * 1024
_SKIP = 0xFFFFFFFF

_CONTROL, _READY, _HEAD_POS, _TAIL_POS, _SLOTS, _PID, _DONE, _FREEZE, _TURNED, _CANCEL = range(8, 88, 8)
_NAMES = 128
#: The same, counted in words.
_HEAD_WORD, _TAIL_WORD, _FREEZE_WORD, _CANCEL_WORD = (
    _HEAD_POS // 8,
    _TAIL_POS // 8,
    _FREEZE // 8,
    _CANCEL // 8,
)

_word = struct.Struct("<q")
_length = struct.Struct("<I")
_slot = struct.Struct("<qddq")
_time = struct.Struct("<d")
_span = struct.Struct("<dd")

RUN, STOP = 0, 1
#: Nothing in the way; the supervisor looks what has not started and gives it back; it has done so.
THAWED, FREEZING, FROZEN = 0, 1, 2

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Settlement).decode


class Recorder:
    """One flight record. Made by the supervisor before the fork, so that both see the same memory."""

    def __init__(self, path: Path, fd: int, memory: mmap.mmap) -> None:
        self.path = path
        self._fd = fd
        self._memory = memory
        # Unlike `struct`, which clears and then writes byte by byte, this changes a word at once.
        self._words = memoryview(memory)[:_HEAD].cast("q")
        self.slots = self._get(_SLOTS)
        self._ring = _HEAD + self.slots * _SLOT
        self._head = self._get(_HEAD_POS)
        self._tail = self._get(_TAIL_POS)
        names = bytes(memory[_NAMES:_HEAD]).rstrip(b"\0").decode().split("\n")
        self.consumer, self.broker = (*names, "", "")[:2]

    @classmethod
    def create(cls, path: Path, consumer: str, broker: str, slots: int) -> "Recorder":
        """Make the file of a new child. `broker` names the server, so that a stale file finds its way home."""
        hidden = path.with_suffix(".new")
        fd = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX)
        size = _HEAD + slots * _SLOT + _RING
        os.ftruncate(fd, size)
        memory = mmap.mmap(fd, size)
        names = f"{consumer}\n{broker}".encode()[: _HEAD - _NAMES]
        memory[_NAMES : _NAMES + len(names)] = names
        _word.pack_into(memory, _SLOTS, slots)
        memory[:8] = _MAGIC
        hidden.rename(path)  # only now may others find it: it is locked and whole
        return cls(path, fd, memory)

    @classmethod
    def open_stale(cls, path: Path) -> "Recorder | None":
        """Open a file that nobody alive has, None if somebody has it or it is none of ours."""
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            memory = mmap.mmap(fd, 0)
            if memory[:8] != _MAGIC or len(memory) < _HEAD:
                raise ValueError
            found = cls(path, fd, memory)
            if len(memory) != found._ring + _RING:
                raise ValueError
        except (OSError, ValueError):
            os.close(fd)
            return None
        return found

    def _get(self, offset: int) -> int:
        value: int = _word.unpack_from(self._memory, offset)[0]
        return value

    # -- written by the child

    def begin(self, slot: int, tag: int, now: float, key: int = 0) -> int:
        """Note that `slot` starts on the delivery `tag`, and return `freeze`: unless that is 0, it must not start.

        `now` is of the monotonic clock, `key` the hash of the task's id, which is the same in all that were forked by
        one supervisor.
        """
        _slot.pack_into(self._memory, _HEAD + slot * _SLOT, tag, now, 0.0, key)
        return self._memory[_FREEZE]

    def finish(self, slot: int, settlement: Settlement) -> int:
        """Note how the delivery in `slot` ended; return the ring's position after it, 0 if it does not fit.

        The slot is free afterwards only if it fitted; else `clear` it once the settlement is accepted.
        """
        tag = settlement.tag
        plain = settlement.record is None and not (
            settlement.action or settlement.publish or settlement.frees
        )
        data = _word.pack(tag) if plain else _encode(settlement)
        size = len(data) + 4
        head = self._head
        at = head % _RING
        if at + size > _RING:
            head += _RING - at
            if head + size - self._tail > _RING:
                return 0
            if _RING - at >= 4:
                _length.pack_into(self._memory, self._ring + at, _SKIP)
            at = 0
        elif head + size - self._tail > _RING:
            return 0
        start = self._ring + at
        _length.pack_into(self._memory, start, size - 4)
        self._memory[start + 4 : start + size] = data
        self._head = head = head + size
        self._words[_HEAD_WORD] = head
        _word.pack_into(self._memory, _HEAD + slot * _SLOT, 0)
        return head

    def limit(self, slot: int, now: float, seconds: float) -> None:
        """Note that what is in `slot` is called now, and has so many seconds."""
        _span.pack_into(self._memory, _HEAD + slot * _SLOT + 8, now, now + seconds)

    def unlimit(self, slot: int) -> None:
        """Take that back: it has come to its end."""
        _time.pack_into(self._memory, _HEAD + slot * _SLOT + 16, 0.0)

    def clear(self, slot: int) -> None:
        """Free `slot` without an outcome."""
        _word.pack_into(self._memory, _HEAD + slot * _SLOT, 0)

    def settled(self, position: int, count: int) -> None:
        """Forget the outcomes up to `position`; `count` is for the statistics."""
        if position:
            self._tail = position
            self._words[_TAIL_WORD] = position
        _word.pack_into(self._memory, _DONE, self._get(_DONE) + count)

    def set_ready(self) -> None:
        """Tell the supervisor that this child is at work."""
        _word.pack_into(self._memory, _PID, os.getpid())
        _word.pack_into(self._memory, _READY, 1)

    def turned(self, now: float) -> None:
        """Note that the fetcher moves; 0.0: that it rests, and nothing waits to be started."""
        _time.pack_into(self._memory, _TURNED, now)

    # -- between both

    @property
    def control(self) -> int:
        """What the supervisor wants: RUN or STOP."""
        return self._get(_CONTROL)

    def stop(self) -> None:
        """Ask the child to stop: it finishes what runs and gives back the rest."""
        _word.pack_into(self._memory, _CONTROL, STOP)

    @property
    def ready(self) -> bool:
        """Whether the child has begun to work."""
        return bool(self._get(_READY))

    @property
    def done(self) -> int:
        """How many deliveries the child has settled."""
        return self._get(_DONE)

    @property
    def freeze(self) -> int:
        """THAWED, FREEZING or FROZEN."""
        return self._get(_FREEZE)

    @freeze.setter
    def freeze(self, value: int) -> None:
        self._words[_FREEZE_WORD] = value

    @property
    def cancel(self) -> int:
        """The key of the coroutine task that the child is to cancel; it sets this to 0 again."""
        return self._words[_CANCEL_WORD]

    @cancel.setter
    def cancel(self, key: int) -> None:
        self._words[_CANCEL_WORD] = key

    @property
    def last_turn(self) -> float:
        """When the fetcher moved last, on the monotonic clock; 0.0 while it rests."""
        moment: float = _time.unpack_from(self._memory, _TURNED)[0]
        return moment

    def started(self) -> set[int]:
        """Return the tags of what has started and may not be settled, the child being alive or not.

        Raises ValueError where the child was writing too fast for this.
        """
        # In this order: a task that ends meanwhile is in the ring before it leaves its slot.
        running = {tag for tag, _ in self.running()}
        return running | {settlement.tag for settlement in self.outcomes()}

    # -- read when the child is dead

    def outcomes(self) -> list[Settlement]:
        """Return what had run and may not be settled, oldest first; raises ValueError if the process spoilt it."""
        found = []
        position, head = self._get(_TAIL_POS), self._get(_HEAD_POS)
        if not 0 <= head - position <= _RING:
            raise ValueError(f"positions {position} and {head}")
        while position < head:
            at = position % _RING
            if _RING - at < 4:
                position += _RING - at
                continue
            (size,) = _length.unpack_from(self._memory, self._ring + at)
            if size == _SKIP:
                position += _RING - at
                continue
            start = self._ring + at + 4
            data = self._memory[start : start + size]
            # A settlement in MessagePack is an array or map of many fields: never of this length.
            try:
                found.append(Settlement(_word.unpack(data)[0]) if size == _word.size else _decode(data))
            except msgspec.MsgspecError as error:
                raise ValueError(str(error)) from None
            position += size + 4
        return found

    def running(self) -> list[tuple[int, float]]:
        """Return (tag, start on the monotonic clock) of what is in the slots."""
        slots = (_slot.unpack_from(self._memory, _HEAD + number * _SLOT) for number in range(self.slots))
        return [(tag, start) for tag, start, _, _ in slots if tag]

    def running_keys(self) -> list[tuple[int, int, int]]:
        """Return (slot, tag, key) of what is in the slots."""
        slots = _slot.iter_unpack(self._memory[_HEAD : self._ring])
        return [(slot, tag, key) for slot, (tag, _, _, key) in enumerate(slots) if tag]

    def busy(self) -> list[int]:
        """Return the numbers of the slots in which something runs."""
        slots = _slot.iter_unpack(self._memory[_HEAD : self._ring])
        return [number for number, (tag, *_) in enumerate(slots) if tag]

    def deadlines(self) -> list[tuple[int, int, float, float]]:
        """Return (slot, tag, start, deadline on the monotonic clock) of what has a hard time limit.

        While the child lives one that it is just writing may be wrong.
        """
        slots = _slot.iter_unpack(self._memory[_HEAD : self._ring])
        return [
            (slot, tag, start, deadline)
            for slot, (tag, start, deadline, _) in enumerate(slots)
            if tag and deadline > start
        ]

    def close(self) -> None:
        """Let go of the file; it stays."""
        self._words.release()
        self._memory.close()
        os.close(self._fd)

    @property
    def trace_path(self) -> Path:
        """Where the child's traceback goes if it crashes."""
        return self.path.with_suffix(".trace")

    def remove(self) -> None:
        """Delete the file, and the child's traceback: everything in it is settled."""
        self.trace_path.unlink(missing_ok=True)
        self.path.unlink(missing_ok=True)
        self.close()
