// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Version 3 of the instruction set.
// build: -mcpu=v3
#include "isa.h"
