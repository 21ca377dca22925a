//! Buffers handed from one thread of a layer's pipeline to the next, and back for reuse.

use std::io::{self, BufRead, Read};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

/// Size of a buffer: large enough to make the hand-over cheap, small enough for a core's own cache.
pub(crate) const BUFFER: usize = 256 << 10;
/// Buffers on their way at once.
const DEPTH: usize = 8;

/// Makes a pipe.
pub(crate) fn pipe() -> (PipeWriter, PipeReader) {
    let (full, receive) = sync_channel(DEPTH);
    let (give_back, empty) = sync_channel(DEPTH + 2);
    let writer = PipeWriter { full, empty };
    let reader = PipeReader {
        receive,
        give_back,
        buffer: Vec::new(),
        position: 0,
        ended: false,
    };
    (writer, reader)
}

enum Message {
    Buffer(Vec<u8>),
    End,
}

/// The other end is gone; why is known there.
#[derive(Debug)]
pub(crate) struct Closed;

/// Sends buffers.
pub(crate) struct PipeWriter {
    full: SyncSender<Message>,
    empty: Receiver<Vec<u8>>,
}

impl PipeWriter {
    /// A buffer of [`BUFFER`] bytes to fill.
    pub(crate) fn buffer(&self) -> Vec<u8> {
        match self.empty.try_recv() {
            Ok(mut buffer) => {
                buffer.resize(BUFFER, 0);
                buffer
            }
            Err(TryRecvError::Empty | TryRecvError::Disconnected) => vec![0; BUFFER],
        }
    }

    /// Sends the first `length` bytes of a buffer.
    pub(crate) fn send(&self, mut buffer: Vec<u8>, length: usize) -> Result<(), Closed> {
        buffer.truncate(length);
        self.full.send(Message::Buffer(buffer)).map_err(|_| Closed)
    }

    /// Ends the stream well. A writer dropped without this makes the reader fail.
    pub(crate) fn end(self) -> Result<(), Closed> {
        self.full.send(Message::End).map_err(|_| Closed)
    }
}

/// Receives buffers, as a stream.
pub(crate) struct PipeReader {
    receive: Receiver<Message>,
    give_back: SyncSender<Vec<u8>>,
    buffer: Vec<u8>,
    position: usize,
    ended: bool,
}

impl PipeReader {
    /// Waits for the next buffer; `false` at the end. Call only when the last one is used up.
    fn next(&mut self) -> io::Result<bool> {
        while !self.ended {
            match self.receive.recv() {
                Ok(Message::Buffer(buffer)) => {
                    let used = std::mem::replace(&mut self.buffer, buffer);
                    self.position = 0;
                    if used.capacity() > 0 {
                        // A full return path only means that the buffer is freed here.
                        drop(self.give_back.try_send(used));
                    }
                    if !self.buffer.is_empty() {
                        return Ok(true);
                    }
                }
                Ok(Message::End) => {
                    self.ended = true;
                    self.buffer = Vec::new();
                    self.position = 0;
                }
                Err(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::BrokenPipe,
                        "the stream was cut off",
                    ));
                }
            }
        }
        Ok(false)
    }

    /// The next buffer, whole, seen by `look` when it arrives.
    pub(crate) fn fill(&mut self, look: impl FnOnce(&[u8]) -> io::Result<()>) -> io::Result<&[u8]> {
        if self.position == self.buffer.len() && self.next()? {
            look(&self.buffer)?;
        }
        Ok(&self.buffer[self.position..])
    }
}

impl Read for PipeReader {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(out.len());
        out[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for PipeReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill(|_| Ok(()))
    }

    fn consume(&mut self, amount: usize) {
        self.position = (self.position + amount).min(self.buffer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_arrive_in_order_and_are_reused() {
        let (writer, mut reader) = pipe();
        let sender = std::thread::spawn(move || {
            for i in 0..100_u8 {
                let mut buffer = writer.buffer();
                buffer[..3].fill(i);
                writer.send(buffer, usize::from(i % 4)).unwrap();
            }
            writer.end().unwrap();
        });
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        sender.join().unwrap();
        let expected: Vec<u8> = (0..100).flat_map(|i| vec![i; usize::from(i % 4)]).collect();
        assert_eq!(all, expected);
        assert!(reader.fill_buf().unwrap().is_empty());
    }

    #[test]
    fn a_writer_that_vanishes_is_no_end() {
        let (writer, mut reader) = pipe();
        writer.send(writer.buffer(), 5).unwrap();
        drop(writer);
        assert_eq!(reader.fill_buf().unwrap().len(), 5);
        reader.consume(5);
        assert_eq!(
            reader.fill_buf().unwrap_err().kind(),
            io::ErrorKind::BrokenPipe
        );
    }

    #[test]
    fn a_reader_that_vanishes_stops_the_writer() {
        let (writer, reader) = pipe();
        drop(reader);
        assert!(writer.send(writer.buffer(), 1).is_err());
    }
}
