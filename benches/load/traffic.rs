//! The two ends of the traffic: a client on kept-alive connections, and upstreams that name their
//! lane. Plain blocking sockets: the less they cost, the more of the other core is left to Envoy.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Connections to each listener, each with one request on its way.
const CONNECTIONS: usize = 8;

/// Kept-alive connections to one listener.
pub struct Client {
    connections: Vec<TcpStream>,
    requests: Vec<Vec<u8>>,
    next: usize,
}

/// Starts an upstream that answers every request with its name; it lives as long as the program.
///
/// # Errors
/// When no port can be had.
pub fn upstream(name: &'static str) -> Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let port = listener.local_addr()?.port();
    let answer = format!("HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: {}\r\n\r\n{name}", name.len());
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            let answer = answer.clone().into_bytes();
            thread::spawn(move || serve(connection, &answer));
        }
    });
    Ok(port)
}

/// Answers until the other side closes. Requests here have no body.
fn serve(mut connection: TcpStream, answer: &[u8]) {
    let _ = connection.set_nodelay(true);
    let (mut buffer, mut filled) = ([0; 16 * 1024], 0);
    while let Ok(read @ 1..) = connection.read(&mut buffer[filled..]) {
        filled += read;
        if buffer[..filled].ends_with(b"\r\n\r\n") {
            filled = 0;
            if connection.write_all(answer).is_err() {
                return;
            }
        }
    }
}

// === impl Client ===

impl Client {
    /// Connects, to send these requests in turn.
    ///
    /// # Errors
    /// When nobody listens.
    pub fn connect(port: u16, requests: Vec<Vec<u8>>) -> Result<Self> {
        let connect = |_| -> Result<TcpStream> {
            let connection = TcpStream::connect(("127.0.0.1", port))?;
            connection.set_nodelay(true)?;
            connection.set_read_timeout(Some(Duration::from_secs(10)))?;
            Ok(connection)
        };
        let connections = (0..CONNECTIONS).map(connect).collect::<Result<_>>()?;
        Ok(Self { connections, requests, next: 0 })
    }

    /// Sends for this long; how many requests were answered, each with 200.
    ///
    /// # Errors
    /// When an answer is missing or another one.
    pub fn send_for(&mut self, time: Duration) -> Result<u64> {
        let (deadline, mut answered) = (Instant::now() + time, 0);
        while Instant::now() < deadline {
            for connection in &mut self.connections {
                connection.write_all(&self.requests[self.next % self.requests.len()])?;
                self.next += 1;
            }
            for connection in &mut self.connections {
                read_answer(connection)?;
                answered += 1;
            }
        }
        Ok(answered)
    }

    /// Sends one request and gives the name of the upstream that answered.
    ///
    /// # Errors
    /// When an answer is missing or another one.
    pub fn ask(&mut self, request: &[u8]) -> Result<String> {
        let connection = self.connections.first_mut().context("no connection")?;
        connection.write_all(request)?;
        let answer = read_answer(connection)?;
        let body = answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |at| at + 4);
        Ok(String::from_utf8_lossy(&answer[body..]).into_owned())
    }
}

/// Reads one answer to the end of its body, which is shorter than ten bytes.
fn read_answer(connection: &mut TcpStream) -> Result<Vec<u8>> {
    let (mut buffer, mut filled) = ([0; 4096], 0);
    loop {
        let read = connection.read(&mut buffer[filled..])?;
        ensure!(read > 0, "Envoy closed a kept-alive connection");
        filled += read;
        let answer = &buffer[..filled];
        ensure!(answer.starts_with(b"HTTP/1.1 200"), "unexpected answer: {}", String::from_utf8_lossy(answer));
        if is_whole(answer) {
            return Ok(answer.to_vec());
        }
    }
}

fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let length = b"content-length: ";
    let at = answer.windows(length.len()).position(|window| window == length).map_or(0, |at| at + length.len());
    let body = answer.get(at).map_or(0, |digit| usize::from(digit.wrapping_sub(b'0')));
    answer.len() >= head + 4 + body
}
