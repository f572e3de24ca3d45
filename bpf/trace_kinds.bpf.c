// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Values that are written without a lock.
#include "trace_kinds.h"
