// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Nothing.
// build: -Wno-empty-translation-unit
#include "corpus.h"
