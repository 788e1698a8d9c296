//! The native functions of `@warren/netlink-napi`. Each one that talks to the kernel runs on libuv's thread pool and
//! returns a promise.
//!
//! - `socket.rs`     a request and its answer, over rtnetlink
//! - `objects.rs`    links, addresses, routes
//! - `netns.rs`      namespaces, and their sysctls
//! - `netfilter.rs`  ending tracked flows; notifications of changed rules
//! - `watch.rs`      the thread that receives the kernel's notifications
//! - `datagram.rs`   a datagram and its answer
//! - `nft.rs`        transactions on nftables, by libnftables

mod datagram;
mod netfilter;
mod netns;
mod nft;
mod objects;
mod socket;
mod watch;

use std::io;
use std::sync::Arc;

use napi::bindgen_prelude::{AsyncTask, Error, Result, ToNapiValue, TypeName};
use napi::{Env, Status, Task};
use napi_derive::napi;

use datagram::Datagram;
use netfilter::FlowFilter;
use nft::NftOutcome;
use objects::{Address, ChangeFailure, Link, LinkChange, NetworkChange, Route, RouteSpec, VethSpec};
use socket::RouteSocket;

/// The reason is `ERRNO|text`, which JavaScript takes apart into code and message.
fn failure(error: &io::Error) -> Error {
    Error::new(Status::GenericFailure, format!("{}|{error}", error.raw_os_error().unwrap_or(0)))
}

/// Work for libuv's pool.
pub struct Job<T>(Option<Box<dyn FnOnce() -> io::Result<T> + Send>>);

impl<T: Send + ToNapiValue + TypeName + 'static> Task for Job<T> {
    type Output = T;
    type JsValue = T;

    fn compute(&mut self) -> Result<T> {
        let work = self.0.take().expect("a job runs once");
        work().map_err(|error| failure(&error))
    }

    fn resolve(&mut self, _: Env, output: T) -> Result<T> {
        Ok(output)
    }
}

fn job<T: Send + ToNapiValue + TypeName + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> AsyncTask<Job<T>> {
    AsyncTask::new(Job(Some(Box::new(work))))
}

#[napi(object)]
pub struct Sysctl {
    pub name: String,
    pub value: String,
}

/// The change that failed of several, and why: `ERRNO|text`.
#[napi(object)]
pub struct FailedChange {
    pub at: u32,
    pub reason: String,
}

fn failed_change(result: std::result::Result<(), ChangeFailure>) -> Option<FailedChange> {
    result.err().map(|(at, error)| FailedChange { at, reason: failure(&error).reason.to_string() })
}

/// A namespace's network, over one rtnetlink socket.
#[napi]
pub struct Handle {
    socket: Arc<RouteSocket>,
    netns: Option<String>,
}

#[napi]
impl Handle {
    #[napi(constructor)]
    pub fn new(netns: Option<String>) -> Result<Self> {
        let socket = RouteSocket::open(netns.as_deref()).map_err(|error| failure(&error))?;
        Ok(Self { socket: Arc::new(socket), netns })
    }

    #[napi]
    pub fn links(&self) -> AsyncTask<Job<Vec<Link>>> {
        let socket = self.socket.clone();
        job(move || objects::links(&socket))
    }

    #[napi]
    pub fn link(&self, name: String) -> AsyncTask<Job<Option<Link>>> {
        let socket = self.socket.clone();
        job(move || objects::link(&socket, &name))
    }

    #[napi]
    pub fn create_veth(&self, spec: VethSpec) -> AsyncTask<Job<()>> {
        let socket = self.socket.clone();
        job(move || objects::create_veth(&socket, &spec))
    }

    #[napi]
    pub fn change_link(&self, name: String, change: LinkChange) -> AsyncTask<Job<()>> {
        let socket = self.socket.clone();
        job(move || objects::change_link(&socket, &name, &change))
    }

    #[napi]
    pub fn delete_link(&self, name: String) -> AsyncTask<Job<()>> {
        let socket = self.socket.clone();
        job(move || objects::delete_link(&socket, &name))
    }

    #[napi]
    pub fn addresses(&self) -> AsyncTask<Job<Vec<Address>>> {
        let socket = self.socket.clone();
        job(move || objects::addresses(&socket))
    }

    #[napi]
    pub fn add_address(&self, link: String, address: String) -> AsyncTask<Job<()>> {
        let socket = self.socket.clone();
        job(move || objects::add_address(&socket, &link, &address))
    }

    #[napi]
    pub fn delete_address(&self, link: String, address: String) -> AsyncTask<Job<()>> {
        let socket = self.socket.clone();
        job(move || objects::delete_address(&socket, &link, &address))
    }

    #[napi]
    pub fn routes(&self) -> AsyncTask<Job<Vec<Route>>> {
        let socket = self.socket.clone();
        job(move || objects::routes(&socket))
    }

    #[napi]
    pub fn put_route(&self, spec: RouteSpec) -> AsyncTask<Job<()>> {
        let socket = self.socket.clone();
        job(move || objects::put_route(&socket, &spec))
    }

    #[napi]
    pub fn delete_route(&self, spec: RouteSpec) -> AsyncTask<Job<()>> {
        let socket = self.socket.clone();
        job(move || objects::delete_route(&socket, &spec))
    }

    #[napi]
    pub fn read_sysctl(&self, name: String) -> AsyncTask<Job<String>> {
        let netns = self.netns.clone();
        job(move || netns::read_sysctl(netns.as_deref(), &name))
    }

    #[napi]
    pub fn write_sysctls(&self, values: Vec<Sysctl>) -> AsyncTask<Job<()>> {
        let netns = self.netns.clone();
        job(move || {
            let values: Vec<_> = values.into_iter().map(|s| (s.name, s.value)).collect();
            netns::write_sysctls(netns.as_deref(), &values)
        })
    }

    #[napi]
    pub fn change_all(&self, changes: Vec<NetworkChange>) -> AsyncTask<Job<Option<FailedChange>>> {
        let (socket, netns) = (self.socket.clone(), self.netns.clone());
        // Sysctls are of the thread's namespace.
        let path = if changes.iter().any(|change| change.sysctl.is_some()) { netns } else { None };
        job(move || netns::inside(path.as_deref(), || Ok(failed_change(objects::change_all(&socket, &changes)))))
    }

    #[napi]
    pub fn delete_flows(&self, groups: Vec<Vec<FlowFilter>>) -> AsyncTask<Job<Vec<u32>>> {
        let (socket, netns) = (self.socket.clone(), self.netns.clone());
        job(move || {
            let by_local = groups.iter().flatten().any(|filter| filter.to_local == Some(true));
            let local = if by_local { objects::local_addresses(&socket)? } else { Vec::new() };
            netfilter::delete_flows(netns.as_deref(), &groups, local)
        })
    }

    #[napi]
    pub fn run_nft(&self, commands: String) -> AsyncTask<Job<Option<NftOutcome>>> {
        let netns = self.netns.clone();
        job(move || nft::run(netns.as_deref(), &commands))
    }

    #[napi]
    pub fn exchange(&self, datagram: Datagram) -> AsyncTask<Job<bool>> {
        let netns = self.netns.clone();
        job(move || datagram::exchange(netns.as_deref(), &datagram))
    }

    #[napi(ts_args_type = "groups: Array<string>, listener: (notification: Notification) => void")]
    pub fn watch(&self, groups: Vec<String>, listener: watch::Listener) -> Result<watch::Watch> {
        watch::start(self.netns.as_deref(), &groups, listener).map_err(|error| failure(&error))
    }
}

#[napi]
pub fn create_netns(path: String) -> AsyncTask<Job<()>> {
    job(move || netns::create(&path))
}

/// As `Handle::change_all`, of a namespace that nothing else is asked of: with a socket that is closed again.
#[napi]
pub fn change_netns(path: String, changes: Vec<NetworkChange>) -> AsyncTask<Job<Option<FailedChange>>> {
    job(move || {
        netns::inside(Some(&path), || {
            let socket = RouteSocket::open(None)?;
            Ok(failed_change(objects::change_all(&socket, &changes)))
        })
    })
}

#[napi]
pub fn delete_netns(path: String) -> AsyncTask<Job<()>> {
    job(move || netns::delete(&path))
}

#[napi]
pub fn is_netns(path: String) -> AsyncTask<Job<bool>> {
    job(move || netns::is_namespace(&path))
}

#[napi]
pub fn list_netns(folder: String) -> AsyncTask<Job<Vec<String>>> {
    job(move || netns::list(&folder))
}
