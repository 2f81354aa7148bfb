//! How far a run of many calls is: a bar on a terminal, now and then a line off it.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

use crate::console::Console;

/// How often it is said off a terminal.
const PAUSE: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Counting {
    console: Console,
    bar: Option<ProgressBar>,
    all: usize,
    done: usize,
    said: Instant,
    began: Instant,
}

impl Counting {
    pub(super) fn new(console: Console, all: usize) -> Self {
        let bar = console.is_terminal().then(|| {
            let bar = ProgressBar::new(u64::try_from(all).unwrap_or(u64::MAX));
            bar.set_style(style());
            bar
        });
        Self {
            console,
            bar,
            all,
            done: 0,
            said: Instant::now(),
            began: Instant::now(),
        }
    }

    /// One more call is over.
    pub(super) fn step(&mut self) {
        self.done = self.done.saturating_add(1);
        match &self.bar {
            Some(bar) => bar.inc(1),
            None if self.said.elapsed() >= PAUSE => {
                self.said = Instant::now();
                self.console
                    .say(&format!("{} of {} calls done", self.done, self.all));
            }
            None => {}
        }
    }

    /// Lets something be written to the terminal without the bar in it.
    pub(super) fn beside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bar {
            Some(bar) => bar.suspend(write),
            None => write(),
        }
    }

    /// Takes the bar away; how many there were, and in what time.
    pub(super) fn end(self) -> (usize, Duration) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        (self.done, self.began.elapsed())
    }
}

// The template is a constant; should it not parse, the default style still tells the story.
fn style() -> ProgressStyle {
    ProgressStyle::with_template("{bar:30} {pos} of {len} calls, {per_sec}, {eta} left")
        .unwrap_or_else(|_| ProgressStyle::default_bar())
}
