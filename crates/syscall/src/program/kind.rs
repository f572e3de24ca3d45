//! What a program is: from its type, its expected attach type and what it is made for, to the section that says so.

use hitless_btf::{Btf, Type, TypeId};
use hitless_verifier::ProgramKind;
use hitless_verifier::tables::{map_trace, program_types};
use rustix::io::Errno;

/// What a caller says that a program is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    pub(crate) program_type: u32,
    pub(crate) attach_type: u32,
    /// The type in the host's BTF that it is made for; 0 if for none.
    pub(crate) attach_btf_id: u32,
    pub(crate) sleepable: bool,
}

const KPROBE: u32 = 2;
const CGROUP_SOCK: u32 = 9;
const SK_REUSEPORT: u32 = 21;
const TRACING: u32 = 26;
const STRUCT_OPS: u32 = 27;
const EXT: u32 = 28;
const LSM: u32 = 29;
/// `BPF_PROG_TYPE_SYSCALL`.
const SYSCALL: u32 = 31;

/// Attach types of programs for functions and iterators.
const SLEEPING_TRACERS: [u32; 4] = [24, 25, 26, 28];

/// `BTF_MAX_TYPE`.
const MAX_TYPE_ID: u32 = 0x000f_ffff;

/// Types of programs that are for the attach types of the table only.
const STRICT: [u32; 7] = [8, 9, 18, 21, 25, 30, 32];

impl Asked {
    /// What callers leave out that Linux fills in.
    pub(crate) fn completed(self) -> Asked {
        let attach_type = match (self.program_type, self.attach_type) {
            (CGROUP_SOCK, 0) => 2,
            (SK_REUSEPORT, 0) => 39,
            (_, given) => given,
        };
        Asked { attach_type, ..self }
    }

    /// Whether it extends another program, which has to be given then.
    pub(crate) fn is_extension(&self) -> bool {
        self.program_type == EXT
    }

    /// Refuses contradictions, before anything else of the program is looked at.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        let is_typed = matches!(self.program_type, TRACING | LSM | STRUCT_OPS | EXT);
        if self.attach_btf_id != 0 && (self.attach_btf_id > MAX_TYPE_ID || !is_typed) {
            return Err(Errno::INVAL);
        }
        let known = program_types::by_number(self.program_type, self.attach_type).is_some();
        if STRICT.contains(&self.program_type) && !known {
            return Err(Errno::INVAL);
        }
        if matches!(self.program_type, SYSCALL | EXT) && self.attach_type != 0 {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// Refuses programs that may sleep, of types that may not, and those that may not of the one type that has to.
    pub(crate) fn check_sleepable(&self) -> Result<(), &'static str> {
        let may = match self.program_type {
            TRACING => SLEEPING_TRACERS.contains(&self.attach_type),
            KPROBE | LSM | STRUCT_OPS | SYSCALL => true,
            _ => false,
        };
        match (self.program_type, self.sleepable) {
            (SYSCALL, false) => Err("Syscall programs can only be sleepable"),
            (_, true) if !may => {
                Err("Only fentry/fexit/fmod_ret, lsm, iter, uprobe, and struct_ops programs can be sleepable")
            }
            _ => Ok(()),
        }
    }

    /// The section of an object that such a program would be in. `types` are those that it is made for: the host's, or those of the
    /// program that it extends.
    pub(crate) fn section(&self, types: &Btf) -> Result<String, Errno> {
        let exact = program_types::by_number(self.program_type, self.attach_type);
        let is_strict = STRICT.contains(&self.program_type) || self.program_type == TRACING;
        let mut others = program_types::all().iter().filter(|_| !is_strict);
        let known = exact.or_else(|| others.find(|known| known.number == self.program_type));
        let known = known.ok_or(Errno::INVAL)?;
        let sleepable = if self.sleepable && !known.section.contains('/') {
            ".s"
        } else {
            ""
        };
        // A syscall program may sleep anyway.
        let sleepable = if known.kind == ProgramKind::Syscall {
            ""
        } else {
            sleepable
        };
        let section = format!("{}{sleepable}", known.section);
        if !known.is_typed() && known.kind != ProgramKind::Ext {
            return Ok(section);
        }
        let id = TypeId(self.attach_btf_id);
        let target = match (known.kind, types.get(id)) {
            (ProgramKind::MapTrace, Some(Type::Func(function))) => {
                let event = map_trace::EVENTS
                    .iter()
                    .find(|event| *event.function() == *function.name);
                // Which map is meant is said by the link.
                format!("*/{}", event.ok_or(Errno::INVAL)?.name)
            }
            (ProgramKind::Hook, Some(_)) => {
                let hook = types.decl_tags(id, None).find_map(|tag| tag.strip_prefix("hook:"));
                hook.ok_or(Errno::INVAL)?.to_owned()
            }
            (
                ProgramKind::Ext | ProgramKind::Fentry | ProgramKind::Fexit | ProgramKind::FmodRet,
                Some(Type::Func(function)),
            ) => function.name.to_string(),
            (ProgramKind::TpBtf, Some(Type::Typedef(typedef))) => behind(&typedef.name, "btf_trace_")?,
            (ProgramKind::Lsm, Some(Type::Func(function))) => behind(&function.name, "bpf_lsm_")?,
            (ProgramKind::Iter, Some(Type::Func(function))) => behind(&function.name, "bpf_iter_")?,
            _ => return Err(Errno::INVAL),
        };
        Ok(format!("{section}/{target}"))
    }
}

fn behind(name: &str, prefix: &str) -> Result<String, Errno> {
    name.strip_prefix(prefix).map(str::to_owned).ok_or(Errno::INVAL)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(program_type: u32, attach_type: u32) -> Asked {
        Asked {
            program_type,
            attach_type,
            attach_btf_id: 0,
            sleepable: false,
        }
    }

    #[test]
    fn numbers_name_sections() {
        let types = Btf::new(vec![Type::Void]).expect("nothing is wrong with nothing");
        let section = |asked: Asked| asked.completed().section(&types);
        assert_eq!(section(asked(6, 0)).as_deref(), Ok("xdp"));
        assert_eq!(section(asked(6, 37)).as_deref(), Ok("xdp"));
        assert_eq!(section(asked(6, 33)).as_deref(), Ok("xdp/devmap"));
        assert_eq!(section(asked(8, 1)).as_deref(), Ok("cgroup_skb/egress"));
        assert_eq!(section(asked(9, 0)).as_deref(), Ok("cgroup/sock"));
        assert_eq!(section(asked(1, 99)).as_deref(), Ok("socket"));
        for (program_type, attach_type) in [(0, 0), (26, 24), (26, 99), (33, 0)] {
            assert_eq!(section(asked(program_type, attach_type)), Err(Errno::INVAL));
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(asked(31, 0).check().is_ok() && asked(31, 1).check().is_err());
        assert!(asked(8, 1).check().is_ok() && asked(8, 2).check().is_err());
        let typed = |program_type| Asked {
            attach_btf_id: 1,
            ..asked(program_type, 0)
        };
        assert!(typed(26).check().is_ok() && typed(6).check().is_err());
    }
}
