//! How objects are loaded: which maps they take over, and what they are relocated against.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use hitless_btf::core;
use hitless_object::{ObjectSpec, RelocateError, Target};

use crate::map::Map;
use crate::program::Program;
use crate::types;

/// What programs read as `LINUX_KERNEL_VERSION`: 6.18, the kernel whose interfaces the runtime follows.
pub const KERNEL_VERSION: u32 = 6 << 16 | 18 << 8;

/// How an object is loaded. The default takes over no map, and relocates against the runtime's own types.
///
/// # Examples
/// ```
/// use hitless::{LoadOptions, Runtime};
///
/// # fn load(object: &hitless_object::ObjectSpec) -> Result<(), hitless::LoadError> {
/// let runtime = Runtime::default();
/// let first = runtime.load(object)?;
/// // A second instance that shares a map with the first, on a machine with an option set.
/// let options = LoadOptions::new()
///     .replace_map("flows", first.map("flows").unwrap())
///     .kconfig("CONFIG_HZ", "250");
/// let second = runtime.load_with(object, &options)?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct LoadOptions {
    pub(crate) replacements: BTreeMap<String, Arc<Map>>,
    target_btf: Option<Arc<core::Target>>,
    kconfig: BTreeMap<String, String>,
    symbols: HashMap<String, u64>,
    /// What extensions take the place of, by their names: a program, and the function if the section does not name it.
    pub(crate) targets: BTreeMap<String, (Arc<Program>, Option<String>)>,
}

impl LoadOptions {
    /// The default.
    #[must_use]
    pub fn new() -> LoadOptions {
        LoadOptions::default()
    }

    /// Takes an existing map in place of the object's map with this name.
    #[must_use]
    pub fn replace_map(mut self, name: impl Into<String>, map: &Arc<Map>) -> LoadOptions {
        self.replacements.insert(name.into(), Arc::clone(map));
        self
    }

    /// Loads an extension (`SEC("freplace/FUNCTION")`) for this program, a function of which it is to take the place of
    /// ([`Runtime::attach_extension`](crate::Runtime::attach_extension)): the one with this name, or the one that its section
    /// names.
    #[doc(alias = "bpf_program__set_attach_target")]
    #[must_use]
    pub fn attach_target(
        mut self,
        extension: impl Into<String>,
        target: &Arc<Program>,
        function: Option<&str>,
    ) -> LoadOptions {
        let target = (Arc::clone(target), function.map(str::to_owned));
        self.targets.insert(extension.into(), target);
        self
    }

    /// Relocates programs (CO-RE) against these types instead of the runtime's own.
    #[must_use]
    pub fn target_btf(mut self, target: Arc<core::Target>) -> LoadOptions {
        self.target_btf = Some(target);
        self
    }

    /// Sets a kernel configuration option that programs may read (`__kconfig`), as it stands in a configuration file: "y",
    /// "250", "\"text\"". The runtime has none of its own.
    #[must_use]
    pub fn kconfig(mut self, name: impl Into<String>, value: impl Into<String>) -> LoadOptions {
        self.kconfig.insert(name.into(), value.into());
        self
    }

    /// Sets addresses of symbols that programs may ask for (`__ksym`, not typed). The runtime has none of its own.
    #[must_use]
    pub fn symbols(mut self, symbols: impl IntoIterator<Item = (String, u64)>) -> LoadOptions {
        self.symbols.extend(symbols);
        self
    }

    /// Whether symbols were given, and this is none of them.
    pub(crate) fn lacks_symbol(&self, name: &str) -> bool {
        !self.symbols.is_empty() && !self.symbols.contains_key(name)
    }

    /// The types that programs are relocated against.
    pub(crate) fn types(&self) -> &core::Target {
        self.target_btf.as_ref().unwrap_or_else(|| types::target())
    }

    /// The types that programs are relocated against in a runtime with these types of its own.
    pub(crate) fn types_or(&self, own: Arc<core::Target>) -> Arc<core::Target> {
        self.target_btf.clone().unwrap_or(own)
    }

    /// The object as it is loaded where there is no runtime.
    pub(crate) fn relocate<'a>(&self, spec: &'a ObjectSpec) -> Result<Cow<'a, ObjectSpec>, RelocateError> {
        self.relocate_against(spec, self.types())
    }

    /// The object as it is loaded, relocated against these types.
    pub(crate) fn relocate_against<'a>(
        &self,
        spec: &'a ObjectSpec,
        types: &core::Target,
    ) -> Result<Cow<'a, ObjectSpec>, RelocateError> {
        if !spec.needs_relocation() {
            return Ok(Cow::Borrowed(spec));
        }
        let target = Target {
            btf: Some(types),
            kconfig: &|name| self.kconfig.get(name).cloned(),
            symbols: &|name| self.symbols.get(name).copied(),
            kernel_version: KERNEL_VERSION,
        };
        spec.relocate(&target).map(Cow::Owned)
    }
}
