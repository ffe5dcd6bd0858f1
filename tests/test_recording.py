"""A recording gives back every frame that was flushed, and says what a crash or damage took (C9)."""

import io
import random
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dydx_perf.errors import ChecksumError, InputError, SnapshotError, VersionError, WriterError
from dydx_perf.recording import Damage, Frame, RecordingReader, RecordingWriter, seconds
from dydx_perf.recording_format import (
    BLOCK,
    KINDS,
    MARKER,
    MAX_BLOCK,
    START,
    packed_block,
    packed_frame,
    packed_header,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
FRAMES = st.builds(
    Frame,
    time=st.integers(-(2**63), 2**63 - 1),
    kind=st.sampled_from(KINDS),
    connection=st.integers(0, 2**32 - 1),
    name=TEXTS,
    request=st.binary(max_size=40),
    data=st.binary(max_size=200) | st.just(MARKER * 3),
    code=st.none() | st.integers(-(2**31) + 1, 2**31 - 1),
)


def frames(count: int, start: int = 0) -> list[Frame]:
    """Different frames, each longer than the block head so that cuts fall everywhere."""
    return [
        Frame(1_700_000_000_000_000_000 + n, "received", n % 3, data=b'{"message_id":%d}' % n)
        for n in range(start, start + count)
    ]


def recorded(*blocks: list[Frame], about: dict[str, str] | None = None) -> bytes:
    """A recording with just these blocks."""
    file = io.BytesIO()
    with RecordingWriter(file, about=about) as writer:
        for block in blocks:
            for frame in block:
                writer.append(frame)
            writer.flush()
    return file.getvalue()


def read(data: bytes, **options: bool) -> tuple[list[Frame], list[Damage]]:
    reader = RecordingReader(io.BytesIO(data), **options)
    return list(reader), reader.damage


def ends(data: bytes) -> list[int]:
    """Where the header and each block end."""
    places = [START.size + START.unpack(data[: START.size])[2]]
    while places[-1] < len(data):
        head = BLOCK.unpack(data[places[-1] : places[-1] + BLOCK.size])
        places.append(places[-1] + BLOCK.size + head[3])
    return places


# ---- round trips


@given(st.lists(FRAMES, max_size=20), st.integers(1, 600), st.integers(0, 9))
def test_frames_come_back_as_they_were_appended(given_frames, block_bytes, level):
    """Whatever they hold, and however they fall into blocks."""
    file = io.BytesIO()
    with RecordingWriter(file, block_bytes=block_bytes, level=level) as writer:
        for frame in given_frames:
            writer.append(frame)
        assert writer.frames == len(given_frames)
    assert read(file.getvalue()) == (given_frames, [])
    assert len(file.getvalue()) == writer.size


@given(st.lists(st.lists(FRAMES, max_size=5), min_size=1, max_size=5))
def test_a_recording_that_is_reopened_goes_on(parts):
    file = io.BytesIO()
    for place, part in enumerate(parts):
        with RecordingWriter(file, about={"part": str(place)}) as writer:
            assert writer.cut is None
            assert writer.frames == sum(len(one) for one in parts[:place])
            for frame in part:
                writer.append(frame)
    reader = RecordingReader(file)
    assert list(reader) == [frame for part in parts for frame in part]
    assert list(reader) == [frame for part in parts for frame in part]
    assert reader.about == {"part": "0"}


def test_a_path_is_a_file_of_its_own(tmp_path):
    path = tmp_path / "feed"
    for _ in range(2):
        with RecordingWriter(path, about={"host": "indexer"}, sync="block", block_bytes=50) as writer:
            for frame in frames(5, writer.frames):
                writer.append(frame)
    with RecordingReader(str(path)) as reader:
        assert reader.about == {"host": "indexer"}
        assert list(reader) == frames(10)
        writer.close()
    with pytest.raises(FileNotFoundError):
        RecordingReader(tmp_path / "none")


def test_a_recording_within_a_recording_is_data_only():
    """The inner one's blocks, stored as they are, are not taken for blocks even where the outer's is lost."""
    inner = recorded(frames(40))
    file = io.BytesIO()
    with RecordingWriter(file, level=0) as writer:
        for frame in [*frames(2), Frame(5, "rest", data=inner), *frames(2, 2)]:
            writer.append(frame)
            writer.flush()
    data = bytearray(file.getvalue())
    assert inner in data
    places = ends(data)
    data[places[2] + 3] ^= 1  # the marker before the inner recording
    found, (damage,) = read(bytes(data), resynchronise=True)
    assert found == frames(4)
    assert (damage.start, damage.length, damage.after_frame, damage.lost) == (
        places[2],
        places[3] - places[2],
        2,
        1,
    )


def test_blocks_hold_what_was_asked_and_a_longer_frame_has_its_own():
    file = io.BytesIO()
    with RecordingWriter(file, block_bytes=1000) as writer:
        for size in (400, 400, 400, 5000, 10):
            writer.append(Frame(1, "received", data=bytes(size)))
    data = file.getvalue()
    counts = [BLOCK.unpack_from(data, place)[2] for place in ends(data)[:-1]]
    assert counts == [2, 1, 1, 1]


# ---- tails


def test_a_file_cut_anywhere_gives_every_whole_block_and_says_the_rest(tmp_path):
    """Cut at each byte of the last three blocks; then a writer cuts the tail off and goes on."""
    blocks = [frames(3), frames(2, 3), frames(1, 5), frames(4, 6)]
    data = recorded(*blocks)
    places = ends(data)
    for size in range(places[1], len(data)):
        whole = max(n for n, place in enumerate(places) if place <= size)
        expected = [frame for block in blocks[:whole] for frame in block]
        found, damages = read(data[:size])
        assert found == expected
        torn = size - places[whole]
        said = [(one.start, one.length, one.after_frame, one.lost) for one in damages]
        assert said == ([(places[whole], torn, len(expected), None)] if torn else [])
        file = io.BytesIO(data[:size])
        with RecordingWriter(file) as writer:
            assert [writer.cut] == (damages or [None])
            writer.append(frames(1, 99)[0])
        assert read(file.getvalue()) == (expected + frames(1, 99), [])


def test_a_file_cut_within_its_header_is_refused_and_left_alone():
    data = recorded(frames(1))
    for size in range(1, ends(data)[0]):
        for make in (RecordingReader, RecordingWriter):
            file = io.BytesIO(data[:size])
            with pytest.raises(SnapshotError):
                make(file)
            assert file.getvalue() == data[:size]


def test_damage_says_itself():
    (damage,) = read(recorded(frames(3))[:-1])[1]
    assert str(damage).endswith("after 0 frames: the file ends within a block")
    assert str(Damage(1, 2, 3, 4, "why")) == "2 bytes at 1, after 3 frames, 4 frames lost: why"


# ---- damage


def test_every_flipped_bit_is_found_or_changes_nothing():
    """In the last block it is a damaged tail, in the others an error, and skipping loses just one block."""
    blocks = [frames(3), frames(2, 3), frames(4, 5)]
    everything = [frame for block in blocks for frame in block]
    data = recorded(*blocks)
    header, first, second, _ = ends(data)
    for place in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[place] ^= 1 << bit
            if place < header:
                with pytest.raises(SnapshotError):
                    read(bytes(damaged))
            elif place >= second:
                found, (damage,) = read(bytes(damaged))
                assert found == everything[:5]
                assert (damage.start, damage.length, damage.after_frame) == (second, len(data) - second, 5)
            else:
                with pytest.raises(ChecksumError, match="the recording is damaged"):
                    read(bytes(damaged))
                found, (damage,) = read(bytes(damaged), resynchronise=True)
                assert found == (everything[3:] if place < first else everything[:3] + everything[5:])
                assert damage.lost == (3 if place < first else 2)
                with pytest.raises(ChecksumError):
                    RecordingWriter(io.BytesIO(damaged))


@pytest.mark.parametrize("seed", range(40))
def test_any_damage_leaves_a_subsequence_in_order(seed):
    """Cut out, overwritten, doubled, shuffled stretches: what is read was written, in order, and once."""
    rng = random.Random(seed)
    data = bytearray(recorded(*(frames(3, 3 * n) for n in range(12))))
    places = ends(data)
    for _ in range(rng.randint(1, 4)):
        start = rng.choice([rng.randrange(places[0], len(data)), rng.choice(places[:-1])])
        end = min(rng.choice([start + rng.randrange(1, 200), rng.choice(places)]), len(data))
        stretch = data[start:end]
        match rng.randrange(4):
            case 0:
                del data[start:end]
            case 1:
                data[start:end] = rng.randbytes(len(stretch))
            case 2:
                data[start:start] = stretch
            case 3:
                data += stretch
    found, damages = read(bytes(data), resynchronise=True)
    written = frames(36)
    numbers = [written.index(frame) for frame in found]
    assert numbers == sorted(set(numbers))
    if len(found) < 36 and numbers[-1:] == [35]:
        assert sum(one.lost or 0 for one in damages) == 36 - len(found)
    try:
        strict = read(bytes(data))[0]
    except ChecksumError:
        assert damages
    else:
        assert strict == found == written[: len(found)]


@pytest.mark.parametrize(
    ("order", "kept", "reason"),
    [
        ([0, 2], [0, 2], "blocks are missing"),
        ([0, 1, 1, 2], [0, 1, 2], "a block comes again"),
        ([0, 2, 1], [0, 2], "blocks are missing"),
        ([1, 2], [1, 2], "blocks are missing"),
    ],
)
def test_blocks_that_are_missing_or_come_again_are_found(order, kept, reason):
    blocks = [frames(2), frames(3, 2), frames(1, 5)]
    data = recorded(*blocks)
    places = ends(data)
    moved = data[: places[0]] + b"".join(data[places[n] : places[n + 1]] for n in order)
    with pytest.raises(ChecksumError, match=reason):
        read(moved)
    found, damages = read(moved, resynchronise=True)
    assert found == [frame for n in kept for frame in blocks[n]]
    assert damages[0].reason == reason


def test_a_long_stretch_of_damage_is_searched_to_its_end():
    """Longer than what is looked through at a time, a marker across two stretches."""
    data = recorded(frames(2), frames(2, 2))
    _, first, _ = ends(data)
    for length in (2**20 - 4, 2**20, 3 * 2**20 + 5):
        damaged = data[:first] + bytes(length) + data[first:]
        found, (damage,) = read(damaged, resynchronise=True)
        assert found == frames(4)
        assert (damage.start, damage.length, damage.lost) == (first, length, 0)


# ---- versions and bombs


def test_another_file_a_newer_one_and_none_are_told_apart():
    data = recorded(frames(1))
    with pytest.raises(SnapshotError, match="no recording"):
        read(b"DYDXBOOK" + data[8:])
    with pytest.raises(SnapshotError, match="no recording"):
        read(b"")
    with pytest.raises(VersionError, match="version 2; this release knows up to 1"):
        read(data[:8] + struct.pack("<I", 2) + data[12:])
    with pytest.raises(VersionError):
        RecordingWriter(io.BytesIO(data[:8] + struct.pack("<I", 2) + data[12:]))


def built(raw: bytes, count: int, length: int | None = None, tail: bytes = b"") -> bytes:
    """A recording of one block that says what we want of these bytes."""
    said = len(raw) if length is None else length
    return packed_header({}, 7) + packed_block(zlib.compress(raw, 9) + tail, 0, count, said, 7)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (built(bytes(MAX_BLOCK + 1), 1), "at most 33554432"),
        (built(bytes(10**6), 1, length=100), "another length"),
        (built(bytes(100), 1, length=101), "another length"),
        (built(bytes(100), 1, tail=b"x"), "another length"),
        (built(packed_frame(frames(1)[0]), 2), "hold together"),
        (built(packed_frame(frames(1)[0])[:-1], 1), "longer than its block"),
        (built(packed_frame(frames(1)[0]) + b"x", 1), "1 bytes too many"),
        (built(b"\xff" + packed_frame(frames(1)[0])[1:], 1), "hold together"),
        (built(packed_frame(Frame(0, "note", name="a"))[:-1] + b"\xff", 1), "hold together"),
        (packed_header({}, 7) + packed_block(b"no zlib", 0, 1, 9, 7), "cannot be decompressed"),
    ],
)
def test_blocks_with_right_sums_and_wrong_contents_are_refused(data, reason):
    """A bomb is not unpacked, and nothing is read past what a block says of itself."""
    with pytest.raises(SnapshotError, match=reason):
        read(data)


@pytest.mark.parametrize("header", [b"[]", b"{}", b'{"salt":1}', b'{"salt":1,"about":[]}', b"{", b'"x"'])
def test_a_header_with_the_right_sum_and_wrong_contents_is_refused(header):
    front = START.pack(b"DYDXFEED", 1, len(header), 0)[:-4]
    with pytest.raises(SnapshotError, match="hold together"):
        read(front + struct.pack("<I", zlib.crc32(header, zlib.crc32(front))) + header)


def test_a_reader_may_allow_less():
    data = recorded([Frame(0, "received", data=bytes(5000))])
    with pytest.raises(SnapshotError, match="at most 5000"):
        list(RecordingReader(io.BytesIO(data), max_block_bytes=5000))
    assert len(list(RecordingReader(io.BytesIO(data), max_block_bytes=6000))) == 1


# ---- writing that fails


class FullDisk(io.BytesIO):
    """Takes a number of bytes, then raises until it is emptied."""

    room = 10**9

    def write(self, data: memoryview) -> int:  # type: ignore[override]
        if self.room <= 0:
            raise OSError(28, "no space left")
        part = bytes(data[: min(self.room, 7)])  # short writes, as a raw file may do
        self.room -= len(part)
        return super().write(part)


def test_a_full_disk_loses_nothing_and_may_be_tried_again():
    """Wherever in a block it fills up; what was not taken was not added."""
    for room in range(300):
        file = FullDisk()
        writer = RecordingWriter(file, block_bytes=100)
        file.room = room
        pending = frames(12)
        taken = []
        while pending:
            try:
                writer.append(pending[0])
                taken.append(pending.pop(0))
            except OSError:
                assert writer.frames == len(taken)
                found, _ = read(file.getvalue())
                assert found == taken[: len(found)]
                file.room = 10**9
        file.room = 0
        with pytest.raises(OSError, match="no space"):
            writer.flush()
        file.room = 10**9
        writer.close()
        assert read(file.getvalue()) == (frames(12), [])


def test_a_header_that_does_not_fit_leaves_an_empty_file():
    file = FullDisk()
    file.room = 20
    with pytest.raises(OSError, match="no space"):
        RecordingWriter(file)
    assert file.getvalue() == b""


def test_a_second_writer_is_refused(tmp_path):
    """Where the system has locks."""
    if sys.platform == "win32":
        return
    with RecordingWriter(tmp_path / "feed") as writer:
        writer.append(frames(1)[0])
        with pytest.raises(WriterError, match="another writer"):
            RecordingWriter(tmp_path / "feed")
    RecordingWriter(tmp_path / "feed").close()


@pytest.mark.parametrize(
    ("frame", "argument"),
    [
        (Frame(2**63, "received"), "frame"),
        (Frame(0, "heard"), "frame"),
        (Frame(0, "received", connection=-1), "frame"),
        (Frame(0, "received", name="\ud800"), "frame"),
        (Frame(0, "received", data="text"), "frame"),
        (Frame(0, "received", code=-(2**31)), "code"),
        (Frame(0, "received", data=bytes(MAX_BLOCK)), "frame"),
    ],
)
def test_a_frame_that_the_format_cannot_hold_is_refused_and_not_added(frame, argument):
    file = io.BytesIO()
    with RecordingWriter(file) as writer:
        writer.append(frames(1)[0])
        with pytest.raises(InputError) as refused:
            writer.append(frame)
        assert refused.value.argument == argument
        assert writer.frames == 1
    assert read(file.getvalue())[0] == frames(1)


@pytest.mark.parametrize(
    ("options", "argument"),
    [
        ({"block_bytes": 0}, "block_bytes"),
        ({"block_bytes": MAX_BLOCK + 1}, "block_bytes"),
        ({"level": 10}, "level"),
        ({"level": 3.0}, "level"),
        ({"sync": "often"}, "sync"),
        ({"sync": "flush"}, "sync"),
        ({"about": {"a": 1}}, "about"),
        ({"about": {"a": "x" * 2**20}}, "about"),
    ],
)
def test_refused_options_name_themselves(options, argument):
    file = io.BytesIO()
    with pytest.raises(InputError) as refused:
        RecordingWriter(file, **options)
    assert refused.value.argument == argument
    assert file.getvalue() == b""


def test_a_file_that_is_no_such_file_is_refused(tmp_path):
    with pytest.raises(InputError, match="binary"):
        RecordingWriter(io.StringIO())
    with pytest.raises(InputError, match="a path"):
        RecordingReader(None)
    with open(tmp_path / "a", "ab+") as file, pytest.raises(InputError, match="appending"):
        RecordingWriter(file)
    with open(tmp_path / "b", "wb") as file, pytest.raises(InputError, match="readable"):
        RecordingWriter(file)
    with pytest.raises(SnapshotError):
        RecordingReader(tmp_path / "a")


# ---- a crash of the process

CRASHING = """
import sys
from dydx_perf.recording import Frame, RecordingWriter
writer = RecordingWriter(sys.argv[1], block_bytes=int(sys.argv[2]), sync=sys.argv[3])
number = writer.frames
while True:
    for _ in range(50):
        writer.append(Frame(number, "received", data=b"%d" % number * 30))
        number += 1
    writer.flush()
    print(number, flush=True)
"""


@pytest.mark.parametrize("sync", ["never", "flush", "block"])
def test_a_killed_writer_loses_nothing_that_it_flushed(tmp_path, sync):
    """Killed three times in the middle of writing, and gone on with: each frame once, in order."""
    path, rng = tmp_path / "feed", random.Random(sync)
    for _ in range(3):
        command = [sys.executable, "-P", "-c", CRASHING, str(path), str(rng.choice([1, 700, 10**5])), sync]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            flushed = 0
            for _ in range(rng.randint(1, 30)):
                flushed = int(process.stdout.readline())
            process.kill()
            rest = process.stdout.read().split(b"\n")[:-1]
            flushed = int(rest[-1]) if rest else flushed
        with RecordingReader(path) as reader:
            times = [frame.time for frame in reader]
        assert len(times) >= flushed
        assert times == list(range(len(times)))


def test_times_become_the_floats_that_a_session_is_given():
    assert seconds(1_700_000_000_123_456_789) == 1_700_000_000.1234567
    assert seconds(-1) == -1e-9


def test_a_file_that_is_being_written_may_be_read(tmp_path):
    path = Path(tmp_path / "feed")
    with RecordingWriter(path) as writer, RecordingReader(path) as reader:
        assert list(reader) == []
        for frame in frames(3):
            writer.append(frame)
        assert list(reader) == []
        writer.flush()
        assert list(reader) == frames(3)
