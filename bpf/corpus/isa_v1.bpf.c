// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Version 1 of the instruction set.
// build: -mcpu=v1
#include "isa.h"
