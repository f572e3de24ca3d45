// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Version 2 of the instruction set.
// build: -mcpu=v2
#include "isa.h"
