// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Legacy packet access, at fixed and at computed offsets.
#include "corpus.h"

LICENSE("Dual MIT/GPL");

u64 load_byte(void *skb, u64 offset) asm("llvm.bpf.load.byte");
u64 load_half(void *skb, u64 offset) asm("llvm.bpf.load.half");
u64 load_word(void *skb, u64 offset) asm("llvm.bpf.load.word");

SEC("socket") int fixed(struct __sk_buff *skb)
{
	return load_byte(skb, 14) + load_half(skb, 12) + load_word(skb, 26);
}

SEC("socket") int computed(struct __sk_buff *skb)
{
	u64 header = 14 + ((load_byte(skb, 14) & 15) << 2);

	return load_byte(skb, header) + load_half(skb, header + 2) + load_word(skb, header + 4);
}
