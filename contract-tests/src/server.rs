//! What servers of the tests share: connections in threads of their own, and plans of what to do next.

use std::collections::VecDeque;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::outside::wait_for;

/// A server on a port of this machine. It serves until it is dropped.
#[derive(Debug)]
pub struct Server {
    /// Its port.
    pub port: u16,
    stopped: Arc<AtomicBool>,
}

impl Server {
    /// Serves on this port, once it is free.
    ///
    /// # Panics
    /// When it does not become free.
    pub fn on(port: u16, serve: impl Fn(TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = wait_for("the server's port", || TcpListener::bind(("127.0.0.1", port)).ok());
        let server = Self {
            port,
            stopped: Arc::default(),
        };
        let (stopped, serve) = (server.stopped.clone(), Arc::new(serve));
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let serve = serve.clone();
                // A client that leaves in the middle is part of some tests.
                thread::spawn(move || stream.and_then(|stream| serve(stream)).ok());
            }
        });
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for a connection; with it goes the listener.
        TcpStream::connect(("127.0.0.1", self.port)).ok();
    }
}

/// What a server knows, also after a test has failed over it.
pub fn locked<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What comes next by a plan, whose last entry stays.
pub fn next_of<T: Clone>(plan: &mut VecDeque<T>) -> Option<T> {
    match plan.len() {
        0 | 1 => plan.front().cloned(),
        _ => plan.pop_front(),
    }
}
