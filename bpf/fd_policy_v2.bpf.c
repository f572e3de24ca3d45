// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Counts in 64 bits, knows when a file was opened, and has the key the other way
// round.
typedef unsigned int u32;
typedef unsigned long long u64;

struct file {
	u32 fd;
	u32 pid;
};

struct usage {
	u64 opened_at;
	u64 writes;
};

#include "fd_policy.h"
