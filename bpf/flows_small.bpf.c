// SPDX-License-Identifier: MIT OR Apache-2.0
//
// flows_v2 with a map smaller than the one it would take over. An upgrade from
// flows_v1 to this object must be refused: flows might not fit.
#define MAX_FLOWS 1024
#include "flows_v2.bpf.c"
