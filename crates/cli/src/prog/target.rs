//! The place that an object is relocated for, read from files.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use hitless_btf::core;
use hitless_object::{ObjectSpec, RelocateError};

use crate::elf::read_target;
use crate::host::read_text;
use crate::kconfig;

/// Types, options and symbols of a kernel.
pub(super) struct Target {
    types: Arc<core::Target>,
    options: HashMap<String, String>,
    symbols: HashMap<String, u64>,
}

pub(super) fn read(btf: &Path, kconfig: Option<&Path>, kallsyms: Option<&Path>) -> Result<Target> {
    Ok(Target {
        types: read_target(btf)?,
        options: kconfig.map(kconfig::read).transpose()?.unwrap_or_default(),
        symbols: kallsyms.map(read_symbols).transpose()?.unwrap_or_default(),
    })
}

pub(super) fn read_symbols(path: &Path) -> Result<HashMap<String, u64>> {
    Ok(symbols(&read_text(path)?))
}

/// Lines like `ffffffff81000000 T _stext`, the first for each name.
fn symbols(text: &str) -> HashMap<String, u64> {
    let mut symbols = HashMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        if let (Some(address), Some(_), Some(name)) = (words.next(), words.next(), words.next())
            && let Ok(address) = u64::from_str_radix(address, 16)
        {
            symbols.entry(name.to_owned()).or_insert(address);
        }
    }
    symbols
}

impl Target {
    pub(super) fn relocate(&self, spec: &ObjectSpec) -> Result<ObjectSpec, RelocateError> {
        spec.relocate(&hitless_object::Target {
            btf: Some(&self.types),
            kconfig: &|name| self.options.get(name).cloned(),
            symbols: &|name| self.symbols.get(name).copied(),
            kernel_version: hitless::KERNEL_VERSION,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_the_first_of_each_name() {
        let symbols = symbols("ffffffff81000000 T _stext\n0000000000000010 d local [module]\n20 d local\nbad\n");
        assert_eq!(symbols.get("_stext"), Some(&0xffff_ffff_8100_0000));
        assert_eq!(symbols.get("local"), Some(&0x10));
        assert_eq!(symbols.len(), 2);
    }
}
