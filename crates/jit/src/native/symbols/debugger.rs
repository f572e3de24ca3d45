//! The interface of debuggers for code that is made at run time: a list of ELF files in memory, and a function that is called
//! when it has changed, which debuggers stop at. Each file here says where functions are, and no more.
//!
//! The list and the function have fixed names and are weak, so that another code generator in the process may have them, too.

use std::arch::global_asm;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use object::Endianness;
use object::elf;
use object::write::elf::{FileHeader, SectionHeader, Sym, Writer};

use super::Symbol;

global_asm!(
    ".pushsection .text",
    ".weak __jit_debug_register_code",
    "__jit_debug_register_code: ret",
    ".popsection",
    ".pushsection .data",
    ".balign 8",
    ".weak __jit_debug_descriptor",
    "__jit_debug_descriptor:",
    "    .long 1", // version
    "    .long 0", // action
    "    .quad 0", // relevant entry
    "    .quad 0", // first entry
    ".popsection",
);

unsafe extern "C" {
    fn __jit_debug_register_code();
    static mut __jit_debug_descriptor: Descriptor;
}

#[repr(C)]
struct Descriptor {
    version: u32,
    action: u32,
    relevant: *mut Entry,
    first: *mut Entry,
}

const REGISTER: u32 = 1;
const UNREGISTER: u32 = 2;

#[repr(C)]
struct Entry {
    next: *mut Entry,
    prev: *mut Entry,
    file: *const u8,
    len: u64,
}

/// Guards the list.
static LIST: Mutex<()> = Mutex::new(());

/// Functions that debuggers know, until dropped.
pub(in crate::native) struct Registered {
    entry: *mut Entry,
    _file: Box<[u8]>,
}

// SAFETY: the entry is used under the lock only, and the file does not change.
unsafe impl Send for Registered {}
// SAFETY: as above.
unsafe impl Sync for Registered {}

impl Registered {
    /// Registers functions; `None` if there is no file for them.
    pub(super) fn new(functions: &[Symbol]) -> Option<Registered> {
        let file: Box<[u8]> = file(functions)?.into();
        let _guard = LIST.lock().unwrap_or_else(PoisonError::into_inner);
        let list = &raw mut __jit_debug_descriptor;
        // SAFETY: the list is changed under the lock only; its entries are live until they are taken out.
        unsafe {
            let next = (*list).first;
            let entry = Box::into_raw(Box::new(Entry {
                next,
                prev: ptr::null_mut(),
                file: file.as_ptr(),
                len: file.len() as u64,
            }));
            if let Some(next) = next.as_mut() {
                next.prev = entry;
            }
            (*list).first = entry;
            notify(list, REGISTER, entry);
            Some(Registered { entry, _file: file })
        }
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let _guard = LIST.lock().unwrap_or_else(PoisonError::into_inner);
        let list = &raw mut __jit_debug_descriptor;
        // SAFETY: as above; the entry came from `Box::into_raw` and is in the list until here.
        unsafe {
            let Entry { next, prev, .. } = *self.entry;
            match prev.as_mut() {
                Some(prev) => prev.next = next,
                None => (*list).first = next,
            }
            if let Some(next) = next.as_mut() {
                next.prev = prev;
            }
            notify(list, UNREGISTER, self.entry);
            drop(Box::from_raw(self.entry));
        }
    }
}

/// # Safety
/// Both are valid, and the lock is held.
unsafe fn notify(list: *mut Descriptor, action: u32, entry: *mut Entry) {
    // SAFETY: as for this function. The function does nothing; a debugger that stops there reads the list.
    unsafe {
        (*list).action = action;
        (*list).relevant = entry;
        __jit_debug_register_code();
    }
}

/// An ELF file that says where functions are.
fn file(functions: &[Symbol]) -> Option<Vec<u8>> {
    let machine = match std::env::consts::ARCH {
        "x86_64" => elf::EM_X86_64,
        "aarch64" => elf::EM_AARCH64,
        _ => return None,
    };
    let (first, last) = (functions.first()?, functions.last()?);
    let (start, end) = (first.addresses.start as u64, last.addresses.end as u64);
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::default(), true, &mut bytes);
    writer.reserve_file_header();
    let text_name = writer.add_section_name(b".text");
    let text = writer.reserve_section_index();
    let mut names = Vec::new();
    for function in functions {
        names.push(writer.add_string(function.name.as_bytes()));
        writer.reserve_symbol_index(Some(text));
    }
    writer.reserve_symtab_section_index();
    writer.reserve_symtab();
    writer.reserve_strtab_section_index();
    writer.reserve_strtab().ok()?;
    writer.reserve_shstrtab_section_index();
    writer.reserve_shstrtab().ok()?;
    writer.reserve_section_headers();

    let header = FileHeader {
        os_abi: elf::ELFOSABI_SYSV,
        abi_version: 0,
        e_type: elf::ET_EXEC,
        e_machine: machine,
        e_entry: 0,
        e_flags: elf::FileFlags(0),
    };
    writer.write_file_header(&header).ok()?;
    writer.write_null_symbol();
    for (function, name) in functions.iter().zip(names) {
        let symbol = Sym {
            section: Some(text.0),
            st_name: writer.string_offset(Some(name)),
            st_info: elf::STB_GLOBAL | elf::STT_FUNC,
            st_other: elf::SymbolOther(0),
            st_shndx: elf::SHN_UNDEF,
            st_value: function.addresses.start as u64,
            st_size: function.addresses.len() as u64,
        };
        writer.write_symbol(&symbol);
    }
    writer.write_strtab();
    writer.write_shstrtab();
    writer.write_null_section_header();
    let text = SectionHeader {
        sh_name: writer.section_name_offset(Some(text_name)),
        sh_type: elf::SHT_NOBITS,
        sh_flags: elf::SHF_ALLOC | elf::SHF_EXECINSTR,
        sh_addr: start,
        sh_offset: 0,
        sh_size: end - start,
        sh_link: 0,
        sh_info: 0,
        sh_addralign: 16,
        sh_entsize: 0,
    };
    writer.write_section_header(&text);
    writer.write_symtab_section_header(1);
    writer.write_strtab_section_header();
    writer.write_shstrtab_section_header();
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object::{Object as _, ObjectSymbol as _};

    fn listed() -> Vec<*mut Entry> {
        let mut found = Vec::new();
        // SAFETY: the test's process has no other thread that changes the list.
        unsafe {
            let mut entry = __jit_debug_descriptor.first;
            while !entry.is_null() {
                found.push(entry);
                entry = (*entry).next;
            }
        }
        found
    }

    #[test]
    fn functions_are_known_until_they_are_gone() {
        let symbols = |name: &str| {
            [Symbol {
                name: name.to_owned(),
                addresses: 0x1000..0x1020,
            }]
        };
        let first = Registered::new(&symbols("first")).expect("a file");
        let second = Registered::new(&symbols("second")).expect("a file");
        assert_eq!(listed(), [second.entry, first.entry]);
        drop(first);
        assert_eq!(listed(), [second.entry]);
        drop(second);
        assert!(listed().is_empty());
    }

    #[test]
    fn files_say_where_functions_are() {
        let functions = [("bpf_prog_a", 0x1000..0x1020), ("bpf_prog_a.1", 0x1020..0x1030)];
        let symbols = functions.clone().map(|(name, addresses)| Symbol {
            name: name.to_owned(),
            addresses,
        });
        let bytes = file(&symbols).expect("a file");
        let parsed = object::File::parse(&*bytes).expect("it parses");
        let found = parsed.symbols().map(|symbol| {
            let start = symbol.address() as usize;
            (
                symbol.name().expect("a name").to_owned(),
                start..start + symbol.size() as usize,
            )
        });
        let expected = functions.map(|(name, addresses)| (name.to_owned(), addresses));
        assert_eq!(found.collect::<Vec<_>>(), expected);
    }
}
