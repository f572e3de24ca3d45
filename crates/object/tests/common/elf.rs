//! Writes object files that today's compilers do not write.

/// Kinds of sections (`SHT_*`).
pub(crate) const PROGBITS: u32 = 1;
const SYMTAB: u32 = 2;
const STRTAB: u32 = 3;
const RELA: u32 = 4;
const REL: u32 = 9;
const SYMTAB_SHNDX: u32 = 18;

/// `SHF_ALLOC | SHF_EXECINSTR`.
pub(crate) const CODE: u64 = 6;
/// `SHF_ALLOC | SHF_WRITE`.
pub(crate) const WRITABLE: u64 = 3;
/// `SHF_COMPRESSED`.
pub(crate) const COMPRESSED: u64 = 1 << 11;

/// Kinds of symbols: binding and type.
pub(crate) const GLOBAL_FUNC: u8 = 0x12;
pub(crate) const GLOBAL_OBJECT: u8 = 0x11;
pub(crate) const GLOBAL_NOTYPE: u8 = 0x10;
pub(crate) const LOCAL_FUNC: u8 = 0x02;
pub(crate) const LOCAL_NOTYPE: u8 = 0x00;

/// What symbols have in place of a section: a fixed address, or "common".
pub(crate) const ABSOLUTE: u32 = 0xfff1;
pub(crate) const COMMON: u32 = 0xfff2;
/// Section indices from here on do not fit into a symbol or the header.
const LORESERVE: u32 = 0xff00;
const XINDEX: u16 = 0xffff;

/// `r0 = imm`
pub(crate) fn mov(imm: i32) -> [u8; 8] {
    insn(0xb7, 0, imm)
}

/// `call pc+imm`
pub(crate) fn call(imm: i32) -> [u8; 8] {
    insn(0x85, 0x10, imm)
}

/// `r1 = 0` in two slots.
pub(crate) const WIDE: [[u8; 8]; 2] = [[0x18, 1, 0, 0, 0, 0, 0, 0], [0; 8]];

pub(crate) const EXIT: [u8; 8] = [0x95, 0, 0, 0, 0, 0, 0, 0];

fn insn(code: u8, regs: u8, imm: i32) -> [u8; 8] {
    let [a, b, c, d] = imm.to_le_bytes();
    [code, regs, 0, 0, a, b, c, d]
}

struct Section {
    name: String,
    kind: u32,
    flags: u64,
    data: Vec<u8>,
    link: u32,
    info: u32,
}

/// An object file in the making.
pub(crate) struct Builder {
    sections: Vec<Section>,
    /// Name, kind, section, value and size.
    symbols: Vec<(String, u8, u32, u64, u64)>,
    /// What relocations say of the symbol table they use, if not the truth.
    pub(crate) symbol_table: Option<u32>,
}

impl Builder {
    pub(crate) fn new() -> Builder {
        let mut builder = Builder {
            sections: Vec::new(),
            symbols: Vec::new(),
            symbol_table: None,
        };
        builder.section("", 0, 0, &[]);
        builder.symbol("", 0, 0, 0, 0);
        builder
    }

    /// Adds a section, and tells its index.
    pub(crate) fn section(&mut self, name: &str, kind: u32, flags: u64, data: &[u8]) -> u32 {
        self.sections.push(Section {
            name: name.into(),
            kind,
            flags,
            data: data.to_vec(),
            link: 0,
            info: 0,
        });
        self.sections.len() as u32 - 1
    }

    /// Adds a section of code.
    pub(crate) fn code(&mut self, name: &str, insns: &[[u8; 8]]) -> u32 {
        self.section(name, PROGBITS, CODE, insns.as_flattened())
    }

    /// Adds a symbol, and tells its index.
    pub(crate) fn symbol(&mut self, name: &str, kind: u8, section: u32, value: u64, size: u64) -> u32 {
        self.symbols.push((name.into(), kind, section, value, size));
        self.symbols.len() as u32 - 1
    }

    /// Adds a relocation of a section: offset, symbol, kind and, if it is not in the section, what to add.
    pub(crate) fn reloc(&mut self, section: u32, offset: u64, symbol: u32, kind: u32, addend: Option<i64>) {
        let info = u64::from(symbol) << 32 | u64::from(kind);
        let mut data = [offset.to_le_bytes(), info.to_le_bytes()].concat();
        data.extend(addend.iter().flat_map(|addend| addend.to_le_bytes()));
        let index = self.section(".rel", if addend.is_some() { RELA } else { REL }, 0, &data);
        self.sections[index as usize].info = section;
    }

    /// The file.
    pub(crate) fn build(mut self) -> Vec<u8> {
        let mut names = vec![0];
        let mut name = |text: &str| {
            let at = if text.is_empty() { 0 } else { names.len() as u32 };
            names.extend(text.bytes().chain(Some(0)).filter(|_| at > 0));
            at
        };
        let (mut symbols, mut indices) = (Vec::<u8>::new(), Vec::<u8>::new());
        for (text, kind, section, value, size) in &self.symbols {
            // Without that many sections, such a number means a place that is no section.
            let fits = *section < LORESERVE || self.sections.len() < LORESERVE as usize;
            let short = if fits { *section as u16 } else { XINDEX };
            symbols.extend(name(text).to_le_bytes());
            symbols.extend([*kind, 0]);
            symbols.extend(short.to_le_bytes());
            symbols.extend(value.to_le_bytes());
            symbols.extend(size.to_le_bytes());
            indices.extend(section.to_le_bytes());
        }
        let section_names: Vec<u32> = self.sections.iter().map(|section| name(&section.name)).collect();
        let table = self.section("", SYMTAB, 0, &symbols);
        let extended = self.section("", SYMTAB_SHNDX, 0, &indices);
        let strings = self.section("", STRTAB, 0, &names);
        self.sections[table as usize].link = strings;
        self.sections[extended as usize].link = table;
        let used = self.symbol_table.unwrap_or(table);
        self.sections
            .iter_mut()
            .filter(|s| [REL, RELA].contains(&s.kind))
            .for_each(|s| s.link = used);

        let count = self.sections.len() as u32;
        let (mut headers, mut bodies) = (Vec::<u8>::new(), Vec::<u8>::new());
        for (index, section) in self.sections.iter().enumerate() {
            // What does not fit into the file's header is in that of the first section.
            let (size, link) = match index {
                0 if count >= LORESERVE => (u64::from(count), strings),
                _ => (section.data.len() as u64, section.link),
            };
            let entry: u64 = match section.kind {
                SYMTAB | RELA => 24,
                REL => 16,
                SYMTAB_SHNDX => 4,
                _ => 0,
            };
            headers.extend(section_names.get(index).copied().unwrap_or(0).to_le_bytes());
            headers.extend(section.kind.to_le_bytes());
            for word in [section.flags, 0, 64 + bodies.len() as u64, size] {
                headers.extend(word.to_le_bytes());
            }
            headers.extend([link.to_le_bytes(), section.info.to_le_bytes()].as_flattened());
            headers.extend([8, entry].map(u64::to_le_bytes).as_flattened());
            bodies.extend(&section.data);
        }
        let short = |number: u32, instead: u16| if number < LORESERVE { number as u16 } else { instead };
        let mut file = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
        file.extend([1u16, 247].map(u16::to_le_bytes).as_flattened());
        file.extend(1u32.to_le_bytes());
        file.extend([0, 0, 64 + bodies.len() as u64].map(u64::to_le_bytes).as_flattened());
        file.extend(0u32.to_le_bytes());
        let tail = [64, 0, 0, 64, short(count, 0), short(strings, XINDEX)];
        file.extend(tail.map(u16::to_le_bytes).as_flattened());
        file.extend(bodies);
        file.extend(headers);
        file
    }
}
