//! A container's first process (PID 1). The kernel makes it the parent of every orphan, and gives it no default action for
//! signals; so it starts the command, forwards signals to it, reaps processes, and exits as the command did.

use std::ffi::CString;
use std::io::Error;
use std::mem::MaybeUninit;
use std::process::ExitCode;
use std::ptr;

/// The exit codes of shells for a command that can't be run, or does not exist.
const CANNOT_RUN: u8 = 126;
const NOT_FOUND: u8 = 127;

pub fn run(command: &[&str]) -> ExitCode {
    let Ok(words) = command.iter().map(|word| CString::new(*word)).collect::<Result<Vec<_>, _>>() else {
        return ExitCode::from(CANNOT_RUN);
    };
    // SAFETY: plain system calls; the sets are written before they are read.
    unsafe {
        let mut all = MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
        let child = libc::fork();
        match child {
            -1 => {
                eprintln!("init: can't start a process: {}", Error::last_os_error());
                ExitCode::from(CANNOT_RUN)
            }
            0 => execute(&words, before.as_ptr()),
            _ => supervise(child, all.as_ptr()),
        }
    }
}

/// SAFETY: `before` is a valid set.
unsafe fn execute(words: &[CString], before: *const libc::sigset_t) -> ExitCode {
    unsafe {
        // A process group of its own, in the terminal's foreground, so that ^C reaches it and not init.
        libc::setpgid(0, 0);
        libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpid());
        libc::sigprocmask(libc::SIG_SETMASK, before, ptr::null_mut());
        // Rust ignores SIGPIPE; the command starts with the default.
        libc::signal(libc::SIGPIPE, libc::SIG_DFL);
        let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
        pointers.push(ptr::null());
        libc::execvp(pointers[0], pointers.as_ptr());
    }
    let error = Error::last_os_error();
    eprintln!("init: can't run {}: {error}", words[0].to_string_lossy());
    ExitCode::from(if error.raw_os_error() == Some(libc::ENOENT) { NOT_FOUND } else { CANNOT_RUN })
}

/// SAFETY: `all` is a valid set, and blocked.
unsafe fn supervise(child: libc::pid_t, all: *const libc::sigset_t) -> ExitCode {
    loop {
        // SAFETY: as above.
        let signal = unsafe { libc::sigwaitinfo(all, ptr::null_mut()) };
        match signal {
            -1 => continue, // interrupted
            libc::SIGCHLD => {
                if let Some(code) = reap(child) {
                    return ExitCode::from(code);
                }
            }
            // Signals of init's own faults can't be forwarded, and stopping init would have no effect.
            libc::SIGTTIN | libc::SIGTTOU => {}
            // SAFETY: the child is not reaped yet, so its process id is not reused.
            signal => unsafe {
                libc::kill(child, signal);
            },
        }
    }
}

/// Reaps ended processes; returns the command's exit code if it is among them.
fn reap(child: libc::pid_t) -> Option<u8> {
    let mut code = None;
    loop {
        let mut status = 0;
        // SAFETY: a valid pointer.
        let ended = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if ended <= 0 {
            return code;
        }
        if ended == child {
            let value =
                if libc::WIFSIGNALED(status) { 128 + libc::WTERMSIG(status) } else { libc::WEXITSTATUS(status) };
            code = Some(value as u8);
        }
    }
}
