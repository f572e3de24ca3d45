//! `BPF_BTF_LOAD`, and the BTF that is loaded.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hitless_btf::{Btf, BtfError};
use rustix::io::Errno;

use crate::attr::Field;
use crate::log::LogRequest;
use crate::object::Object;
use crate::{Call, ENOTSUPP};

const BTF: Field<u64> = Field::at(0);
const LOG_BUF: Field<u64> = Field::at(8);
const BTF_SIZE: Field<u32> = Field::at(16);
const LOG_SIZE: Field<u32> = Field::at(20);
const LOG_LEVEL: Field<u32> = Field::at(24);
const LOG_TRUE_SIZE: Field<u32> = Field::at(28);
const FLAGS: Field<u32> = Field::at(32);
const TOKEN_FD: Field<u32> = Field::at(36);

/// `BPF_F_TOKEN_FD`: an attribute names a token.
const F_TOKEN_FD: u32 = 1 << 16;

/// The most bytes that BTF may have.
const MAX_SIZE: u32 = 16 << 20;

/// BTF that a caller has loaded.
#[derive(Debug)]
pub(crate) struct LoadedBtf {
    pub(crate) id: u32,
    pub(crate) btf: Arc<Btf>,
    /// As it was loaded.
    pub(crate) bytes: Vec<u8>,
}

/// The BTF that there is, by id: what callers have loaded, as long as somebody has a descriptor or a map or program uses it; and what
/// those of the host use, from when somebody asks for it.
#[derive(Debug, Default)]
pub(crate) struct Btfs(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    last_id: u32,
    loaded: BTreeMap<u32, Arc<LoadedBtf>>,
}

impl Known {
    fn add(&mut self, btf: Arc<Btf>, bytes: Vec<u8>) -> Arc<LoadedBtf> {
        self.last_id += 1;
        let id = self.last_id;
        let loaded = Arc::new(LoadedBtf { id, btf, bytes });
        self.loaded.insert(id, Arc::clone(&loaded));
        loaded
    }
}

impl Btfs {
    /// What there is, without what nobody uses any more.
    fn known(&self) -> MutexGuard<'_, Known> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_used = |btf: &Arc<LoadedBtf>| Arc::strong_count(btf) > 1 || Arc::strong_count(&btf.btf) > 1;
        known.loaded.retain(|_, btf| is_used(btf));
        known
    }

    fn add(&self, btf: Btf, bytes: Vec<u8>) -> Arc<LoadedBtf> {
        self.known().add(Arc::new(btf), bytes)
    }

    /// The ids of all that there is, in order.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.known().loaded.keys().copied().collect()
    }

    pub(crate) fn by_id(&self, id: u32) -> Option<Arc<LoadedBtf>> {
        self.known().loaded.get(&id).cloned()
    }

    /// The id of what a map or program uses.
    pub(crate) fn id_of(&self, btf: &Arc<Btf>) -> u32 {
        let mut known = self.known();
        let found = known.loaded.values().find(|loaded| Arc::ptr_eq(&loaded.btf, btf));
        match found {
            Some(loaded) => loaded.id,
            None => known.add(Arc::clone(btf), btf.to_bytes()).id,
        }
    }
}

/// Loads BTF. What is wrong with it is said in the log.
pub(crate) fn load(call: &Call<'_>) -> Result<u32, Errno> {
    let attr = call.attr;
    if attr.get(FLAGS) & !F_TOKEN_FD != 0 {
        return Err(Errno::INVAL);
    }
    if attr.get(FLAGS) != 0 {
        // Whatever it is, it is no token.
        return Err(call.object(attr.get(TOKEN_FD)).err().unwrap_or(Errno::INVAL));
    }
    let size = attr.get(BTF_SIZE);
    if size > MAX_SIZE {
        return Err(Errno::TOOBIG);
    }
    let request = LogRequest {
        level: attr.get(LOG_LEVEL),
        address: attr.get(LOG_BUF),
        size: attr.get(LOG_SIZE),
    };
    request.check()?;
    let mut bytes = vec![0; size as usize];
    call.caller.read(attr.get(BTF), &mut bytes)?;
    let parsed = Btf::parse(&bytes);
    let text = match &parsed {
        Ok(_) => String::new(),
        Err(error) => format!("{error}\n"),
    };
    request.finish(call, &text, LOG_TRUE_SIZE)?;
    let btf = parsed.map_err(|error| errno(&error))?;
    call.open(Object::Btf(call.bpf.btfs.add(btf, bytes)))
}

fn errno(error: &BtfError) -> Errno {
    match error {
        BtfError::Version { .. } | BtfError::Flags { what: "header", .. } => ENOTSUPP,
        BtfError::TooLarge { .. } | BtfError::TooManyTypes { .. } => Errno::TOOBIG,
        _ => Errno::INVAL,
    }
}
