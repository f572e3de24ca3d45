// SPDX-License-Identifier: MIT OR Apache-2.0
//
// What the native code benchmark computes, on a KiB of input: the same C for
// BPF and for the host's compiler. Needs u8, u16, u32 and u64.
#ifndef WORK_H
#define WORK_H

enum { WORK_BYTES = 1024, WORK_SORTED = 24 };

static __attribute__((always_inline)) inline u64 work_xorshift(const u8 *data)
{
	u64 x = *(const u64 *)data | 1;

	for (int i = 0; i < 1000; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
	}
	return x;
}

static __attribute__((always_inline)) inline u64 work_fnv1a(const u8 *data)
{
	u64 hash = 0xcbf29ce484222325ULL;

	for (int i = 0; i < WORK_BYTES; i++)
		hash = (hash ^ data[i]) * 0x100000001b3ULL;
	return hash;
}

static __attribute__((always_inline)) inline u32 work_rol(u32 word, u32 by)
{
	return word << by | word >> (32 - by);
}

// Bob Jenkins' lookup3, on words.
static __attribute__((always_inline)) inline u64 work_jhash(const u8 *data)
{
	const u32 *words = (const u32 *)data;
	u32 a = 0xdeadbeef + WORK_BYTES, b = a, c = a;

	for (int i = 0; i + 3 < WORK_BYTES / 4; i += 3) {
		a += words[i];
		b += words[i + 1];
		c += words[i + 2];
		a -= c; a ^= work_rol(c, 4); c += b;
		b -= a; b ^= work_rol(a, 6); a += c;
		c -= b; c ^= work_rol(b, 8); b += a;
		a -= c; a ^= work_rol(c, 16); c += b;
		b -= a; b ^= work_rol(a, 19); a += c;
		c -= b; c ^= work_rol(b, 4); b += a;
	}
	c ^= b; c -= work_rol(b, 14);
	a ^= c; a -= work_rol(c, 11);
	b ^= a; b -= work_rol(a, 25);
	c ^= b; c -= work_rol(b, 16);
	return c;
}

static __attribute__((always_inline)) inline u64 work_bit_mix(const u8 *data)
{
	const u64 *words = (const u64 *)data;
	u64 sum = 0;

	for (int i = 0; i < WORK_BYTES / 8; i++) {
		u64 x = words[i];

		x = (x & 0x5555555555555555ULL) << 1 | (x >> 1 & 0x5555555555555555ULL);
		x = (x & 0x3333333333333333ULL) << 2 | (x >> 2 & 0x3333333333333333ULL);
		x = (x & 0x0f0f0f0f0f0f0f0fULL) << 4 | (x >> 4 & 0x0f0f0f0f0f0f0f0fULL);
		x ^= x >> 33;
		x *= 0xff51afd7ed558ccdULL;
		x ^= x >> 33;
		sum += x;
	}
	return sum;
}

static __attribute__((always_inline)) inline u64 work_byte_sum(const u8 *data)
{
	u64 sum = 0;

	for (int i = 0; i < WORK_BYTES; i++)
		sum += data[i];
	return sum;
}

// Counts words and numbers in text.
static __attribute__((always_inline)) inline u64 work_states(const u8 *data)
{
	u32 state = 0, words = 0, numbers = 0;

	for (int i = 0; i < WORK_BYTES; i++) {
		u8 byte = data[i];

		switch (state) {
		case 0:
			if (byte >= '0' && byte <= '9') {
				state = 2;
				numbers++;
			} else if (byte > ' ') {
				state = 1;
				words++;
			}
			break;
		case 1:
			if (byte <= ' ')
				state = 0;
			break;
		default:
			if (byte <= ' ')
				state = 0;
			else if (byte < '0' || byte > '9')
				state = 1;
		}
	}
	return (u64)words << 32 | numbers;
}

static __attribute__((always_inline)) inline u64 work_division(const u8 *data)
{
	const u32 *words = (const u32 *)data;
	u64 sum = 0;

	for (int i = 0; i + 1 < WORK_BYTES / 4; i++) {
		u32 divisor = words[i + 1] & 0xffff;

		if (!divisor)
			divisor = 1;
		sum += words[i] / divisor + words[i] % 1000 + (words[i] >> 3) / 7;
	}
	return sum;
}

// Sorts the first words of the input by insertion.
static __attribute__((always_inline)) inline u64 work_sort(const u8 *data)
{
	u16 sorted[WORK_SORTED];
	u64 sum = 0;

	for (int i = 0; i < WORK_SORTED; i++) {
		u16 value = ((const u16 *)data)[i];
		int at = i;

		for (int j = i - 1; j >= 0; j--) {
			if (sorted[j] <= value)
				break;
			sorted[j + 1] = sorted[j];
			at = j;
		}
		sorted[at & 31] = value;
	}
	for (int i = 0; i < WORK_SORTED; i++)
		sum = sum * 31 + sorted[i];
	return sum;
}

static __attribute__((noinline)) u64 work_leaf(u64 a, u64 b)
{
	return (a ^ b) * 0x9e3779b97f4a7c15ULL;
}

static __attribute__((noinline)) u64 work_inner(u64 a, u64 b)
{
	return work_leaf(a, b) + work_leaf(b, a >> 7);
}

static __attribute__((always_inline)) inline u64 work_calls(const u8 *data)
{
	const u64 *words = (const u64 *)data;
	u64 sum = 0;

	for (int i = 0; i < WORK_BYTES / 8; i++)
		sum = work_inner(sum, words[i]);
	return sum;
}

// All of them.
#define WORKS(work) \
	work(xorshift) work(fnv1a) work(jhash) work(bit_mix) work(byte_sum) \
	work(states) work(division) work(sort) work(calls)

#endif
