//! What the controller tells a collector of OpenTelemetry.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use graylane_tests::bed::{self, Bed};
use graylane_tests::poll;

use crate::stage::{SOON, SUMMER, Stage};

#[test]
fn a_controller_sends_its_passes_and_changes_and_goes_on_when_nobody_listens() {
    bed::tell(&Bed::cluster(), |bed| {
        let stage = Stage::set(bed)?;
        let collector = Collector::start()?;
        let controller = stage.controller_with("a", &["--otlp-endpoint", &collector.address])?;
        stage.until_led_by(&[&controller])?;
        bed.apply(SUMMER)?;
        stage.until_gate("summer")?;
        for words in ["graylane", "pass", "EnvoyFilter edge/graylane-entry", "release shop/summer"] {
            poll::until(words, SOON, || {
                ensure!(collector.has_heard(words), "not heard");
                Ok(())
            })?;
        }
        collector.hang.store(true, Ordering::SeqCst);
        stage.ask("summer", "1", "abort")?;
        stage.until_phase("summer", "RolledBack")?;
        controller.was_never_forbidden()
    });
}

/// Keeps what is posted to it.
struct Collector {
    address: String,
    heard: Arc<Mutex<Vec<u8>>>,
    /// From now on it does not answer.
    hang: Arc<AtomicBool>,
}

// === impl Collector ===

impl Collector {
    fn start() -> Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = format!("http://{}", listener.local_addr()?);
        let collector = Self { address, heard: Arc::default(), hang: Arc::default() };
        let (heard, hang) = (Arc::clone(&collector.heard), Arc::clone(&collector.hang));
        // It ends with the process, like the bed around it.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (heard, hang) = (Arc::clone(&heard), Arc::clone(&hang));
                std::thread::spawn(move || answer(&stream, &heard, &hang));
            }
        });
        Ok(collector)
    }

    fn has_heard(&self, words: &str) -> bool {
        let heard = self.heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        heard.windows(words.len()).any(|window| window == words.as_bytes())
    }
}

/// Answers the requests of one connection until it ends.
fn answer(stream: &TcpStream, heard: &Mutex<Vec<u8>>, hang: &AtomicBool) -> Result<()> {
    let mut reader = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            ensure!(reader.read_line(&mut line)? > 0, "the connection ended");
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().context("a length")?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        heard.lock().unwrap_or_else(std::sync::PoisonError::into_inner).extend(body);
        if !hang.load(Ordering::SeqCst) {
            (&*stream).write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")?;
        }
    }
}
