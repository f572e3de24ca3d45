//! As much of HTTP/1.1 as the example needs: GET without a body, over connections that stay open.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use hitless::context::Bytes;

use super::filter::{Filter, Request};

/// The most bytes of a request's head.
const MAX_HEAD: usize = 4096;

/// A server that asks the filter before it answers. Each of its threads serves one connection at a time.
pub struct Server {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Serves an address; port 0 for any that is free.
    pub fn start(address: &str, threads: usize, filter: &Arc<Filter>) -> io::Result<Server> {
        let listener = TcpListener::bind(address)?;
        let mut server = Server {
            address: listener.local_addr()?,
            stop: Arc::default(),
            threads: Vec::new(),
        };
        let start = Instant::now();
        for _ in 0..threads {
            let (listener, filter, stop) = (listener.try_clone()?, Arc::clone(filter), Arc::clone(&server.stop));
            server.threads.push(std::thread::spawn(move || {
                while let Ok((stream, _)) = listener.accept() {
                    if stop.load(Ordering::Acquire) {
                        break;
                    }
                    // A client that goes away in the middle is no concern of ours.
                    let _ = serve(stream, &filter, start);
                }
            }));
        }
        Ok(server)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for the threads: for ever, unless it was stopped.
    pub fn join(mut self) {
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }

    /// Ends the threads once their clients have gone.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Release);
        for _ in &self.threads {
            // Each wakes one of them.
            let _ = TcpStream::connect(self.address);
        }
        self.join();
    }
}

/// Answers the requests of one connection.
fn serve(mut stream: TcpStream, filter: &Filter, start: Instant) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut head = Vec::new();
    while read_head(&mut stream, &mut head)? {
        let status = match parse(&head) {
            Some((path, client)) => {
                let mut request = Request {
                    client,
                    trusted: 0,
                    now_ns: u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX),
                    path: Bytes::new(path.as_bytes()),
                };
                match filter.decide(&mut request) {
                    Ok(0) => 200,
                    Ok(status) => status,
                    Err(_) => 500,
                }
            }
            None => 400,
        };
        write!(stream, "HTTP/1.1 {status} -\r\nContent-Length: 0\r\n\r\n")?;
    }
    Ok(())
}

/// Reads up to the empty line. False if there is no more.
fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<bool> {
    head.clear();
    let mut buffer = [0; 512];
    while !head.ends_with(b"\r\n\r\n") {
        let count = stream.read(&mut buffer)?;
        if count == 0 || head.len() + count > MAX_HEAD {
            return Ok(false);
        }
        head.extend_from_slice(&buffer[..count]);
    }
    Ok(true)
}

/// The path of a request, and the client's number.
fn parse(head: &[u8]) -> Option<(&str, u32)> {
    let mut headers = [httparse::EMPTY_HEADER; 16];
    let mut request = httparse::Request::new(&mut headers);
    request.parse(head).ok()?;
    let client = request.headers.iter().find(|header| header.name == "X-Client");
    let client = client.and_then(|header| std::str::from_utf8(header.value).ok()?.parse().ok());
    Some((request.path?, client.unwrap_or(0)))
}

/// A client with its connection.
pub struct Client {
    stream: TcpStream,
    number: u32,
}

impl Client {
    /// Connects.
    pub fn connect(address: SocketAddr, number: u32) -> io::Result<Client> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        Ok(Client { stream, number })
    }

    /// The status that a path gets.
    pub fn get(&mut self, path: &str) -> io::Result<u16> {
        write!(self.stream, "GET {path} HTTP/1.1\r\nX-Client: {}\r\n\r\n", self.number)?;
        let mut head = Vec::new();
        if !read_head(&mut self.stream, &mut head)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut headers = [httparse::EMPTY_HEADER; 4];
        let mut response = httparse::Response::new(&mut headers);
        let parsed = response.parse(&head).is_ok();
        response
            .code
            .filter(|_| parsed)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}
