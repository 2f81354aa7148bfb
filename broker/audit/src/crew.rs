//! Reads blocks of lines on several threads, and hands the results back in the order of the blocks.

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::chain::Link;
use crate::json::find_newline;
use crate::line::LINE_LIMIT;

/// Blocks that each thread has before it, so that none waits for the next one.
const AHEAD: usize = 2;

/// More threads than this only wait for the one that follows the chain.
const HANDS: usize = 4;

/// A block and what its lines are; after a line that is no record, nothing.
#[derive(Debug, Default)]
pub(crate) struct Block {
    pub(crate) bytes: Vec<u8>,
    pub(crate) links: Vec<Link>,
    pub(crate) wrong: Option<String>,
}

impl Block {
    fn read(&mut self) {
        self.links.clear();
        self.wrong = None;
        let mut start = 0;
        while let Some(length) = self.bytes.get(start + 1..).and_then(find_newline) {
            let end = start + 1 + length;
            if length >= LINE_LIMIT {
                self.wrong = Some("longer than a line may be".to_owned());
                return;
            }
            let marked = self.bytes.get_mut(start..end).unwrap_or_default();
            match Link::read(marked) {
                Ok(link) => self.links.push(link),
                Err(error) => {
                    self.wrong = Some(error.to_string());
                    return;
                }
            }
            start = end;
        }
    }
}

#[derive(Debug)]
struct Hand {
    give: SyncSender<Block>,
    take: Receiver<Block>,
}

impl Hand {
    fn hire() -> io::Result<Self> {
        let (give, work) = sync_channel::<Block>(AHEAD);
        let (done, take) = sync_channel(AHEAD);
        thread::Builder::new()
            .name("audit-verify".to_owned())
            .spawn(move || {
                for mut block in work {
                    block.read();
                    if done.send(block).is_err() {
                        return;
                    }
                }
            })?;
        Ok(Self { give, take })
    }
}

/// The threads; they end with it.
#[derive(Debug)]
pub(crate) struct Crew {
    hands: Vec<Hand>,
    given: usize,
    taken: usize,
    spare: Vec<Block>,
}

impl Crew {
    pub(crate) fn hire() -> io::Result<Self> {
        let count = thread::available_parallelism().map_or(1, usize::from);
        let hands = (0..count.min(HANDS)).map(|_| Hand::hire());
        Ok(Self {
            hands: hands.collect::<io::Result<_>>()?,
            given: 0,
            taken: 0,
            spare: Vec::new(),
        })
    }

    /// Whether another block can be given without waiting.
    pub(crate) fn has_room(&self) -> bool {
        self.given - self.taken < self.hands.len() * AHEAD
    }

    /// A block to fill and give.
    pub(crate) fn blank(&mut self) -> Block {
        self.spare.pop().unwrap_or_default()
    }

    /// Takes back a block that is no longer needed.
    pub(crate) fn keep(&mut self, block: Block) {
        self.spare.push(block);
    }

    fn turn(&self, count: usize) -> io::Result<&Hand> {
        count
            .checked_rem(self.hands.len())
            .and_then(|turn| self.hands.get(turn))
            .ok_or_else(gone)
    }

    pub(crate) fn give(&mut self, block: Block) -> io::Result<()> {
        self.turn(self.given)?
            .give
            .send(block)
            .map_err(|_| gone())?;
        self.given += 1;
        Ok(())
    }

    /// The next block in the order in which they were given; nothing when none is out.
    pub(crate) fn take(&mut self) -> io::Result<Option<Block>> {
        if self.taken == self.given {
            return Ok(None);
        }
        let block = self.turn(self.taken)?.take.recv().map_err(|_| gone())?;
        self.taken += 1;
        Ok(Some(block))
    }
}

fn gone() -> io::Error {
    io::Error::other("a verifying thread ended early")
}
