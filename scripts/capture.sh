#!/bin/bash
# SPDX-License-Identifier: MIT OR Apache-2.0
#
# Captures testdata/flows.pcap (or the file named as argument): real programs
# talking between two network namespaces of this script's own. Needs root,
# iproute2, ethtool, tcpdump, curl, dnsutils, iputils-ping, dnsmasq, python3.
# Packet times and ephemeral ports differ from run to run.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd -P)
pcap=$(realpath -m "${1:-$here/../testdata/flows.pcap}")
server=hitless-srv-$$
client=hitless-cli-$$
dir=$(mktemp -d)
pids=()

for tool in ip ethtool tcpdump curl dig ping dnsmasq python3; do
	command -v "$tool" >/dev/null || { echo "$0: $tool is missing" >&2; exit 1; }
done

cleanup() {
	for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
	wait 2>/dev/null || true
	ip netns del "$client" 2>/dev/null || true
	ip netns del "$server" 2>/dev/null || true
	rm -rf "$dir"
}
trap cleanup EXIT

# Not for background jobs: there `ip netns exec` itself, which becomes the
# program, so that $! is the program's.
on_server() { ip netns exec "$server" "$@"; }
on_client() { ip netns exec "$client" "$@"; }

ip netns add "$server"
ip netns add "$client"
ip -n "$client" link add eth0 type veth peer name eth0 netns "$server"
for ns in "$server" "$client"; do
	ip -n "$ns" link set lo up
	# One frame per packet, complete checksums.
	ip netns exec "$ns" ethtool -K eth0 tso off gso off gro off tx off rx off >/dev/null 2>&1 || true
done
ip -n "$server" addr add 192.0.2.1/24 dev eth0
ip -n "$server" addr add 2001:db8::1/64 dev eth0 nodad
ip -n "$client" addr add 192.0.2.2/24 dev eth0
ip -n "$client" addr add 2001:db8::2/64 dev eth0 nodad
ip -n "$server" link set eth0 up
ip -n "$client" link set eth0 up

# The capture starts before the first frame and keeps 160 bytes of each.
ip netns exec "$client" tcpdump -i eth0 -s 160 -B 8192 -U -Z root -w "$dir/flows.pcap" 2>"$dir/tcpdump.log" &
tcpdump_pid=$!
pids+=("$tcpdump_pid")
for _ in $(seq 100); do
	grep -q 'listening on' "$dir/tcpdump.log" && break
	sleep 0.1
done

# HTTP.
mkdir "$dir/www"
for size in 0 100 1000 20000 60000 200000; do
	head -c "$size" /dev/zero | tr '\0' x >"$dir/www/$size.txt"
done
ip netns exec "$server" python3 -m http.server --bind :: --directory "$dir/www" 8080 >/dev/null 2>&1 &
pids+=($!)

# DNS, with one answer large enough to be fragmented.
{
	for i in $(seq 0 99); do
		echo "host-record=h$i.example,198.51.100.$i,2001:db8:1::$(printf %x "$i")"
	done
	for i in $(seq 10); do
		echo "txt-record=large.example,$(printf "%0230d" "$i")"
	done
	echo "edns-packet-max=4096"
} >"$dir/dnsmasq.conf"
ip netns exec "$server" dnsmasq --keep-in-foreground --conf-file="$dir/dnsmasq.conf" --no-resolv --no-hosts \
	--user=root --pid-file="$dir/dnsmasq.pid" --local=/example/ >/dev/null 2>&1 &
pids+=($!)

# Long-lived TCP connections, resets, UDP.
ip netns exec "$server" python3 "$here/traffic.py" server &
pids+=($!)
for _ in $(seq 100); do
	listening=$(on_server ss -Hltn)
	if [[ $listening == *:8080* && $listening == *:53* && $listening == *:9000* ]]; then break; fi
	sleep 0.1
done

ip netns exec "$client" python3 "$here/traffic.py" client 192.0.2.1 2001:db8::1 &
talk_pid=$!
pids+=("$talk_pid")

on_client ping -q -c 4 -i 0.2 192.0.2.1 >/dev/null
on_client ping -q -c 4 -i 0.2 2001:db8::1 >/dev/null
on_client ping -q -c 2 -i 0.2 -s 4000 192.0.2.1 >/dev/null   # in fragments
on_client ping -q -c 2 -i 0.2 -s 4000 2001:db8::1 >/dev/null

for round in $(seq 10); do
	if [ $((round % 3)) = 0 ]; then
		ip -n "$client" neigh flush dev eth0 # ARP and neighbour discovery again
	fi
	for host in 192.0.2.1 '[2001:db8::1]'; do
		url=http://$host:8080
		# One connection each; the last one fetches three files.
		for size in 0 100 1000; do
			on_client curl -s "$url/$size.txt" >/dev/null
		done
		on_client curl -s "$url/100.txt" "$url/1000.txt" "$url/20000.txt" >/dev/null
		if [ $((round % 5)) = 0 ]; then
			on_client curl -s "$url/200000.txt" >/dev/null
			# Gives up in the middle of the body.
			on_client curl -s --max-filesize 1000 "$url/60000.txt" >/dev/null || true
		fi
	done
	for i in $(seq 6); do
		name=h$((round * 6 + i)).example
		on_client dig +tries=1 +time=2 @192.0.2.1 "$name" A >/dev/null
		on_client dig +tries=1 +time=2 @2001:db8::1 "$name" AAAA >/dev/null
	done
done
on_client dig +tcp @192.0.2.1 h1.example A >/dev/null
on_client dig +tcp @2001:db8::1 h1.example AAAA >/dev/null
on_client dig +bufsize=4096 @192.0.2.1 large.example TXT >/dev/null
on_client dig +bufsize=4096 @2001:db8::1 large.example TXT >/dev/null
on_client dig @192.0.2.1 missing.example A >/dev/null

# The client side keeps its connections open and reports that it is done; the
# capture ends while they are.
while ! [ -e "$dir/done" ]; do
	kill -0 "$talk_pid" || { echo "$0: traffic.py failed" >&2; exit 1; }
	if on_client ss -Hltn | grep -q ':9999 '; then touch "$dir/done"; fi
	sleep 0.2
done
sleep 0.5
kill -TERM "$tcpdump_pid"
wait "$tcpdump_pid" || true
grep -q '^0 packets dropped by kernel' "$dir/tcpdump.log" || {
	echo "$0: the capture is incomplete" >&2
	exit 1
}

install -m 644 "$dir/flows.pcap" "$pcap"
python3 "$here/pcap_stats.py" "$pcap"
