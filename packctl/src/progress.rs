//! What is going on in each pack: moving bars on a terminal, plain lines off it.

use std::{collections::BTreeMap, time::Duration};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::{console::Console, escape};

/// One line a pack, on stderr.
#[derive(Debug)]
pub(crate) struct Progress {
    console: Console,
    bars: Option<MultiProgress>,
    packs: BTreeMap<String, ProgressBar>,
}

impl Progress {
    pub(crate) fn new(console: Console) -> Self {
        Self {
            console,
            bars: console.is_terminal().then(MultiProgress::new),
            packs: BTreeMap::new(),
        }
    }

    /// What happens now.
    pub(crate) fn step(&mut self, pack: &str, message: &str) {
        if message.is_empty() {
            return;
        }
        match self.bar(pack) {
            Some(bar) => bar.set_message(escape::line(message).into_owned()),
            None => self.console.say(&said(pack, message)),
        }
    }

    /// The last word about this pack; `mark` says how it ended.
    pub(crate) fn end(&mut self, pack: &str, mark: &str, message: &str) {
        match self.bar(pack) {
            Some(bar) => {
                let line = escape::line(&said(pack, message)).into_owned();
                bar.set_style(ended());
                bar.finish_with_message(format!("{mark} {line}"));
            }
            None => self.console.say(&said(pack, message)),
        }
    }

    /// Stops the bars, so that what follows is not painted over.
    pub(crate) fn close(&mut self) {
        for bar in self.packs.values().filter(|bar| !bar.is_finished()) {
            bar.finish_and_clear();
        }
        self.bars = None;
    }

    fn bar(&mut self, pack: &str) -> Option<&ProgressBar> {
        let bars = self.bars.as_ref()?;
        Some(self.packs.entry(pack.to_owned()).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(running());
            bar.set_prefix(escape::line(pack).into_owned());
            bar.enable_steady_tick(Duration::from_millis(100));
            bar
        }))
    }
}

fn said(pack: &str, message: &str) -> String {
    if pack.is_empty() {
        message.to_owned()
    } else {
        format!("{pack}: {message}")
    }
}

// Templates are constants; should one not parse, the default style still tells the story.
fn running() -> ProgressStyle {
    ProgressStyle::with_template("{spinner} {prefix}: {wide_msg} {elapsed}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
}

fn ended() -> ProgressStyle {
    ProgressStyle::with_template("{wide_msg}").unwrap_or_else(|_| ProgressStyle::default_spinner())
}
