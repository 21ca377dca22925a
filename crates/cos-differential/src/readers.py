"""Lists archives: each comes as its length (4 bytes, little-endian) and its bytes; the answer is a line of JSON.

The one argument names the reader: tarfile (Python's own) or libarchive (what bsdtar is made of).
"""

import ctypes
import hashlib
import io
import json
import locale
import math
import sys
import tarfile

# A file over this many bytes is not read: a hole costs nothing to say.
LIMIT = 1 << 21
MEMBERS = 1000


def kept(pieces):
    """Digest and length of a file's content."""
    digest, length = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        length += len(piece)
        if length > LIMIT:
            raise ValueError("a file is over the limit")
    return digest.hexdigest(), length


def clamped(number):
    """As the 64 bits of who asks hold it."""
    return max(-(1 << 63), min(number, (1 << 63) - 1))


def hexed(name):
    if isinstance(name, str):
        name = name.encode("utf-8", "surrogateescape")
    return (name or b"").hex()


def with_tarfile(data):
    kinds = [("h", tarfile.TarInfo.islnk), ("l", tarfile.TarInfo.issym), ("d", tarfile.TarInfo.isdir),
             ("c", tarfile.TarInfo.ischr), ("b", tarfile.TarInfo.isblk), ("p", tarfile.TarInfo.isfifo),
             ("-", tarfile.TarInfo.isreg)]
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:", encoding="utf-8", errors="surrogateescape") as tar:
        for count, member in enumerate(tar):
            if count > MEMBERS:
                raise ValueError("too many members")
            kind = next((kind for kind, holds in kinds if holds(member)), "?")
            content, size = None, 0
            if kind == "-":
                if member.size > LIMIT:
                    raise ValueError("a file is over the limit")
                file = tar.extractfile(member)
                content, size = kept(iter(lambda: file.read(65536), b""))
                if size != member.size:
                    raise ValueError("a file is cut off")
            yield {
                "path": hexed(member.name), "kind": kind, "size": size, "content": content,
                "link": hexed(member.linkname) if kind in "hl" else "",
                "mode": member.mode & 0o7777, "uid": clamped(member.uid), "gid": clamped(member.gid),
                "mtime": clamped(math.floor(member.mtime)),
                "device": [clamped(abs(member.devmajor)), clamped(abs(member.devminor))] if kind in "bc" else None,
                "attributes": None,
            }


def load_libarchive():
    library = ctypes.CDLL("libarchive.so.13")
    pointer, text, number, size = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int64, ctypes.c_size_t
    for name, result, *arguments in [
        ("archive_read_new", pointer), ("archive_read_free", ctypes.c_int, pointer),
        ("archive_read_support_format_tar", ctypes.c_int, pointer),
        ("archive_read_support_format_empty", ctypes.c_int, pointer),
        ("archive_read_open_memory", ctypes.c_int, pointer, text, size),
        ("archive_read_next_header", ctypes.c_int, pointer, ctypes.POINTER(pointer)),
        ("archive_read_data", ctypes.c_ssize_t, pointer, pointer, size),
        ("archive_error_string", text, pointer),
        ("archive_entry_pathname", text, pointer), ("archive_entry_hardlink", text, pointer),
        ("archive_entry_symlink", text, pointer), ("archive_entry_filetype", ctypes.c_uint, pointer),
        ("archive_entry_perm", ctypes.c_uint, pointer), ("archive_entry_size", number, pointer),
        ("archive_entry_uid", number, pointer), ("archive_entry_gid", number, pointer),
        ("archive_entry_mtime", number, pointer), ("archive_entry_rdevmajor", ctypes.c_ulong, pointer),
        ("archive_entry_rdevminor", ctypes.c_ulong, pointer),
        ("archive_entry_xattr_reset", ctypes.c_int, pointer),
        ("archive_entry_xattr_next", ctypes.c_int, pointer, ctypes.POINTER(text), ctypes.POINTER(pointer),
         ctypes.POINTER(size)),
    ]:
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


LINK, TYPES = 0o120000, {0o100000: "-", 0o120000: "l", 0o020000: "c", 0o060000: "b", 0o040000: "d", 0o010000: "p"}
END, OK, WARN = 1, 0, -20


def with_libarchive(data, library):
    archive = library.archive_read_new()
    buffer = ctypes.create_string_buffer(65536)

    def check(code):
        if code not in (OK, WARN, END):
            raise ValueError((library.archive_error_string(archive) or b"refused").decode("utf-8", "replace"))
        return code

    def whole(pieces, size):
        """A hole at the end is in the size only: who unpacks lets the file grow to it."""
        for piece in pieces:
            size -= len(piece)
            yield piece
        yield bytes(max(size, 0))

    def pieces():
        while length := library.archive_read_data(archive, buffer, len(buffer)):
            if length < 0:
                check(length)
            yield buffer.raw[:length]

    try:
        library.archive_read_support_format_tar(archive)
        library.archive_read_support_format_empty(archive)
        check(library.archive_read_open_memory(archive, data, len(data)))
        entry = ctypes.c_void_p()
        for _ in range(MEMBERS):
            if check(library.archive_read_next_header(archive, ctypes.byref(entry))) == END:
                return
            hard = library.archive_entry_hardlink(entry)
            kind = "h" if hard is not None else TYPES.get(library.archive_entry_filetype(entry), "?")
            content, size = None, 0
            if kind == "-":
                if library.archive_entry_size(entry) > LIMIT:
                    raise ValueError("a file is over the limit")
                content, size = kept(whole(pieces(), library.archive_entry_size(entry)))
            yield {
                "path": hexed(library.archive_entry_pathname(entry)), "kind": kind, "size": size, "content": content,
                "link": hexed(hard if kind == "h" else library.archive_entry_symlink(entry) if kind == "l" else b""),
                "mode": library.archive_entry_perm(entry) & 0o7777, "uid": library.archive_entry_uid(entry),
                "gid": library.archive_entry_gid(entry), "mtime": library.archive_entry_mtime(entry),
                "device": [library.archive_entry_rdevmajor(entry), library.archive_entry_rdevminor(entry)]
                if kind in "bc" else None,
                "attributes": attributes(library, entry),
            }
        raise ValueError("too many members")
    finally:
        library.archive_read_free(archive)


def attributes(library, entry):
    found, name, value, size = [], ctypes.c_char_p(), ctypes.c_void_p(), ctypes.c_size_t()
    library.archive_entry_xattr_reset(entry)
    while library.archive_entry_xattr_next(entry, ctypes.byref(name), ctypes.byref(value), ctypes.byref(size)) == OK:
        found.append((hexed(name.value), ctypes.string_at(value, size.value).hex() if size.value else ""))
    # The same record twice is no other attribute.
    return sorted(set(found))


def main():
    locale.setlocale(locale.LC_ALL, "C.UTF-8")
    if sys.argv[1] == "libarchive":
        library = load_libarchive()
        read = lambda data: with_libarchive(data, library)
    else:
        read = with_tarfile
    while length := sys.stdin.buffer.read(4):
        data = sys.stdin.buffer.read(int.from_bytes(length, "little"))
        try:
            answer = {"members": list(read(data))}
        except Exception as error:  # Whatever it stumbles over is a refusal.
            answer = {"refused": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


main()
