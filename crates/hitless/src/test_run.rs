//! Running a program by itself, on given bytes (`BPF_PROG_TEST_RUN`).
//!
//! What is accepted, and with which errno the rest is refused, is as in Linux (`net/bpf/test_run.c` of 6.18), but for devices:
//! the runtime has none, so an index of an interface may be any number; and frames are in one piece, so that what Linux would
//! make fragments of (bytes behind `xdp_md.data_end`, more than fits in a page) is refused. Each repetition is a run of its own, which passes the
//! gate; the packet is as the one before has left it.
//!
//! Of the types that can be run by themselves in Linux, all are here that the runtime has hooks for. Not hosted are lightweight
//! tunnels, flow dissectors, socket lookups, netfilter and `struct_ops`. Linux runs no kprobes, tracepoints, perf events,
//! security hooks and extensions by themselves either.

use std::sync::Arc;
use std::time::{Duration, Instant};

use hitless_verifier::ProgramKind;

use crate::context::{
    Arguments, CgroupIngress, Context, Packet, PacketBuf, RawTracepoint, SkBuff, SkbFields, Syscall, Xdp,
};
use crate::hook::RunError;
use crate::program::{Failure, Program};
use crate::run::Forked;
use crate::runtime::Runtime;

/// What a program is run on, and how.
#[derive(Clone, Copy, Debug, Default)]
pub struct TestRun<'a> {
    /// The packet, from the link-layer header on; for XDP with its metadata before it, if the context says so.
    pub data_in: &'a [u8],
    /// How much of the packet may come out; any size if not given.
    pub data_size_out: Option<usize>,
    /// The context: `struct __sk_buff`, `struct xdp_md`, arguments, or what a `syscall` program is passed. May be left out for
    /// packets.
    pub ctx_in: Option<&'a [u8]>,
    /// How much of the context may come out; any size if not given.
    pub ctx_size_out: Option<usize>,
    /// How often it runs, 0 standing for once.
    pub repeat: u32,
    /// The processor to run on, for raw tracepoints with [`RUN_ON_CPU`](Self::RUN_ON_CPU).
    pub cpu: u32,
    /// Packets in a batch of live frames, which there are none of here: 0.
    pub batch_size: u32,
    /// [`RUN_ON_CPU`](Self::RUN_ON_CPU), or 0.
    pub flags: u32,
}

impl TestRun<'_> {
    /// `BPF_F_TEST_RUN_ON_CPU`: the processor is the one that is given. Here any slot stands for it.
    #[doc(alias = "BPF_F_TEST_RUN_ON_CPU")]
    pub const RUN_ON_CPU: u32 = 1;
    /// `BPF_F_TEST_XDP_LIVE_FRAMES`: refused, since there are no devices to send frames through.
    #[doc(alias = "BPF_F_TEST_XDP_LIVE_FRAMES")]
    pub const XDP_LIVE_FRAMES: u32 = 2;
}

/// What came of it.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct TestResult {
    /// What the program returned, the last time.
    pub retval: u32,
    /// How long a run took, on average.
    pub duration: Duration,
    /// The packet.
    pub data_out: Vec<u8>,
    /// The context.
    pub ctx_out: Vec<u8>,
}

/// Why a program could not be run by itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TestRunError {
    /// `-ENOTSUPP`: programs of this type cannot.
    #[error("programs of type {program_type} cannot be run by themselves")]
    NotSupported {
        /// The type.
        program_type: String,
    },
    /// `-EFAULT`: there is no function that such programs could be tried out with.
    #[error("there is no function to try out programs of type {program_type} with")]
    NoFunction {
        /// The type.
        program_type: String,
    },
    /// `-EINVAL`: an attribute that programs of this type do not take, or not with this value.
    #[error("{attribute} is {found}, expected {expected}")]
    Attribute {
        /// The attribute.
        attribute: &'static str,
        /// Its value.
        found: u64,
        /// What it may be.
        expected: &'static str,
    },
    /// `-EINVAL`: a field of the context that cannot be set is not zero, or has a value that it cannot have.
    #[error("bytes {start} to {end} of the context are not what they may be: {reason}")]
    Field {
        /// The first byte.
        start: usize,
        /// One past the last.
        end: usize,
        /// What they may be.
        reason: &'static str,
    },
    /// `-E2BIG`: the context goes on behind its end, with other bytes than zeros, or is larger than a page.
    #[error("the context has {found} bytes: more than a page, or not all zero behind the first {expected}")]
    Tail {
        /// How large the given one is.
        found: usize,
        /// How large contexts are.
        expected: usize,
    },
    /// `-ENOSPC`: there is no room for what comes out.
    #[error("{what} has {needed} bytes, but there is room for {room}")]
    NoSpace {
        /// `data_out` or `ctx_out`.
        what: &'static str,
        /// How many there are.
        needed: usize,
        /// For how many there is room.
        room: usize,
        /// What came of it, of which that is cut to the room. If it is the packet, there is no context.
        result: Box<TestResult>,
    },
    /// `-ENXIO`: there is no such processor.
    #[error("there is no slot {cpu}, only {slots}")]
    NoCpu {
        /// The one that was asked for.
        cpu: u32,
        /// How many there are.
        slots: usize,
    },
    /// `-EINVAL`: the program belongs to another runtime.
    #[error("the program belongs to another runtime")]
    OtherRuntime,
    /// `-EBUSY`: the program could not be run in a signal handler, as [`RunError::Recursion`](crate::RunError::Recursion).
    #[error("the program is already running on this slot")]
    Recursion,
    /// `-EFAULT`: a check of the engine failed, a defect of hitless: [`Program::failed_check`].
    #[error("a check of the engine failed")]
    Trap,
    /// `-ECHILD`: the process is a forked child.
    #[error(transparent)]
    Forked(#[from] Forked),
}

/// `ENOTSUPP`, which user space has no name for.
const ENOTSUPP: i32 = 524;

impl TestRunError {
    /// The kernel's number for it, positive.
    #[must_use]
    pub const fn errno(&self) -> i32 {
        match self {
            TestRunError::NotSupported { .. } => ENOTSUPP,
            TestRunError::Attribute { .. } | TestRunError::Field { .. } | TestRunError::OtherRuntime => libc::EINVAL,
            TestRunError::Tail { .. } => libc::E2BIG,
            TestRunError::NoSpace { .. } => libc::ENOSPC,
            TestRunError::NoCpu { .. } => libc::ENXIO,
            TestRunError::Recursion => libc::EBUSY,
            TestRunError::Trap | TestRunError::NoFunction { .. } => libc::EFAULT,
            TestRunError::Forked(_) => libc::ECHILD,
        }
    }
}

/// Bytes of a link-layer header: the least that a packet has.
const ETH_HLEN: usize = 14;
/// Bytes in a page of Linux's on x86-64: the most that a context has, with its tail.
const PAGE_SIZE: usize = 4096;
/// What Linux takes at most: a page, less the room around the packet.
const MAX_SKB: usize = PAGE_SIZE - 64 - 320;
const MAX_XDP: usize = PAGE_SIZE - PacketBuf::HEADROOM - 320;
/// Room behind packets of the network stack.
const TAILROOM: usize = 320;
const SKB_SIZE: usize = 192;
const XDP_MD_SIZE: usize = 24;
/// What Linux keeps of the headroom of XDP programs for itself (`struct xdp_frame`).
const XDP_FRAME_SIZE: usize = 40;
/// The most metadata before a packet: the rest of it.
const MAX_METADATA: usize = PacketBuf::HEADROOM - XDP_FRAME_SIZE;

impl Runtime {
    /// Runs a program by itself, attached or not. One for functions (`fentry`, `fexit`, `fmod_ret`) has to be attached to those
    /// that there are for it ([`attach_by_section`](Self::attach_by_section)): these are called, as in Linux, whichever program
    /// is given.
    ///
    /// # Errors
    /// [`TestRunError`], by variant.
    ///
    /// # Examples
    /// ```
    /// # use hitless::{Object, Runtime, TestRun};
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    /// let runtime = Runtime::default();
    /// let object = Object::open("bpf/flows_v1.bpf.o")?.load(&runtime)?;
    /// let run = TestRun { data_in: &[0; 64], repeat: 3, ..TestRun::default() };
    /// let result = runtime.test_run(object.program("count_flows").unwrap(), &run)?;
    /// assert_eq!((result.retval, result.data_out.len()), (2, 64)); // XDP_PASS
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[doc(alias = "BPF_PROG_TEST_RUN")]
    pub fn test_run(&self, program: &Arc<Program>, run: &TestRun<'_>) -> Result<TestResult, TestRunError> {
        if program.runtime() != self.id() {
            return Err(TestRunError::OtherRuntime);
        }
        match program.program_type().kind() {
            ProgramKind::Xdp => self.test_xdp(program, run),
            ProgramKind::SocketFilter
            | ProgramKind::Tc
            | ProgramKind::Action
            | ProgramKind::CgroupSkbIngress
            | ProgramKind::CgroupSkbEgress => self.test_skb(program, run),
            ProgramKind::RawTracepoint => self.test_raw_tracepoint(program, run),
            ProgramKind::Syscall => self.test_syscall(program, run),
            ProgramKind::Fentry
            | ProgramKind::Fexit
            | ProgramKind::FmodRet
            | ProgramKind::TpBtf
            | ProgramKind::Iter
            | ProgramKind::MapTrace => self.test_tracing(program, run),
            _ => Err(TestRunError::NotSupported {
                program_type: program.program_type().to_string(),
            }),
        }
    }

    /// Runs it so often on an input.
    fn repeat<C: Context>(
        &self,
        program: &Arc<Program>,
        repeat: u32,
        input: &mut C::Input<'_>,
    ) -> Result<(u32, Duration), TestRunError> {
        let (repeat, start) = (repeat.max(1), Instant::now());
        let mut result = 0;
        for _ in 0..repeat {
            let ran = self.inner().slots.run(|run| {
                // SAFETY: `C` is the context of such programs, and vouches for the frame, of which a program keeps nothing.
                unsafe { C::with_frame(input, |frame| program.execute(run, frame, None)) }
            })?;
            result = ran.map_err(|failure| match failure {
                Failure::Missed => TestRunError::Recursion,
                Failure::Trapped => TestRunError::Trap,
            })? as u32;
        }
        Ok((result, start.elapsed() / repeat))
    }

    fn test_skb(&self, program: &Arc<Program>, run: &TestRun<'_>) -> Result<TestResult, TestRunError> {
        zero("flags", run.flags)?;
        zero("cpu", run.cpu)?;
        zero("batch_size", run.batch_size)?;
        packet_size(run.data_in, MAX_SKB)?;
        let mut ctx = context::<SKB_SIZE>(run)?;
        let mut packet = SkBuff::from(PacketBuf::copy_of(run.data_in, PacketBuf::HEADROOM, TAILROOM));
        skb_fields(packet.fields_mut(), run.data_in)?;
        let kind = program.program_type().kind();
        let has_link_layer = matches!(kind, ProgramKind::Tc | ProgramKind::Action);
        if !has_link_layer {
            packet.buf.pull(ETH_HLEN);
        }
        if let Some(ctx) = &ctx {
            read_skb(ctx, packet.fields_mut(), packet_len(run, has_link_layer))?;
        }
        // All of them have the same frame.
        let (retval, duration) = self.repeat::<CgroupIngress>(program, run.repeat, &mut packet)?;
        if !has_link_layer {
            // The kernel puts an empty header there, not the one that was taken away.
            packet.buf.push(ETH_HLEN);
            packet.buf.data_mut()[..ETH_HLEN].fill(0);
        }
        if let Some(ctx) = &mut ctx {
            write_skb(packet.fields(), ctx);
        }
        finish(
            run,
            retval,
            duration,
            packet.buf.data(),
            ctx.as_ref().map(|ctx| &ctx[..]),
        )
    }

    fn test_xdp(&self, program: &Arc<Program>, run: &TestRun<'_>) -> Result<TestResult, TestRunError> {
        if run.flags & TestRun::XDP_LIVE_FRAMES != 0 {
            return Err(TestRunError::NotSupported {
                program_type: "xdp with BPF_F_TEST_XDP_LIVE_FRAMES".to_owned(),
            });
        }
        zero("flags", run.flags)?;
        zero("batch_size", run.batch_size)?;
        let mut ctx = context::<XDP_MD_SIZE>(run)?;
        let size = run.data_in.len();
        let mut metadata = 0;
        let [mut ingress_ifindex, mut rx_queue_index] = [1, 0];
        if let Some(ctx) = &ctx {
            let (data, data_end) = (word(ctx, 0) as usize, word(ctx, 4) as usize);
            if word(ctx, 8) != 0 {
                return Err(field(8, 12, "zero: the packet begins with its metadata"));
            }
            if data_end != size || data > data_end {
                return Err(field(0, 8, "offsets in the packet, of which the second is its end"));
            }
            if !data.is_multiple_of(4) || data > MAX_METADATA {
                return Err(field(0, 4, "a multiple of 4, at most 216"));
            }
            if size - data < ETH_HLEN {
                return Err(field(0, 4, "14 bytes or more before the end of the packet"));
            }
            if word(ctx, 20) != 0 {
                return Err(field(20, 24, "zero"));
            }
            if word(ctx, 12) == 0 && word(ctx, 16) != 0 {
                return Err(field(16, 20, "zero without an interface"));
            }
            metadata = data;
            if word(ctx, 12) != 0 {
                [ingress_ifindex, rx_queue_index] = [word(ctx, 12), word(ctx, 16)];
            }
        }
        packet_size(run.data_in, MAX_XDP + metadata)?;
        let mut packet = Packet::from(PacketBuf::copy_of(
            run.data_in,
            MAX_METADATA - metadata,
            MAX_XDP + metadata - size,
        ));
        packet.buf.pull(metadata);
        packet.buf.set_metadata_len(metadata);
        (packet.ingress_ifindex, packet.rx_queue_index) = (ingress_ifindex, rx_queue_index);
        let (retval, duration) = self.repeat::<Xdp>(program, run.repeat, &mut packet)?;
        let before = packet.buf.metadata().len();
        let len = packet.buf.data().len();
        packet.buf.push(before);
        if let Some(ctx) = &mut ctx {
            put(ctx, 0, before as u32);
            put(ctx, 4, (before + len) as u32);
        }
        finish(
            run,
            retval,
            duration,
            packet.buf.data(),
            ctx.as_ref().map(|ctx| &ctx[..]),
        )
    }

    fn test_raw_tracepoint(&self, program: &Arc<Program>, run: &TestRun<'_>) -> Result<TestResult, TestRunError> {
        no_packet(run)?;
        let ctx = run.ctx_in.unwrap_or_default();
        let size = ctx.len();
        if size < program.context_extent() || size > size_of::<Arguments>() {
            return Err(ctx_size(size, "what the program reads, at most 12 arguments"));
        }
        // Other flags are not looked at.
        if run.flags & TestRun::RUN_ON_CPU == 0 {
            zero("cpu", run.cpu)?;
        }
        let slots = self.inner().slots.count();
        if run.cpu as usize >= slots {
            return Err(TestRunError::NoCpu { cpu: run.cpu, slots });
        }
        let mut arguments = Arguments::default();
        for (argument, bytes) in arguments.iter_mut().zip(ctx.chunks(8)) {
            let mut whole = [0; 8];
            whole[..bytes.len()].copy_from_slice(bytes);
            *argument = u64::from_ne_bytes(whole);
        }
        let (retval, duration) = self.repeat::<RawTracepoint>(program, 1, &mut arguments)?;
        Ok(TestResult {
            retval,
            duration,
            ..TestResult::default()
        })
    }

    /// Runs what is attached to the functions for it, not the program.
    fn test_tracing(&self, program: &Arc<Program>, run: &TestRun<'_>) -> Result<TestResult, TestRunError> {
        zero("flags", run.flags)?;
        zero("cpu", run.cpu)?;
        zero("batch_size", run.batch_size)?;
        let called = match program.program_type().kind() {
            ProgramKind::Fentry | ProgramKind::Fexit => self.call_observed().map(|()| 0),
            ProgramKind::FmodRet => self.call_modified(),
            _ => {
                return Err(TestRunError::NoFunction {
                    program_type: program.program_type().to_string(),
                });
            }
        };
        let retval = called.map_err(|error| match error {
            RunError::Recursion { .. } => TestRunError::Recursion,
            RunError::Forked(forked) => TestRunError::Forked(forked),
            RunError::Trap { .. } | RunError::Short { .. } => TestRunError::Trap,
        })?;
        Ok(TestResult {
            retval,
            ..TestResult::default()
        })
    }

    fn test_syscall(&self, program: &Arc<Program>, run: &TestRun<'_>) -> Result<TestResult, TestRunError> {
        no_packet(run)?;
        zero("flags", run.flags)?;
        let size = run.ctx_in.map_or(0, <[u8]>::len);
        if size < program.context_extent() || size > usize::from(u16::MAX) {
            return Err(ctx_size(size, "what the program accesses, at most 65535"));
        }
        let mut arguments = run.ctx_in.unwrap_or_default().to_vec();
        let (retval, duration) = self.repeat::<Syscall>(program, 1, &mut arguments.as_mut_slice())?;
        Ok(TestResult {
            retval,
            duration,
            data_out: Vec::new(),
            ctx_out: arguments,
        })
    }
}

fn attribute(attribute: &'static str, found: impl Into<u64>, expected: &'static str) -> TestRunError {
    TestRunError::Attribute {
        attribute,
        found: found.into(),
        expected,
    }
}

fn zero(name: &'static str, found: u32) -> Result<(), TestRunError> {
    if found == 0 {
        Ok(())
    } else {
        Err(attribute(name, found, "0"))
    }
}

fn ctx_size(found: usize, expected: &'static str) -> TestRunError {
    attribute("ctx_size_in", found as u64, expected)
}

fn field(start: usize, end: usize, reason: &'static str) -> TestRunError {
    TestRunError::Field { start, end, reason }
}

/// What has no packet takes nothing of packets.
fn no_packet(run: &TestRun<'_>) -> Result<(), TestRunError> {
    zero("data_size_in", run.data_in.len() as u32)?;
    zero("data_size_out", run.data_size_out.unwrap_or(0) as u32)?;
    zero("ctx_size_out", run.ctx_size_out.unwrap_or(0) as u32)?;
    zero("repeat", run.repeat)?;
    zero("batch_size", run.batch_size)
}

fn packet_size(packet: &[u8], most: usize) -> Result<(), TestRunError> {
    if (ETH_HLEN..=most).contains(&packet.len()) {
        Ok(())
    } else {
        Err(attribute(
            "data_size_in",
            packet.len() as u64,
            "14 or more, and less than a page",
        ))
    }
}

/// How long the packet is for the program.
fn packet_len(run: &TestRun<'_>, has_link_layer: bool) -> usize {
    run.data_in.len() - if has_link_layer { 0 } else { ETH_HLEN }
}

/// The given context, filled up with zeros.
fn context<const SIZE: usize>(run: &TestRun<'_>) -> Result<Option<[u8; SIZE]>, TestRunError> {
    let Some(given) = run.ctx_in else {
        return Ok(run.ctx_size_out.map(|_| [0; SIZE]));
    };
    let (head, tail) = given.split_at(given.len().min(SIZE));
    if given.len() > PAGE_SIZE || tail.iter().any(|&byte| byte != 0) {
        return Err(TestRunError::Tail {
            found: given.len(),
            expected: SIZE,
        });
    }
    let mut whole = [0; SIZE];
    whole[..head.len()].copy_from_slice(head);
    Ok(Some(whole))
}

fn word(ctx: &[u8], off: usize) -> u32 {
    u32::from_ne_bytes(ctx[off..off + 4].try_into().expect("four bytes"))
}

fn long(ctx: &[u8], off: usize) -> u64 {
    u64::from_ne_bytes(ctx[off..off + 8].try_into().expect("eight bytes"))
}

fn put(ctx: &mut [u8], off: usize, value: u32) {
    ctx[off..off + 4].copy_from_slice(&value.to_ne_bytes());
}

/// What is known of a packet that came in through the loopback interface.
fn skb_fields(fields: &mut SkbFields, packet: &[u8]) -> Result<(), TestRunError> {
    let protocol = u16::from_be_bytes([packet[12], packet[13]]);
    *fields = SkbFields {
        ifindex: 1,
        wire_len: 0,
        protocol: u32::from(
            match protocol {
                // `ETH_P_802_3` and `ETH_P_802_2`.
                0..0x600 if packet[14..].starts_with(&[0xff, 0xff]) => 1u16,
                0..0x600 => 4,
                known => known,
            }
            .to_be(),
        ),
        // To the host, to several, to another host. The loopback interface's addresses are all zeros, also the one for all.
        pkt_type: match &packet[..6] {
            [0, 0, 0, 0, 0, 0] => 0,
            [first, ..] if first & 1 != 0 => 2,
            _ => 3,
        },
        ..SkbFields::default()
    };
    let ip = &packet[ETH_HLEN..];
    let address = |off: usize| u32::from_ne_bytes(ip[off..off + 4].try_into().expect("four bytes"));
    let addresses = |off: usize| [0, 4, 8, 12].map(|i| address(off + i));
    if protocol == 0x0800 {
        header_size(packet, 20)?;
        fields.family = 2;
        (fields.local_ip4, fields.remote_ip4) = (address(12), address(16));
    } else if protocol == 0x86dd {
        header_size(packet, 40)?;
        fields.family = 10;
        (fields.local_ip6, fields.remote_ip6) = (addresses(8), addresses(24));
    }
    Ok(())
}

/// Checks that there is a whole header of so many bytes behind the link-layer one.
fn header_size(packet: &[u8], size: usize) -> Result<(), TestRunError> {
    if packet.len() < ETH_HLEN + size {
        let expected = "the whole header of its network protocol";
        return Err(attribute("data_size_in", packet.len() as u64, expected));
    }
    Ok(())
}

/// Takes over what a given `struct __sk_buff` says of a packet of so many bytes.
fn read_skb(ctx: &[u8; SKB_SIZE], fields: &mut SkbFields, len: usize) -> Result<(), TestRunError> {
    // All but mark, priority, ingress_ifindex and ifindex, cb, tstamp to gso_segs, gso_size, hwtstamp.
    for (start, end) in [(0, 8), (12, 32), (44, 48), (68, 152), (168, 176), (180, 184)] {
        if ctx[start..end].iter().any(|&byte| byte != 0) {
            return Err(field(start, end, "zero"));
        }
    }
    let wire_len = word(ctx, 160);
    if wire_len != 0 && !(len..=65_536).contains(&(wire_len as usize)) {
        return Err(field(160, 164, "0, or the packet's length to 65536"));
    }
    if word(ctx, 164) > 65_535 {
        return Err(field(164, 168, "at most 65535"));
    }
    (fields.mark, fields.priority) = (word(ctx, 8), word(ctx, 32));
    fields.ingress_ifindex = word(ctx, 36);
    if word(ctx, 40) != 0 {
        fields.ifindex = word(ctx, 40);
    }
    fields.cb = [48, 52, 56, 60, 64].map(|off| word(ctx, off));
    fields.tstamp = long(ctx, 152);
    fields.wire_len = if wire_len == 0 { len as u32 } else { wire_len };
    fields.gso_segs = word(ctx, 164);
    fields.gso_size = word(ctx, 176) & 0xffff;
    fields.hwtstamp = long(ctx, 184);
    Ok(())
}

fn write_skb(fields: &SkbFields, ctx: &mut [u8; SKB_SIZE]) {
    for (off, value) in [
        (8, fields.mark),
        (32, fields.priority),
        (36, fields.ingress_ifindex),
        (40, fields.ifindex),
        (160, fields.wire_len),
        (164, fields.gso_segs),
    ] {
        put(ctx, off, value);
    }
    for (off, value) in (48..).step_by(4).zip(fields.cb) {
        put(ctx, off, value);
    }
    ctx[152..160].copy_from_slice(&fields.tstamp.to_ne_bytes());
    ctx[184..192].copy_from_slice(&fields.hwtstamp.to_ne_bytes());
}

fn finish(
    run: &TestRun<'_>,
    retval: u32,
    duration: Duration,
    data: &[u8],
    ctx: Option<&[u8]>,
) -> Result<TestResult, TestRunError> {
    let mut result = TestResult {
        retval,
        duration,
        data_out: data.to_vec(),
        ctx_out: Vec::new(),
    };
    if let Some(room) = room_short_of(data.len(), run.data_size_out) {
        result.data_out.truncate(room);
        return Err(no_space("data_out", data.len(), room, result));
    }
    let ctx = ctx.unwrap_or_default();
    result.ctx_out = ctx.to_vec();
    if let Some(room) = room_short_of(ctx.len(), run.ctx_size_out) {
        result.ctx_out.truncate(room);
        return Err(no_space("ctx_out", ctx.len(), room, result));
    }
    Ok(result)
}

/// The room there is, if it is given (0 is not) and too little.
fn room_short_of(needed: usize, room: Option<usize>) -> Option<usize> {
    room.filter(|&room| room != 0 && room < needed)
}

fn no_space(what: &'static str, needed: usize, room: usize, result: TestResult) -> TestRunError {
    TestRunError::NoSpace {
        what,
        needed,
        room,
        result: Box::new(result),
    }
}
