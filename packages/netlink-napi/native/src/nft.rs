//! nft's own library, as `nft -f -` uses it, without a program for each transaction.

use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::io::{Error, ErrorKind, Result};
use std::sync::{Mutex, OnceLock};

use napi_derive::napi;

use crate::netns;

/// What `nft` would have ended with and written.
#[napi(object)]
pub struct NftOutcome {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// The part of libnftables(3) that is called; its names and types are those of every version of `libnftables.so.1`.
struct Library {
    new: unsafe extern "C" fn(c_uint) -> *mut c_void,
    free: unsafe extern "C" fn(*mut c_void),
    buffer_output: unsafe extern "C" fn(*mut c_void) -> c_int,
    buffer_error: unsafe extern "C" fn(*mut c_void) -> c_int,
    run: unsafe extern "C" fn(*mut c_void, *const c_char) -> c_int,
    output: unsafe extern "C" fn(*mut c_void) -> *const c_char,
    error: unsafe extern "C" fn(*mut c_void) -> *const c_char,
}

/// One transaction at a time: the library does not say that two may be under way.
static LIBRARY: OnceLock<Option<Mutex<Library>>> = OnceLock::new();

fn load() -> Option<Mutex<Library>> {
    // SAFETY: plain calls with strings that end; each symbol has the type that libnftables.h gives it.
    unsafe {
        let handle = libc::dlopen(c"libnftables.so.1".as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL);
        if handle.is_null() {
            return None;
        }
        macro_rules! symbol {
            ($name:expr) => {{
                let found = libc::dlsym(handle, $name.as_ptr());
                if found.is_null() {
                    return None;
                }
                std::mem::transmute(found)
            }};
        }
        Some(Mutex::new(Library {
            new: symbol!(c"nft_ctx_new"),
            free: symbol!(c"nft_ctx_free"),
            buffer_output: symbol!(c"nft_ctx_buffer_output"),
            buffer_error: symbol!(c"nft_ctx_buffer_error"),
            run: symbol!(c"nft_run_cmd_from_buffer"),
            output: symbol!(c"nft_ctx_get_output_buffer"),
            error: symbol!(c"nft_ctx_get_error_buffer"),
        }))
    }
}

/// Runs commands as one transaction in the namespace; none where the machine has no such library.
pub fn run(netns: Option<&str>, commands: &str) -> Result<Option<NftOutcome>> {
    let Some(library) = LIBRARY.get_or_init(load) else { return Ok(None) };
    let commands = CString::new(commands).map_err(|_| Error::from(ErrorKind::InvalidInput))?;
    let library = library.lock().map_err(|_| Error::other("a call of libnftables panicked"))?;
    // The context's socket is of the namespace that it is made in.
    netns::inside(netns, || {
        // SAFETY: the context is used by this thread alone and freed once; what it returns is copied before.
        unsafe {
            let context = (library.new)(0);
            if context.is_null() {
                return Err(Error::from(ErrorKind::OutOfMemory));
            }
            let buffered = (library.buffer_output)(context) == 0 && (library.buffer_error)(context) == 0;
            let outcome = buffered.then(|| {
                let code = (library.run)(context, commands.as_ptr());
                NftOutcome {
                    code: i32::from(code != 0),
                    stdout: text((library.output)(context)),
                    stderr: text((library.error)(context)),
                }
            });
            (library.free)(context);
            outcome.map(Some).ok_or_else(|| Error::from(ErrorKind::OutOfMemory))
        }
    })
}

/// SAFETY: `from` is null or a string that ends.
unsafe fn text(from: *const c_char) -> String {
    if from.is_null() {
        return String::new();
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(from) }.to_string_lossy().into_owned()
}
