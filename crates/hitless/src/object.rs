//! Objects as they are opened, changed and loaded.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use hitless_object::{MapSpec, ObjectError, ObjectSpec, Pinning};

use crate::btf_type::check_layout;
use crate::load::{Collection, LoadError};
use crate::load_options::LoadOptions;
use crate::map::Map;
use crate::maps::{SetGlobalError, find_global, known_globals};
use crate::runtime::Runtime;
use crate::upgrade::Upgrade;
use crate::{Value, upgrade};

/// An object file that was opened and is yet to be loaded: what is in it can be changed, then [`Object::load`] makes its maps
/// and programs. It may be loaded any number of times.
///
/// # Examples
/// ```
/// use hitless::{Object, Runtime};
///
/// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
/// let runtime = Runtime::default();
/// let mut object = Object::open("bpf/flows_v1.bpf.o")?;
/// object.set_max_entries("flows", 100_000)?;
/// let counting = object.load(&runtime)?;
/// assert_eq!(counting.map("flows").unwrap().def().max_entries, 100_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Object {
    spec: ObjectSpec,
    options: LoadOptions,
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let maps: Vec<_> = self.spec.maps.iter().map(|map| &map.name).collect();
        let programs: Vec<_> = self.spec.programs.iter().map(|program| &program.name).collect();
        f.debug_struct("Object")
            .field("maps", &maps)
            .field("programs", &programs)
            .finish_non_exhaustive()
    }
}

/// Why an object could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The file cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// What was read is no BPF object.
    #[error("{}no BPF object", place(path))]
    Parse {
        /// The file, if it came from one.
        path: Option<PathBuf>,
        /// The first thing that is wrong.
        source: ObjectError,
    },
}

fn place(path: &Option<PathBuf>) -> String {
    path.as_ref()
        .map(|path| format!("{}: ", path.display()))
        .unwrap_or_default()
}

/// An object has no map or program of this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no {what} {name}, expected one of: {}", known.join(", "))]
pub struct NotInObject {
    /// `map` or `program`.
    pub what: &'static str,
    /// The name that was asked for.
    pub name: String,
    /// Those that there are.
    pub known: Vec<String>,
}

impl Object {
    /// Reads an object file.
    ///
    /// # Errors
    /// [`OpenError::Read`], or [`OpenError::Parse`] if it is no BPF object.
    pub fn open(path: impl AsRef<Path>) -> Result<Object, OpenError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| OpenError::Read {
            path: path.to_owned(),
            source,
        })?;
        Object::parse(&bytes, Some(path))
    }

    /// An object file's bytes, such as those of `include_bytes!`.
    ///
    /// # Errors
    /// [`OpenError::Parse`] if they are no BPF object.
    pub fn from_bytes(bytes: &[u8]) -> Result<Object, OpenError> {
        Object::parse(bytes, None)
    }

    fn parse(bytes: &[u8], path: Option<&Path>) -> Result<Object, OpenError> {
        let spec = ObjectSpec::parse(bytes).map_err(|source| OpenError::Parse {
            path: path.map(Path::to_owned),
            source,
        })?;
        Ok(Object::from(spec))
    }

    /// What the object describes, with the changes made so far.
    #[must_use]
    pub fn spec(&self) -> &ObjectSpec {
        &self.spec
    }

    /// Sets the value that a global variable starts with. Constants (`const volatile` in C, in `.rodata`) can be set here
    /// only: the verifier then knows their values, and leaves out the code that they make unreachable.
    ///
    /// # Errors
    /// [`SetGlobalError`] if there is no such variable, or it is of another type.
    ///
    /// # Examples
    /// ```
    /// # use hitless::Object;
    /// # std::env::set_current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))?;
    /// let mut object = Object::open("bpf/flows_v1.bpf.o")?;
    /// object.set_global("packets_seen", 5u64)?;
    /// let error = object.set_global("packets_sean", 5u64).unwrap_err();
    /// assert!(error.to_string().starts_with("no variable packets_sean, expected one of: "));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_global<T: Value>(&mut self, name: &str, value: T) -> Result<&mut Object, SetGlobalError> {
        let btf = self.spec.btf.as_ref();
        let is_section = |map: &&mut MapSpec| map.data.is_some() && map.name != ".kconfig";
        for map in self.spec.maps.iter_mut().filter(is_section) {
            let Some((btf, section)) = btf.zip(map.value_type) else {
                continue;
            };
            let Some(place) = find_global(btf, section, name) else {
                continue;
            };
            check_layout::<T>(Some((btf, place.ty)), place.size as usize).map_err(|source| SetGlobalError::Type {
                name: name.to_owned(),
                source,
            })?;
            let end = (place.offset + place.size) as usize;
            let data = map.data.get_or_insert_default();
            data.resize(data.len().max(end), 0);
            data[place.offset as usize..end].copy_from_slice(bytemuck::bytes_of(&value));
            return Ok(self);
        }
        Err(SetGlobalError::NotFound {
            name: name.to_owned(),
            known: self.globals(),
        })
    }

    /// The names of its global variables.
    #[must_use]
    pub fn globals(&self) -> Vec<String> {
        let sections = self
            .spec
            .maps
            .iter()
            .filter(|map| map.data.is_some() && map.name != ".kconfig");
        let sections = sections.filter_map(|map| self.spec.btf.as_ref().zip(map.value_type));
        sections
            .flat_map(|(btf, section)| known_globals(btf, section))
            .collect()
    }

    /// Sets how many elements a map holds at the most.
    ///
    /// # Errors
    /// [`NotInObject`] if there is no such map. A number that the map cannot have is refused at load.
    pub fn set_max_entries(&mut self, map: &str, max_entries: u32) -> Result<&mut Object, NotInObject> {
        self.map_mut(map)?.max_entries = max_entries;
        Ok(self)
    }

    /// Sets whether and where a map is pinned.
    ///
    /// # Errors
    /// [`NotInObject`] if there is no such map.
    pub fn set_pinning(&mut self, map: &str, pinning: Pinning) -> Result<&mut Object, NotInObject> {
        self.map_mut(map)?.pinning = pinning;
        Ok(self)
    }

    /// Takes an existing map in place of the object's, which it has to equal in type, sizes and number of elements.
    ///
    /// # Errors
    /// [`NotInObject`] if there is no such map. One that does not fit is refused at load.
    pub fn replace_map(&mut self, name: &str, map: &Arc<Map>) -> Result<&mut Object, NotInObject> {
        self.map_mut(name)?;
        let options = std::mem::take(&mut self.options);
        self.options = options.replace_map(name, map);
        Ok(self)
    }

    /// Sets whether a program is loaded with the object. By default those are whose section does not begin with `?`.
    ///
    /// # Errors
    /// [`NotInObject`] if there is no such program.
    pub fn set_autoload(&mut self, program: &str, autoload: bool) -> Result<&mut Object, NotInObject> {
        match self.spec.programs.iter_mut().find(|known| known.name == program) {
            Some(found) => found.autoload = autoload,
            None => {
                return Err(NotInObject {
                    what: "program",
                    name: program.to_owned(),
                    known: self.spec.programs.iter().map(|program| program.name.clone()).collect(),
                });
            }
        }
        Ok(self)
    }

    /// What depends on where the object is loaded: types to relocate against, configuration options, symbols. In place of
    /// what was set before, maps included.
    pub fn set_options(&mut self, options: LoadOptions) -> &mut Object {
        self.options = options;
        self
    }

    /// Loads the object: makes its maps, verifies and compiles its programs. Nothing is attached.
    ///
    /// # Errors
    /// [`LoadError`], by variant; then nothing of the object stays behind.
    pub fn load(&self, runtime: &Runtime) -> Result<Collection, LoadError> {
        runtime.load_with(&self.spec, &self.options)
    }

    /// An upgrade of what runs as `old` to this object.
    #[must_use]
    pub fn upgrade<'a>(&'a self, runtime: &'a Runtime, old: &'a Collection, options: upgrade::Options) -> Upgrade<'a> {
        Upgrade::new(runtime, old, &self.spec, options).load_options(self.options.clone())
    }

    fn map_mut(&mut self, name: &str) -> Result<&mut MapSpec, NotInObject> {
        let Some(index) = self.spec.maps.iter().position(|map| map.name == name) else {
            return Err(NotInObject {
                what: "map",
                name: name.to_owned(),
                known: self.spec.maps.iter().map(|map| map.name.clone()).collect(),
            });
        };
        Ok(&mut self.spec.maps[index])
    }
}

impl From<ObjectSpec> for Object {
    /// An object made otherwise than from a file.
    fn from(spec: ObjectSpec) -> Object {
        Object {
            spec,
            options: LoadOptions::default(),
        }
    }
}
