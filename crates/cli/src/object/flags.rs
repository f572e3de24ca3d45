//! Names of flags.

/// `BPF_F_*` flags of maps by bit, from bit 0.
const MAP_FLAGS: [&str; 20] = [
    "no_prealloc",
    "no_common_lru",
    "numa_node",
    "rdonly",
    "wronly",
    "stack_build_id",
    "zero_seed",
    "rdonly_prog",
    "wronly_prog",
    "clone",
    "mmapable",
    "preserve_elems",
    "inner_map",
    "link",
    "path_fd",
    "vtype_btf_obj_fd",
    "token_fd",
    "segv_on_fault",
    "no_user_conv",
    "rb_overwrite",
];

/// The names of the flags that are set, as the kernel has them but in small letters and without `BPF_F_`; a number for a bit
/// that has no name.
pub(super) fn map_flag_names(flags: u32) -> Vec<String> {
    let set = (0..u32::BITS).filter(|bit| flags & 1 << bit != 0);
    set.map(|bit| {
        let name = MAP_FLAGS.get(bit as usize);
        name.map_or_else(|| format!("{:#x}", 1_u32 << bit), ToString::to_string)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_by_name() {
        assert_eq!(map_flag_names(0), [""; 0]);
        // BPF_F_NO_PREALLOC, BPF_F_RDONLY_PROG, BPF_F_MMAPABLE, BPF_F_INNER_MAP, and one that there is not.
        assert_eq!(
            map_flag_names(1 | 1 << 7 | 1 << 10 | 1 << 12 | 1 << 31),
            ["no_prealloc", "rdonly_prog", "mmapable", "inner_map", "0x80000000"]
        );
    }
}
