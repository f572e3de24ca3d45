// SPDX-License-Identifier: MIT OR Apache-2.0
//
// Every instruction that the assembler knows, in its syntax.
// build: -mcpu=v4
#include "corpus.h"

LICENSE("Dual MIT/GPL");

#define ALU(op)                         \
	"r1 " op " r2;"                 \
	"r1 " op " 7;"                  \
	"r1 " op " -7;"                 \
	"w1 " op " w2;"                 \
	"w1 " op " 7;"                  \
	"w1 " op " -7;"
// `if` jumps over one instruction.
#define JUMP(op)                        \
	"if r1 " op " r2 goto +1;"      \
	"r0 = 1;"                       \
	"if r1 " op " -7 goto +1;"      \
	"r0 = 2;"                       \
	"if w1 " op " w2 goto +1;"      \
	"r0 = 3;"                       \
	"if w1 " op " 7 goto +1;"       \
	"r0 = 4;"
#define ATOMIC(op)                              \
	"lock *(u32 *)(r10 - 4) " op " w1;"     \
	"lock *(u64 *)(r10 - 8) " op " r1;"
#define FETCH(name)                                              \
	"w1 = atomic_fetch_" name "((u32 *)(r10 - 4), w1);"      \
	"r1 = atomic_fetch_" name "((u64 *)(r10 - 8), r1);"

SEC("socket") __naked int every_alu(struct __sk_buff *skb __unused)
{
	asm volatile("r1 = 1;"
		     "r2 = 2;" ALU("=") ALU("+=") ALU("-=") ALU("*=") ALU("/=") ALU("%%=") ALU("|=") ALU("&=") ALU("^=")
		     "r1 <<= r2; r1 <<= 5; w1 <<= w2; w1 <<= 5;"
		     "r1 >>= r2; r1 >>= 5; w1 >>= w2; w1 >>= 5;"
		     "r1 s>>= r2; r1 s>>= 5; w1 s>>= w2; w1 s>>= 5;"
		     "r1 s/= r2; r1 s/= -7; w1 s/= w2; w1 s/= -7;"
		     "r1 s%%= r2; r1 s%%= -7; w1 s%%= w2; w1 s%%= -7;"
		     "r1 = -r1; w1 = -w1;"
		     "r1 = (s8)r2; r1 = (s16)r2; r1 = (s32)r2; w1 = (s8)w2; w1 = (s16)w2;"
		     "r1 = le16 r1; r1 = le32 r1; r1 = le64 r1;"
		     "r1 = be16 r1; r1 = be32 r1; r1 = be64 r1;"
		     "r1 = bswap16 r1; r1 = bswap32 r1; r1 = bswap64 r1;"
		     "r1 = 0x123456789abcdef0 ll;"
		     "r0 = 0;"
		     "exit;" ::: "r0", "r1", "r2");
}

SEC("socket") __naked int every_jump(struct __sk_buff *skb __unused)
{
	asm volatile("r0 = 0;"
		     "r1 = 1;"
		     "r2 = 2;" JUMP("==") JUMP("!=") JUMP(">") JUMP(">=") JUMP("<") JUMP("<=") JUMP("s>") JUMP("s>=")
			     JUMP("s<") JUMP("s<=") JUMP("&")
		     "goto +1;"
		     "r0 = 5;"
		     "gotol +1;"
		     "r0 = 6;"
		     "may_goto +1;"
		     "r0 = 7;"
		     "call 5;"
		     "exit;" ::: "r0", "r1", "r2");
}

SEC("socket") __naked int every_access(struct __sk_buff *skb __unused)
{
	asm volatile("r1 = 1;"
		     "r2 = 2;"
		     "*(u8 *)(r10 - 1) = r1; *(u16 *)(r10 - 2) = r1; *(u32 *)(r10 - 4) = r1; *(u64 *)(r10 - 8) = r1;"
		     "*(u8 *)(r10 - 1) = 1; *(u16 *)(r10 - 2) = -1; *(u32 *)(r10 - 4) = 1; *(u64 *)(r10 - 8) = -1;"
		     "r1 = *(u8 *)(r10 - 1); r1 = *(u16 *)(r10 - 2); r1 = *(u32 *)(r10 - 4); r1 = *(u64 *)(r10 - 8);"
		     "r1 = *(s8 *)(r10 - 1); r1 = *(s16 *)(r10 - 2); r1 = *(s32 *)(r10 - 4);"
		     ATOMIC("+=") ATOMIC("|=") ATOMIC("&=") ATOMIC("^=")
		     FETCH("add") FETCH("or") FETCH("and") FETCH("xor")
		     "w1 = xchg32_32(r10 - 4, w1);"
		     "r1 = xchg_64(r10 - 8, r1);"
		     "w0 = cmpxchg32_32(r10 - 4, w0, w1);"
		     "r0 = cmpxchg_64(r10 - 8, r0, r1);"
		     "r0 = 0;"
		     "exit;" ::: "r0", "r1", "r2");
}

SEC("socket") __naked int every_packet_access(struct __sk_buff *skb __unused)
{
	asm volatile("r6 = r1;"
		     "r7 = 2;"
		     "r0 = *(u8 *)skb[0]; r0 = *(u16 *)skb[12]; r0 = *(u32 *)skb[26];"
		     "r0 = *(u8 *)skb[r7]; r0 = *(u16 *)skb[r7]; r0 = *(u32 *)skb[r7];"
		     "exit;" ::: "r0", "r6", "r7");
}
