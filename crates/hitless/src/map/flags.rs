//! Flags of one update.

use super::{Cpus, MapError, Put, Rule};

/// What may already be there when an element is updated, and which of its values (`flags` of `bpf_map_update_elem`).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct UpdateFlags(u64);

impl UpdateFlags {
    /// Create the element or replace it (`BPF_ANY`).
    #[doc(alias = "BPF_ANY")]
    pub const ANY: UpdateFlags = UpdateFlags(0);
    /// Only create it (`BPF_NOEXIST`).
    #[doc(alias = "BPF_NOEXIST")]
    pub const NOEXIST: UpdateFlags = UpdateFlags(1);
    /// Only replace it (`BPF_EXIST`).
    #[doc(alias = "BPF_EXIST")]
    pub const EXIST: UpdateFlags = UpdateFlags(2);
    /// Write in place, under the spin lock in the value (`BPF_F_LOCK`).
    #[doc(alias = "BPF_F_LOCK")]
    pub const LOCK: UpdateFlags = UpdateFlags(4);
    /// Give every slot of a per-CPU map the same value (`BPF_F_ALL_CPUS`). For the host only.
    #[doc(alias = "BPF_F_ALL_CPUS")]
    pub const ALL_CPUS: UpdateFlags = UpdateFlags(16);
    const F_CPU: u64 = 8;

    /// Write the value of one slot of a per-CPU map (`BPF_F_CPU`). For the host only.
    #[doc(alias = "BPF_F_CPU")]
    #[must_use]
    pub const fn slot(slot: u32) -> UpdateFlags {
        UpdateFlags(Self::F_CPU | (slot as u64) << 32)
    }

    /// The flags as a program or `bpf(2)` gives them.
    #[must_use]
    pub const fn from_bits(bits: u64) -> UpdateFlags {
        UpdateFlags(bits)
    }

    /// The flags as bits.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    fn invalid(self) -> MapError {
        MapError::InvalidFlags { flags: self.0 }
    }

    /// What a program may ask for. `lock` says whether the values have a spin lock.
    #[inline]
    pub(crate) fn of_program(self, lock: bool) -> Result<Put, MapError> {
        let rule = match self.0 & !Self::LOCK.0 {
            0 => Rule::Any,
            1 => Rule::NoExist,
            2 => Rule::Exist,
            _ => return Err(self.invalid()),
        };
        let in_place = self.0 & Self::LOCK.0 != 0;
        if in_place && !lock {
            return Err(self.invalid());
        }
        Ok(Put {
            rule,
            in_place,
            cpus: Cpus::Own,
            evict: true,
        })
    }

    /// What the host may ask for, of a map with a value for each of so many `slots`, or with one for all.
    pub(crate) fn of_host(self, lock: bool, slots: Option<u32>) -> Result<Put, MapError> {
        let Some(slots) = slots else {
            return self.of_program(lock);
        };
        let (low, slot) = (self.0 & 0xffff_ffff, (self.0 >> 32) as u32);
        let which = Self::F_CPU | Self::ALL_CPUS.0;
        let cpus = match low & which {
            0 if slot == 0 => Cpus::Each,
            16 if slot == 0 => Cpus::Every,
            8 if slot >= slots => return Err(MapError::NoSlot { slot, slots }),
            8 => Cpus::One(slot),
            _ => return Err(self.invalid()),
        };
        let put = UpdateFlags(low & !which)
            .of_program(false)
            .map_err(|_| self.invalid())?;
        Ok(Put { cpus, ..put })
    }
}

impl std::ops::BitOr for UpdateFlags {
    type Output = UpdateFlags;

    fn bitor(self, other: UpdateFlags) -> UpdateFlags {
        UpdateFlags(self.0 | other.0)
    }
}

#[cfg(all(test, not(hitless_model)))]
mod tests {
    use super::*;

    #[test]
    fn programs_choose_what_may_be_there() {
        let put = UpdateFlags::EXIST.of_program(false).unwrap();
        assert_eq!((put.rule, put.in_place, put.cpus), (Rule::Exist, false, Cpus::Own));
        assert!(UpdateFlags::from_bits(3).of_program(true).is_err());
        assert!(UpdateFlags::slot(0).of_program(true).is_err());
        assert!(UpdateFlags::LOCK.of_program(false).is_err());
        assert!(UpdateFlags::LOCK.of_program(true).unwrap().in_place);
    }

    #[test]
    fn the_host_chooses_slots_of_per_cpu_maps_only() {
        let cpus = |flags: UpdateFlags| flags.of_host(false, Some(4)).map(|put| put.cpus);
        assert_eq!(cpus(UpdateFlags::ANY), Ok(Cpus::Each));
        assert_eq!(cpus(UpdateFlags::slot(3) | UpdateFlags::EXIST), Ok(Cpus::One(3)));
        assert_eq!(cpus(UpdateFlags::ALL_CPUS), Ok(Cpus::Every));
        assert_eq!(cpus(UpdateFlags::slot(4)), Err(MapError::NoSlot { slot: 4, slots: 4 }));
        assert!(cpus(UpdateFlags::slot(1) | UpdateFlags::ALL_CPUS).is_err());
        assert!(UpdateFlags::slot(0).of_host(false, None).is_err());
    }
}
