//! The same C as a library of the host's, made by gcc.

use std::ffi::CString;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const OPTIONS: [&str; 5] = ["-O2", "-fno-tree-vectorize", "-fno-strict-aliasing", "-shared", "-fPIC"];

/// The functions of `work.c`.
pub struct Host {
    library: *mut libc::c_void,
    compiler: String,
}

impl Host {
    /// Compiles and loads them, or says why that cannot be.
    pub fn compile() -> Result<Host, String> {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("native/work.c");
        let directory = std::env::temp_dir().join(format!("hitless-work-{}", std::process::id()));
        std::fs::create_dir_all(&directory).map_err(|error| error.to_string())?;
        let library = directory.join("work.so");
        let built = Command::new("gcc")
            .args(OPTIONS)
            .arg("-o")
            .arg(&library)
            .arg(source)
            .status();
        let path = CString::new(library.into_os_string().into_encoded_bytes()).map_err(|error| error.to_string())?;
        let loaded = match built {
            // SAFETY: the library runs nothing when it is loaded.
            Ok(status) if status.success() => Ok(unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) }),
            Ok(status) => Err(format!("gcc: {status}")),
            Err(error) => Err(format!("gcc: {error}")),
        };
        // What is loaded stays.
        let _ = std::fs::remove_dir_all(&directory);
        let library = loaded?;
        if library.is_null() {
            return Err("the library cannot be loaded".to_owned());
        }
        let version = Command::new("gcc")
            .arg("--version")
            .output()
            .map_err(|error| error.to_string())?;
        let version = String::from_utf8_lossy(&version.stdout);
        Ok(Host {
            library,
            compiler: format!(
                "{} {}",
                version.lines().next().unwrap_or_default(),
                OPTIONS[..2].join(" ")
            ),
        })
    }

    /// Version and options of the compiler.
    pub fn compiler(&self) -> &str {
        &self.compiler
    }

    /// Runs a function again and again; returns the nanoseconds of one run.
    pub fn run(&self, name: &str, data: &mut [u8], repeat: u32) -> f64 {
        let symbol = CString::new(name).expect("a name");
        // SAFETY: the library stays loaded.
        let function = unsafe { libc::dlsym(self.library, symbol.as_ptr()) };
        assert!(!function.is_null(), "no function {name}");
        // SAFETY: every function of `work.c` has this signature.
        let function: extern "C" fn(*mut u8) = unsafe { std::mem::transmute(function) };
        assert!(data.len() >= super::BYTES + 8, "as much as the functions touch");
        let start = Instant::now();
        for _ in 0..repeat {
            function(std::hint::black_box(data.as_mut_ptr()));
        }
        start.elapsed().as_nanos() as f64 / f64::from(repeat)
    }
}
