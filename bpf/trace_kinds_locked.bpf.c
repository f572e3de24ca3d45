// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Values that are guarded by a spin lock: a tracer sees none in the middle of a
// change.
#define LOCKED
#include "trace_kinds.h"
