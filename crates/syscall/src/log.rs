//! Logs of what is loaded, in memory of the caller's.
//!
//! A log that does not fit keeps its end, as Linux does since 6.4, or its beginning if the caller asked for that. It ends with a
//! zero byte.

use rustix::io::Errno;

use crate::Call;
use crate::attr::Field;

/// The levels that there are: messages, each instruction, figures, and that the beginning is kept.
const LEVELS: u32 = 1 | 2 | 4 | 8;
/// `BPF_LOG_FIXED`: the beginning of the log is kept.
const FIXED: u32 = 8;

/// Where a caller wants a log, and what of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LogRequest {
    pub(crate) level: u32,
    pub(crate) address: u64,
    pub(crate) size: u32,
}

/// The log has more bytes than the caller has room for, or there is no memory there.
#[derive(Clone, Copy, Debug)]
struct NoRoom {
    /// How many bytes it has.
    needed: u32,
    errno: Errno,
}

impl LogRequest {
    /// Refuses what contradicts itself.
    pub(crate) fn check(&self) -> Result<(), Errno> {
        let has_room = self.address != 0;
        let consistent = has_room == (self.size != 0) && !(has_room && self.level == 0);
        if !consistent || self.level & !LEVELS != 0 || self.size > u32::MAX >> 2 {
            return Err(Errno::INVAL);
        }
        Ok(())
    }

    /// Writes the log. A caller that knows of the attribute is told how many bytes it has, its end included.
    pub(crate) fn finish(&self, call: &Call<'_>, text: &str, true_size: Field<u32>) -> Result<(), Errno> {
        let written = self.write(call, text);
        if call.attr.has(true_size) {
            let needed = written.unwrap_or_else(|full| full.needed);
            call.caller
                .write(call.attr.address_of(true_size), &needed.to_ne_bytes())?;
        }
        written.map(|_| ()).map_err(|full| full.errno)
    }

    /// Writes the log; says how many bytes it has, its end included.
    fn write(&self, call: &Call<'_>, text: &str) -> Result<u32, NoRoom> {
        if self.level == 0 {
            return Ok(0);
        }
        let needed = u32::try_from(text.len() + 1).unwrap_or(u32::MAX);
        if self.address == 0 {
            return Ok(needed);
        }
        let failed = |errno| NoRoom { needed, errno };
        let room = self.size as usize;
        let mut bytes = text.as_bytes().to_vec();
        if text.len() + 1 > room {
            bytes = if self.level & FIXED != 0 {
                bytes[..room - 1].to_vec()
            } else {
                bytes[text.len() + 1 - room..].to_vec()
            };
        }
        bytes.push(0);
        call.caller.write(self.address, &bytes).map_err(failed)?;
        if text.len() + 1 > room {
            return Err(failed(Errno::NOSPC));
        }
        Ok(needed)
    }
}
