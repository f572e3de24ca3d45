//! Links: to hooks of the host, and to maps.

use hitless::{Packet, Xdp, XdpAction};
use hitless_isa::asm::assemble;
use hitless_syscall::DeviceHooks;
use hitless_verifier::tables::map_trace;

use crate::sides::{Attr, Side};

const XDP: u32 = 37;
const LINK_CREATE: u32 = 28;
const LINK_UPDATE: u32 = 29;

/// Loads a program; its type, the attach type, and the id of what it is for.
fn load(side: &Side, text: &str, (program_type, attach_type, target): (u32, u32, u32)) -> i64 {
    let insns = assemble(text).expect("it assembles");
    let bytes: Vec<u8> = insns.iter().flat_map(|insn| insn.to_bytes()).collect();
    let attr = Attr::new().u32(0, program_type).u32(4, insns.len() as u32);
    let attr = attr.u64(8, bytes.as_ptr() as u64).u64(16, c"GPL".as_ptr() as u64);
    let fd = side.call(5, &mut attr.u32(68, attach_type).u32(108, target), 148);
    assert!(fd >= 0, "{text}: {fd}");
    fd
}

fn xdp(side: &Side, action: XdpAction) -> i64 {
    load(side, &format!("r0 = {}\nexit", action as u32), (6, XDP, 0))
}

fn create(side: &Side, program: i64, target: u32) -> i64 {
    let attr = Attr::new().u32(0, program as u32).u32(4, target).u32(8, XDP);
    side.call(LINK_CREATE, &mut { attr }, 64)
}

/// A link's info: type, id, program's id, and the number that follows.
fn info(side: &Side, link: i64) -> [u32; 4] {
    let mut info = [0u32; 16];
    let attr = Attr::new().u32(0, link as u32).u32(4, 64);
    assert_eq!(side.call(15, &mut attr.u64(8, info.as_mut_ptr() as u64), 16), 0);
    [info[0], info[1], info[2], info[4]]
}

#[test]
fn an_xdp_program_is_attached_exchanged_and_detached() {
    let side = Side::hitless();
    let runtime = side.bpf().runtime().clone();
    let hook = runtime.hook::<Xdp>("front");
    let run = || hook.run(&mut Packet::new(&mut [0; 64])).expect("it runs");
    let (drop, tx) = (xdp(&side, XdpAction::Drop), xdp(&side, XdpAction::Tx));
    assert_eq!(run(), XdpAction::Pass);
    let link = create(&side, drop, 7);
    assert!(link >= 0, "{link}");
    assert_eq!(run(), XdpAction::Drop);
    let ids = runtime.program_ids();
    assert_eq!(info(&side, link), [6, runtime.link_ids()[0], ids[0], 7]);
    assert_eq!(create(&side, tx, 7), -i64::from(libc::EBUSY));

    let update = |flags: u32, old: i64| {
        let attr = Attr::new().u32(0, link as u32).u32(4, tx as u32);
        side.call(LINK_UPDATE, &mut attr.u32(8, flags).u32(12, old as u32), 16)
    };
    assert_eq!(update(4, tx), -i64::from(libc::EPERM));
    assert_eq!(update(0, drop), -i64::from(libc::EINVAL));
    assert_eq!(update(4, drop), 0);
    assert_eq!(run(), XdpAction::Tx);

    let by_id = side.call(30, &mut Attr::new().u32(0, runtime.link_ids()[0]), 4);
    Side::close(link);
    assert_eq!(run(), XdpAction::Tx);
    assert_eq!(side.call(34, &mut Attr::new().u32(0, by_id as u32), 4), 0);
    assert_eq!(run(), XdpAction::Pass);
    for fd in [by_id, drop, tx] {
        Side::close(fd);
    }
}

#[test]
fn the_last_descriptor_of_a_link_detaches() {
    let side = Side::hitless();
    let runtime = side.bpf().runtime();
    let hook = runtime.hook::<Xdp>("front");
    let program = xdp(&side, XdpAction::Drop);
    let link = create(&side, program, 0);
    Side::close(program);
    Side::close(link);
    // Looks for what is closed.
    assert_eq!(side.call(31, &mut Attr::new(), 8), -i64::from(libc::ENOENT));
    assert_eq!(hook.run(&mut Packet::new(&mut [0; 64])), Ok(XdpAction::Pass));
}

#[test]
fn devices_stand_for_hooks() {
    let side = Side::hitless();
    let runtime = side.bpf().runtime();
    let program = xdp(&side, XdpAction::Drop);
    let no_device = -i64::from(libc::ENODEV);
    assert_eq!(create(&side, program, 1), no_device);
    let hooks = ["a", "b"].map(|name| runtime.hook::<Xdp>(name));
    // Which of the two is not said.
    assert_eq!(create(&side, program, 1), no_device);
    for (device, name) in [(1, "a"), (2, "b"), (3, "c")] {
        let hooks = DeviceHooks {
            xdp: Some(name.into()),
            ..DeviceHooks::default()
        };
        side.bpf().set_device(device, hooks);
    }
    assert_eq!(create(&side, program, 3), no_device);
    let link = create(&side, program, 2);
    let run = |index: usize| hooks[index].run(&mut Packet::new(&mut [0; 64])).expect("it runs");
    assert_eq!([run(0), run(1)], [XdpAction::Pass, XdpAction::Drop]);
    Side::close(link);
    Side::close(program);
}

/// A program that traces a map is attached to it, by the map's descriptor.
#[test]
fn a_map_is_traced() {
    let side = Side::hitless();
    let types = side.bpf().runtime().btf();
    let event = types
        .btf()
        .find(hitless_btf::Kind::Func, &map_trace::UPDATE_ELEM.function());
    let event = event.expect("the runtime has it").0;
    let program = load(&side, "r0 = 0\nexit", (26, map_trace::ATTACH_TYPE, event));
    let map = side.call(0, &mut Attr::new().u32(0, 1).u32(4, 4).u32(8, 8).u32(12, 4), 72);
    let attr = |target: i64| {
        Attr::new()
            .u32(0, program as u32)
            .u32(4, target as u32)
            .u32(8, map_trace::ATTACH_TYPE)
    };
    assert_eq!(side.call(LINK_CREATE, &mut attr(program), 64), -i64::from(libc::EINVAL));
    let link = side.call(LINK_CREATE, &mut attr(map), 64);
    assert!(link >= 0, "{link}");
    let runtime = side.bpf().runtime();
    let [ty, _, _, traced] = info(&side, link);
    assert_eq!((ty, traced), (map_trace::LINK_TYPE, runtime.map_ids()[0]));
    let stats = side.call(32, &mut Attr::new(), 4);
    let (key, value) = (5u32, 6u64);
    let element = Attr::new().u32(0, map as u32).u64(8, &raw const key as u64);
    assert_eq!(side.call(2, &mut element.u64(16, &raw const value as u64), 32), 0);
    // bpf_prog_info, of which run_cnt is at 200.
    let mut known = [0u64; 29];
    let attr = Attr::new().u32(0, program as u32).u32(4, 232);
    assert_eq!(side.call(15, &mut attr.u64(8, known.as_mut_ptr() as u64), 16), 0);
    assert_eq!(known[25], 1);
    for fd in [stats, link, map, program] {
        Side::close(fd);
    }
}

/// Programs at a device, in the order that callers ask for, by links and without.
#[test]
fn tc_programs_have_an_order() {
    const INGRESS: u32 = 46;
    const F_BEFORE: u32 = 8;
    let side = Side::hitless();
    let runtime = side.bpf().runtime();
    let _hook = runtime.hook::<hitless::context::Tc>("net");
    let programs = [1, 2, 3].map(|number| load(&side, &format!("r0 = {number}\nexit"), (3, 0, 0)));
    let ids = runtime.program_ids();
    let change = |command: u32, program: i64, flags: u32| {
        let attr = Attr::new().u32(4, program as u32).u32(8, INGRESS);
        side.call(command, &mut attr.u32(12, flags), 32)
    };
    // The programs and their links; the third number is how many there are.
    let query = |room: u32| {
        let (mut found, mut links) = ([0u32; 4], [0u32; 4]);
        let attr = Attr::new().u32(4, INGRESS).u32(24, room);
        let mut attr = attr
            .u64(16, found.as_mut_ptr() as u64)
            .u64(40, links.as_mut_ptr() as u64);
        let result = side.call(16, &mut attr, 64);
        (result, attr.get_u32(24), found, links)
    };
    assert_eq!(query(4), (0, 0, [0; 4], [0; 4]));
    assert_eq!(change(8, programs[0], 0), 0);
    assert_eq!(change(8, programs[0], 0), -i64::from(libc::EEXIST));
    let attr = Attr::new().u32(0, programs[1] as u32).u32(8, INGRESS).u32(12, F_BEFORE);
    let link = side.call(LINK_CREATE, &mut { attr }, 64);
    assert!(link >= 0, "{link}");
    assert_eq!(change(8, programs[2], F_BEFORE), 0);
    let link_id = info(&side, link)[1];
    let order = [ids[2], ids[1], ids[0], 0];
    assert_eq!(query(4), (0, 3, order, [0, link_id, 0, 0]));
    assert_eq!(query(1), (-i64::from(libc::ENOSPC), 3, [ids[2], 0, 0, 0], [0; 4]));
    assert_eq!(change(9, programs[1], 0), -i64::from(libc::ENOENT));
    assert_eq!(change(9, programs[0], 0), 0);
    Side::close(link);
    assert_eq!(query(4), (0, 1, [ids[2], 0, 0, 0], [0; 4]));
    for program in programs {
        Side::close(program);
    }
}

/// Programs that there is no such place for.
#[test]
fn what_is_attached_without_a_hook_is_refused() {
    let side = Side::hitless();
    let program = load(&side, "r0 = 0\nexit", (1, 0, 0));
    let invalid = -i64::from(libc::EINVAL);
    assert_eq!(create(&side, program, 1), invalid);
    let open = |name: u64| side.call(17, &mut Attr::new().u64(0, name).u32(8, program as u32), 24);
    assert_eq!(open(c"sched_switch".as_ptr() as u64), invalid);
    assert_eq!(open(0), invalid);
    Side::close(program);
}

/// A raw tracepoint of the host's, by its name.
#[test]
fn raw_tracepoints_are_opened_by_name() {
    let side = Side::hitless();
    let runtime = side.bpf().runtime();
    let hook = runtime.hook::<hitless::context::RawTracepoint>("request");
    let program = load(&side, "r0 = 0\nexit", (17, 0, 0));
    let open = |name: &std::ffi::CStr| {
        let attr = Attr::new().u64(0, name.as_ptr() as u64).u32(8, program as u32);
        side.call(17, &mut attr.u64(16, 77), 24)
    };
    assert_eq!(open(c"nothing"), -i64::from(libc::ENOENT));
    let link = open(c"request");
    assert!(link >= 0, "{link}");
    assert!(hook.run(&mut [0; 12]).is_ok());
    // The name is written where there is room, and its length said.
    let mut name = [0u8; 16];
    let mut known = [0u32; 16];
    (known[4], known[5]) = (
        name.as_mut_ptr() as usize as u32,
        (name.as_mut_ptr() as u64 >> 32) as u32,
    );
    known[6] = 16;
    let attr = Attr::new().u32(0, link as u32).u32(4, 64);
    assert_eq!(side.call(15, &mut attr.u64(8, known.as_mut_ptr() as u64), 16), 0);
    assert_eq!(
        (known[0], known[6], known[8], &name[..8]),
        (1, 8, 77, &b"request\0"[..])
    );
    Side::close(link);
    Side::close(program);
}
