#!/usr/bin/env python3
# SPDX-License-Identifier: MIT OR Apache-2.0
"""Fetches objects to compare the verifier's verdicts on with those of Linux.

    scripts/yardstick.py DIR [PACKAGE ...]

downloads Debian packages (apt-get download), takes every BPF object out of
them, and writes those into DIR as PACKAGE--FILE.bpf.o: files that are objects,
and objects that lie in the read-only data of programs, as skeletons have them.
Packages that there are not are passed over. Then: make yardstick DIR=DIR
"""
import gzip
import hashlib
import os
import re
import struct
import subprocess
import sys
import tempfile

PACKAGES = """
bpfilter bpftop bpftrace golang-github-cilium-ebpf-dev libbpf-tools libbpftune0 libxdp1 mimic
opensnitch-ebpf-modules pwru suricata systemd udev-hid-bpf xdp-tests xdp-tools
""".split()

ELF64_LITTLE = b"\x7fELF\x02\x01\x01"
ET_REL, EM_BPF, SHT_NOBITS = 1, 247, 8


def object_at(data, start):
    """The BPF object that begins at a place, if one does."""
    if len(data) < start + 64:
        return None
    kind, machine = struct.unpack_from("<HH", data, start + 16)
    headers, = struct.unpack_from("<Q", data, start + 40)
    size, count = struct.unpack_from("<HH", data, start + 58)
    end = headers + size * count
    if (kind, machine, size) != (ET_REL, EM_BPF, 64) or start + end > len(data):
        return None
    for header in range(start + headers, start + end, size):
        section_type, = struct.unpack_from("<I", data, header + 4)
        offset, length = struct.unpack_from("<QQ", data, header + 24)
        if section_type != SHT_NOBITS:
            end = max(end, offset + length)
    return data[start:start + end]


def objects_in(data):
    for match in re.finditer(re.escape(ELF64_LITTLE), data):
        found = object_at(data, match.start())
        if found:
            yield match.start(), found


def contents(path):
    with open(path, "rb") as file:
        data = file.read()
    return gzip.decompress(data) if path.endswith(".gz") else data


def take(package, tree, out, seen):
    """Writes the objects below a directory that are not in `seen`."""
    count = 0
    for directory, _, names in os.walk(tree):
        for name in names:
            path = os.path.join(directory, name)
            if os.path.islink(path) or not os.path.isfile(path):
                continue
            for start, found in objects_in(contents(path)):
                digest = hashlib.sha256(found).digest()
                if digest in seen:
                    continue
                seen.add(digest)
                plain = re.sub(r"(\.bpf)?\.o$", "", name)
                place = f"@{start:x}" if start else ""
                with open(os.path.join(out, f"{package}--{plain}{place}.bpf.o"), "wb") as file:
                    file.write(found)
                count += 1
    return count


def main():
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        sys.exit(__doc__)
    out = os.path.abspath(sys.argv[1])
    os.makedirs(out, exist_ok=True)
    seen = set()
    for package in sys.argv[2:] or PACKAGES:
        with tempfile.TemporaryDirectory() as scratch:
            fetched = subprocess.run(["apt-get", "download", package], cwd=scratch, capture_output=True, text=True)
            archives = [name for name in os.listdir(scratch) if name.endswith(".deb")]
            if fetched.returncode != 0 or not archives:
                print(f"{package}: not there")
                continue
            tree = os.path.join(scratch, "tree")
            subprocess.run(["dpkg-deb", "-x", os.path.join(scratch, archives[0]), tree], check=True)
            print(f"{package}: {take(package, tree, out, seen)} objects")


if __name__ == "__main__":
    main()
