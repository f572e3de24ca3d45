//! The compiled forms of a program, and which of them runs.
//!
//! A program is compiled as it is (plain), and with the calls of map tracing when a map that it writes is traced; and
//! both anew while other programs take the place of functions of it. Which form runs is a pointer of the program, changed
//! under the runtime's control lock; a grace period later nobody runs the one that it pointed to before.

use std::ptr;
use std::sync::Arc;

use hitless_jit::{Code, Engine, Entry, Function, Image, LowerInput, MapAddresses, Replaced, Variant, lower};
use hitless_verifier::{ContextFacts, Verified};

use crate::env::SERVICES;
use crate::extension::{ReplacedFunction, replaced};
use crate::helpers::kfuncs::Kfunc;
use crate::map::Map;
use crate::primitive::Mutex;
use crate::primitive::Ordering::{Acquire, Release};
use crate::primitive::atomic::AtomicPtr;
use crate::program::BuildError;
use crate::resolve::Resolver;

/// What a program is compiled from.
pub(crate) struct Source<'a> {
    pub(crate) name: &'a str,
    pub(crate) verified: &'a Verified,
    pub(crate) context: &'a ContextFacts,
    /// How many arguments it is passed.
    pub(crate) arguments: usize,
    pub(crate) maps: &'a [Arc<Map>],
    pub(crate) kfuncs: &'a [(i32, Kfunc)],
    pub(crate) engine: &'a dyn Engine,
}

impl Source<'_> {
    fn compile(&self, traced: bool, functions: &[Arc<ReplacedFunction>]) -> Result<Arc<Version>, BuildError> {
        let addresses: Vec<_> = self.maps.iter().map(addresses).collect();
        let replaced: Vec<Replaced> = functions.iter().map(replaced).collect();
        let image = Arc::new(lower(LowerInput {
            name: self.name,
            verified: self.verified,
            context: self.context,
            maps: &addresses,
            arguments: self.arguments,
            replaced: &replaced,
            variant: if traced { Variant::Traced } else { Variant::Plain },
            resolve: &Resolver {
                maps: self.maps,
                kfuncs: self.kfuncs,
            },
            services: SERVICES,
        })?);
        let code = self.engine.compile(Arc::clone(&image))?;
        Ok(Arc::new(Version {
            entry: code.entry(),
            image,
            code,
            traced,
            functions: functions.to_vec(),
        }))
    }
}

fn addresses(map: &Arc<Map>) -> MapAddresses {
    MapAddresses {
        map: Arc::as_ptr(map).expose_provenance() as u64,
        value: map.ops().inline().map_or(0, |values| values.base),
    }
}

/// One compiled form of a program.
pub(crate) struct Version {
    image: Arc<Image>,
    code: Box<dyn Code>,
    entry: Entry,
    traced: bool,
    /// The functions whose place others take: the code refers to them.
    functions: Vec<Arc<ReplacedFunction>>,
}

impl Version {
    /// How it is begun.
    #[inline]
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    /// Its code.
    pub(crate) fn code(&self) -> &dyn Code {
        &*self.code
    }

    /// Its operations.
    pub(crate) fn image(&self) -> &Image {
        &self.image
    }

    /// Whether it has the calls of map tracing.
    #[inline]
    pub(crate) fn is_traced(&self) -> bool {
        self.traced
    }

    /// The functions whose place others take.
    pub(crate) fn functions(&self) -> &[Arc<ReplacedFunction>] {
        &self.functions
    }

    /// The subprogram that a value stands for which this form has given to a helper.
    pub(crate) fn function(&self, func: u64) -> Option<Function> {
        self.code.function(func)
    }

    /// Its address, by which a run finds it again.
    #[inline]
    pub(crate) fn address(&self) -> usize {
        ptr::from_ref(self).expose_provenance()
    }
}

/// The forms that a program has.
pub(crate) struct Versions {
    /// That of those kept which runs.
    current: AtomicPtr<Version>,
    kept: Mutex<Kept>,
}

struct Kept {
    /// With no function replaced: not traced, and traced.
    own: [Option<Arc<Version>>; 2],
    /// The functions whose place others take.
    functions: Vec<Arc<ReplacedFunction>>,
    /// With those replaced: not traced, and traced.
    extended: [Option<Arc<Version>>; 2],
}

impl Kept {
    /// The forms with the functions replaced that are.
    fn forms(&mut self) -> &mut [Option<Arc<Version>>; 2] {
        if self.functions.is_empty() {
            &mut self.own
        } else {
            &mut self.extended
        }
    }
}

impl Versions {
    /// The plain form alone.
    pub(crate) fn new(source: &Source<'_>) -> Result<Versions, BuildError> {
        let plain = source.compile(false, &[])?;
        Ok(Versions {
            current: AtomicPtr::new(Arc::as_ptr(&plain).cast_mut()),
            kept: Mutex::new(Kept {
                own: [Some(plain), None],
                functions: Vec::new(),
                extended: [None, None],
            }),
        })
    }

    /// The form that runs now, for the length of a run.
    #[inline]
    pub(crate) fn current(&self) -> &Version {
        // SAFETY: it is one of those that are kept. One that is kept no more is held until a grace period has passed, by whoever
        // `replace` has given it to.
        unsafe { &*self.current.load(Acquire) }
    }

    /// The form that runs now, for those who are in no run.
    pub(crate) fn held(&self) -> Arc<Version> {
        let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let forms = kept.own.iter().chain(&kept.extended).flatten();
        let current = self.current.load(Acquire).cast_const();
        let mut found = forms.filter(|version| ptr::eq(Arc::as_ptr(version), current));
        Arc::clone(found.next().expect("the form that runs is one of those that are kept"))
    }

    /// Has the form run that is traced, or the one that is not. The caller holds the control lock.
    pub(crate) fn choose(&self, source: &Source<'_>, traced: bool) -> Result<(), BuildError> {
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let functions = kept.functions.clone();
        let form = &mut kept.forms()[usize::from(traced)];
        let version = match form {
            Some(version) => version,
            None => form.insert(source.compile(traced, &functions)?),
        };
        self.current.store(Arc::as_ptr(version).cast_mut(), Release);
        Ok(())
    }

    /// Has these functions replaced and no others. Returns what nobody runs any more a grace period later; the caller holds the
    /// control lock, and what it returns until then.
    pub(crate) fn replace(
        &self,
        source: &Source<'_>,
        functions: Vec<Arc<ReplacedFunction>>,
    ) -> Result<[Option<Arc<Version>>; 2], BuildError> {
        let traced = self.held().is_traced();
        let mut kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let mut extended = [None, None];
        let next = if functions.is_empty() {
            let form = &mut kept.own[usize::from(traced)];
            match form {
                Some(version) => version,
                None => form.insert(source.compile(traced, &[])?),
            }
        } else {
            extended[usize::from(traced)].insert(source.compile(traced, &functions)?)
        };
        self.current.store(Arc::as_ptr(next).cast_mut(), Release);
        kept.functions = functions;
        Ok(std::mem::replace(&mut kept.extended, extended))
    }

    /// The functions that are replaced.
    pub(crate) fn functions(&self) -> Vec<Arc<ReplacedFunction>> {
        let kept = self.kept.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        kept.functions.clone()
    }
}
