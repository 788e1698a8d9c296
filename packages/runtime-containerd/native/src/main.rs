//! The parts of the runtime that must outlive a worker, or run inside a container, in one small static program:
//!
//! - `log`    writes a container's log: containerd starts one beside each container (`binary://`)
//! - `tmpfs-modes` sets the permissions of a container's tmpfs mounts, where runc does not
//! - `init`   is a container's first process: forwards signals and reaps orphans
//! - `connect` is one connection to a port of a container, over its standard streams
//! - `serve`  does a worker's operations on namespaces, mounts and pipes, one process per worker (`netns`, `image`,
//!   `fill`, `fifo`)

mod connect;
mod fifo;
mod fill;
mod image;
mod init;
mod log;
mod netns;
mod record;
mod serve;
mod tmpfs;

use std::process::ExitCode;

const USAGE: &str = "usage: warren-runtime init -- COMMAND [ARG…]
       warren-runtime tmpfs-modes OCTAL PATH…   (started by runc, in the container's root)
       warren-runtime serve   (started by a worker)
       warren-runtime connect NETNS PORT   (started by a worker)
       warren-runtime directory PATH file-bytes N files N [tty 1]   (started by a containerd shim)";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["init", "--", command @ ..] if !command.is_empty() => return init::run(command),
        ["serve"] => serve::run(),
        ["tmpfs-modes", pairs @ ..] if pairs.len() % 2 == 0 => tmpfs::set_modes(".", pairs),
        ["connect", netns, port] => connect::run(netns, port),
        // The shim passes the parameters of its URI as pairs, in any order.
        pairs if !pairs.is_empty() && pairs.len() % 2 == 0 => match log::Options::parse(pairs) {
            Some(options) => log::run(&options),
            None => return usage(),
        },
        _ => return usage(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("warren-runtime: {error}");
            // The exit code is errno, so that the caller need not parse a text.
            ExitCode::from(error.raw_os_error().and_then(|n| u8::try_from(n).ok()).unwrap_or(255))
        }
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(254)
}
