// SPDX-License-Identifier: MIT OR Apache-2.0
typedef unsigned int u32;

struct file {
	u32 pid;
	u32 fd;
};

struct usage {
	u32 writes;
};

#include "fd_policy.h"
