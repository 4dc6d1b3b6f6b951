//! What the operating-system process asks the kernel for, where madsim does not hear it.
//!
//! getrandom 0.2 (under rand 0.8, under raft-rs) calls libc's function `syscall(SYS_getrandom)`. madsim intercepts `getrandom` only,
//! so election timeouts drawn from `thread_rng` differ from run to run. This file defines `syscall`: it answers `SYS_getrandom` by
//! `getrandom`, which inside a world is madsim's seeded one, and forwards everything else to libc's own.
//!
//! Not in here: randomness that code is meant to use; that is a [`Stream`](crate::Stream).
//!
//! The only file of the workspace with `unsafe`: a symbol of libc cannot be replaced without it.
#![allow(unsafe_code)]

use std::{
    mem,
    sync::atomic::{AtomicBool, AtomicPtr, Ordering},
};

use libc::{c_long, c_void};

type Syscall = unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

/// Whether `SYS_getrandom` is answered here. Per operating-system process, because a symbol is.
static REMEDY: AtomicBool = AtomicBool::new(true);
/// libc's own `syscall`, once looked up. No `OnceLock`: it may call `syscall` to wait.
static LIBC: AtomicPtr<c_void> = AtomicPtr::new(std::ptr::null_mut());

/// Takes the remedy out (`false`) or puts it back, for the whole operating-system process.
///
/// Only for tests which show that the comparison of traces notices the leak; call it before any world starts.
pub fn set_remedy(active: bool) {
    REMEDY.store(active, Ordering::SeqCst);
}

/// Makes sure that the linker keeps the replacement, and that it is the one which is called.
///
/// # Panics
/// If another definition of `syscall` was linked: a run would not be a function of its seed.
pub(crate) fn install() {
    let ours: Syscall = syscall;
    let linked = libc::syscall as *const c_void;
    assert!(
        std::ptr::eq(ours as *const c_void, linked),
        "`syscall` is linked to {linked:?}, not to sim's replacement {ours:?}"
    );
}

/// libc's `syscall`, with `SYS_getrandom` answered by `getrandom`.
///
/// The real one is variadic; on Linux x86-64 and aarch64 a variadic call passes integers exactly as a fixed one does.
///
/// # Safety
/// As for libc's: the arguments are what system call `number` takes.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_getrandom && REMEDY.load(Ordering::Relaxed) {
        // SAFETY: these are the arguments of `getrandom`: a buffer, its length, flags.
        return unsafe { libc::getrandom(a as *mut c_void, b as usize, c as u32) } as c_long;
    }
    let mut found = LIBC.load(Ordering::Relaxed);
    if found.is_null() {
        // SAFETY: the name is a C string. Two threads that race find the same address.
        found = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) };
        if found.is_null() {
            // Unwinding out of here would be undefined, and no system call could be made any more.
            std::process::abort();
        }
        LIBC.store(found, Ordering::Relaxed);
    }
    // SAFETY: `found` is libc's `syscall`, and the caller keeps the contract of system call `number`. errno is left as it was set.
    unsafe { mem::transmute::<*mut c_void, Syscall>(found)(number, a, b, c, d, e, f) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn forwards_what_it_does_not_answer() {
        super::install();
        // SAFETY: getpid takes nothing; close of a descriptor that is not open fails and sets errno.
        let (pid, failed) = unsafe { (libc::syscall(libc::SYS_getpid), libc::syscall(libc::SYS_close, -1)) };
        assert_eq!(pid, i64::from(std::process::id()));
        assert_eq!(failed, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::EBADF));
    }
}
