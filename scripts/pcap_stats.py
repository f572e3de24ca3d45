# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a capture (classic pcap, Ethernet) contains, and what the flow programs
in bpf/ should make of one replay of it: a second, independent implementation of
their accounting.

    pcap_stats.py FILE
"""

import collections
import struct
import sys

FIN, RST = 0x01, 0x04
MAPPED = bytes(10) + b"\xff\xff"
FRAME_OVERHEAD = 4


def packets(path):
    with open(path, "rb") as file:
        data = file.read()
    order = {b"\xd4\xc3\xb2\xa1": "<", b"\xa1\xb2\xc3\xd4": ">"}[data[:4]]
    link_type = struct.unpack_from(order + "I", data, 20)[0]
    assert link_type == 1, f"link type {link_type} is not Ethernet"
    at = 24
    while at < len(data):
        captured, length = struct.unpack_from(order + "II", data, at + 8)
        yield data[at + 16 : at + 16 + captured], length
        at += 16 + captured


def parse(frame):
    """(key, TCP flags, name); key None is the all-zero key."""
    if len(frame) < 14:
        return None, 0, "other"
    kind = frame[12:14]
    if kind == b"\x08\x00" and len(frame) >= 34:
        at = 14 + (frame[14] & 15) * 4
        if frame[14] >> 4 != 4 or at < 34 or at > len(frame):
            return None, 0, "other"
        proto, family = frame[23], "IPv4"
        saddr, daddr = MAPPED + frame[26:30], MAPPED + frame[30:34]
        later = (frame[20] & 0x1F) << 8 | frame[21]
    elif kind == b"\x86\xdd" and len(frame) >= 54:
        if frame[14] >> 4 != 6:
            return None, 0, "other"
        at, proto, family, later = 54, frame[20], "IPv6", 0
        saddr, daddr = frame[22:38], frame[38:54]
    else:
        return None, 0, "ARP" if kind == b"\x08\x06" else "other"
    sport = dport = flags = 0
    if proto in (6, 17) and not later:
        if at + (20 if proto == 6 else 8) > len(frame):
            return None, 0, "other"
        sport, dport = struct.unpack_from(">HH", frame, at)
        flags = frame[at + 13] if proto == 6 else 0
    name = {0: "hop-by-hop", 1: "ICMP", 6: "TCP", 17: "UDP", 44: "fragment", 58: "ICMPv6"}
    name = name.get(proto, str(proto)) + (" later fragment" if later else "")
    return (saddr, daddr, sport, dport, proto), flags, f"{family} {name}"


def main(path):
    live = collections.defaultdict(lambda: [0, 0])
    by_name, tuples = collections.Counter(), collections.defaultdict(set)
    seen = deleted = ends = fins = resets = octets = captured = 0
    for frame, length in packets(path):
        key, flags, name = parse(frame)
        seen += 1
        octets += length
        captured += len(frame)
        by_name[name] += 1
        tuples[name].add(key)
        fins += bool(flags & FIN)
        resets += bool(flags & RST)
        live[key][0] += 1
        live[key][1] += len(frame) + FRAME_OVERHEAD
        if flags & (FIN | RST):
            deleted += live.pop(key)[0]
            ends += 1
    print(f"packets {seen}, bytes {octets} on the wire, {captured} captured")
    keys = set().union(*tuples.values())
    print(f"keys {len(keys)}, of which all-zero {int(None in keys)}")
    for name, count in by_name.most_common():
        print(f"  {name}: packets {count}, keys {len(tuples[name])}")
    print(f"TCP segments with FIN {fins}, with RST {resets}")
    kept = sum(p for p, _ in live.values())
    print(f"one replay: live flows {len(live)} with {kept} packets"
          f" and {sum(b for _, b in live.values())} bytes,"
          f" flows ended {ends} with {deleted} packets")


main(sys.argv[1])
